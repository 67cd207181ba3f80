/* bench/snapshot_bench.c - how fast what a memory layer holds goes to a stream and comes back: entries of 100 bytes, as they are and
 * packed.
 *
 *   snapshot_bench [--entries THOUSANDS] [--rounds N] [--file PATH]
 * prints, in rows of CSV (WRITE and READ are megabytes of keys and values in a second; CPU the same in a second of the process's
 * processor time; STREAM is of the snapshot, in bytes):
 *     snapshot,HOW,ROUND,WRITE,READ,ENTRIES,BYTES,STREAM,WRITE_CPU,READ_CPU    HOW: plain, zstd; the stream is a block of memory
 * and with --file, in turns with that, what is written brought to the disk, and not in the page cache when it is read:
 *     file,HOW,ROUND,WRITE,READ,ENTRIES,BYTES,STREAM,WRITE_CPU,READ_CPU        strata_snapshot_save() and _load()
 *     disk,HOW,ROUND,WRITE,READ,ENTRIES,BYTES,STREAM,WRITE_CPU,READ_CPU        the same bytes by write, fsync and read alone
 *   snapshot_bench --touch
 * prints what fresh memory costs where it was free a moment ago, and for four seconds:
 *     touch,WHEN,ROUND,MS
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

/* What a part took. */
struct lap {
    uint64_t ns, spent;
};

static struct lap lap_begin(void) { return (struct lap){ bench_now_ns(), bench_spent_ns() }; }

static struct lap lap_end(struct lap begun)
{
    return (struct lap){ bench_now_ns() - begun.ns, bench_spent_ns() - begun.spent };
}

static double rate(uint64_t bytes, uint64_t ns) { return (double)bytes * 1e3 / (double)(ns != 0 ? ns : 1); }

static void tell(const char *what, int packs, int round, const strata_snapshot_report *r, struct lap out, struct lap in)
{
    printf("%s,%s,%d,%.0f,%.0f,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.0f,%.0f\n", what, packs ? "zstd" : "plain", round,
           rate(r->bytes, out.ns), rate(r->bytes, in.ns), r->entries, r->bytes, r->stream_bytes,
           rate(r->bytes, out.spent), rate(r->bytes, in.spent));
    fflush(stdout);
}

/* Not from the page cache: its pages are on the disk, so they may go. */
static void forget_pages(const char *file)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        die("the page cache keeps the file");
    close(fd);
}

/* Bytes of keys and values. */
static uint64_t round_trip(strata *from, int packs, int round, struct tape *t, const char *file)
{
    strata_error err = STRATA_ERROR_INIT;
    strata_snapshot_options o = STRATA_SNAPSHOT_OPTIONS_INIT;
    strata_snapshot_report out = STRATA_SNAPSHOT_REPORT_INIT, in = STRATA_SNAPSHOT_REPORT_INIT;
    strata *to = open_cache();
    o.compression = packs ? STRATA_ON : STRATA_OFF;
    t->size = t->at = 0;
    struct lap writes = lap_begin();
    must(file != NULL ? strata_snapshot_save(from, file, &o, &out, &err)
                      : strata_snapshot_export(from, &o, take, t, &out, &err),
         &err);
    writes = lap_end(writes);
    if (file != NULL)
        forget_pages(file);
    struct lap reads = lap_begin();
    must(file != NULL ? strata_snapshot_load(to, file, &o, &in, &err)
                      : strata_snapshot_import(to, &o, give, t, &in, &err),
         &err);
    reads = lap_end(reads);
    if (in.entries != out.entries)
        die("not all that was written came back");
    strata_close(to);
    tell(file != NULL ? "file" : "snapshot", packs, round, &out, writes, reads);
    return out.bytes;
}

static void write_all(int fd, const struct tape *t)
{
    for (size_t at = 0; at < t->size;) {
        size_t left = t->size - at;
        ssize_t n = write(fd, t->bytes + at, left < 1 << 20 ? left : 1 << 20);
        if (n <= 0)
            die("the disk takes no more");
        at += (size_t)n;
    }
    if (fsync(fd) != 0)
        die("the disk keeps nothing");
}

static void read_all(int fd, struct tape *t)
{
    ssize_t n = 1;
    for (t->at = 0; n > 0; t->at += (size_t)n) {
        n = read(fd, t->bytes + t->at, t->room - t->at < 1 << 20 ? t->room - t->at : 1 << 20);
        if (n < 0)
            die("the disk gives nothing back");
    }
    if (t->at != t->size)
        die("the disk gives back another size");
}

/* The same bytes as the stream's, which is on the tape, without a cache. */
static void disk_trip(int packs, int round, struct tape *t, const char *file, uint64_t bytes)
{
    const strata_snapshot_report r = { .bytes = bytes, .stream_bytes = t->size };
    int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        die("no file can be made there");
    struct lap writes = lap_begin();
    write_all(fd, t);
    writes = lap_end(writes);
    forget_pages(file);
    if (lseek(fd, 0, SEEK_SET) != 0)
        die("the file has no begin");
    struct lap reads = lap_begin();
    read_all(fd, t);
    reads = lap_end(reads);
    close(fd);
    tell("disk", packs, round, &r, writes, reads);
}

static void one_round(strata *from, int round, struct tape *t, const char *file)
{
    for (int packs = 0; packs < 2; packs++) {
        uint64_t bytes = round_trip(from, packs, round, t, NULL);
        if (file == NULL)
            continue;
        disk_trip(packs, round, t, file, bytes);
        (void)unlink(file);
        (void)round_trip(from, packs, round, t, file);
        (void)unlink(file);
    }
}

/* What fresh memory costs by itself, as much as a million entries take: right after as much was given back, and seconds after that. */
static void touch_fresh(void)
{
    const size_t size = (size_t)190 << 20;
    for (int round = 0; round < 6; round++) {
        if (round % 2 == 0)
            sleep(4);
        char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            die("no memory");
        (void)madvise(memory, size, MADV_HUGEPAGE); /* as the memory layer's */
        struct lap lap = lap_begin();
        for (size_t at = 0; at < size; at += 4096)
            memory[at] = 1;
        lap = lap_end(lap);
        munmap(memory, size);
        printf("touch,%s,%d,%.1f\n", round % 2 == 0 ? "after_4_s" : "at_once", round / 2 + 1, (double)lap.ns / 1e6);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    uint32_t thousands = 1000;
    int rounds = 3;
    const char *file = NULL;
    if (argc == 2 && strcmp(argv[1], "--touch") == 0) {
        touch_fresh();
        return 0;
    }
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--entries") == 0)
            thousands = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--rounds") == 0)
            rounds = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--file") == 0)
            file = argv[i + 1];
        else
            die("options are --entries THOUSANDS, --rounds N, --file PATH; or --touch");
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
        one_round(from, round, &t, file);
    strata_close(from);
    free(t.bytes);
    return 0;
}
