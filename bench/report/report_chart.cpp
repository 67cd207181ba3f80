// bench/report/report_chart.cpp - three pictures of a run, as SVG that needs nothing else.
//
// Four panels each: hits and get-or-inserts, with one and with two threads; puts and gets on disk, of small and large
// values; gets over a server, and what a slow one costs.  A bar a backend, time an operation, so shorter is better.  Scales are linear and begin at zero; a peer far off the scale has its bar cut, visibly, and its
// figure printed, so that it does not squeeze all others into a corner.
#include "bench/report/report_output.hpp"
#include <algorithm>

namespace report
{

namespace
{

const int WIDTH = 920, MARGIN = 24, GAP = 40, TOP = 84, BAR = 18, STEP = 27, LABEL = 126, FIGURE = 74;
const char *const OURS = "#0f766e", *const OURS_LIGHT = "#5eb5ac", *const FLOOR = "#d1b370", *const PEER = "#b6bec9";

struct bar {
    std::string name;
    double time;
};

struct panel {
    std::string title, unit; // ns, us
    std::vector<bar> bars;
};

struct chart {
    std::string title, heading, below, floor; // what the floor is
    panel panels[4];
};

std::string label_of(const std::string &backend)
{
    static const std::map<std::string, std::string> labels = {
        { "strata", "strata" },
        { "strata_gol", "strata get_or_load" },
        { "strata_many", "strata get_many/16" },
        { "flat_thp", "bare table" },
        { "flat_thp_batch16", "bare table/16" },
        { "flat_duties", "with a hit's duties" },
        { "setassoc_1t", "bare set-assoc." },
        { "flat", "bare table, 4 KB" },
        { "rocksdb_hcc", "RocksDB HCC" },
        { "rocksdb_lru", "RocksDB LRU" },
        { "glib_mutex_lru", "mutex + GLib LRU" },
        { "tbb_lru", "TBB LRU" },
        { "tbb_hash_map", "TBB hash map" },
        { "strata_mem", "strata mem. + disk" },
        { "strata_layer", "strata's disk layer" },
        { "log_pread", "bare log" },
        { "log_mmap", "bare log, mapped" },
        { "log_duties", "with a get's duties" },
        { "lmdb_wmap1", "LMDB writemap" },
        { "lmdb_nosync1", "LMDB nosync" },
        { "lmdb_wmap100", "LMDB writemap/100" },
        { "lmdb_nosync100", "LMDB nosync/100" },
        { "rocksdb", "RocksDB" },
        { "rocksdb_fifo", "RocksDB FIFO" },
        { "files", "a file a key" },
        { "hiredis_1", "hiredis" },
        { "strata_1", "strata" },
        { "hiredis_64", "hiredis, 64 threads" },
        { "strata_64", "strata, 64 threads" },
        { "hiredis_async_256", "hiredis async" },
        { "strata_async_64", "strata, 64 in flight" },
        { "strata_async_256", "strata, 256 in flight" },
        { "hiredis_mget_100", "hiredis MGET" },
        { "strata_many_100", "strata get_many" },
    };
    size_t bar = backend.find('|');
    if (bar != std::string::npos) {
        return backend.substr(bar + 1);
    }
    auto found = labels.find(backend);
    return found == labels.end() ? backend : found->second;
}

const char *color_of(const std::string &backend)
{
    return backend.compare(0, 7, "strata|") == 0 || backend == "strata" ? OURS
           : is_ours(backend)                                           ? OURS_LIGHT
           : is_floor(backend)                                          ? FLOOR
                                                                        : PEER;
}

void sort(panel &p)
{
    std::sort(p.bars.begin(), p.bars.end(), [](const bar &a, const bar &b) { return a.time < b.time; });
}

panel make_panel(const results &r, cell_id id, const char *mode, int threads, const char *title)
{
    panel p;
    p.title = title;
    p.unit = "ns";
    id.mode = mode;
    id.dist = "zipf99";
    id.threads = threads;
    const backends *cell = r.find(id);
    if (cell == nullptr) {
        return p;
    }
    for (auto &b : *cell) {
        if (b.first != "flat") { // one floor is enough for a picture
            p.bars.push_back({ b.first, median(b.second, &sample::ns) });
        }
    }
    sort(p);
    return p;
}

panel make_disk_panel(const std::pair<const disk_id, disk_backends> &d, const char *what,
                      double disk_sample::*per_second)
{
    panel p;
    p.title = std::string(what) + ", " + d.first.text();
    p.unit = "us";
    for (auto &b : d.second) {
        p.bars.push_back({ b.first, 1e6 / median(b.second, per_second) });
    }
    sort(p);
    return p;
}

// The longest bar that is shown whole: the largest below five times our own.
double scale_of(const panel &p)
{
    double ours = 0, scale = 0;
    for (auto &b : p.bars) {
        if (b.name == "strata") {
            ours = b.time;
        }
    }
    for (auto &b : p.bars) {
        if (ours == 0 || b.time <= 5 * ours) {
            scale = std::max(scale, b.time);
        }
    }
    return scale;
}

void write_text(std::ostream &out, double x, double y, const char *attributes, const std::string &text)
{
    out << "<text x=\"" << x << "\" y=\"" << y << "\" " << attributes << ">" << text << "</text>\n";
}

std::string time_text(double time, const std::string &unit)
{
    return number_text(time, unit == "us" && time < 10 ? 2 : time < 100 ? 1 : 0) + " " + unit;
}

void write_bar(std::ostream &out, const bar &b, const std::string &unit, double scale, double x, double y, double room)
{
    bool cut = b.time > scale, ours = is_ours(b.name);
    double length = std::max(2.0, std::min(b.time / scale, 1.0) * room);
    write_text(out, x + LABEL - 8, y + BAR - 4.5,
               ours ? "text-anchor=\"end\" font-weight=\"600\" fill=\"#0f172a\""
                    : "text-anchor=\"end\" fill=\"#334155\"",
               label_of(b.name));
    out << "<rect x=\"" << x + LABEL << "\" y=\"" << y << "\" width=\"" << length << "\" height=\"" << BAR
        << "\" rx=\"2\" fill=\"" << color_of(b.name) << "\"/>\n";
    if (cut) {
        double at = x + LABEL + length - 26;
        for (int i = 0; i < 2; i++, at += 7) {
            out << "<path d=\"M" << at << " " << y + BAR + 1 << "l6 -" << BAR + 2
                << "\" stroke=\"#ffffff\" stroke-width=\"3\"/>\n";
        }
    }
    write_text(out, x + LABEL + length + 6, y + BAR - 4.5,
               ours ? "font-weight=\"600\" fill=\"#0f172a\"" : "fill=\"#475569\"", time_text(b.time, unit));
}

void write_panel(std::ostream &out, const panel &p, double x, double y, double width)
{
    write_text(out, x, y, "font-size=\"14\" font-weight=\"600\" fill=\"#0f172a\"", p.title);
    y += 14;
    for (auto &b : p.bars) {
        write_bar(out, b, p.unit, scale_of(p), x, y, width - LABEL - FIGURE);
        y += STEP;
    }
}

void write_legend(std::ostream &out, double y, const std::string &floor, bool others)
{
    const struct {
        const char *color;
        std::string text;
        int width;
    } entries[] = { { OURS, "strata", 76 }, { FLOOR, "floor: " + floor, 224 }, { PEER, "others", 0 } };
    double x = MARGIN;
    for (auto &e : entries) {
        if (e.color == PEER && !others) {
            break;
        }
        out << "<rect x=\"" << x << "\" y=\"" << y - 10 << "\" width=\"12\" height=\"12\" rx=\"2\" fill=\"" << e.color
            << "\"/>\n";
        write_text(out, x + 18, y, "fill=\"#334155\"", e.text);
        x += e.width;
    }
}

void draw(std::ostream &out, const chart &c)
{
    size_t upper = std::max(c.panels[0].bars.size(), c.panels[1].bars.size());
    size_t lower = std::max(c.panels[2].bars.size(), c.panels[3].bars.size());
    double second = TOP + 14 + STEP * (double)upper + 36;
    double height = lower == 0 ? second : second + 14 + STEP * (double)lower + 34;
    double width = (WIDTH - 2 * MARGIN - GAP) / 2.0;

    out << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << WIDTH << " " << height << "\" width=\""
        << WIDTH << "\" height=\"" << height
        << "\" font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif\" "
        << "font-size=\"12\">\n<title>" << c.title << "</title>\n"
        << "<rect x=\"0.5\" y=\"0.5\" width=\"" << WIDTH - 1 << "\" height=\"" << height - 1
        << "\" rx=\"8\" fill=\"#ffffff\" stroke=\"#e2e8f0\"/>\n";
    write_text(out, MARGIN, 30, "font-size=\"17\" font-weight=\"700\" fill=\"#0f172a\"", c.heading);
    write_text(out, MARGIN, 50, "fill=\"#64748b\"", c.below);
    for (int i = 0; i < 4; i++) {
        if (!c.panels[i].bars.empty()) {
            write_panel(out, c.panels[i], MARGIN + (i % 2) * (width + GAP), i < 2 ? TOP : second, width);
        }
    }
    bool others = false;
    for (auto &p : c.panels) {
        for (auto &b : p.bars) {
            others = others || color_of(b.name) == PEER;
        }
    }
    write_legend(out, height - 16, c.floor, others);
    out << "</svg>\n";
}

} // namespace

void write_chart(std::ostream &out, const results &r, const cell_id &size)
{
    draw(out, { "Nanoseconds an operation: strata, the floor and other caches",
                "Nanoseconds an operation and thread: shorter is better",
                number_text((double)size.entries, 0) + " keys, " + bytes_text(size.value_bytes) +
                    " values, Zipf 0.99; medians. " + machine_text(r),
                "the bare lookup, no cache",
                { make_panel(r, size, "fit", 1, "Hit, 1 thread"), make_panel(r, size, "fit", 2, "Hit, 2 threads"),
                  make_panel(r, size, "miss", 1, "Get or insert, room for 10 %, 1 thread"),
                  make_panel(r, size, "miss", 2, "Get or insert, room for 10 %, 2 threads") } });
}

void write_disk_chart(std::ostream &out, const results &r)
{
    chart c = { "Microseconds an operation on disk: strata, a bare log and other stores",
                "On disk, microseconds an operation: shorter is better",
                "Hot page cache, nobody syncs, 1 thread; medians. " + machine_text(r),
                "a bare log, no cache",
                {} };
    // Of each size of values the cell with the most backends.
    std::map<unsigned long, const std::pair<const disk_id, disk_backends> *> sizes;
    for (auto &d : r.disks) {
        auto &best = sizes[d.first.value_bytes];
        if (best == nullptr || best->second.size() <= d.second.size()) {
            best = &d;
        }
    }
    size_t at = 0;
    for (auto &s : sizes) {
        if (at < 4) {
            c.panels[at++] = make_disk_panel(*s.second, "Put", &disk_sample::puts_s);
            c.panels[at++] = make_disk_panel(*s.second, "Get", &disk_sample::gets_s);
        }
    }
    draw(out, c);
}

panel make_redis_panel(const results &r, const char *title, std::initializer_list<const char *> cells)
{
    panel p;
    p.title = title;
    p.unit = "us";
    for (auto name : cells) {
        auto found = r.redis.find(name);
        if (found != r.redis.end()) {
            p.bars.push_back({ name, 1e6 / median(found->second, &redis_sample::per_second) });
        }
    }
    sort(p);
    return p;
}

// Names begin as ours do, for the colour; what follows is what the bar is called.
panel make_delay_panel(const results &r, const char *title, const char *kind, const char *unit, double scale)
{
    const struct {
        const char *state, *name;
    } states[] = { { "0", "strata|Redis as it is" },
                   { "100", "strata|100 ms slower" },
                   { "500", "strata|500 ms slower" },
                   { "stopped", "strata|Redis stopped" },
                   { "open", "strata|breaker open" } };
    panel p;
    p.title = title;
    p.unit = unit;
    auto found = r.delays.find(kind);
    for (auto &s : states) {
        if (found != r.delays.end() && found->second.count(s.state) != 0) {
            p.bars.push_back({ s.name, median(found->second.at(s.state), &delay_sample::us) * scale });
        }
    }
    return p;
}

void write_redis_chart(std::ostream &out, const results &r)
{
    draw(out,
         { "Gets over a Redis: strata and hiredis; and what a slow Redis costs",
           "Over a Redis, time an operation: shorter is better",
           "1 KB, loopback; medians; below: memory over Redis, soft timeout 50 ms. " + machine_text(r),
           "hiredis itself",
           { make_redis_panel(r, "Get, one after the other and by 64 threads",
                              { "hiredis_1", "strata_1", "hiredis_64", "strata_64" }),
             make_redis_panel(r, "Asynchronous get", { "strata_async_64", "hiredis_async_256", "strata_async_256" }),
             make_delay_panel(r, "Hit in memory while Redis is slow", "memory_hit", "ns", 1e3),
             make_delay_panel(r, "Cold miss meanwhile, 5 ms loader", "cold_miss", "ms", 1e-3) } });
}

} // namespace report
