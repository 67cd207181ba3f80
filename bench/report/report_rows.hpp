// bench/report/report_rows.hpp - what the benchmarks printed, read back and ordered.
//
// Input is rows of CSV:
//     meta,KEY,TEXT
//     mem,...,ROUND         as mem_bench prints them, with the round appended by scripts/run_bench.sh
//     stampede,...          as stampede_bench prints them
//     disk,...,ROUND and above,...,ROUND   as disk_bench prints them, likewise
//     redis,..., delay,... and fleet,...   as redis_bench, delay_bench and fleet_bench print them
// The machine drifts while it measures, so no number is good for much on its own: what counts is the ratio of two
// medians over the same, interleaved rounds.
#ifndef BENCH_REPORT_ROWS_HPP
#define BENCH_REPORT_ROWS_HPP
#include <istream>
#include <map>
#include <string>
#include <vector>

namespace report
{

// One kind of load on one size of data.
struct cell_id {
    std::string mode; // fit, miss
    unsigned long entries = 0, value_bytes = 0;
    std::string dist; // zipf99, uniform, hot
    int threads = 0;
    bool operator<(const cell_id &other) const;
    std::string size_text() const; // "4M x 1 KB"
    std::string text() const;      // "4M x 1 KB, zipf, 2 threads"
};

struct sample {
    int round = 0;
    double ns = 0, mops = 0, p50 = 0, p99 = 0, hit_ratio = 0, overhead = 0;
};
typedef std::vector<sample> series;
typedef std::map<std::string, series> backends; // by name

struct stampede_run {
    long callers = 0, loader_ms = 0, loads = 0;
    double served_ms = 0;
};

// Stores on disk: one size, filled, read, closed, killed.
struct disk_id {
    unsigned long entries = 0, value_bytes = 0;
    bool operator<(const disk_id &other) const;
    std::string text() const; // "200k x 1 KB"
};

struct disk_sample {
    int round = 0;
    double stored = 0; // entries: fewer than asked for where a backend would take minutes
    double puts_s = 0, put_p50 = 0, put_p99 = 0, put_p999 = 0, gets_s = 0, get_p50 = 0, get_p99 = 0; // us
    double overwrites_s = 0, close_ms = 0, reopen_ms = 0, kill_ms = 0, cold_ms = 0;                  // 0: not measured
    double disk_bytes = 0, resident = 0, kept = 0;
};
typedef std::vector<disk_sample> disk_series;
typedef std::map<std::string, disk_series> disk_backends; // by name

// Hits in memory alone, and above a disk that is slow.
struct above_sample {
    int round = 0;
    double entries = 0, alone_ns = 0, alone_p99 = 0, slow_ns = 0, slow_p99 = 0, reads = 0;
};

// Gets over a server, by hiredis and by strata: how many a second.
struct redis_sample {
    int round = 0;
    double per_second = 0;
};
typedef std::map<std::string, std::vector<redis_sample>> redis_cells; // by name

// A call while the server is slow, stopped, or left alone.
struct delay_sample {
    int round = 0;
    double us = 0, beside_us = 0; // the loader's own; of a memory hit that of a cache that is left in peace, in turns
    double soft_timeout_ms = 0;
};
// By "memory_hit", "redis_hit", "cold_miss"; then by state: "0", "100", "500" ms of delay, "stopped", "open".
typedef std::map<std::string, std::map<std::string, std::vector<delay_sample>>> delay_table;

// Processes that share a server, and one cold key.
struct fleet_run {
    long processes = 0, callers = 0, loader_ms = 0, loads = 0;
    double served_ms = 0;
    int round = 0;
};

struct results {
    std::map<cell_id, backends> cells;
    std::vector<stampede_run> stampedes;
    std::map<disk_id, disk_backends> disks;
    std::vector<above_sample> above;
    redis_cells redis;
    delay_table delays;
    std::vector<fleet_run> fleets;
    std::map<std::string, std::string> facts;
    std::vector<std::string> unread; // rows that are none of these

    const backends *find(const cell_id &id) const; // NULL where it was not measured
    int rounds() const;
    bool over_a_server() const; // measured with one
};

// A quotient of two medians; low and high are the extremes of the rounds that have both.
struct ratio {
    bool known = false;
    double value = 0, low = 0, high = 0;
};

results read_rows(std::istream &in);
double median(std::vector<double> values);

template <class Sample> double median(const std::vector<Sample> &s, double Sample::*field)
{
    std::vector<double> values;
    for (auto &one : s) {
        values.push_back(one.*field);
    }
    return median(values);
}

template <class Sample> double median_of_round(const std::vector<Sample> &s, int round, double Sample::*field)
{
    std::vector<double> values;
    for (auto &one : s) {
        if (one.round == round) {
            values.push_back(one.*field);
        }
    }
    return median(values);
}

template <class Sample>
ratio ratio_of(const std::map<std::string, std::vector<Sample>> &cell, const std::string &ours,
               const std::string &theirs, double Sample::*field)
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
            r.low = r.low < x / y ? r.low : x / y;
            r.high = r.high > x / y ? r.high : x / y;
        }
    }
    return r;
}

// Floors do no caching; what begins with strata is ours; all others are peers.
bool is_floor(const std::string &backend);
bool is_ours(const std::string &backend);
bool is_peer(const std::string &backend);
// 16 keys a call: times are per key, but percentiles are of calls.
bool asks_for_many(const std::string &backend);

std::string count_text(unsigned long n);       // 4M, 100k
std::string bytes_text(unsigned long n);       // 1 KB, 100 B
std::string number_text(double v, int digits); // with thousands separators

} // namespace report
#endif // BENCH_REPORT_ROWS_HPP
