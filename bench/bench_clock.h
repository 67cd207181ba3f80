/* bench/bench_clock.h - clocks, processor choice and memory use for the benchmarks.
 *
 * Two clocks: nanoseconds for throughput passes (read once in 1,024 operations), and the cycle counter for
 * passes that time every operation on its own.  The cycle counter is fenced, so that it waits for the operation
 * and sees its full latency; what an empty pair of readings costs is measured first and subtracted.
 * Where there is no cycle counter that we know how to read, nanoseconds stand in for it.
 * C11 and C++17; everything is inline. */
#ifndef BENCH_BENCH_CLOCK_H
#define BENCH_BENCH_CLOCK_H
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

static inline uint64_t bench_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Processor time of the whole process. */
static inline uint64_t bench_spent_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t bench_ticks_begin(void)
{
#if defined(__x86_64__)
    _mm_lfence();
    return __rdtsc();
#else
    return bench_now_ns();
#endif
}

static inline uint64_t bench_ticks_end(void)
{
#if defined(__x86_64__)
    unsigned int processor;
    uint64_t t = __rdtscp(&processor);
    _mm_lfence();
    return t;
#else
    return bench_now_ns();
#endif
}

/* How many ticks make a nanosecond; takes 50 ms. */
static inline double bench_ticks_per_ns(void)
{
    uint64_t n0 = bench_now_ns(), t0 = bench_ticks_end(), n1, t1;
    do {
        n1 = bench_now_ns();
        t1 = bench_ticks_end();
    } while (n1 - n0 < 50000000u);
    return (double)(t1 - t0) / (double)(n1 - n0);
}

static inline int bench_compare_u64(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* The median cost of timing nothing, in ticks. */
static inline uint64_t bench_ticks_overhead(void)
{
    enum { COUNT = 20001 };
    static uint64_t sample[COUNT];
    for (int i = 0; i < COUNT; i++) {
        uint64_t t = bench_ticks_begin();
        sample[i] = bench_ticks_end() - t;
    }
    qsort(sample, COUNT, sizeof sample[0], bench_compare_u64);
    return sample[COUNT / 2];
}

/* Keep the calling thread on the index-th processor that this process may use (from the end when there are fewer).
 * Threads started afterwards inherit it, so pin the measuring threads, never main. */
static inline void bench_pin_thread(size_t index)
{
    cpu_set_t allowed, one;
    size_t cpus[CPU_SETSIZE], count = 0;
    if (sched_getaffinity(getpid(), sizeof allowed, &allowed) != 0) {
        return;
    }
    for (size_t i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &allowed)) {
            cpus[count++] = i;
        }
    }
    if (count == 0) {
        return;
    }
    CPU_ZERO(&one);
    CPU_SET(cpus[index < count ? index : count - 1], &one);
    sched_setaffinity(0, sizeof one, &one);
}

/* Resident memory of this process.  smaps_rollup is exact; statm lags behind by some pages a processor. */
static inline uint64_t bench_resident_bytes(void)
{
    char line[256];
    unsigned long kib = 0, pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    if (f != NULL) {
        while (fgets(line, sizeof line, f) != NULL) {
            if (sscanf(line, "Rss: %lu kB", &kib) == 1) {
                break;
            }
        }
        fclose(f);
        if (kib != 0) {
            return (uint64_t)kib * 1024u;
        }
    }
    f = fopen("/proc/self/statm", "r");
    if (f != NULL) {
        if (fscanf(f, "%lu %lu", &pages, &resident) != 2) {
            resident = 0;
        }
        fclose(f);
    }
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

#endif /* BENCH_BENCH_CLOCK_H */
