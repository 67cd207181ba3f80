// bench/report/report_tables.cpp - tables for people: on a terminal and in docs/benchmarks.md.
#include "bench/report/report_aligned.hpp"
#include "bench/report/report_output.hpp"
#include <algorithm>
#include <iomanip>
#include <set>

namespace report
{

void write_aligned(std::ostream &out, const std::vector<row> &rows, const std::set<size_t> &left)
{
    std::vector<size_t> width;
    for (auto &r : rows) {
        width.resize(std::max(width.size(), r.size()));
        for (size_t i = 0; i < r.size(); i++) {
            width[i] = std::max(width[i], r[i].size());
        }
    }
    for (auto &r : rows) {
        out << "  ";
        for (size_t i = 0; i < r.size(); i++) {
            bool flush_left = left.count(i) != 0, last = i + 1 == r.size();
            out << (flush_left ? std::left : std::right) << std::setw(last && flush_left ? 0 : (int)width[i]) << r[i]
                << (last ? "" : "  ");
        }
        out << "\n";
    }
    out << std::left;
}

std::vector<std::string> order(const std::map<std::string, double> &weight)
{
    std::vector<std::string> names;
    for (auto &w : weight) {
        names.push_back(w.first);
    }
    auto group = [](const std::string &n) { return n == "strata" ? 0 : is_ours(n) ? 1 : is_floor(n) ? 2 : 3; };
    std::sort(names.begin(), names.end(), [&](const std::string &a, const std::string &b) {
        return std::make_pair(group(a), weight.at(a)) < std::make_pair(group(b), weight.at(b));
    });
    return names;
}

namespace
{

// "23 (210)": ns an operation, and the 99th percentile of those timed one by one.
std::string time_text(const std::string &backend, const series &s)
{
    double ns = median(s, &sample::ns);
    return number_text(ns, ns < 100 ? 1 : 0) + " (" + number_text(median(s, &sample::p99), 0) +
           (asks_for_many(backend) ? " a call)" : ")");
}

struct column {
    std::string dist;
    int threads;
    std::string title;
};
const column COLUMNS[] = {
    { "zipf99", 1, "zipf 1T" },     { "zipf99", 2, "zipf 2T" }, { "uniform", 1, "uniform 1T" },
    { "uniform", 2, "uniform 2T" }, { "hot", 1, "hot 1T" },     { "hot", 2, "hot 2T" },
};

cell_id at(const cell_id &size, const std::string &mode, const column &c)
{
    cell_id id = size;
    id.mode = mode;
    id.dist = c.dist;
    id.threads = c.threads;
    return id;
}

void write_size(std::ostream &out, const results &r, const cell_id &size)
{
    bool miss = size.mode == "miss";
    std::map<std::string, double> weight;
    row head = { "ns/op (p99)" };
    std::vector<const backends *> cells;
    for (auto &c : COLUMNS) {
        const backends *cell = r.find(at(size, size.mode, c));
        if (cell == nullptr) {
            continue;
        }
        head.push_back(c.title);
        cells.push_back(cell);
        for (auto &b : *cell) {
            weight.emplace(b.first, median(b.second, &sample::ns));
        }
    }
    head.push_back(miss ? "hit ratio, zipf" : "B/entry");
    std::vector<row> rows = { head };
    for (auto &name : order(weight)) {
        row line = { name };
        std::string last = "-";
        for (auto cell : cells) {
            auto found = cell->find(name);
            line.push_back(found == cell->end() ? "-" : time_text(name, found->second));
            if (found != cell->end() && last == "-") {
                last = miss ? number_text(median(found->second, &sample::hit_ratio), 4)
                            : number_text(median(found->second, &sample::overhead), 1);
            }
        }
        line.push_back(last);
        rows.push_back(line);
    }
    out << "\n"
        << (miss ? "Get-or-insert, room for a tenth: " : "Hits, everything fits: ") << size.size_text() << "\n\n";
    write_aligned(out, rows);
}

std::string range_text(const goal &g, const check &c)
{
    if (c.low == c.high) {
        return "";
    }
    return "(" + number_text(c.low, g.digits) + " to " + number_text(c.high, g.digits) + ")";
}

std::string cells_text(const goal &g) { return std::to_string(g.met()) + " of " + std::to_string(g.checks.size()); }

void write_details(std::ostream &out, const std::vector<goal> &goals)
{
    for (auto &g : goals) {
        if (g.checks.empty()) {
            continue;
        }
        out << "\n" << g.title << " - " << g.asked << "\n\n";
        std::vector<row> rows;
        for (auto &c : g.checks) {
            rows.push_back({ c.where, number_text(c.measured, g.digits) + g.unit, range_text(g, c),
                             !g.judged ? ""
                             : c.met   ? "met"
                                       : "MISSED",
                             c.note });
        }
        write_aligned(out, rows, { 0, 3, 4 });
    }
}

void write_warnings(std::ostream &out, const results &r)
{
    for (auto &line : r.unread) {
        out << "\nwarning: not understood, left out: " << line << "\n";
    }
    for (auto &cell : r.cells) {
        for (auto &b : cell.second) {
            if (cell.first.mode == "fit" && median(b.second, &sample::hit_ratio) < 0.9999) {
                out << "\nwarning: " << b.first << " did not keep everything where everything should fit ("
                    << cell.first.text() << "): its figures there are not comparable\n";
            }
        }
    }
    if (r.rounds() < 3) {
        out << "\nwarning: fewer than 3 rounds; ratios may be off by a fifth\n";
    }
}

void write_markdown_size(std::ostream &out, const results &r, const cell_id &size)
{
    const char *const modes[] = { "fit", "miss" };
    std::map<std::string, double> weight;
    for (auto mode : modes) {
        const backends *cell = r.find(at(size, mode, COLUMNS[0]));
        if (cell != nullptr) {
            for (auto &b : *cell) {
                weight.emplace(b.first, median(b.second, &sample::ns));
            }
        }
    }
    out << "\n"
        << size.size_text() << ", zipf 0.99, ns an operation and thread (99th percentile):\n\n"
        << "| | hit, 1 thread | hit, 2 threads | get-or-insert, 1 thread | 2 threads | bytes an entry |\n"
        << "|---|---|---|---|---|---|\n";
    for (auto &name : order(weight)) {
        out << "| " << name << " |";
        std::string bytes = "-";
        for (auto mode : modes) {
            for (int threads = 1; threads <= 2; threads++) {
                const backends *cell = r.find(at(size, mode, COLUMNS[threads - 1]));
                bool there = cell != nullptr && cell->count(name) != 0;
                out << " " << (there ? time_text(name, cell->at(name)) : "-") << " |";
                if (there && cell->at(name)[0].overhead > 0) {
                    bytes = number_text(median(cell->at(name), &sample::overhead), 0);
                }
            }
        }
        out << " " << bytes << " |\n";
    }
}

} // namespace

std::string machine_text(const results &r)
{
    auto fact = [&](const char *key, const char *unknown) {
        auto found = r.facts.find(key);
        return found == r.facts.end() ? std::string(unknown) : found->second;
    };
    return fact("cpu", "unknown processor") + ", " + fact("processors", "?") + " processors, " + fact("system", "?") +
           ", " + std::to_string(r.rounds()) + (r.rounds() == 1 ? " round" : " rounds") + " on " + fact("date", "?");
}

void write_tables(std::ostream &out, const results &r, const std::vector<goal> &goals, bool details)
{
    std::set<std::string> seen;
    for (auto &cell : r.cells) {
        if (seen.insert(cell.first.mode + cell.first.size_text()).second) {
            write_size(out, r, cell.first);
        }
    }
    write_disk_tables(out, r);
    write_redis_tables(out, r);
    if (details) {
        write_details(out, goals);
    }
    out << "\nGoals (ratios of medians over the same rounds)\n\n";
    std::vector<row> rows = { { "", "cells", "measured", "", "asked" } };
    for (auto &g : goals) {
        rows.push_back({ g.title, g.checks.empty() || !g.judged ? "" : cells_text(g), g.measured(),
                         text_of(g.outcome()), g.asked });
    }
    write_aligned(out, rows, { 0, 3, 4 });
    out << "\n" << machine_text(r) << "\n";
    write_warnings(out, r);
}

void write_markdown(std::ostream &out, const results &r, const std::vector<goal> &goals, const cell_id &size)
{
    out << "| | asked | measured | cells |\n|---|---|---|---|\n";
    for (auto &g : goals) {
        if (g.checks.empty()) {
            continue;
        }
        std::string state = text_of(g.outcome());
        if (g.judged && g.checks.size() > 1) {
            state += ", " + cells_text(g);
        }
        out << "| " << g.title << " | " << (g.judged ? g.asked : "") << " | " << g.measured() << " | " << state
            << " |\n";
    }

    if (!r.cells.empty()) {
        write_markdown_size(out, r, size);
    }
    write_disk_markdown(out, r);
    out << "\n" << machine_text(r) << ".\n";
}

cell_id choose_size(const results &r)
{
    cell_id best;
    size_t most = 0;
    for (auto &cell : r.cells) {
        if (cell.first.dist == "zipf99" && cell.second.size() >= most) {
            most = cell.second.size();
            best = cell.first;
        }
    }
    return best;
}

} // namespace report
