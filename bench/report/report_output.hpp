// bench/report/report_output.hpp - the ways to show a run: terminal, Markdown, JSON, SVG.
#ifndef BENCH_REPORT_OUTPUT_HPP
#define BENCH_REPORT_OUTPUT_HPP
#include "bench/report/report_goals.hpp"
#include <ostream>

namespace report
{

// For a terminal: every cell with all backends, then the goals; with `details` also each cell of each goal.
void write_tables(std::ostream &out, const results &r, const std::vector<goal> &goals, bool details);

void write_disk_tables(std::ostream &out, const results &r); // part of it

// For the README: a few lines, beside the best peer and a floor.
void write_summary(std::ostream &out, const results &r, const std::vector<goal> &goals, const cell_id &size);
void write_redis_summary(std::ostream &out, const std::vector<goal> &goals);

// For docs/benchmarks.md: what was asked and measured, and the figures of one size side by side.
void write_markdown(std::ostream &out, const results &r, const std::vector<goal> &goals, const cell_id &size);
void write_disk_markdown(std::ostream &out, const results &r); // part of it

// What was measured over a server: part of the tables; and a section of its own of docs/benchmarks.md.
void write_redis_tables(std::ostream &out, const results &r);
void write_redis_markdown(std::ostream &out, const results &r, const std::vector<goal> &goals);

// Everything, for programs; the names are stable.
void write_json(std::ostream &out, const results &r, const std::vector<goal> &goals);

// A chart: strata, the floor and the peers, one size, zipf, hits and inserts with one and two threads.
void write_chart(std::ostream &out, const results &r, const cell_id &size);

// Another: puts and gets of stores on disk, the smaller and the larger values.
void write_disk_chart(std::ostream &out, const results &r);

// And one: gets over a server beside hiredis, and what a slow server costs.
void write_redis_chart(std::ostream &out, const results &r);

// The size to show where only one can be shown: measured on most backends; of those the largest.
cell_id choose_size(const results &r);

std::string machine_text(const results &r); // "AMD EPYC, 2 processors, Debian 12, 3 rounds on 2026-11-21"

} // namespace report
#endif // BENCH_REPORT_OUTPUT_HPP
