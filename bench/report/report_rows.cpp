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

bool disk_id::operator<(const disk_id &other) const
{
    return std::make_pair(value_bytes, entries) < std::make_pair(other.value_bytes, other.entries);
}

std::string disk_id::text() const { return count_text(entries) + " x " + bytes_text(value_bytes); }

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

bool results::over_a_server() const { return !redis.empty() || !delays.empty() || !fleets.empty(); }

int results::rounds() const
{
    std::set<int> seen;
    for (auto &cell : redis) {
        for (auto &s : cell.second) {
            seen.insert(s.round);
        }
    }
    for (auto &cell : cells) {
        for (auto &backend : cell.second) {
            for (auto &s : backend.second) {
                seen.insert(s.round);
            }
        }
    }
    for (auto &kind : delays) {
        for (auto &state : kind.second) {
            for (auto &s : state.second) {
                seen.insert(s.round);
            }
        }
    }
    for (auto &disk : disks) {
        for (auto &backend : disk.second) {
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

static void read_disk(results &out, const std::vector<std::string> &f)
{
    double disk_sample::*const fields[] = {
        &disk_sample::stored,       &disk_sample::puts_s,     &disk_sample::put_p50,   &disk_sample::put_p99,
        &disk_sample::put_p999,     &disk_sample::gets_s,     &disk_sample::get_p50,   &disk_sample::get_p99,
        &disk_sample::overwrites_s, &disk_sample::close_ms,   &disk_sample::reopen_ms, &disk_sample::kill_ms,
        &disk_sample::cold_ms,      &disk_sample::disk_bytes, &disk_sample::resident,  &disk_sample::kept,
    };
    disk_id id;
    id.entries = std::stoul(f[2]);
    id.value_bytes = std::stoul(f[3]);
    disk_sample s;
    size_t at = 4;
    for (auto field : fields) {
        s.*field = std::stod(f[at++]);
    }
    s.round = std::stoi(f[at]);
    out.disks[id][f[1]].push_back(s);
}

static void read_above(results &out, const std::vector<std::string> &f)
{
    above_sample s;
    s.entries = std::stod(f[1]);
    s.alone_ns = std::stod(f[2]);
    s.alone_p99 = std::stod(f[3]);
    s.slow_ns = std::stod(f[4]);
    s.slow_p99 = std::stod(f[5]);
    s.reads = std::stod(f[6]);
    s.round = std::stoi(f[7]);
    out.above.push_back(s);
}

static void read_delay(results &out, const std::vector<std::string> &f)
{
    delay_sample s;
    s.us = std::stod(f[3]);
    s.beside_us = std::stod(f[4]);
    s.soft_timeout_ms = std::stod(f[5]);
    s.round = std::stoi(f[6]);
    out.delays[f[2]][f[1]].push_back(s);
}

static void read_fleet(results &out, const std::vector<std::string> &f)
{
    fleet_run r;
    r.processes = std::stol(f[1]);
    r.callers = std::stol(f[2]);
    r.loader_ms = std::stol(f[3]);
    r.loads = std::stol(f[4]);
    r.served_ms = std::stod(f[5]);
    r.round = std::stoi(f[6]);
    out.fleets.push_back(r);
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
            } else if (f.size() == 21 && f[0] == "disk") {
                read_disk(out, f);
            } else if (f.size() == 8 && f[0] == "above") {
                read_above(out, f);
            } else if (f.size() == 4 && f[0] == "redis") {
                redis_sample s;
                s.per_second = std::stod(f[2]);
                s.round = std::stoi(f[3]);
                out.redis[f[1]].push_back(s);
            } else if (f.size() == 7 && f[0] == "delay") {
                read_delay(out, f);
            } else if (f.size() == 7 && f[0] == "fleet") {
                read_fleet(out, f);
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

bool is_floor(const std::string &backend)
{
    static const std::set<std::string> floors = { "flat_thp",    "flat_thp_batch16", "flat",     "flat_duties",
                                                  "setassoc_1t", "log_pread",        "log_mmap", "log_duties" };
    return floors.count(backend) != 0 || backend.compare(0, 7, "hiredis") == 0;
}

bool asks_for_many(const std::string &backend) { return backend == "strata_many" || backend == "flat_thp_batch16"; }

bool is_ours(const std::string &backend) { return backend.compare(0, 6, "strata") == 0; }

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
