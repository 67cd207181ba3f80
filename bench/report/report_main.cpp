// bench/report/report_main.cpp - turns the rows of a run into tables, JSON, charts and sections of documents.
//
//     strata_bench_report ROWS.csv [--details] [--json FILE] [--svg FILE] [--disk-svg FILE] [--redis-svg FILE]
//                         [--readme FILE] [--tables FILE] [--redis-readme FILE] [--redis-tables FILE] [--size N:V]
//
// --readme (a few lines) and --tables (everything) replace what stands between the lines "<!-- bench -->" and "<!-- /bench -->",
// the other two what stands between "<!-- redis -->" and "<!-- /redis -->".
// Exit: 0, also when goals are missed (a slow machine is no mistake); 1 where a file can't be read or written.
#include "bench/report/report_output.hpp"
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

namespace
{

[[noreturn]] void fail(const std::string &what, int code)
{
    std::cerr << "bench report: " << what << "\n";
    exit(code);
}

// Beside it first, then into its place: whoever reads it never sees half of it.
void write_file(const std::string &path, const std::string &content)
{
    std::string part = path + ".part";
    std::ofstream out(part);
    out << content;
    out.close();
    if (!out || rename(part.c_str(), path.c_str()) != 0) {
        fail("can't write " + path + "; does its folder exist?", 1);
    }
}

void replace_section(const std::string &path, const std::string &name, const std::string &section)
{
    const std::string open = "<!-- " + name + " -->", close = "<!-- /" + name + " -->";
    std::ifstream in(path);
    std::stringstream whole;
    whole << in.rdbuf();
    std::string text = whole.str();
    size_t from = text.find(open), to = text.find(close);
    if (!in || from == std::string::npos || to == std::string::npos || to < from) {
        fail(path + " wants a line " + open + " and, below it, a line " + close + ": the tables go between them", 1);
    }
    from += open.size();
    write_file(path, text.substr(0, from) + "\n" + section + text.substr(to));
}

report::cell_id parse_size(const std::string &text)
{
    report::cell_id size;
    char end;
    if (sscanf(text.c_str(), "%lu:%lu%c", &size.entries, &size.value_bytes, &end) != 2) {
        fail("--size wants ENTRIES:VALUE_BYTES, as 100000:100", 2);
    }
    return size;
}

struct options {
    std::string rows, json, svg, disk_svg, redis_svg, readme, tables, redis_readme, redis_tables, size;
    bool details = false;
};

options parse(int argc, char **argv)
{
    options o;
    const std::map<std::string, std::string options::*> files = { { "--json", &options::json },
                                                                  { "--svg", &options::svg },
                                                                  { "--disk-svg", &options::disk_svg },
                                                                  { "--redis-svg", &options::redis_svg },
                                                                  { "--readme", &options::readme },
                                                                  { "--tables", &options::tables },
                                                                  { "--size", &options::size },
                                                                  { "--redis-readme", &options::redis_readme },
                                                                  { "--redis-tables", &options::redis_tables } };
    for (int i = 1; i < argc; i++) {
        std::string option = argv[i];
        auto file = files.find(option);
        if (option == "--details") {
            o.details = true;
        } else if (file != files.end() && i + 1 < argc) {
            o.*(file->second) = argv[++i];
        } else if (option[0] != '-' && o.rows.empty()) {
            o.rows = option;
        } else {
            fail("usage: strata_bench_report ROWS.csv [--details] [--json FILE] [--svg FILE] [--disk-svg FILE] "
                 "[--redis-svg FILE] [--readme FILE] [--tables FILE] [--redis-readme FILE] [--redis-tables FILE] "
                 "[--size N:V]",
                 2);
        }
    }
    return o;
}

void write_sections(const options &o, const report::results &r, const std::vector<report::goal> &goals,
                    const report::cell_id &size)
{
    std::stringstream readme, tables, redis_readme, redis_tables;
    report::write_summary(readme, r, goals, size);
    report::write_markdown(tables, r, goals, size);
    report::write_redis_summary(redis_readme, goals);
    report::write_redis_markdown(redis_tables, r, goals);
    const struct {
        const std::string &file;
        const char *section;
        const std::stringstream &text;
    } all[] = { { o.readme, "bench", readme },
                { o.tables, "bench", tables },
                { o.redis_readme, "redis", redis_readme },
                { o.redis_tables, "redis", redis_tables } };
    for (auto &one : all) {
        if (!one.file.empty()) {
            replace_section(one.file, one.section, one.text.str());
        }
    }
}

} // namespace

int main(int argc, char **argv)
{
    options o = parse(argc, argv);
    std::ifstream in(o.rows);
    if (!in) {
        fail("can't read \"" + o.rows + "\": give the rows that ./run bench left in build/bench", 1);
    }
    report::results r = report::read_rows(in);
    if (r.cells.empty() && r.stampedes.empty() && r.disks.empty() && r.above.empty() && !r.over_a_server()) {
        fail(o.rows + " holds no measurements", 1);
    }
    std::vector<report::goal> goals = report::evaluate(r);
    report::cell_id size = o.size.empty() ? report::choose_size(r) : parse_size(o.size);

    report::write_tables(std::cout, r, goals, o.details);
    std::stringstream json, svg, disk_svg, redis_svg;
    report::write_json(json, r, goals);
    report::write_chart(svg, r, size);
    report::write_disk_chart(disk_svg, r);
    report::write_redis_chart(redis_svg, r);
    if (!o.json.empty()) {
        write_file(o.json, json.str());
    }
    if (!o.svg.empty() && !r.cells.empty()) {
        write_file(o.svg, svg.str());
    }
    if (!o.disk_svg.empty() && !r.disks.empty()) {
        write_file(o.disk_svg, disk_svg.str());
    }
    if (!o.redis_svg.empty() && r.over_a_server()) {
        write_file(o.redis_svg, redis_svg.str());
    }
    write_sections(o, r, goals, size);
    return 0;
}
