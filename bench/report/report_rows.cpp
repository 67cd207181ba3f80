// bench/report/report_rows.cpp - reads rows of measurements; medians and ratios of them.
#include "bench/report/report_rows.hpp"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>
#include <sstream>
#include <tuple>

namespace report
{

bool cell_id::operator<(const cell_id &other) const
{
    auto rank = [](const std::string &name) { return name == "zipf99" ? 0 : name == "uniform" ? 1 : 2; };
    return std::make_tuple(mode, entries, value_bytes, rank(dist), threads) <
           std::make_tuple(other.mode, other.entries, other.value_bytes, rank(other.dist), other.threads);
}

std::string cell_id::size_text() const { return count_text(entries) + " x " + bytes_text(value_bytes); }

std::string cell_id::text() const
{
    std::string name = dist == "zipf99" ? "zipf" : dist == "hot" ? "one hot key" : dist;
    return size_text() + ", " + name + ", " + std::to_string(threads) + (threads == 1 ? " thread" : " threads");
}

const backends *results::find(const cell_id &id) const
{
    auto found = cells.find(id);
    return found == cells.end() ? nullptr : &found->second;
}

int results::rounds() const
{
    std::set<int> seen;
    for (auto &cell : cells) {
        for (auto &backend : cell.second) {
            for (auto &s : backend.second) {
                seen.insert(s.round);
            }
        }
    }
    return (int)seen.size();
}

static std::vector<std::string> split(const std::string &line)
{
    std::vector<std::string> fields;
    std::stringstream in(line);
    for (std::string field; std::getline(in, field, ',');) {
        fields.push_back(field);
    }
    return fields;
}

static void read_mem(results &out, const std::vector<std::string> &f)
{
    cell_id id;
    id.mode = f[4];
    id.entries = std::stoul(f[2]);
    id.value_bytes = std::stoul(f[3]);
    id.dist = f[5];
    id.threads = std::stoi(f[6]);
    sample s;
    s.ns = std::stod(f[8]);
    s.mops = std::stod(f[9]);
    s.p50 = std::stod(f[10]);
    s.p99 = std::stod(f[11]);
    s.hit_ratio = std::stod(f[12]);
    s.overhead = std::stod(f[13]);
    s.round = std::stoi(f[14]);
    out.cells[id][f[1]].push_back(s);
}

static void read_stampede(results &out, const std::vector<std::string> &f)
{
    stampede_run r;
    r.callers = std::stol(f[2]);
    r.loader_ms = std::stol(f[3]);
    r.loads = std::stol(f[5]);
    r.served_ms = std::stod(f[6]);
    out.stampedes.push_back(r);
}

results read_rows(std::istream &in)
{
    results out;
    for (std::string line; std::getline(in, line);) {
        auto f = split(line);
        try {
            if (f.size() == 15 && f[0] == "mem") {
                read_mem(out, f);
            } else if (f.size() == 7 && f[0] == "stampede") {
                read_stampede(out, f);
            } else if (f.size() >= 3 && f[0] == "meta") {
                out.facts[f[1]] = line.substr(f[0].size() + f[1].size() + 2);
            } else if (!line.empty()) {
                out.unread.push_back(line);
            }
        } catch (const std::exception &) { // a field that is no number
            out.unread.push_back(line);
        }
    }
    return out;
}

double median(std::vector<double> v)
{
    if (v.empty()) {
        return 0;
    }
    std::sort(v.begin(), v.end());
    size_t middle = v.size() / 2;
    return v.size() % 2 == 1 ? v[middle] : (v[middle - 1] + v[middle]) / 2;
}

double median(const series &s, double sample::*field)
{
    std::vector<double> values;
    for (auto &one : s) {
        values.push_back(one.*field);
    }
    return median(values);
}

static double median_of_round(const series &s, int round, double sample::*field)
{
    std::vector<double> values;
    for (auto &one : s) {
        if (one.round == round) {
            values.push_back(one.*field);
        }
    }
    return median(values);
}

ratio ratio_of(const backends &cell, const std::string &ours, const std::string &theirs, double sample::*field)
{
    ratio r;
    auto a = cell.find(ours), b = cell.find(theirs);
    if (a == cell.end() || b == cell.end()) {
        return r;
    }
    double below = median(b->second, field);
    if (below <= 0) {
        return r; // quicker than the clock can tell
    }
    r.known = true;
    r.value = r.low = r.high = median(a->second, field) / below;
    for (auto &s : b->second) {
        double x = median_of_round(a->second, s.round, field), y = median_of_round(b->second, s.round, field);
        if (x > 0 && y > 0) {
            r.low = std::min(r.low, x / y);
            r.high = std::max(r.high, x / y);
        }
    }
    return r;
}

bool is_floor(const std::string &backend)
{
    return backend == "flat_thp" || backend == "flat" || backend == "setassoc_1t";
}

bool is_ours(const std::string &backend) { return backend == "strata" || backend == "strata_gol"; }

bool is_peer(const std::string &backend) { return !is_floor(backend) && !is_ours(backend); }

std::string count_text(unsigned long n)
{
    if (n >= 1000000 && n % 100000 == 0) {
        return number_text((double)n / 1e6, n % 1000000 == 0 ? 0 : 1) + "M";
    }
    return n >= 1000 && n % 1000 == 0 ? std::to_string(n / 1000) + "k" : std::to_string(n);
}

std::string bytes_text(unsigned long n)
{
    return n >= 1024 && n % 1024 == 0 ? std::to_string(n / 1024) + " KB" : std::to_string(n) + " B";
}

std::string number_text(double v, int digits)
{
    char text[64];
    snprintf(text, sizeof text, "%.*f", digits, v);
    std::string out = text;
    size_t dot = out.find('.');
    size_t end = dot == std::string::npos ? out.size() : dot;
    for (size_t at = end; at > 3 && out[at - 4] != '-'; at -= 3) {
        out.insert(at - 3, ",");
    }
    return out;
}

} // namespace report
