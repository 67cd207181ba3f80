// bench/report/report_goals.hpp - what strata promises of its speed and memory, and whether a run kept it.
// The limits stand in report_goals.cpp, report_disk_goals.cpp and report_redis_goals.cpp, and nowhere else.
#ifndef BENCH_REPORT_GOALS_HPP
#define BENCH_REPORT_GOALS_HPP
#include "bench/report/report_rows.hpp"

namespace report
{

// One cell held against a goal.
struct check {
    std::string where; // which cell
    double measured = 0, limit = 0;
    double low = 0, high = 0; // over the rounds; equal to measured where that makes no sense
    bool met = false;
    std::string note; // "against rocksdb_hcc"
};

enum class verdict { met, missed, not_measured, noted };

struct goal {
    std::string id; // stable, for JSON
    std::string title;
    std::string asked; // "at most 1.6 x"
    std::string unit;  // after a number: " x", " B", " ms", ""
    int digits = 2;
    bool more_is_better = false, judged = true;
    std::vector<check> checks;

    verdict outcome() const;
    size_t met() const;
    const check *worst() const; // the check with the least room; NULL where there is none
    std::string measured() const;
};

const char *text_of(verdict v);
goal make_goal(const char *id, const char *title, const char *asked, const char *unit);
std::vector<goal> evaluate(const results &r);
void add_disk_goals(const results &r, std::vector<goal> &goals);  // part of it
void add_redis_goals(const results &r, std::vector<goal> &goals); // part of it
std::string delay_state_text(const std::string &state);           // "100 ms later", "stopped"

} // namespace report
#endif // BENCH_REPORT_GOALS_HPP
