// bench/report/report_disk_goals.cpp - the goals of the disk layer.
#include "bench/report/report_goals.hpp"

namespace report
{

namespace
{

const char *const OURS = "strata";

bool is_large(const disk_id &id) { return id.value_bytes >= 16384; }

void add(goal &g, const std::string &where, double measured, double low, double high, double limit,
         const std::string &note = "")
{
    check c;
    c.where = where;
    c.measured = measured;
    c.low = low;
    c.high = high;
    c.limit = limit;
    c.met = g.more_is_better ? measured >= limit : measured <= limit;
    c.note = note;
    g.checks.push_back(c);
}

void add_ratio(goal &g, const disk_id &id, const disk_backends &cell, const std::string &ours,
               const std::string &theirs, double disk_sample::*field, double limit, const std::string &what = "")
{
    ratio r = ratio_of(cell, ours, theirs, field);
    if (r.known) {
        add(g, id.text() + (what.empty() ? "" : ", " + what), r.value, r.low, r.high, limit, "against " + theirs);
    }
}

goal more(const char *id, const char *title, const char *asked)
{
    goal g = make_goal(id, title, asked, " x");
    g.more_is_better = true;
    return g;
}

goal puts(const results &r)
{
    goal g = more("disk_puts", "Disk, first-time puts a second, of the bare log's", "at least 0.5 x (16 KB: 0.7 x)");
    for (auto &d : r.disks) {
        add_ratio(g, d.first, d.second, OURS, "log_pread", &disk_sample::puts_s, is_large(d.first) ? 0.7 : 0.5);
    }
    return g;
}

goal gets(const results &r)
{
    goal g = more("disk_gets", "Disk, gets a second, hot page cache, of the bare log's", "at least 0.85 x");
    for (auto &d : r.disks) {
        add_ratio(g, d.first, d.second, OURS, "log_pread", &disk_sample::gets_s, 0.85);
    }
    return g;
}

// What a get's duties cost on this machine, whoever does them: that much of a ratio to log_pread no library can save.
goal duties(const results &r, const char *id, const char *title, const char *backend, const char *floor)
{
    goal g = more(id, title, (std::string("no limit of its own; of ") + floor + "'s").c_str());
    g.judged = false;
    for (auto &d : r.disks) {
        add_ratio(g, d.first, d.second, backend, floor, &disk_sample::gets_s, 0.85);
    }
    return g;
}

goal put_p999(const results &r)
{
    goal g = make_goal("disk_put_p999", "Disk, 1 KB puts, 99.9th percentile, of the bare log's", "at most 2.5 x", " x");
    for (auto &d : r.disks) {
        if (!is_large(d.first)) {
            add_ratio(g, d.first, d.second, OURS, "log_pread", &disk_sample::put_p999, 2.5);
        }
    }
    return g;
}

goal puts_of_lmdb(const results &r)
{
    goal g = more("disk_puts_lmdb", "Disk, 1 KB puts a second, of the best LMDB variant's", "at least 2.5 x");
    for (auto &d : r.disks) {
        std::string best;
        for (auto &b : d.second) {
            bool better = best.empty() ||
                          median(b.second, &disk_sample::puts_s) > median(d.second.at(best), &disk_sample::puts_s);
            if (b.first.compare(0, 4, "lmdb") == 0 && better) {
                best = b.first;
            }
        }
        if (!best.empty() && !is_large(d.first)) {
            add_ratio(g, d.first, d.second, OURS, best, &disk_sample::puts_s, 2.5);
        }
    }
    return g;
}

goal ahead(const results &r)
{
    goal g = more("disk_ahead", "Disk, puts, gets and overwrites, against RocksDB and a file a key", "above 1.0 x");
    const struct {
        const char *what;
        double disk_sample::*field;
    } kinds[] = { { "puts", &disk_sample::puts_s },
                  { "gets", &disk_sample::gets_s },
                  { "overwrites", &disk_sample::overwrites_s } };
    for (auto &d : r.disks) {
        for (auto &kind : kinds) {
            for (const char *peer : { "rocksdb_fifo", "rocksdb", "files" }) {
                add_ratio(g, d.first, d.second, OURS, peer, kind.field, 1.0, kind.what);
            }
        }
    }
    return g;
}

// Of a million entries, which the promise is about; 0 was not measured.
goal reopen(const results &r, const char *id, const char *title, const char *asked, double disk_sample::*field,
            double limit, bool judged)
{
    goal g = make_goal(id, title, asked, " ms");
    g.digits = 1;
    g.judged = judged;
    for (auto &d : r.disks) {
        auto ours = d.second.find(OURS);
        if (d.first.entries < 1000000 || ours == d.second.end() || median(ours->second, field) <= 0) {
            continue;
        }
        double low = 1e300, high = 0;
        for (auto &s : ours->second) {
            low = s.*field < low ? s.*field : low;
            high = s.*field > high ? s.*field : high;
        }
        add(g, d.first.text(), median(ours->second, field), low, high, limit);
    }
    return g;
}

goal kept(const results &r)
{
    goal g = more("disk_kept", "Disk, share of entries there after kill -9", "at least 0.9999");
    g.unit = "";
    g.digits = 4;
    for (auto &d : r.disks) {
        for (auto &b : d.second) {
            if (is_ours(b.first)) {
                double share = median(b.second, &disk_sample::kept);
                add(g, d.first.text(), share, share, share, 0.9999, b.first);
            }
        }
    }
    return g;
}

goal room(const results &r)
{
    goal g = make_goal("disk_bytes", "Disk, bytes over those of keys and values, a tenth overwritten", "", " x");
    g.judged = false;
    for (auto &d : r.disks) {
        auto ours = d.second.find(OURS);
        if (ours != d.second.end()) {
            double times = median(ours->second, &disk_sample::disk_bytes) / ((double)d.first.value_bytes + 20);
            add(g, d.first.text(), times, times, times, 1.2);
        }
    }
    return g;
}

goal through_layer(const results &r, const char *id, const char *title, double disk_sample::*field)
{
    goal g = more(id, title, "");
    g.judged = false;
    for (auto &d : r.disks) {
        add_ratio(g, d.first, d.second, "strata_layer", "log_pread", field, 1.0);
    }
    return g;
}

goal memory_above(const results &r)
{
    goal g = make_goal("above_slow_disk", "Hit in memory above a disk of 100 ms a read, of memory alone",
                       "at most 1.1 x", " x");
    std::vector<double> times;
    for (auto &s : r.above) {
        times.push_back(s.slow_ns / s.alone_ns);
    }
    if (!times.empty()) {
        double middle = median(times), low = middle, high = middle;
        for (double t : times) {
            low = t < low ? t : low;
            high = t > high ? t : high;
        }
        add(g, number_text(median(r.above, &above_sample::alone_ns), 1) + " ns alone", middle, low, high, 1.1);
    }
    return g;
}

} // namespace

void add_disk_goals(const results &r, std::vector<goal> &goals)
{
    goals.push_back(puts(r));
    goals.push_back(puts_of_lmdb(r));
    goals.push_back(put_p999(r));
    goals.push_back(gets(r));
    goals.push_back(duties(r, "disk_get_duties", "log_duties, which does a disk get's duties and no more", "log_duties",
                           "log_pread"));
    goals.push_back(duties(r, "disk_gets_beside", "Disk, gets a second, beside log_duties", "strata", "log_duties"));
    goals.push_back(ahead(r));
    goals.push_back(reopen(r, "disk_reopen", "Disk, 1M entries: reopened after a clean close", "40 ms",
                           &disk_sample::reopen_ms, 40, true));
    goals.push_back(reopen(r, "disk_reopen_kill", "Disk, 1M entries: reopened after kill -9", "300 ms",
                           &disk_sample::kill_ms, 300, true));
    goals.push_back(reopen(r, "disk_reopen_cold", "the same after a clean close, cold page cache", "",
                           &disk_sample::cold_ms, 1, false));
    goals.push_back(kept(r));
    goals.push_back(room(r));
    goals.push_back(through_layer(
        r, "disk_layer_puts", "Disk layer without the cache above it: puts, of the bare log's", &disk_sample::puts_s));
    goals.push_back(through_layer(r, "disk_layer_gets", "the same: gets, of the bare log's", &disk_sample::gets_s));
    goals.push_back(memory_above(r));
}

} // namespace report
