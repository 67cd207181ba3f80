// bench/report/report_goals.cpp - the goals, one function each; those of the disk and of servers have files of their own.
#include "bench/report/report_goals.hpp"
#include <algorithm>

namespace report
{

verdict goal::outcome() const
{
    if (checks.empty()) {
        return verdict::not_measured;
    }
    if (!judged) {
        return verdict::noted;
    }
    return met() == checks.size() ? verdict::met : verdict::missed;
}

size_t goal::met() const
{
    return (size_t)std::count_if(checks.begin(), checks.end(), [](const check &c) { return c.met; });
}

const check *goal::worst() const
{
    auto room = [this](const check &c) { return more_is_better ? c.measured / c.limit : c.limit / c.measured; };
    auto found = std::min_element(checks.begin(), checks.end(),
                                  [&](const check &a, const check &b) { return room(a) < room(b); });
    return found == checks.end() ? nullptr : &*found;
}

std::string goal::measured() const
{
    if (checks.empty()) {
        return "-";
    }
    double low = checks[0].measured, high = low;
    for (auto &c : checks) {
        low = std::min(low, c.measured);
        high = std::max(high, c.measured);
    }
    std::string a = number_text(low, digits), b = number_text(high, digits);
    return (a == b ? a : a + " to " + b) + unit;
}

const char *text_of(verdict v)
{
    switch (v) {
    case verdict::met: return "met";
    case verdict::missed: return "missed";
    case verdict::noted: return "noted";
    case verdict::not_measured: break;
    }
    return "not measured";
}

goal make_goal(const char *id, const char *title, const char *asked, const char *unit)
{
    goal g;
    g.id = id;
    g.title = title;
    g.asked = asked;
    g.unit = unit;
    return g;
}

static bool is_cell(const cell_id &id, const char *mode, int threads)
{
    return id.mode == mode && id.threads == threads && id.dist != "hot";
}

static void add_ratio(goal &g, const cell_id &id, const ratio &r, double limit, const std::string &note = "")
{
    if (!r.known) {
        return;
    }
    check c;
    c.where = id.text();
    c.measured = r.value;
    c.low = r.low;
    c.high = r.high;
    c.limit = limit;
    c.met = r.value <= limit;
    c.note = note;
    g.checks.push_back(c);
}

static goal hit_time(const results &r, const char *id, const char *title, int threads, const char *backend = "strata")
{
    goal g = make_goal(id, title, "at most 1.6 x flat_thp", " x");
    for (auto &cell : r.cells) {
        if (is_cell(cell.first, "fit", threads)) {
            add_ratio(g, cell.first, ratio_of(cell.second, backend, "flat_thp", &sample::ns), 1.6);
        }
    }
    return g;
}

// What a hit's duties cost on this machine, whoever does them: that much of a ratio to flat_thp no cache can save.
static goal duties_time(const results &r, const char *id, const char *title, const char *backend, const char *floor)
{
    goal g = make_goal(id, title, (std::string("no limit of its own; times ") + floor).c_str(), " x");
    g.judged = false;
    for (auto &cell : r.cells) {
        if (cell.first.mode == "fit" && cell.first.dist != "hot") {
            add_ratio(g, cell.first, ratio_of(cell.second, backend, floor, &sample::ns), 1.6);
        }
    }
    return g;
}

static goal hit_p99(const results &r)
{
    goal g = make_goal("hit_1t_p99", "Hit, 1 thread, 99th percentile", "at most 1.5 x flat_thp", " x");
    for (auto &cell : r.cells) {
        if (is_cell(cell.first, "fit", 1)) {
            add_ratio(g, cell.first, ratio_of(cell.second, "strata", "flat_thp", &sample::p99), 1.5);
        }
    }
    return g;
}

// One hit that nothing before or after it overlaps with: what who waits for one value sees.
static goal hit_alone(const results &r)
{
    goal g = make_goal("hit_p50", "Hit, timed by itself, median", "no limit of its own; times flat_thp", " x");
    g.judged = false;
    for (auto &cell : r.cells) {
        if (cell.first.mode == "fit" && cell.first.dist != "hot") {
            add_ratio(g, cell.first, ratio_of(cell.second, "strata", "flat_thp", &sample::p50), 1.6);
        }
    }
    return g;
}

static goal hot_key(const results &r)
{
    goal g = make_goal("hot_key_2t", "One hot key, 2 threads over 1, throughput", "at least 1.5 x", " x");
    g.more_is_better = true;
    for (auto &cell : r.cells) {
        if (cell.first.mode != "fit" || cell.first.dist != "hot" || cell.first.threads != 2) {
            continue;
        }
        cell_id alone = cell.first;
        alone.threads = 1;
        const backends *one = r.find(alone);
        if (one == nullptr || one->count("strata") == 0 || cell.second.count("strata") == 0) {
            continue;
        }
        check c;
        c.where = cell.first.size_text();
        c.limit = 1.5;
        c.measured = median(cell.second.at("strata"), &sample::mops) / median(one->at("strata"), &sample::mops);
        c.low = c.high = c.measured;
        c.met = c.measured >= c.limit;
        g.checks.push_back(c);
    }
    return g;
}

// The check of a cell is strata's time over that of its fastest peer there.
static void add_fastest_peer(goal &g, const cell_id &id, const backends &cell)
{
    std::string fastest;
    for (auto &b : cell) {
        if (is_peer(b.first) &&
            (fastest.empty() || median(b.second, &sample::ns) < median(cell.at(fastest), &sample::ns))) {
            fastest = b.first;
        }
    }
    if (!fastest.empty()) {
        add_ratio(g, id, ratio_of(cell, "strata", fastest, &sample::ns), 1.0, "against " + fastest);
    }
}

static goal ahead_in_hits(const results &r)
{
    goal g = make_goal("hit_ahead", "Hit, against the fastest peer of each cell", "below 1.0 x", " x");
    for (auto &cell : r.cells) {
        if (is_cell(cell.first, "fit", 1) || is_cell(cell.first, "fit", 2)) {
            add_fastest_peer(g, cell.first, cell.second);
        }
    }
    return g;
}

static goal ahead_in_inserts(const results &r)
{
    goal g = make_goal("insert_ahead", "Get-or-insert, zipf, against the fastest peer of each cell", "below 1.0 x",
                       " x");
    for (auto &cell : r.cells) {
        if (cell.first.mode == "miss" && cell.first.dist == "zipf99") {
            add_fastest_peer(g, cell.first, cell.second);
        }
    }
    return g;
}

static goal insert_time(const results &r, const char *id, const char *title, const char *backend, bool judged)
{
    goal g = make_goal(id, title, "at most 3.5 x setassoc_1t (2.5 x at 4M x 1 KB)", " x");
    g.judged = judged;
    if (!judged) {
        g.asked = "no limit of its own; times setassoc_1t";
    }
    for (auto &cell : r.cells) {
        if (cell.first.mode != "miss" || cell.first.dist != "zipf99" || cell.first.threads != 1) {
            continue;
        }
        bool large = cell.first.entries >= 4000000 && cell.first.value_bytes >= 1024;
        add_ratio(g, cell.first, ratio_of(cell.second, backend, "setassoc_1t", &sample::ns), large ? 2.5 : 3.5);
    }
    return g;
}

static goal hit_ratio(const results &r)
{
    goal g = make_goal("hit_ratio", "Hit ratio at a tenth of the entries, zipf", "at least 0.775 (100k), 0.824 (4M)",
                       "");
    g.more_is_better = true;
    g.digits = 4;
    for (auto &cell : r.cells) {
        bool known_size = cell.first.entries == 100000 || cell.first.entries == 4000000;
        if (cell.first.mode != "miss" || cell.first.dist != "zipf99" || cell.first.threads != 1 || !known_size ||
            cell.second.count("strata") == 0) {
            continue;
        }
        check c;
        c.where = cell.first.size_text();
        c.measured = c.low = c.high = median(cell.second.at("strata"), &sample::hit_ratio);
        c.limit = cell.first.entries == 100000 ? 0.775 : 0.824;
        c.met = c.measured >= c.limit;
        g.checks.push_back(c);
    }
    return g;
}

static goal overhead(const results &r)
{
    goal g = make_goal("overhead", "Memory an entry takes beyond key and value, 4M entries",
                       "at most 56 B, better 40 B", " B");
    g.digits = 1;
    for (auto &cell : r.cells) {
        if (!is_cell(cell.first, "fit", 1) || cell.first.dist != "zipf99" || cell.first.entries < 4000000 ||
            cell.second.count("strata") == 0) {
            continue;
        }
        check c;
        c.where = cell.first.size_text();
        c.measured = c.low = c.high = median(cell.second.at("strata"), &sample::overhead);
        c.limit = 56;
        c.met = c.measured <= c.limit;
        c.note = c.measured <= 40 ? "within 40 B, too" : "";
        g.checks.push_back(c);
    }
    return g;
}

static void stampede(const results &r, std::vector<goal> &goals)
{
    goal loads = make_goal("stampede_loads", "Stampede, 10,000 callers on one cold key: loads", "1", "");
    goal served = make_goal("stampede_ms", "Stampede, 50 ms loader: everyone served within", "60 ms", " ms");
    loads.digits = 0;
    served.digits = 1;
    std::vector<double> ms;
    check l, s;
    l.limit = 1;
    s.limit = 60;
    for (auto &run : r.stampedes) {
        ms.push_back(run.served_ms);
        l.measured = std::max(l.measured, (double)run.loads);
        l.where = s.where = number_text((double)run.callers, 0) + " callers, " + std::to_string(run.loader_ms) +
                            " ms loader";
    }
    if (!ms.empty()) {
        l.low = l.high = l.measured;
        l.met = l.measured <= 1;
        s.measured = median(ms);
        s.low = *std::min_element(ms.begin(), ms.end());
        s.high = *std::max_element(ms.begin(), ms.end());
        s.met = s.measured <= s.limit;
        loads.checks.push_back(l);
        served.checks.push_back(s);
    }
    goals.push_back(loads);
    goals.push_back(served);
}

static std::vector<goal> memory_goals(const results &r)
{
    std::vector<goal> goals = {
        hit_time(r, "hit_1t", "Hit, 1 thread", 1),
        hit_p99(r),
        hit_alone(r),
        hit_time(r, "hit_2t", "Hit, 2 threads", 2),
        hit_time(r, "hit_many_1t", "Hit, 16 keys a call, 1 thread, per key", 1, "strata_many"),
        hit_time(r, "hit_many_2t", "Hit, 16 keys a call, 2 threads, per key", 2, "strata_many"),
        duties_time(r, "many_floor", "flat_thp_batch16: flat_thp asked for 16 keys at once, per key",
                    "flat_thp_batch16", "flat_thp"),
        duties_time(r, "duties", "flat_duties, which does a hit's duties and no more", "flat_duties", "flat_thp"),
        duties_time(r, "hit_duties", "Hit, beside flat_duties", "strata", "flat_duties"),
        hot_key(r),
        ahead_in_hits(r),
        insert_time(r, "insert_1t", "Get-or-insert at a tenth of the entries, zipf, 1 thread", "strata", true),
        insert_time(r, "get_or_load_1t", "the same by one get_or_load, beside it", "strata_gol", false),
        ahead_in_inserts(r),
        hit_ratio(r),
        overhead(r),
    };
    stampede(r, goals);
    return goals;
}

// A part that was not measured at all is not spoken of.
std::vector<goal> evaluate(const results &r)
{
    std::vector<goal> goals;
    if (!r.cells.empty() || !r.stampedes.empty()) {
        goals = memory_goals(r);
    }
    if (!r.disks.empty() || !r.above.empty()) {
        add_disk_goals(r, goals);
    }
    if (r.over_a_server()) {
        add_redis_goals(r, goals);
    }
    return goals;
}

} // namespace report
