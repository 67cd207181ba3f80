// bench/report/report_aligned.hpp - tables in plain text.
#ifndef BENCH_REPORT_ALIGNED_HPP
#define BENCH_REPORT_ALIGNED_HPP
#include "bench/report/report_rows.hpp"
#include <ostream>
#include <set>

namespace report
{

typedef std::vector<std::string> row;

// Columns as wide as they must be; those in `left` are flush left, the others flush right.
void write_aligned(std::ostream &out, const std::vector<row> &rows, const std::set<size_t> &left = { 0 });

// Names: ours first, then the floors, then the peers, each by growing weight.
std::vector<std::string> order(const std::map<std::string, double> &weight);

} // namespace report
#endif // BENCH_REPORT_ALIGNED_HPP
