// bench/mem_cell.hpp - how one backend is measured: fill, warm up, then passes with one and with two threads.
//
// A pass for throughput has no timer inside, so that the processor may overlap independent lookups as it would in a
// program.  A second pass times every operation on its own, fenced, for the median and the 99th percentile: that is why
// ns/op can be below p50.  A get touches 8 bytes of the value while it is pinned; their sum is checked in the end, so a
// backend that hands out rubbish is found out.
#ifndef BENCH_MEM_CELL_HPP
#define BENCH_MEM_CELL_HPP
#include "bench/bench_clock.h"
#include "bench/bench_keys.hpp"
#include "bench/peers/peer.hpp"
#include <algorithm>
#include <pthread.h>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

namespace bench
{

struct plan {
    size_t entries = 100000;
    size_t value_bytes = 100;
    bool miss = false; // room for a tenth of the entries, get and insert; else everything fits, gets only
    std::vector<distribution> distributions;
    std::vector<int> threads;
    double seconds = 0.3; // of each pass
    int runs = 1;
};

struct clock_facts {
    double ticks_per_ns;
    uint64_t overhead_ticks;
};

// What one thread did in one pass.
struct tally {
    uint64_t operations = 0, hits = 0, ns = 0, sum = 0;
    std::vector<uint32_t> ticks; // of each operation, in a pass that times them
};

enum class pass { throughput, latency };

typedef std::vector<key> trace;
typedef std::vector<trace> thread_traces;

// One trace a thread, for each distribution of the plan.
inline std::vector<thread_traces> make_traces(const plan &p)
{
    zipf_source zipf(p.entries, 0.99);
    size_t length = p.entries > 1000000 ? 4000000 : 2000000; // whole calls of any peer
    std::vector<thread_traces> all;
    for (auto d : p.distributions) {
        thread_traces traces((size_t)*std::max_element(p.threads.begin(), p.threads.end()));
        std::vector<std::thread> makers;
        for (size_t t = 0; t < traces.size(); t++) {
            makers.emplace_back([&, t] {
                uint64_t seed = 1000 + 10 * (uint64_t)d + t;
                traces[t] = make_trace(d, zipf, p.entries, d == distribution::hot ? 1024 : length, seed);
            });
        }
        for (auto &m : makers) {
            m.join();
        }
        all.push_back(std::move(traces));
    }
    return all;
}

// One call: of a peer that is asked for one key, or for many.  How many were hits.
template <class Peer, class Use>
size_t ask(Peer &backend, const key *k, bool miss, Use use, std::integral_constant<size_t, 1>)
{
    if (backend.get(*k, use)) {
        return 1;
    }
    if (miss && !Peer::loads) {
        backend.put(*k);
    }
    return 0;
}

template <class Peer, class Use, size_t N>
size_t ask(Peer &backend, const key *keys, bool, Use use, std::integral_constant<size_t, N>)
{
    return backend.get_many(keys, use);
}

// The measured loop, on the thread that measures.
template <pass KIND, class Peer>
tally drive(Peer &backend, const trace &keys, size_t &position, bool miss, double seconds, uint64_t timer_ticks)
{
    const size_t enough = 400000; // timed operations
    size_t at = position < keys.size() ? position : 0, length = keys.size();
    uint64_t sum = 0, hits = 0, operations = 0, began, now, until;
    tally out;
    auto touch = [&sum](const char *value) {
        uint64_t word;
        memcpy(&word, value, sizeof word);
        sum += word;
    };
    const std::integral_constant<size_t, Peer::batch> keys_a_call;
    static_assert(128 % Peer::batch == 0, "a trace is whole calls");
    if (KIND == pass::latency) {
        out.ticks.reserve(enough + 1024);
    }
    began = bench_now_ns();
    until = began + (uint64_t)(seconds * 1e9);
    do {
        for (size_t i = 0; i < 1024; i += Peer::batch) {
            const key *k = &keys[at];
            at += Peer::batch;
            if (at == length) {
                at = 0;
            }
            if (KIND == pass::latency) {
                __builtin_prefetch(&keys[at]);
                uint64_t ticks = bench_ticks_begin();
                hits += ask(backend, k, miss, touch, keys_a_call);
                ticks = bench_ticks_end() - ticks;
                ticks -= std::min(ticks, timer_ticks);
                out.ticks.push_back((uint32_t)std::min<uint64_t>(ticks, UINT32_MAX));
            } else {
                hits += ask(backend, k, miss, touch, keys_a_call);
            }
        }
        operations += 1024;
        now = bench_now_ns();
    } while (now < until && out.ticks.size() < enough);
    position = at;
    out.operations = operations;
    out.hits = hits;
    out.ns = now - began;
    out.sum = sum;
    return out;
}

// Everything that a row says beside what it is about.
struct summary {
    double ns = 0, mops = 0, hit_ratio = 0, p50_ns = 0, p99_ns = 0;
};

inline summary summarize(const std::vector<tally> &free_running, const std::vector<tally> &timed, double ticks_per_ns)
{
    summary s;
    auto threads = (double)free_running.size();
    for (auto &t : free_running) {
        s.mops += 1e3 * (double)t.operations / (double)t.ns;
        s.ns += (double)t.ns / (double)t.operations / threads;
        s.hit_ratio += (double)t.hits / (double)t.operations / threads;
    }
    std::vector<uint32_t> ticks;
    for (auto &t : timed) {
        ticks.insert(ticks.end(), t.ticks.begin(), t.ticks.end());
    }
    std::sort(ticks.begin(), ticks.end());
    s.p50_ns = ticks[(ticks.size() - 1) / 2] / ticks_per_ns;
    s.p99_ns = ticks[(ticks.size() - 1) * 99 / 100] / ticks_per_ns;
    return s;
}

// One backend, filled; its passes.
template <class Peer> struct cell {
    const plan &todo;
    const clock_facts &clock;
    std::vector<thread_traces> traces; // [distribution][thread]
    std::vector<size_t> position;      // of each thread in its trace
    uint64_t expected;                 // the first 8 bytes of every value
    Peer backend;

    std::vector<tally> run_pass(size_t d, int threads, double seconds, pass kind);
    void warm_up(size_t d, int threads, bool fresh);
    double fill(uint64_t resident_before);
};

template <class Peer> std::vector<tally> cell<Peer>::run_pass(size_t d, int threads, double seconds, pass kind)
{
    std::vector<tally> tallies((size_t)threads);
    std::vector<std::thread> running;
    pthread_barrier_t start;
    pthread_barrier_init(&start, nullptr, (unsigned)threads);
    for (size_t t = 0; t < tallies.size(); t++) {
        running.emplace_back([&, t] {
            bench_pin_thread(threads == 1 ? 1 : t); // processor 0 gets most of the interrupts
            backend.thread_begin();
            pthread_barrier_wait(&start);
            auto loop = kind == pass::latency ? drive<pass::latency, Peer> : drive<pass::throughput, Peer>;
            tallies[t] = loop(backend, traces[d][t], position[t], todo.miss, seconds, clock.overhead_ticks);
            backend.thread_end();
        });
    }
    for (auto &r : running) {
        r.join();
    }
    pthread_barrier_destroy(&start);
    for (auto &t : tallies) {
        uint64_t touched = Peer::loads ? t.operations : t.hits;
        if (t.sum != touched * expected) {
            fprintf(stderr, "mem_bench: %s handed out bytes that nobody stored\n", Peer::name);
            exit(1);
        }
    }
    return tallies;
}

template <class Peer> void cell<Peer>::warm_up(size_t d, int threads, bool fresh)
{
    if (!todo.miss || !fresh) {
        run_pass(d, threads, todo.seconds / 2, pass::throughput);
        return;
    }
    // Until three times the capacity has been inserted: only then has eviction reached its steady state.
    uint64_t wanted = 3 * backend.cfg.capacity, inserted = 0, began = bench_now_ns();
    while (inserted < wanted && bench_now_ns() - began < 8000000000u) {
        for (auto &t : run_pass(d, threads, 0.02, pass::throughput)) {
            inserted += t.operations - t.hits;
        }
    }
}

// Returns the memory that an entry takes beyond its key and value.
template <class Peer> double cell<Peer>::fill(uint64_t resident_before)
{
    uint64_t payload = 0;
    backend.thread_begin();
    for (size_t i = 0; i < todo.entries; i++) {
        key k = make_key(i);
        payload += k.size + todo.value_bytes;
        backend.put(k);
    }
    backend.thread_end();
    return ((double)bench_resident_bytes() - (double)resident_before - (double)payload) / (double)todo.entries;
}

// Prints one row for each distribution, number of threads and run.
template <class Peer> void measure(const plan &p, const clock_facts &clock)
{
    std::string source(p.value_bytes + 8, '\0');
    random_source random = { 99 };
    for (auto &c : source) {
        c = (char)random.next();
    }
    uint64_t expected;
    memcpy(&expected, source.data(), sizeof expected);
    config cfg = { p.entries, p.value_bytes, p.miss ? p.entries / 10 : p.entries + p.entries / 4, p.miss,
                   source.data() };
    auto traces = make_traces(p);
    std::vector<size_t> position(traces[0].size());
    uint64_t before = bench_resident_bytes();
    cell<Peer> c = { p, clock, std::move(traces), std::move(position), expected, Peer(cfg) };

    double overhead = p.miss ? 0 : c.fill(before);
    for (size_t d = 0; d < p.distributions.size(); d++) {
        bool fresh = true; // this distribution has not yet filled the cache
        for (int threads : p.threads) {
            if (threads > 1 && Peer::single_threaded) {
                continue;
            }
            c.warm_up(d, threads, fresh);
            fresh = false;
            for (int run = 0; run < p.runs; run++) {
                auto free_running = c.run_pass(d, threads, p.seconds, pass::throughput);
                auto timed = c.run_pass(d, threads, p.seconds, pass::latency);
                summary s = summarize(free_running, timed, clock.ticks_per_ns);
                printf("mem,%s,%zu,%zu,%s,%s,%d,%d,%.2f,%.4f,%.1f,%.1f,%.4f,%.1f\n", Peer::name, p.entries,
                       p.value_bytes, p.miss ? "miss" : "fit", name_of(p.distributions[d]), threads, run, s.ns, s.mops,
                       s.p50_ns, s.p99_ns, s.hit_ratio, overhead);
                fflush(stdout);
            }
        }
    }
    _exit(0); // freeing millions of entries one by one would take longer than measuring them
}

} // namespace bench
#endif // BENCH_MEM_CELL_HPP
