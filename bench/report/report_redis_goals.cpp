// bench/report/report_redis_goals.cpp - the goals of the Redis layer: what it costs beside hiredis, what a server that is slow
// or stopped costs, and a stampede of processes.
#include "bench/report/report_goals.hpp"
#include <algorithm>

namespace report
{

namespace
{

void add(goal &g, const std::string &where, double measured, double low, double high, double limit)
{
    check c;
    c.where = where;
    c.measured = measured;
    c.low = low;
    c.high = high;
    c.limit = limit;
    c.met = g.more_is_better ? measured >= limit : measured <= limit;
    g.checks.push_back(c);
}

// Throughputs, of the same rounds.
goal beside(const results &r, const char *id, const char *title, const char *ours, const char *theirs, double limit)
{
    goal g = make_goal(id, title, ("at least " + number_text(limit, 1) + " x").c_str(), " x");
    g.more_is_better = true;
    ratio found = ratio_of(r.redis, ours, theirs, &redis_sample::per_second);
    if (found.known) {
        add(g, "", found.value, found.low, found.high, limit);
    }
    return g;
}

// Times: who is asked less often in a second takes longer.
goal time_beside(const results &r, const char *id, const char *title, const char *ours, const char *theirs, double limit)
{
    goal g = make_goal(id, title, ("at most " + number_text(limit, 2) + " x").c_str(), " x");
    ratio found = ratio_of(r.redis, theirs, ours, &redis_sample::per_second);
    if (found.known) {
        add(g, "", found.value, found.low, found.high, limit);
    }
    return g;
}

const std::vector<delay_sample> *find(const results &r, const char *kind, const char *state)
{
    auto of_kind = r.delays.find(kind);
    if (of_kind == r.delays.end()) {
        return nullptr;
    }
    auto found = of_kind->second.find(state);
    return found == of_kind->second.end() ? nullptr : &found->second;
}

// Against a cache that is left in peace, in turns.
goal hits_unchanged(const results &r)
{
    goal g = make_goal("redis_delay_hit", "Hit in memory while Redis is slow or stopped, of one in peace",
                       "at most 1.1 x", " x");
    for (const char *state : { "100", "500", "stopped", "open" }) {
        const auto *samples = find(r, "memory_hit", state);
        if (samples == nullptr) {
            continue;
        }
        std::vector<double> times;
        for (auto &s : *samples) {
            times.push_back(s.us / s.beside_us);
        }
        add(g, delay_state_text(state), median(times), *std::min_element(times.begin(), times.end()),
            *std::max_element(times.begin(), times.end()), 1.1);
    }
    return g;
}

// What a cold miss takes above its loader.
goal cold_miss(const results &r, const char *id, const char *title, const std::vector<const char *> &states,
               double limit_ms)
{
    goal g = make_goal(id, title, ("loader + " + number_text(limit_ms, 0) + " ms").c_str(), " ms");
    for (const char *state : states) {
        const auto *samples = find(r, "cold_miss", state);
        if (samples == nullptr) {
            continue;
        }
        std::vector<double> above;
        for (auto &s : *samples) {
            above.push_back((s.us - s.beside_us) / 1e3);
        }
        add(g, delay_state_text(state), median(above), *std::min_element(above.begin(), above.end()),
            *std::max_element(above.begin(), above.end()), limit_ms);
    }
    return g;
}

void fleet(const results &r, std::vector<goal> &goals)
{
    goal loads = make_goal("fleet_loads", "4 processes, 100 and 1,000 callers each on one cold key: loads in all", "1",
                           "");
    goal served = make_goal("fleet_ms", "the same, 50 ms loader: everyone served within", "50 + 50 ms", " ms");
    loads.digits = 0;
    served.digits = 1;
    std::map<long, std::vector<fleet_run>> by_callers;
    for (auto &run : r.fleets) {
        by_callers[run.callers].push_back(run);
    }
    for (auto &runs : by_callers) {
        std::string where = number_text((double)runs.first, 0) + " callers each";
        std::vector<double> ms, count;
        for (auto &run : runs.second) {
            ms.push_back(run.served_ms);
            count.push_back((double)run.loads);
        }
        // The worst run counts: one load is a promise, not a median.
        double most = *std::max_element(count.begin(), count.end());
        add(loads, where, most, *std::min_element(count.begin(), count.end()), most, 1);
        add(served, where, median(ms), *std::min_element(ms.begin(), ms.end()), *std::max_element(ms.begin(), ms.end()),
            100);
    }
    goals.push_back(loads);
    goals.push_back(served);
}

} // namespace

std::string delay_state_text(const std::string &state)
{
    return state == "stopped" ? "stopped" : state == "open" ? "breaker open" : state + " ms later";
}

void add_redis_goals(const results &r, std::vector<goal> &goals)
{
    goals.push_back(time_beside(r, "redis_get_1t", "Redis, blocking get, 1 thread: time, of hiredis' own", "strata_1",
                                "hiredis_1", 1.25));
    goals.push_back(beside(r, "redis_get_64t", "Redis, 64 blocking threads: throughput, of one blocking connection",
                           "strata_64", "hiredis_1", 3.0));
    goals.push_back(beside(r, "redis_get_64t_64c", "the same, of 64 connections", "strata_64", "hiredis_64", 1.6));
    goals.push_back(beside(r, "redis_async_64", "Redis, 64 in flight: throughput, of one blocking connection",
                           "strata_async_64", "hiredis_1", 10.0));
    goals.push_back(beside(r, "redis_async_256", "Redis, 256 in flight: throughput, of hiredis' asynchronous API",
                           "strata_async_256", "hiredis_async_256", 0.7));
    goals.push_back(time_beside(r, "redis_many", "Redis, 100 keys at once: time, of the bare MGET", "strata_many_100",
                                "hiredis_mget_100", 1.3));
    goals.push_back(hits_unchanged(r));
    goals.push_back(cold_miss(r, "redis_delay_miss", "Cold miss while Redis is slow or stopped, soft timeout 50 ms",
                              { "0", "100", "500", "stopped" }, 60));
    goals.push_back(cold_miss(r, "redis_open_miss", "the same once the breaker is open", { "open" }, 1));
    fleet(r, goals);
}

} // namespace report
