/* bench/ban_bench.c - what bans cost: hits, with many bans and while they come; and who issues one that a million entries match.
 *
 * Hits: two caches of one process are filled alike, every entry with two tags, and are asked for random keys in turns.  One is left in
 * peace; the other one has no bans at first (what is left of the difference is the place of its memory), then 1,000 that nothing
 * matches, then 100 more of them every second.
 * Callers: memory over a Redis of its own hold the same million entries, each with ten tags; each tag is banned once.
 *
 *   ban_bench [--rounds N] [--entries THOUSANDS] [--shared THOUSANDS]
 * prints, in rows of CSV:
 *     ban_hit,STATE,ROUND,NS,NS_IN_PEACE,ENTRIES      STATE: none, live, arriving
 *     ban_call,ENTRIES,MEDIAN_US,WORST_US,MATCHED     MATCHED: how many of 1,000 asked for were there before, and gone after
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench_clock.h"
#include "bench/bench_redis.h"
#include "strata/strata.h"

enum { PHASE_MS = 1000, TURN_MS = 50, TAGS = 10000, LIVE = 1000, NEW_A_SECOND = 100, CALLS = 10, WRITERS = 16 };

static void must(int rc, const strata_error *err)
{
    if (rc < 0)
        bench_die(err->where, err->message);
}

static strata *open_cache(const char *url)
{
    strata *cache;
    strata_error err = STRATA_ERROR_INIT;
    must(strata_open_url(&cache, url, NULL, &err), &err);
    return cache;
}

static strata_slice key_of(uint32_t n, char out[16])
{
    memcpy(out, "key:0000000000", 15);
    for (int at = 13; n != 0; n /= 10)
        out[at--] = (char)('0' + n % 10);
    return strata_bytes(out, 14);
}

static void put(strata *cache, uint32_t n, const strata_slice *tags, size_t count)
{
    strata_error err = STRATA_ERROR_INIT;
    char key[16];
    must(strata_set_tagged(cache, key_of(n, key), strata_str("a value of 32 bytes, or so......"), tags, count, NULL,
                           &err),
         &err);
}

static void ban(strata *cache, const char *kind, unsigned number)
{
    strata_error err = STRATA_ERROR_INIT;
    char tag[32];
    (void)snprintf(tag, sizeof tag, "%s:%u", kind, number);
    must(strata_ban_tag(cache, tag, STRATA_BAN_HARD, &err), &err);
}

/* Hits ---------------------------------------------------------------------------------------------------------------- */

struct asked {
    strata *cache;
    uint32_t entries;
    uint64_t random, gets, hits, ns;
};

static void fill(strata *cache, uint32_t entries)
{
    for (uint32_t i = 0; i < entries; i++) {
        char tag[32];
        int size = snprintf(tag, sizeof tag, "tag:%u", (unsigned)(i % TAGS));
        const strata_slice tags[2] = { strata_bytes(tag, (size_t)size), strata_str("all") };
        put(cache, i, tags, 2);
    }
}

/* For TURN_MS; bans come meanwhile, so many a second. */
static void ask(struct asked *a, unsigned bans_a_second)
{
    static unsigned bans;
    uint64_t begun = bench_now_ns(), now = begun, end = begun + TURN_MS * 1000000u;
    uint64_t every = bans_a_second != 0 ? 1000000000u / bans_a_second : 0, next = begun + every;
    for (; now < end; now = bench_now_ns()) {
        for (int i = 0; i < 256; i++) {
            char key[16];
            strata_value *v = NULL;
            a->random ^= a->random << 13, a->random ^= a->random >> 7, a->random ^= a->random << 17;
            a->hits += strata_get(a->cache, key_of((uint32_t)(a->random % a->entries), key), &v, NULL) == STRATA_OK;
            strata_value_unref(v);
        }
        a->gets += 256;
        for (; every != 0 && now >= next; next += every)
            ban(a->cache, "new", bans++);
    }
    a->ns += now - begun;
}

static void hits(const char *state, unsigned round, strata *cache, strata *in_peace, uint32_t entries, unsigned rate)
{
    struct asked one = { .cache = cache, .entries = entries, .random = 88172645463325252u };
    struct asked other = { .cache = in_peace, .entries = entries, .random = 88172645463325252u };
    for (unsigned turn = 0; turn < PHASE_MS / TURN_MS; turn++) {
        ask(&one, rate);
        ask(&other, 0);
    }
    if (one.hits < one.gets / 100 * 99 || other.hits < other.gets / 100 * 99)
        bench_die("bans", "what should be there is not: is there too little memory?");
    printf("ban_hit,%s,%u,%.2f,%.2f,%u\n", state, round, (double)one.ns / (double)one.gets,
           (double)other.ns / (double)other.gets, (unsigned)entries);
}

static void measure_hits(uint32_t entries, unsigned rounds)
{
    char url[64];
    (void)snprintf(url, sizeof url, "memory:?max_bytes=%umb", (unsigned)(entries / 4000 + 64));
    strata *cache = open_cache(url), *in_peace = open_cache(url);
    fill(cache, entries);
    fill(in_peace, entries);
    for (unsigned round = 1; round <= rounds; round++)
        hits("none", round, cache, in_peace, entries, 0);
    for (unsigned i = 0; i < LIVE; i++)
        ban(cache, "live", i);
    for (unsigned round = 1; round <= rounds; round++)
        hits("live", round, cache, in_peace, entries, 0);
    for (unsigned round = 1; round <= rounds; round++)
        hits("arriving", round, cache, in_peace, entries, NEW_A_SECOND);
    strata_close(cache);
    strata_close(in_peace);
}

/* Callers ------------------------------------------------------------------------------------------------------------- */

struct writer {
    pthread_t thread;
    strata *cache;
    uint32_t from, to;
};

static void *write_some(void *ctx)
{
    const struct writer *w = ctx;
    char text[CALLS][16];
    strata_slice tags[CALLS];
    for (int i = 0; i < CALLS; i++)
        tags[i] = strata_bytes(text[i], (size_t)snprintf(text[i], sizeof text[i], "call:%d", i));
    for (uint32_t i = w->from; i < w->to; i++)
        put(w->cache, i, tags, CALLS);
    return NULL;
}

static unsigned there(strata *cache, uint32_t entries)
{
    unsigned found = 0;
    char key[16];
    for (uint32_t i = 0; i < 1000; i++) {
        strata_value *v = NULL;
        found += strata_get(cache, key_of(i * (entries / 1000), key), &v, NULL) == STRATA_OK;
        strata_value_unref(v);
    }
    return found;
}

static void measure_calls(uint32_t entries)
{
    char url[160];
    struct writer writers[WRITERS];
    uint64_t ns[CALLS];
    (void)snprintf(url, sizeof url,
                   "memory:?max_bytes=%umb | redis://127.0.0.1:%u?prefix=ban:", (unsigned)(entries / 2000 + 64),
                   (unsigned)bench_redis_start());
    strata *cache = open_cache(url);
    for (uint32_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){ .cache = cache,
                                      .from = (uint32_t)((uint64_t)entries * i / WRITERS),
                                      .to = (uint32_t)((uint64_t)entries * (i + 1) / WRITERS) };
        if (pthread_create(&writers[i].thread, NULL, write_some, &writers[i]) != 0)
            bench_die("bans", "no thread");
    }
    for (int i = 0; i < WRITERS; i++)
        (void)pthread_join(writers[i].thread, NULL);
    unsigned before = there(cache, entries);
    for (unsigned i = 0; i < CALLS; i++) {
        uint64_t begun = bench_now_ns();
        ban(cache, "call", i);
        ns[i] = bench_now_ns() - begun;
    }
    unsigned after = there(cache, entries);
    qsort(ns, CALLS, sizeof ns[0], bench_compare_u64);
    printf("ban_call,%u,%.1f,%.1f,%u\n", (unsigned)entries, (double)(ns[CALLS / 2 - 1] + ns[CALLS / 2]) / 2e3,
           (double)ns[CALLS - 1] / 1e3, before - after);
    strata_close(cache);
}

int main(int argc, char **argv)
{
    uint32_t entries = 4000000, shared = 1000000;
    unsigned rounds = 5;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--rounds") == 0)
            rounds = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--entries") == 0)
            entries = (uint32_t)atoi(argv[i + 1]) * 1000;
        else if (strcmp(argv[i], "--shared") == 0)
            shared = (uint32_t)atoi(argv[i + 1]) * 1000;
    }
    if (argc % 2 == 0 || rounds < 1 || entries < 1000 || shared < 1000)
        bench_die("usage", "ban_bench [--rounds N] [--entries THOUSANDS] [--shared THOUSANDS]");
    measure_hits(entries, rounds);
    fflush(stdout);
    measure_calls(shared);
    return 0;
}
