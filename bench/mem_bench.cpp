// bench/mem_bench.cpp - one in-process cache under one kind of load; one row of CSV a measurement.
//
//     mem_bench --list      backends and the modes that they can do
//     mem_bench --facts     versions of what is compared, as rows of CSV
//     mem_bench --backend strata --entries 100000 --value-bytes 100 --mode fit --dist zipf99,uniform --threads 1,2
//
// fit:  every key is resident (capacity 1.25 x entries), gets only; --dist hot asks for one single key.
// miss: capacity is a tenth of the entries; a get, and an insert where it missed.
// Columns: mem,backend,entries,value_bytes,mode,dist,threads,run,ns_per_op,mops,p50_ns,p99_ns,hit_ratio,overhead_bytes
// ns_per_op is wall time an operation and thread.  Backends are measured in a process each: memory can be told apart,
// and none suffers from the heap that another one left behind.  scripts/run_bench.sh interleaves them in rounds.
#include "bench/mem_cell.hpp"
#include "bench/peers/flat.hpp"
#include "bench/peers/setassoc.hpp"
#ifdef BENCH_HAS_STRATA
#include "bench/peers/strata_cache.hpp"
#endif
#ifdef BENCH_HAS_ROCKSDB
#include "bench/peers/rocksdb_cache.hpp"
#endif
#ifdef BENCH_HAS_GLIB
#include "bench/peers/glib_lru.hpp"
#endif
#ifdef BENCH_HAS_TBB
#include "bench/peers/tbb_maps.hpp"
#endif

namespace
{

struct entry {
    const char *name;
    bool fit, miss;
    void (*measure)(const bench::plan &, const bench::clock_facts &);
};

template <class Peer> entry entry_of()
{
    // The floor of an insert evicts within a bucket, so it can't promise that everything fits.
    bool fit = !Peer::floor || !Peer::evicts;
    return { Peer::name, fit, Peer::evicts, bench::measure<Peer> };
}

const entry backends[] = {
    entry_of<bench::flat_thp>(),
    entry_of<bench::flat>(),
    entry_of<bench::flat_thp_batch16>(),
    entry_of<bench::flat_duties>(),
    entry_of<bench::setassoc>(),
#ifdef BENCH_HAS_STRATA
    entry_of<bench::strata_get_set>(),
    entry_of<bench::strata_get_many_keys>(),
    entry_of<bench::strata_load_through>(),
#endif
#ifdef BENCH_HAS_ROCKSDB
    entry_of<bench::rocksdb_hcc>(),
    entry_of<bench::rocksdb_lru>(),
#endif
#ifdef BENCH_HAS_GLIB
    entry_of<bench::glib_lru>(),
#endif
#ifdef BENCH_HAS_TBB
    entry_of<bench::tbb_lru>(),
    entry_of<bench::tbb_hash_map>(),
#endif
};

void print_facts()
{
#ifdef BENCH_HAS_STRATA
    printf("meta,strata,%s\n", strata_version());
#endif
#ifdef BENCH_HAS_ROCKSDB
    printf("meta,rocksdb,%d.%d.%d\n", ROCKSDB_MAJOR, ROCKSDB_MINOR, ROCKSDB_PATCH);
#endif
#ifdef BENCH_HAS_GLIB
    printf("meta,glib,%u.%u.%u\n", glib_major_version, glib_minor_version, glib_micro_version);
#endif
#ifdef BENCH_HAS_TBB
    printf("meta,tbb,%d.%d\n", TBB_VERSION_MAJOR, TBB_VERSION_MINOR);
#endif
#ifdef __clang__
    printf("meta,compiler,%s\n", __VERSION__);
#else
    printf("meta,compiler,gcc %s\n", __VERSION__);
#endif
}

[[noreturn]] void refuse(const std::string &what)
{
    fprintf(stderr,
            "mem_bench: %s\n"
            "usage: mem_bench --backend NAME [--entries N] [--value-bytes N] [--mode fit|miss]\n"
            "                 [--dist zipf99,uniform,hot] [--threads 1,2] [--seconds S] [--runs N]\n"
            "       mem_bench --list | --facts\n",
            what.c_str());
    exit(2);
}

std::vector<std::string> split(const std::string &list)
{
    std::vector<std::string> parts(1);
    for (char c : list) {
        if (c == ',')
            parts.emplace_back();
        else
            parts.back() += c;
    }
    return parts;
}

unsigned long long number(const std::string &text, const std::string &option, unsigned long long least)
{
    char *end;
    unsigned long long n = strtoull(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || n < least)
        refuse(option + " wants a number from " + std::to_string(least) + " up");
    return n;
}

bench::distribution distribution_of(const std::string &name)
{
    for (auto d : { bench::distribution::zipf99, bench::distribution::uniform, bench::distribution::hot }) {
        if (name == bench::name_of(d))
            return d;
    }
    refuse("--dist " + name + " is none of zipf99, uniform, hot");
}

std::string parse(int argc, char **argv, bench::plan &plan)
{
    std::string backend;
    for (int i = 1; i < argc; i++) {
        std::string option = argv[i];
        if (i + 1 == argc)
            refuse(option + " wants a value");
        std::string value = argv[++i];
        if (option == "--backend")
            backend = value;
        else if (option == "--entries")
            plan.entries = number(value, option, 100);
        else if (option == "--value-bytes")
            plan.value_bytes = number(value, option, 8);
        else if (option == "--runs")
            plan.runs = (int)number(value, option, 1);
        else if (option == "--seconds")
            plan.seconds = strtod(value.c_str(), nullptr);
        else if (option == "--mode" && (value == "fit" || value == "miss"))
            plan.miss = value == "miss";
        else if (option == "--dist")
            for (auto &d : split(value))
                plan.distributions.push_back(distribution_of(d));
        else if (option == "--threads")
            for (auto &t : split(value))
                plan.threads.push_back((int)number(t, option, 1));
        else
            refuse("can't make sense of " + option + " " + value);
    }
    if (backend.empty())
        refuse("--backend is missing");
    if (plan.seconds <= 0)
        refuse("--seconds wants a time above 0");
    if (plan.distributions.empty())
        plan.distributions = { bench::distribution::zipf99, bench::distribution::uniform };
    if (plan.threads.empty())
        plan.threads = { 1, 2 };
    return backend;
}

} // namespace

int main(int argc, char **argv)
{
    if (argc == 2 && std::string(argv[1]) == "--list") {
        for (auto &b : backends)
            printf("%s%s%s\n", b.name, b.fit ? " fit" : "", b.miss ? " miss" : "");
        return 0;
    }
    if (argc == 2 && std::string(argv[1]) == "--facts") {
        print_facts();
        return 0;
    }
    bench::plan plan;
    std::string wanted = parse(argc, argv, plan);
    for (auto &b : backends) {
        if (wanted != b.name)
            continue;
        if (!(plan.miss ? b.miss : b.fit))
            refuse(wanted + " can't do this mode; see --list");
        bench::clock_facts clock = { bench_ticks_per_ns(), bench_ticks_overhead() };
        b.measure(plan, clock);
        return 0;
    }
    refuse("no backend \"" + wanted + "\" is built in; see --list");
}
