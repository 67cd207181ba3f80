// bench/report/report_json.cpp - a run as one JSON object.
//
// { "schema": 1, "facts": {...}, "rounds": n,
//   "goals": [ { "id", "title", "asked", "outcome", "checks": [ { "where", "measured", "low", "high", "limit", "met" } ] } ],
//   "cells": [ { "mode", "entries", "value_bytes", "dist", "threads", "backends": { NAME: { "ns_per_op", "mops",
//                "p50_ns", "p99_ns", "hit_ratio", "overhead_bytes", "ns_per_op_samples": [...] } } } ],
//   "stampede": [ { "callers", "loader_ms", "loads", "served_ms" } ] }
#include "bench/report/report_output.hpp"
#include <cmath>
#include <cstdio>

namespace report
{

namespace
{

std::string quoted(const std::string &text)
{
    std::string out = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
        }
        if ((unsigned char)c < 0x20) {
            char escape[8];
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c);
            out += escape;
        } else {
            out += c;
        }
    }
    return out + "\"";
}

std::string plain(double v)
{
    char text[48];
    snprintf(text, sizeof text, "%.6g", std::isfinite(v) ? v : 0.0);
    return text;
}

// Writes the commas between the members of an object or array.
class separator
{
  public:
    const char *next()
    {
        bool was_first = first_;
        first_ = false;
        return was_first ? "" : ",";
    }

  private:
    bool first_ = true;
};

void write_goal(std::ostream &out, const goal &g)
{
    out << "{\"id\": " << quoted(g.id) << ", \"title\": " << quoted(g.title) << ", \"asked\": " << quoted(g.asked)
        << ", \"outcome\": " << quoted(text_of(g.outcome())) << ", \"checks\": [";
    separator comma;
    for (auto &c : g.checks) {
        out << comma.next() << "\n      {\"where\": " << quoted(c.where) << ", \"measured\": " << plain(c.measured)
            << ", \"low\": " << plain(c.low) << ", \"high\": " << plain(c.high) << ", \"limit\": " << plain(c.limit)
            << ", \"met\": " << (c.met ? "true" : "false") << ", \"note\": " << quoted(c.note) << "}";
    }
    out << "]}";
}

void write_backend(std::ostream &out, const series &s)
{
    out << "{\"ns_per_op\": " << plain(median(s, &sample::ns)) << ", \"mops\": " << plain(median(s, &sample::mops))
        << ", \"p50_ns\": " << plain(median(s, &sample::p50)) << ", \"p99_ns\": " << plain(median(s, &sample::p99))
        << ", \"hit_ratio\": " << plain(median(s, &sample::hit_ratio))
        << ", \"overhead_bytes\": " << plain(median(s, &sample::overhead)) << ", \"ns_per_op_samples\": [";
    separator comma;
    for (auto &one : s) {
        out << comma.next() << plain(one.ns);
    }
    out << "]}";
}

} // namespace

void write_json(std::ostream &out, const results &r, const std::vector<goal> &goals)
{
    separator facts, goal_comma, cells, runs;
    out << "{\n  \"schema\": 1,\n  \"facts\": {";
    for (auto &f : r.facts) {
        out << facts.next() << "\n    " << quoted(f.first) << ": " << quoted(f.second);
    }
    out << "\n  },\n  \"rounds\": " << r.rounds() << ",\n  \"goals\": [";
    for (auto &g : goals) {
        out << goal_comma.next() << "\n    ";
        write_goal(out, g);
    }
    out << "\n  ],\n  \"cells\": [";
    for (auto &cell : r.cells) {
        const cell_id &id = cell.first;
        out << cells.next() << "\n    {\"mode\": " << quoted(id.mode) << ", \"entries\": " << id.entries
            << ", \"value_bytes\": " << id.value_bytes << ", \"dist\": " << quoted(id.dist)
            << ", \"threads\": " << id.threads << ", \"backends\": {";
        separator names;
        for (auto &b : cell.second) {
            out << names.next() << "\n      " << quoted(b.first) << ": ";
            write_backend(out, b.second);
        }
        out << "}}";
    }
    out << "\n  ],\n  \"stampede\": [";
    for (auto &run : r.stampedes) {
        out << runs.next() << "\n    {\"callers\": " << run.callers << ", \"loader_ms\": " << run.loader_ms
            << ", \"loads\": " << run.loads << ", \"served_ms\": " << plain(run.served_ms) << "}";
    }
    out << "\n  ]\n}\n";
}

} // namespace report
