// bench/report/report_chart.cpp - one picture of a run, as SVG that needs nothing else.
//
// Four panels: hits and get-or-inserts, with one and with two threads.  A bar a backend, nanoseconds an operation, so
// shorter is better.  Scales are linear and begin at zero; a peer far off the scale has its bar cut, visibly, and its
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
    double ns;
};

struct panel {
    std::string title;
    std::vector<bar> bars;
};

std::string label_of(const std::string &backend)
{
    static const std::map<std::string, std::string> labels = {
        { "strata", "strata" },           { "strata_gol", "strata get_or_load" },
        { "flat_thp", "bare table" },     { "setassoc_1t", "bare set-assoc." },
        { "flat", "bare table, 4 KB" },   { "rocksdb_hcc", "RocksDB HCC" },
        { "rocksdb_lru", "RocksDB LRU" }, { "glib_mutex_lru", "mutex + GLib LRU" },
        { "tbb_lru", "TBB LRU" },         { "tbb_hash_map", "TBB hash map" },
    };
    auto found = labels.find(backend);
    return found == labels.end() ? backend : found->second;
}

const char *color_of(const std::string &backend)
{
    return backend == "strata" ? OURS : is_ours(backend) ? OURS_LIGHT : is_floor(backend) ? FLOOR : PEER;
}

panel make_panel(const results &r, cell_id id, const char *mode, int threads, const char *title)
{
    panel p;
    p.title = title;
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
    std::sort(p.bars.begin(), p.bars.end(), [](const bar &a, const bar &b) { return a.ns < b.ns; });
    return p;
}

// The longest bar that is shown whole: the largest below five times our own.
double scale_of(const panel &p)
{
    double ours = 0, scale = 0;
    for (auto &b : p.bars) {
        if (b.name == "strata") {
            ours = b.ns;
        }
    }
    for (auto &b : p.bars) {
        if (ours == 0 || b.ns <= 5 * ours) {
            scale = std::max(scale, b.ns);
        }
    }
    return scale;
}

void write_text(std::ostream &out, double x, double y, const char *attributes, const std::string &text)
{
    out << "<text x=\"" << x << "\" y=\"" << y << "\" " << attributes << ">" << text << "</text>\n";
}

void write_bar(std::ostream &out, const bar &b, double scale, double x, double y, double room)
{
    bool cut = b.ns > scale, ours = is_ours(b.name);
    double length = std::max(2.0, std::min(b.ns / scale, 1.0) * room);
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
               ours ? "font-weight=\"600\" fill=\"#0f172a\"" : "fill=\"#475569\"",
               number_text(b.ns, b.ns < 100 ? 1 : 0) + " ns");
}

void write_panel(std::ostream &out, const panel &p, double x, double y, double width)
{
    write_text(out, x, y, "font-size=\"14\" font-weight=\"600\" fill=\"#0f172a\"", p.title);
    y += 14;
    for (auto &b : p.bars) {
        write_bar(out, b, scale_of(p), x, y, width - LABEL - FIGURE);
        y += STEP;
    }
}

void write_legend(std::ostream &out, double y)
{
    const struct {
        const char *color, *text;
        int width;
    } entries[] = { { OURS, "strata", 76 },
                    { FLOOR, "floor: the bare lookup, no cache", 224 },
                    { PEER, "other caches", 0 } };
    double x = MARGIN;
    for (auto &e : entries) {
        out << "<rect x=\"" << x << "\" y=\"" << y - 10 << "\" width=\"12\" height=\"12\" rx=\"2\" fill=\"" << e.color
            << "\"/>\n";
        write_text(out, x + 18, y, "fill=\"#334155\"", e.text);
        x += e.width;
    }
}

} // namespace

void write_chart(std::ostream &out, const results &r, const cell_id &size)
{
    const panel panels[] = {
        make_panel(r, size, "fit", 1, "Hit, 1 thread"),
        make_panel(r, size, "fit", 2, "Hit, 2 threads"),
        make_panel(r, size, "miss", 1, "Get or insert, room for 10 %, 1 thread"),
        make_panel(r, size, "miss", 2, "Get or insert, room for 10 %, 2 threads"),
    };
    size_t upper = std::max(panels[0].bars.size(), panels[1].bars.size());
    size_t lower = std::max(panels[2].bars.size(), panels[3].bars.size());
    double second = TOP + 14 + STEP * (double)upper + 36;
    double height = second + 14 + STEP * (double)lower + 34;
    double width = (WIDTH - 2 * MARGIN - GAP) / 2.0;

    out << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << WIDTH << " " << height << "\" width=\""
        << WIDTH << "\" height=\"" << height
        << "\" font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif\" "
        << "font-size=\"12\">\n<title>Nanoseconds an operation: strata, the floor and other caches</title>\n"
        << "<rect x=\"0.5\" y=\"0.5\" width=\"" << WIDTH - 1 << "\" height=\"" << height - 1
        << "\" rx=\"8\" fill=\"#ffffff\" stroke=\"#e2e8f0\"/>\n";
    write_text(out, MARGIN, 30, "font-size=\"17\" font-weight=\"700\" fill=\"#0f172a\"",
               "Nanoseconds an operation and thread: shorter is better");
    write_text(out, MARGIN, 50, "fill=\"#64748b\"",
               number_text((double)size.entries, 0) + " keys, " + bytes_text(size.value_bytes) +
                   " values, Zipf 0.99; medians. " + machine_text(r));
    for (int i = 0; i < 4; i++) {
        write_panel(out, panels[i], MARGIN + (i % 2) * (width + GAP), i < 2 ? TOP : second, width);
    }
    write_legend(out, height - 16);
    out << "</svg>\n";
}

} // namespace report
