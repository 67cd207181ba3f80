// bench/disk_bench.cpp - one store on disk; one row of CSV.
//
//     disk_bench --list      backends, the two that bound the others first
//     disk_bench --facts     versions of what is compared, as rows of CSV
//     disk_bench --backend strata --entries 200000 --value-bytes 1024 --dir build/bench
//     disk_bench --above --dir build/bench    hits in memory above a slow disk: see disk_above.hpp
//
// Columns: disk,backend,entries,value_bytes,stored,puts_s,put_p50_us,put_p99_us,put_p999_us,gets_s,get_p50_us,get_p99_us,
// overwrites_s,close_ms,reopen_ms,kill_reopen_ms,cold_reopen_ms,entry_disk_bytes,resident_bytes,kept
// cold_reopen_ms is 0 without --cold.  Everything happens in a folder of its own below --dir, which is removed again;
// exit code 3 says that there is no room for it.  scripts/run_bench.sh interleaves backends in rounds.
#include "bench/disk_cell.hpp"
#include "bench/disk_scratch.hpp"
#include "bench/peers/disk_files.hpp"
#include "bench/peers/disk_log.hpp"
#include "bench/peers/disk_log_duties.hpp"
#ifdef BENCH_HAS_STRATA
#include "bench/disk_above.hpp"
#include "bench/peers/disk_strata.hpp"
#endif
#ifdef BENCH_HAS_LMDB
#include "bench/peers/disk_lmdb.hpp"
#endif
#ifdef BENCH_HAS_ROCKSDB
#include "bench/peers/disk_rocksdb.hpp"
#include <rocksdb/version.h>
#endif
#include <csignal>
#include <sys/prctl.h>
#include <sys/wait.h>

namespace
{

void complain(const char *what) { fprintf(stderr, "disk_bench: %s\n", what); }

template <class Store, class... Args> bench::disk_maker maker(Args... args)
{
    return [=](const bench::disk_config &c) { return std::unique_ptr<bench::disk_store>(new Store(c, args...)); };
}

struct entry {
    const char *name;
    bench::disk_maker make;
    size_t most_entries = SIZE_MAX; // of a backend that would take minutes
};

const entry backends[] = {
    { "log_pread", maker<bench::disk_log>(false) },
    { "log_mmap", maker<bench::disk_log>(true) },
    { "log_duties", maker<bench::disk_log_duties>() },
#ifdef BENCH_HAS_STRATA
    { "strata", maker<bench::disk_strata>(bench::disk_strata::DISK) },
    { "strata_mem", maker<bench::disk_strata>(bench::disk_strata::MEMORY_AND_DISK) },
    { "strata_layer", maker<bench::disk_strata_layer>() },
#endif
#ifdef BENCH_HAS_LMDB
    { "lmdb_wmap1", maker<bench::disk_lmdb>(MDB_WRITEMAP, 1) },
    { "lmdb_wmap100", maker<bench::disk_lmdb>(MDB_WRITEMAP, 100) },
    { "lmdb_nosync1", maker<bench::disk_lmdb>(0, 1) },
    { "lmdb_nosync100", maker<bench::disk_lmdb>(0, 100) },
#endif
#ifdef BENCH_HAS_ROCKSDB
    { "rocksdb_fifo", maker<bench::disk_rocksdb>(true) },
    { "rocksdb", maker<bench::disk_rocksdb>(false) },
#endif
    { "files", maker<bench::disk_files>(), 5000 },
};

volatile sig_atomic_t interrupted;
void note_signal(int number) { interrupted = number; }

// So that waits end, and the folder is removed on the way out.
void catch_signals()
{
    struct sigaction action = {};
    action.sa_handler = note_signal;
    for (int number : { SIGINT, SIGTERM, SIGHUP })
        sigaction(number, &action, nullptr);
}

[[noreturn]] void be_child(const bench::disk_plan &plan, const bench::disk_config &cfg, const bench::disk_maker &make,
                           int to_parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
        bench::disk_run run(plan, cfg, make);
        bench::disk_row row = run.fill_and_use();
        if (write(to_parent, &row, sizeof row) == (ssize_t)sizeof row)
            for (;;)
                pause();
    } catch (const std::exception &e) {
        complain(e.what());
    }
    _exit(1);
}

// The child's row; it is killed as soon as that is here.
bool row_of_child(const bench::disk_plan &plan, const bench::disk_config &cfg, const bench::disk_maker &make,
                  bench::disk_row &row)
{
    int ends[2];
    if (pipe(ends) != 0)
        return false;
    pid_t child = fork();
    if (child == 0)
        be_child(plan, cfg, make, ends[1]);
    close(ends[1]);
    bool whole = child > 0 && read(ends[0], &row, sizeof row) == (ssize_t)sizeof row;
    close(ends[0]);
    if (child > 0) {
        kill(child, SIGKILL);
        while (waitpid(child, nullptr, 0) < 0 && errno == EINTR)
            continue;
    }
    return whole;
}

bool measure(const entry &b, const bench::disk_plan &plan, const std::string &dir)
{
    bench::value_pool values(plan.value_bytes);
    bench::disk_config cfg = { "", std::min(plan.entries, b.most_entries), &values };
    bench::scratch folder(dir, cfg.most_bytes());
    cfg.folder = folder.path();
    bench::disk_row row;
    catch_signals();
    if (!row_of_child(plan, cfg, b.make, row) || interrupted != 0)
        return false;
    row.entry_disk_bytes = (double)folder.bytes() / (double)cfg.entries;
    bench::disk_run after(plan, cfg, b.make);
    after.survive(row);
    if (plan.cold && interrupted == 0) {
        folder.cool_down();
        row.cold_reopen_ms = after.reopen();
        after.close();
    }
    printf("disk,%s,%zu,%zu,%llu,%.0f,%.2f,%.2f,%.2f,%.0f,%.2f,%.2f,%.0f,%.2f,%.3f,%.3f,%.2f,%.1f,%.0f,%.4f\n", b.name,
           plan.entries, plan.value_bytes, (unsigned long long)row.stored, row.puts_s, row.put_p50_us, row.put_p99_us,
           row.put_p999_us, row.gets_s, row.get_p50_us, row.get_p99_us, row.overwrites_s, row.close_ms, row.reopen_ms,
           row.kill_reopen_ms, row.cold_reopen_ms, row.entry_disk_bytes, row.resident_bytes, row.kept);
    return interrupted == 0;
}

// Hits in memory above a slow disk.
bool measure_above(const std::string &dir)
{
#ifdef BENCH_HAS_STRATA
    bench::scratch folder(dir, bench::memory_above_disk::NEED_BYTES);
    catch_signals();
    bench::memory_above_disk(folder.path()).measure();
    return interrupted == 0;
#else
    (void)dir;
    complain("--above is about strata, which is not built in");
    return false;
#endif
}

void print_facts()
{
#ifdef BENCH_HAS_LMDB
    printf("meta,lmdb,%d.%d.%d\n", MDB_VERSION_MAJOR, MDB_VERSION_MINOR, MDB_VERSION_PATCH);
#endif
#ifdef BENCH_HAS_ROCKSDB
    printf("meta,rocksdb,%d.%d.%d\n", ROCKSDB_MAJOR, ROCKSDB_MINOR, ROCKSDB_PATCH);
#endif
}

[[noreturn]] void refuse(const std::string &what)
{
    fprintf(stderr,
            "disk_bench: %s\n"
            "usage: disk_bench --backend NAME [--entries N] [--value-bytes N] [--seconds S] [--dir DIR] [--cold]\n"
            "       disk_bench --above [--dir DIR]\n"
            "       disk_bench --list | --facts\n",
            what.c_str());
    exit(2);
}

size_t number(const std::string &text, const std::string &option, unsigned long long least)
{
    char *end;
    unsigned long long n = strtoull(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || n < least)
        refuse(option + " wants a number from " + std::to_string(least) + " up");
    return n;
}

std::string parse(int argc, char **argv, bench::disk_plan &plan, std::string &dir)
{
    std::string backend; // empty for --above
    bool above = false;
    for (int i = 1; i < argc; i++) {
        std::string option = argv[i];
        if (option == "--cold" || option == "--above") {
            (option == "--cold" ? plan.cold : above) = true;
            continue;
        }
        if (i + 1 == argc)
            refuse(option + " wants a value");
        std::string value = argv[++i];
        if (option == "--backend")
            backend = value;
        else if (option == "--entries")
            plan.entries = number(value, option, 100);
        else if (option == "--value-bytes")
            plan.value_bytes = number(value, option, 16);
        else if (option == "--seconds")
            plan.get_seconds = strtod(value.c_str(), nullptr);
        else if (option == "--dir")
            dir = value;
        else
            refuse("can't make sense of " + option + " " + value);
    }
    if (plan.get_seconds <= 0)
        refuse("--seconds wants a time above 0");
    if (above != backend.empty())
        refuse("either --backend or --above");
    return backend;
}

} // namespace

int main(int argc, char **argv)
{
    if (argc == 2 && std::string(argv[1]) == "--list") {
        for (auto &b : backends)
            printf("%s\n", b.name);
        return 0;
    }
    if (argc == 2 && std::string(argv[1]) == "--facts") {
        print_facts();
        return 0;
    }
    bench::disk_plan plan;
    std::string dir = ".", wanted = parse(argc, argv, plan, dir);
    try {
        if (wanted.empty())
            return measure_above(dir) ? 0 : 1;
        for (auto &b : backends)
            if (wanted == b.name)
                return measure(b, plan, dir) ? 0 : 1;
    } catch (const std::exception &e) {
        complain(e.what());
        return 1;
    }
    refuse("no backend \"" + wanted + "\" is built in; see --list");
}
