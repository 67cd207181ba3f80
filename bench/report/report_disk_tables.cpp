// bench/report/report_disk_tables.cpp - stores on disk side by side: for a terminal and for docs/benchmarks.md.
#include "bench/report/report_aligned.hpp"
#include "bench/report/report_output.hpp"

namespace report
{

namespace
{

std::string whole(const disk_series &s, double disk_sample::*field) { return number_text(median(s, field), 0); }

std::string some(const disk_series &s, double disk_sample::*field)
{
    double v = median(s, field);
    return v <= 0 ? "-" : number_text(v, v < 10 ? 2 : v < 100 ? 1 : 0);
}

std::string joined(const disk_series &s, std::initializer_list<double disk_sample::*> fields)
{
    std::string out;
    for (auto field : fields) {
        out += (out.empty() ? "" : " / ") + some(s, field);
    }
    return out;
}

// "files" with fewer entries than the others says so.
std::string label(const std::string &name, const disk_id &id, const disk_series &s)
{
    auto stored = (unsigned long)median(s, &disk_sample::stored);
    return stored == id.entries ? name : name + " (" + count_text(stored) + ")";
}

std::vector<row> rows_of(const disk_id &id, const disk_backends &cell, bool cold)
{
    std::map<std::string, double> weight;
    for (auto &b : cell) {
        weight[b.first] = -median(b.second, &disk_sample::puts_s);
    }
    std::vector<row> rows = { { "", "puts/s", "put us p50 / p99 / p99.9", "gets/s", "get us p50 / p99", "overwrites/s",
                                "close ms", "reopen ms", "after kill -9 ms" } };
    if (cold) {
        rows[0].push_back("cold ms");
    }
    rows[0].insert(rows[0].end(), { "disk B/entry", "RSS MB" });
    for (auto &name : order(weight)) {
        const disk_series &s = cell.at(name);
        row line = { label(name, id, s),
                     whole(s, &disk_sample::puts_s),
                     joined(s, { &disk_sample::put_p50, &disk_sample::put_p99, &disk_sample::put_p999 }),
                     whole(s, &disk_sample::gets_s),
                     joined(s, { &disk_sample::get_p50, &disk_sample::get_p99 }),
                     whole(s, &disk_sample::overwrites_s),
                     some(s, &disk_sample::close_ms),
                     some(s, &disk_sample::reopen_ms),
                     some(s, &disk_sample::kill_ms) };
        if (cold) {
            line.push_back(some(s, &disk_sample::cold_ms));
        }
        line.push_back(whole(s, &disk_sample::disk_bytes));
        line.push_back(number_text(median(s, &disk_sample::resident) / 1e6, 0));
        rows.push_back(line);
    }
    return rows;
}

} // namespace

void write_disk_tables(std::ostream &out, const results &r)
{
    for (auto &d : r.disks) {
        out << "\nOn disk, hot page cache, 1 thread: " << d.first.text() << "\n\n";
        write_aligned(out, rows_of(d.first, d.second, true));
    }
    if (!r.above.empty()) {
        out << "\nHit in memory alone " << number_text(median(r.above, &above_sample::alone_ns), 1)
            << " ns (99th percentile " << number_text(median(r.above, &above_sample::alone_p99), 0)
            << "); above a disk of 100 ms a read, 64 waiting "
            << number_text(median(r.above, &above_sample::slow_ns), 1) << " ns ("
            << number_text(median(r.above, &above_sample::slow_p99), 0) << ")\n";
    }
}

void write_disk_markdown(std::ostream &out, const results &r)
{
    for (auto &d : r.disks) {
        out << "\nOn disk, " << d.first.text() << ", hot page cache, 1 thread:\n\n";
        bool head = true;
        for (auto &line : rows_of(d.first, d.second, false)) {
            for (auto &field : line) {
                out << "| " << field << " ";
            }
            out << "|\n";
            for (size_t i = 0; head && i < line.size(); i++) {
                out << "|---" << (i + 1 == line.size() ? "|\n" : "");
            }
            head = false;
        }
    }
}

} // namespace report
