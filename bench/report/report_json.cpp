// bench/report/report_json.cpp - a run as one JSON object.
//
// { "schema": 1, "facts": {...}, "rounds": n,
//   "goals": [ { "id", "title", "asked", "outcome", "checks": [ { "where", "measured", "low", "high", "limit", "met" } ] } ],
//   "cells": [ { "mode", "entries", "value_bytes", "dist", "threads", "backends": { NAME: { "ns_per_op", "mops",
//                "p50_ns", "p99_ns", "hit_ratio", "overhead_bytes", "ns_per_op_samples": [...] } } } ],
//   "stampede": [ { "callers", "loader_ms", "loads", "served_ms" } ],
//   "disk": [ { "entries", "value_bytes", "backends": { NAME: { "stored", "puts_s", "put_p50_us", "put_p99_us",
//               "put_p999_us", "gets_s", "get_p50_us", "get_p99_us", "overwrites_s", "close_ms", "reopen_ms",
//               "kill_reopen_ms", "cold_reopen_ms", "entry_disk_bytes", "resident_bytes", "kept", "puts_s_samples": [...],
//               "gets_s_samples": [...] } } } ],
//   "above_slow_disk": [ { "alone_ns", "alone_p99_ns", "slow_ns", "slow_p99_ns", "reads" } ],
//   "redis": { NAME: { "per_second", "per_second_samples": [...] } },
//   "slow_redis": [ { "state", "kind", "us", "beside_us", "soft_timeout_ms", "us_samples": [...] } ],
//   "fleet": [ { "processes", "callers", "loader_ms", "loads", "served_ms" } ] }
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

template <class Sample>
void write_samples(std::ostream &out, const char *name, const std::vector<Sample> &s, double Sample::*field)
{
    separator comma;
    out << ", \"" << name << "_samples\": [";
    for (auto &one : s) {
        out << comma.next() << plain(one.*field);
    }
    out << "]";
}

void write_disk_backend(std::ostream &out, const disk_series &s)
{
    const struct {
        const char *name;
        double disk_sample::*field;
    } fields[] = {
        { "stored", &disk_sample::stored },
        { "puts_s", &disk_sample::puts_s },
        { "put_p50_us", &disk_sample::put_p50 },
        { "put_p99_us", &disk_sample::put_p99 },
        { "put_p999_us", &disk_sample::put_p999 },
        { "gets_s", &disk_sample::gets_s },
        { "get_p50_us", &disk_sample::get_p50 },
        { "get_p99_us", &disk_sample::get_p99 },
        { "overwrites_s", &disk_sample::overwrites_s },
        { "close_ms", &disk_sample::close_ms },
        { "reopen_ms", &disk_sample::reopen_ms },
        { "kill_reopen_ms", &disk_sample::kill_ms },
        { "cold_reopen_ms", &disk_sample::cold_ms },
        { "entry_disk_bytes", &disk_sample::disk_bytes },
        { "resident_bytes", &disk_sample::resident },
        { "kept", &disk_sample::kept },
    };
    separator comma;
    out << "{";
    for (auto &f : fields) {
        out << comma.next() << "\"" << f.name << "\": " << plain(median(s, f.field));
    }
    write_samples(out, "puts_s", s, &disk_sample::puts_s);
    write_samples(out, "gets_s", s, &disk_sample::gets_s);
    out << "}";
}

void write_disks(std::ostream &out, const results &r)
{
    separator cells, runs;
    out << ",\n  \"disk\": [";
    for (auto &d : r.disks) {
        separator names;
        out << cells.next() << "\n    {\"entries\": " << d.first.entries << ", \"value_bytes\": " << d.first.value_bytes
            << ", \"backends\": {";
        for (auto &b : d.second) {
            out << names.next() << "\n      " << quoted(b.first) << ": ";
            write_disk_backend(out, b.second);
        }
        out << "}}";
    }
    out << "\n  ],\n  \"above_slow_disk\": [";
    for (auto &s : r.above) {
        out << runs.next() << "\n    {\"alone_ns\": " << plain(s.alone_ns)
            << ", \"alone_p99_ns\": " << plain(s.alone_p99) << ", \"slow_ns\": " << plain(s.slow_ns)
            << ", \"slow_p99_ns\": " << plain(s.slow_p99) << ", \"reads\": " << plain(s.reads) << "}";
    }
    out << "\n  ]";
}

void write_server(std::ostream &out, const results &r)
{
    separator cells, states, runs;
    out << ",\n  \"redis\": {";
    for (auto &c : r.redis) {
        out << cells.next() << "\n    " << quoted(c.first)
            << ": {\"per_second\": " << plain(median(c.second, &redis_sample::per_second));
        write_samples(out, "per_second", c.second, &redis_sample::per_second);
        out << "}";
    }
    out << "\n  },\n  \"slow_redis\": [";
    for (auto &kind : r.delays) {
        for (auto &state : kind.second) {
            out << states.next() << "\n    {\"state\": " << quoted(state.first) << ", \"kind\": " << quoted(kind.first)
                << ", \"us\": " << plain(median(state.second, &delay_sample::us))
                << ", \"beside_us\": " << plain(median(state.second, &delay_sample::beside_us))
                << ", \"soft_timeout_ms\": " << plain(median(state.second, &delay_sample::soft_timeout_ms));
            write_samples(out, "us", state.second, &delay_sample::us);
            out << "}";
        }
    }
    out << "\n  ],\n  \"fleet\": [";
    for (auto &run : r.fleets) {
        out << runs.next() << "\n    {\"processes\": " << run.processes << ", \"callers\": " << run.callers
            << ", \"loader_ms\": " << run.loader_ms << ", \"loads\": " << run.loads
            << ", \"served_ms\": " << plain(run.served_ms) << "}";
    }
    out << "\n  ]";
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
    out << "\n  ]";
    write_disks(out, r);
    write_server(out, r);
    out << "\n}\n";
}

} // namespace report
