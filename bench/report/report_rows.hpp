// bench/report/report_rows.hpp - what the benchmarks printed, read back and ordered.
//
// Input is rows of CSV:
//     meta,KEY,TEXT
//     mem,...,ROUND         as mem_bench prints them, with the round appended by scripts/run_bench.sh
//     stampede,...          as stampede_bench prints them
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

struct results {
    std::map<cell_id, backends> cells;
    std::vector<stampede_run> stampedes;
    std::map<std::string, std::string> facts;
    std::vector<std::string> unread; // rows that are none of these

    const backends *find(const cell_id &id) const; // NULL where it was not measured
    int rounds() const;
};

// A quotient of two medians; low and high are the extremes of the rounds that have both.
struct ratio {
    bool known = false;
    double value = 0, low = 0, high = 0;
};

results read_rows(std::istream &in);
double median(std::vector<double> values);
double median(const series &s, double sample::*field);
ratio ratio_of(const backends &cell, const std::string &ours, const std::string &theirs, double sample::*field);

// Floors do no caching; strata and strata_gol are ours; all others are peers.
bool is_floor(const std::string &backend);
bool is_ours(const std::string &backend);
bool is_peer(const std::string &backend);

std::string count_text(unsigned long n);       // 4M, 100k
std::string bytes_text(unsigned long n);       // 1 KB, 100 B
std::string number_text(double v, int digits); // with thousands separators

} // namespace report
#endif // BENCH_REPORT_ROWS_HPP
