/* bench/snapshot_bench.c - how fast what a memory layer holds goes to a stream and comes back: entries of 100 bytes, as they are and
 * packed.
 *
 *   snapshot_bench [--entries THOUSANDS] [--rounds N] [--file PATH]
 * prints, in rows of CSV (megabytes of keys and values in a second; STREAM is of the snapshot, in bytes):
 *     snapshot,HOW,ROUND,EXPORT_MB_S,IMPORT_MB_S,ENTRIES,BYTES,STREAM      HOW: plain, zstd
 * The stream is a block of memory, so that no disk is measured, unless --file names one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench_clock.h"
#include "strata/strata.h"

struct tape {
    char *bytes;
    size_t size, room, at;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "snapshot_bench: %s\n", what);
    exit(1);
}

static void must(int rc, const strata_error *err)
{
    if (rc != STRATA_OK)
        die(err->message);
}

static int take(const void *bytes, size_t size, void *ctx)
{
    struct tape *t = ctx;
    if (size > t->room - t->size)
        return STRATA_ENOMEM;
    memcpy(t->bytes + t->size, bytes, size);
    t->size += size;
    return 0;
}

static int give(void *bytes, size_t room, size_t *out_size, void *ctx)
{
    struct tape *t = ctx;
    size_t size = t->size - t->at < room ? t->size - t->at : room;
    memcpy(bytes, t->bytes + t->at, size);
    t->at += size;
    *out_size = size;
    return 0;
}

static strata *open_cache(void)
{
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    must(strata_open_url(&cache, "memory:?max_bytes=2gb", NULL, &err), &err);
    return cache;
}

/* Text that packs as values do: words, and a part of it is chance. */
static void fill(strata *cache, uint32_t entries)
{
    strata_error err = STRATA_ERROR_INIT;
    char key[32], value[128];
    uint64_t x = 88172645463325252u;
    for (uint32_t i = 0; i < entries; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        int size = snprintf(key, sizeof key, "user:%u", i);
        (void)snprintf(value, sizeof value,
                       "{\"id\":%u,\"token\":\"%016" PRIx64
                       "%08x\",\"plan\":\"basic\",\"active\":true,\"town\":\"Uppsala\"}"
                       "                    ",
                       i, x, (unsigned)(x >> 7));
        must(strata_set(cache, strata_bytes(key, (size_t)size), strata_bytes(value, 100), NULL, &err), &err);
    }
}

static double rate(uint64_t bytes, uint64_t ns) { return (double)bytes * 1e3 / (double)ns; }

static void round_trip(strata *from, int packs, int round, struct tape *t, const char *file)
{
    strata_error err = STRATA_ERROR_INIT;
    strata_snapshot_options o = STRATA_SNAPSHOT_OPTIONS_INIT;
    strata_snapshot_report out = STRATA_SNAPSHOT_REPORT_INIT, in = STRATA_SNAPSHOT_REPORT_INIT;
    strata *to = open_cache();
    o.compression = packs ? STRATA_ON : STRATA_OFF;
    t->size = t->at = 0;
    uint64_t began = bench_now_ns();
    must(file != NULL ? strata_snapshot_save(from, file, &o, &out, &err)
                      : strata_snapshot_export(from, &o, take, t, &out, &err),
         &err);
    uint64_t written = bench_now_ns();
    must(file != NULL ? strata_snapshot_load(to, file, &o, &in, &err)
                      : strata_snapshot_import(to, &o, give, t, &in, &err),
         &err);
    uint64_t read = bench_now_ns();
    if (in.entries != out.entries)
        die("not all that was written came back");
    strata_close(to);
    printf("snapshot,%s,%d,%.0f,%.0f,%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n", packs ? "zstd" : "plain", round,
           rate(out.bytes, written - began), rate(in.bytes, read - written), out.entries, out.bytes, out.stream_bytes);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    uint32_t thousands = 1000;
    int rounds = 3;
    const char *file = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--entries") == 0)
            thousands = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--rounds") == 0)
            rounds = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--file") == 0)
            file = argv[i + 1];
        else
            die("options are --entries THOUSANDS, --rounds N, --file PATH");
    }
    if (thousands == 0 || rounds <= 0)
        die("nothing to do");
    struct tape t = { .room = ((size_t)thousands * 1000 + 1000) * 200 };
    t.bytes = malloc(t.room);
    if (t.bytes == NULL)
        die("no memory");
    memset(t.bytes, 1, t.room); /* its pages are there */
    strata *from = open_cache();
    fill(from, thousands * 1000);
    for (int round = 1; round <= rounds; round++)
        for (int packs = 0; packs < 2; packs++)
            round_trip(from, packs, round, &t, file);
    strata_close(from);
    free(t.bytes);
    return 0;
}
