// bench/peers/peer.hpp - what a backend of mem_bench is.
//
// To add one: write a struct derived from peer in a header of its own, with
//     static constexpr const char *name
//     a constructor that takes a config
//     bool get(const key &, use)    true on a hit; hands the value to use(pointer) while it is still pinned
//     void put(const key &)         stores config.value_bytes bytes of config.source, copied
// or, where `batch` is more than 1, instead of get()
//     size_t get_many(const key *, use)   `batch` keys at once; how many were hits; hands all values to use(pointer) while they are pinned
// shadow the flags that differ, and name it in mem_bench.cpp.  One object serves all threads.
#ifndef BENCH_PEERS_PEER_HPP
#define BENCH_PEERS_PEER_HPP
#include "bench/bench_keys.hpp"
#include <cstdlib>
#include <sys/mman.h>

namespace bench
{

struct config {
    size_t entries;     // distinct keys that will be asked for
    size_t value_bytes; // of each value
    size_t capacity;    // entries that it may hold
    bool bounded;       // capacity is less than entries: something must be evicted
    const char *source; // the bytes of every value
};

struct peer {
    static constexpr bool evicts = false;          // takes part in the miss cells
    static constexpr bool single_threaded = false; // must not be asked by two threads
    static constexpr bool loads = false;           // get() stores what was missing by itself
    static constexpr bool floor = false;           // no cache, a physical limit
    static constexpr size_t batch = 1;             // keys a call; more: takes part in the fit cells alone

    config cfg;
    explicit peer(const config &c) : cfg(c) {}

    void thread_begin() {} // called by each thread that is going to use it
    void thread_end() {}
};

inline char *copy_of_value(const config &cfg)
{
    char *p = (char *)malloc(cfg.value_bytes);
    if (p == nullptr)
        abort();
    memcpy(p, cfg.source, cfg.value_bytes);
    return p;
}

// Zeroed memory straight from the system, aligned to 2 MiB, in huge pages if wanted and given.
inline char *map_pages(size_t bytes, bool huge)
{
    const size_t page = (size_t)2 << 20;
    bytes = (bytes + page - 1) & ~(page - 1);
    void *raw = mmap(nullptr, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED)
        abort();
    char *p = (char *)(((uintptr_t)raw + page - 1) & ~(uintptr_t)(page - 1));
    if (huge)
        madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

} // namespace bench
#endif // BENCH_PEERS_PEER_HPP
