/* ban_bench.c - what bans cost: their caller, where a million entries match, and hits, with many bans and while they come.
 *
 *   strata_ban_bench [entries, in thousands; 1,000]
 *
 * Prints rows of name and number; every phase takes about two seconds. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "strata/strata.h"

enum { PHASE_MS = 2000, TAGS = 10000, LIVE = 1000 };

static strata *cache;
static uint32_t entries;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void must(int rc, const strata_error *err)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

/* Every entry has the tag "all", and one of many. */
static void fill(void)
{
    strata_error err = STRATA_ERROR_INIT;
    for (uint32_t i = 0; i < entries; i++) {
        char key[32], tag[32];
        int key_size = snprintf(key, sizeof key, "key:%010u", (unsigned)i);
        int tag_size = snprintf(tag, sizeof tag, "tag:%u", (unsigned)(i % TAGS));
        strata_slice tags[2] = { strata_bytes(tag, (size_t)tag_size), strata_str("all") };
        must(strata_set_tagged(cache, strata_bytes(key, (size_t)key_size),
                               strata_str("a value of 32 bytes, or so......"), tags, 2, NULL, &err),
             &err);
    }
}

/* Nanoseconds a get of a random key; a ban of a tag that nobody has every `ban_every_ns`, 0: none. */
static double gets(int64_t ban_every_ns, uint64_t *out_hits)
{
    strata_error err = STRATA_ERROR_INIT;
    uint64_t random = 88172645463325252u, count = 0, hits = 0;
    int64_t begun = now_ns(), now = begun, next = begun + ban_every_ns;
    static unsigned bans;
    while (now - begun < (int64_t)PHASE_MS * 1000000) {
        for (int i = 0; i < 256; i++, count++) {
            char key[16] = "key:0000000000";
            strata_value *v;
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            uint32_t n = (uint32_t)(random % entries);
            for (int at = 13; n != 0; n /= 10)
                key[at--] = (char)('0' + n % 10);
            hits += strata_get(cache, strata_bytes(key, 14), &v, NULL) == STRATA_OK;
            strata_value_unref(v);
        }
        now = now_ns();
        if (ban_every_ns != 0 && now >= next) {
            char tag[32];
            (void)snprintf(tag, sizeof tag, "new:%u", bans++);
            must(strata_ban_tag(cache, tag, STRATA_BAN_HARD, &err), &err);
            next += ban_every_ns;
        }
    }
    *out_hits = hits * 100 / count;
    return (double)(now - begun) / (double)count;
}

static void row(const char *name, int64_t every_ns)
{
    uint64_t hits;
    double ns = gets(every_ns, &hits);
    printf("%-40s %8.1f ns  (%u %% hits)\n", name, ns, (unsigned)hits);
}

int main(int argc, char **argv)
{
    strata_error err = STRATA_ERROR_INIT;
    char url[64], tag[32];
    entries = (argc > 1 ? (uint32_t)atoi(argv[1]) : 1000) * 1000;
    (void)snprintf(url, sizeof url, "memory:?max_bytes=%umb", (unsigned)(entries / 4000 + 64));
    must(strata_open_url(&cache, url, NULL, &err), &err);
    fill();
    row("get, no bans", 0);
    row("get, no bans, again", 0);
    for (int i = 0; i < LIVE; i++) {
        (void)snprintf(tag, sizeof tag, "live:%d", i);
        must(strata_ban_tag(cache, tag, STRATA_BAN_HARD, &err), &err);
    }
    row("get, 1,000 live bans", 0);
    row("get, 1,000 live bans, again", 0);
    row("get, 100 new bans a second", 10000000);
    int64_t begun = now_ns();
    must(strata_ban_tag(cache, "all", STRATA_BAN_HARD, &err), &err);
    printf("%-40s %8.1f us\n", "a ban that all entries match", (double)(now_ns() - begun) / 1000);
    strata_close(cache);
    return 0;
}
