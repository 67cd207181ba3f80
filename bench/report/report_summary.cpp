// bench/report/report_summary.cpp - the few lines of a run that a newcomer wants to see first: for the README.
#include "bench/report/report_output.hpp"
#include <set>

namespace report
{

namespace
{

// "67.1 (tbb_hash_map)"
std::string named(double value, const std::string &name, int digits)
{
    return number_text(value, digits) + " (" + name + ")";
}

template <class Sample>
bool best_peer(const std::map<std::string, std::vector<Sample>> &cell, double Sample::*field, bool more_is_better,
               double &value, std::string &name)
{
    name.clear();
    for (auto &b : cell) {
        double v = is_peer(b.first) ? median(b.second, field) : 0;
        if (v > 0 && (name.empty() || (more_is_better ? v > value : v < value))) {
            value = v;
            name = b.first;
        }
    }
    return !name.empty();
}

// What is ours, the floor that does less, and the peer that does best.
template <class Sample>
void write_line(std::ostream &out, const std::string &title, const std::map<std::string, std::vector<Sample>> &cell,
                double Sample::*field, bool more_is_better, const std::string &floor, int digits)
{
    auto ours = cell.find("strata"), below = cell.find(floor);
    if (ours == cell.end()) {
        return;
    }
    double value = 0;
    std::string peer;
    bool has_peer = best_peer(cell, field, more_is_better, value, peer);
    out << "| " << title << " | **" << number_text(median(ours->second, field), digits) << "** | "
        << (has_peer ? named(value, peer, digits) : "-") << " | "
        << (below == cell.end() ? "-" : named(median(below->second, field), floor, digits)) << " |\n";
}

void write_memory(std::ostream &out, const results &r, const cell_id &size)
{
    static const struct {
        const char *mode, *title, *floor;
        int threads;
    } LINES[] = {
        { "fit", "hit in memory, ns", "flat_thp", 1 },
        { "fit", "the same, 2 threads, ns a thread", "flat_thp", 2 },
        { "miss", "get or insert, room for a tenth, ns", "setassoc_1t", 1 },
        { "miss", "the same, 2 threads, ns a thread", "setassoc_1t", 2 },
    };
    cell_id id = size;
    id.dist = "zipf99";
    for (auto &line : LINES) {
        id.mode = line.mode;
        id.threads = line.threads;
        const backends *cell = r.find(id);
        if (cell != nullptr) {
            write_line(out, line.title, *cell, &sample::ns, false, line.floor, 0);
        }
    }
}

// Of the largest number of entries: what a cache takes once weighs little there.
void write_overhead(std::ostream &out, const results &r)
{
    const cell_id *largest = nullptr;
    for (auto &c : r.cells) {
        if (c.first.mode == "fit" && c.first.dist == "zipf99" && c.first.threads == 1 &&
            (largest == nullptr || c.first.entries > largest->entries)) {
            largest = &c.first;
        }
    }
    if (largest != nullptr) {
        write_line(out, "memory an entry takes beyond key and value, bytes (" + largest->size_text() + ")",
                   r.cells.at(*largest), &sample::overhead, false, "flat_thp", 0);
    }
}

void write_disk(std::ostream &out, const results &r)
{
    for (auto &d : r.disks) {
        if (d.first.value_bytes == 1024 && d.second.size() > 3) { /* not where only the floor stands beside it */
            write_line(out, "get from disk, a second", d.second, &disk_sample::gets_s, true, "log_pread", 0);
            write_line(out, "put to disk, a second", d.second, &disk_sample::puts_s, true, "log_pread", 0);
            return;
        }
    }
}

void count_goals(std::ostream &out, const std::vector<goal> &goals)
{
    size_t met = 0, missed = 0;
    for (auto &g : goals) {
        met += g.outcome() == verdict::met;
        missed += g.outcome() == verdict::missed;
    }
    out << "Of the goals that were set beforehand " << met << " were met and " << missed << " missed";
}

} // namespace

void write_summary(std::ostream &out, const results &r, const std::vector<goal> &goals, const cell_id &size)
{
    out << "| " << size.size_text()
        << ", zipf | strata | the best other one | a floor that does less |\n|---|---|---|---|\n";
    write_memory(out, r, size);
    write_overhead(out, r);
    write_disk(out, r);
    out << "\n";
    count_goals(out, goals);
    out << ": [docs/benchmarks.md](docs/benchmarks.md) has them all, `./run bench` repeats them. " << machine_text(r)
        << ".\n";
}

void write_redis_summary(std::ostream &out, const std::vector<goal> &goals)
{
    static const std::set<std::string> SHOWN = { "redis_get_1t",     "redis_async_256", "redis_delay_hit",
                                                 "redis_delay_miss", "fleet_loads",     "fleet_ms" };
    out << "| over a Redis (`./run bench --redis`) | asked | measured |\n|---|---|---|\n";
    for (auto &g : goals) {
        if (SHOWN.count(g.id) != 0 && !g.checks.empty()) {
            out << "| " << g.title << " | " << g.asked << " | " << g.measured() << " |\n";
        }
    }
}

} // namespace report
