// bench/report/report_redis_tables.cpp - what was measured over a server: for a terminal and for docs/benchmarks.md.
#include "bench/report/report_aligned.hpp"
#include "bench/report/report_output.hpp"

namespace report
{

namespace
{

// What a layered cache for Node.js, which strata is to replace, was seen to take for a cold miss while its Redis is delayed by 0,
// 100 and 500 ms, and is dead.  Given figures; its loader takes about 5 ms, as ours.
const std::vector<std::string> PREDECESSOR = { "12 ms", "504 ms", "2,506 ms", "2 s, then an error", "" };
const char *const STATES[] = { "0", "100", "500", "stopped", "open" };

std::string time_text(double us)
{
    if (us < 1) {
        return number_text(us * 1e3, 1) + " ns";
    }
    return us < 1000 ? number_text(us, 0) + " us" : number_text(us / 1e3, 1) + " ms";
}

row state_row(const results &r, const std::string &title, const std::string &kind)
{
    row line = { title };
    auto found = r.delays.find(kind);
    for (auto state : STATES) {
        bool there = found != r.delays.end() && found->second.count(state) != 0;
        line.push_back(there ? time_text(median(found->second.at(state), &delay_sample::us)) : "");
    }
    return line;
}

std::vector<row> delay_rows(const results &r)
{
    row predecessor = { "a predecessor: cold miss" };
    predecessor.insert(predecessor.end(), PREDECESSOR.begin(), PREDECESSOR.end());
    return { { "", "Redis as it is", "100 ms slower", "500 ms slower", "stopped", "breaker open" },
             state_row(r, "hit in memory", "memory_hit"),
             state_row(r, "hit in Redis", "redis_hit"),
             state_row(r, "cold miss, 5 ms loader", "cold_miss"),
             predecessor };
}

const struct {
    const char *name, *title;
} CELLS[] = {
    { "hiredis_1", "hiredis GET, 1 thread" },
    { "strata_1", "strata_get, 1 thread" },
    { "hiredis_64", "hiredis GET, 64 threads, 64 connections" },
    { "strata_64", "strata_get, 64 threads, 2 connections" },
    { "strata_async_64", "strata_get_async, 64 in flight" },
    { "hiredis_async_256", "hiredis async, 256 in flight, 1 connection" },
    { "strata_async_256", "strata_get_async, 256 in flight" },
    { "hiredis_mget_100", "hiredis MGET of 100" },
    { "strata_many_100", "strata_get_many of 100" },
};

std::vector<row> rate_rows(const results &r)
{
    std::vector<row> rows = { { "", "a second" } };
    for (auto &cell : CELLS) {
        auto found = r.redis.find(cell.name);
        if (found != r.redis.end()) {
            rows.push_back({ cell.title, number_text(median(found->second, &redis_sample::per_second), 0) });
        }
    }
    return rows;
}

void write_markdown_rows(std::ostream &out, const std::vector<row> &rows)
{
    bool head = true;
    for (auto &line : rows) {
        for (auto &field : line) {
            out << "| " << field << (field.empty() ? "" : " ");
        }
        out << "|\n";
        for (size_t i = 0; head && i < line.size(); i++) {
            out << "|---" << (i + 1 == line.size() ? "|\n" : "");
        }
        head = false;
    }
}

} // namespace

void write_redis_tables(std::ostream &out, const results &r)
{
    if (!r.redis.empty()) {
        out << "\nGets of 1 KB over a Redis on this machine\n\n";
        write_aligned(out, rate_rows(r));
    }
    if (!r.delays.empty()) {
        out << "\nMemory over Redis, soft timeout 50 ms, get_or_load; the predecessor's figures are given, not "
               "measured here\n\n";
        write_aligned(out, delay_rows(r));
    }
}

void write_redis_markdown(std::ostream &out, const results &r, const std::vector<goal> &goals)
{
    out << "![Gets over a Redis, and what a slow one costs](img/redis.svg)\n\n| | asked | measured | "
           "|\n|---|---|---|---|\n";
    for (auto &g : goals) {
        if (!g.checks.empty()) {
            out << "| " << g.title << " | " << g.asked << " | " << g.measured() << " | " << text_of(g.outcome())
                << " |\n";
        }
    }
    if (!r.delays.empty()) {
        out << "\nMemory over Redis, soft timeout 50 ms, median of a call:\n\n";
        write_markdown_rows(out, delay_rows(r));
        out << "\nThe last line is what a layered cache for Node.js took that strata is to replace: given figures, not "
               "measured "
               "here.\n";
    }
    auto version = r.facts.find("redis");
    out << "\n" << machine_text(r) << (version == r.facts.end() ? "" : ", " + version->second) << ".\n";
}

} // namespace report
