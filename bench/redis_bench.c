/* bench/redis_bench.c - strata over a Redis on this machine, beside hiredis itself: gets of 1 kB through the public API, without
 * a memory layer, so that each one goes to the server.
 *
 * What is compared runs in turn, in rounds, and only ratios of the same round count.
 *     redis_bench [--rounds N] [--seconds S]
 * prints, in rows of CSV, how many a second:
 *     redis,CELL,A_SECOND,ROUND
 */
#include <errno.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "bench/bench_clock.h"
#include "bench/bench_redis.h"
#include "strata/strata.h"

enum { KEYS = 1000, VALUE_BYTES = 1024, THREADS = 64, ROUNDS_MOST = 99, BULK = 100 };

static double seconds = 0.5;
static int rounds = 5;
static uint16_t port;
static strata *cache;

static redisContext *connect_raw(void)
{
    redisContext *c = redisConnect("127.0.0.1", port);
    if (c == NULL || c->err != 0)
        bench_die("redisConnect", c != NULL ? c->errstr : "no memory");
    return c;
}

/* What is stored ---------------------------------------------------------------------------------------------------- */

static size_t make_key(char room[32], uint32_t i) { return (size_t)snprintf(room, 32, "key:%05u", i % KEYS); }

static uint32_t draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void fill(void)
{
    char value[VALUE_BYTES], key[32];
    strata_error err = STRATA_ERROR_INIT;
    redisContext *raw = connect_raw();
    memset(value, 'v', sizeof value);
    for (uint32_t i = 0; i < KEYS; i++) {
        size_t size = make_key(key, i);
        redisReply *reply = redisCommand(raw, "SET %b %b", key, size, value, sizeof value);
        if (reply == NULL || reply->type == REDIS_REPLY_ERROR)
            bench_die("SET", raw->errstr);
        freeReplyObject(reply);
        if (strata_set(cache, strata_bytes(key, size), strata_bytes(value, sizeof value), NULL, &err) < 0)
            bench_die("strata_set", err.message);
    }
    redisFree(raw);
}

/* One get after the other ------------------------------------------------------------------------------------------- */

static _Atomic int over;

static uint64_t raw_gets(uint32_t seed)
{
    redisContext *c = connect_raw();
    uint64_t count = 0;
    char key[32];
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        size_t size = make_key(key, draw(&seed));
        redisReply *reply = redisCommand(c, "GET %b", key, size);
        if (reply == NULL || reply->type != REDIS_REPLY_STRING)
            bench_die("GET", c->errstr);
        freeReplyObject(reply);
        count++;
    }
    redisFree(c);
    return count;
}

static uint64_t strata_gets(uint32_t seed)
{
    uint64_t count = 0;
    char key[32];
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        strata_error err = STRATA_ERROR_INIT;
        strata_value *value = NULL;
        size_t size = make_key(key, draw(&seed));
        if (strata_get(cache, strata_bytes(key, size), &value, &err) != STRATA_OK ||
            strata_value_size(value) != VALUE_BYTES)
            bench_die("strata_get", err.message);
        strata_value_unref(value);
        count++;
    }
    return count;
}

struct getter {
    pthread_t thread;
    uint64_t (*gets)(uint32_t seed);
    uint64_t count;
    uint32_t seed;
};

static void *run_getter(void *ctx)
{
    struct getter *g = ctx;
    g->count = g->gets(g->seed);
    return NULL;
}

/* Gets a second of so many threads. */
static double threads_rate(uint64_t (*gets)(uint32_t seed), int threads)
{
    static struct getter getters[THREADS];
    atomic_store(&over, 0);
    uint64_t began = bench_now_ns(), count = 0;
    for (int i = 0; i < threads; i++) {
        getters[i] = (struct getter){ .gets = gets, .seed = (uint32_t)i * 7919u + 1 };
        if (pthread_create(&getters[i].thread, NULL, run_getter, &getters[i]) != 0)
            bench_die("pthread_create", strerror(errno));
    }
    struct timespec pause = { .tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) };
    nanosleep(&pause, NULL);
    atomic_store(&over, 1);
    for (int i = 0; i < threads; i++) {
        pthread_join(getters[i].thread, NULL);
        count += getters[i].count;
    }
    return (double)count * 1e9 / (double)(bench_now_ns() - began);
}

/* Many in flight ---------------------------------------------------------------------------------------------------- */

struct flights {
    uint64_t done, until;
    int out;
    uint32_t seed;
    strata_queue *queue;
    redisAsyncContext *raw;
};

static void strata_ask(struct flights *f);

static void strata_answered(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct flights *f = ctx;
    if (status != STRATA_OK)
        bench_die("strata_get_async", err->message);
    strata_value_unref(value);
    f->done++;
    f->out--;
    if (bench_now_ns() < f->until)
        strata_ask(f);
}

static void strata_ask(struct flights *f)
{
    char key[32];
    strata_error err = STRATA_ERROR_INIT;
    size_t size = make_key(key, draw(&f->seed));
    if (strata_get_async(cache, strata_bytes(key, size), f->queue, strata_answered, f, &err) < 0)
        bench_die("strata_get_async", err.message);
    f->out++;
}

static double strata_async_rate(int depth)
{
    struct flights f = { .seed = 1 };
    strata_error err = STRATA_ERROR_INIT;
    if (strata_queue_open(&f.queue, &err) < 0)
        bench_die("strata_queue_open", err.message);
    uint64_t began = bench_now_ns();
    f.until = began + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < depth; i++)
        strata_ask(&f);
    while (f.out > 0) {
        (void)strata_queue_wait(f.queue, -1);
        (void)strata_queue_run(f.queue, 0);
    }
    uint64_t took = bench_now_ns() - began;
    strata_queue_close(f.queue);
    return (double)f.done * 1e9 / (double)took;
}

static void raw_ask(struct flights *f);

static void raw_answered(redisAsyncContext *c, void *reply, void *ctx)
{
    struct flights *f = ctx;
    if (reply == NULL || ((redisReply *)reply)->type != REDIS_REPLY_STRING)
        bench_die("redisAsyncCommand", c->errstr);
    f->done++;
    f->out--;
    if (bench_now_ns() < f->until)
        raw_ask(f);
}

static void raw_ask(struct flights *f)
{
    char key[32];
    size_t size = make_key(key, draw(&f->seed));
    if (redisAsyncCommand(f->raw, raw_answered, f, "GET %b", key, size) != REDIS_OK)
        bench_die("redisAsyncCommand", f->raw->errstr);
    f->out++;
}

/* hiredis' hooks: which events it waits for. */
static short raw_events;
static void add_read(void *ctx) { (void)ctx, raw_events |= POLLIN; }
static void del_read(void *ctx) { (void)ctx, raw_events &= (short)~POLLIN; }
static void add_write(void *ctx) { (void)ctx, raw_events |= POLLOUT; }
static void del_write(void *ctx) { (void)ctx, raw_events &= (short)~POLLOUT; }
static void no_cleanup(void *ctx) { (void)ctx; }

/* The loop is a poll: the least that an adapter can do. */
static double raw_async_rate(int depth)
{
    struct flights f = { .seed = 1, .raw = redisAsyncConnect("127.0.0.1", port) };
    if (f.raw == NULL || f.raw->err != 0)
        bench_die("redisAsyncConnect", f.raw != NULL ? f.raw->errstr : "no memory");
    raw_events = 0;
    f.raw->ev.data = &f;
    f.raw->ev.addRead = add_read;
    f.raw->ev.delRead = del_read;
    f.raw->ev.addWrite = add_write;
    f.raw->ev.delWrite = del_write;
    f.raw->ev.cleanup = no_cleanup;
    add_write(&f);
    uint64_t began = bench_now_ns();
    f.until = began + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < depth; i++)
        raw_ask(&f);
    while (f.out > 0) {
        struct pollfd fd = { .fd = f.raw->c.fd, .events = raw_events };
        (void)poll(&fd, 1, -1);
        if (fd.revents & POLLIN)
            redisAsyncHandleRead(f.raw);
        if (fd.revents & POLLOUT)
            redisAsyncHandleWrite(f.raw);
    }
    uint64_t took = bench_now_ns() - began;
    redisAsyncFree(f.raw);
    return (double)f.done * 1e9 / (double)took;
}

/* Bulk -------------------------------------------------------------------------------------------------------------- */

static double strata_bulk_rate(void)
{
    static strata_item items[BULK];
    static char keys[BULK][32];
    uint64_t began = bench_now_ns(), until = began + (uint64_t)(seconds * 1e9), count = 0;
    uint32_t seed = 1;
    while (bench_now_ns() < until) {
        strata_error err = STRATA_ERROR_INIT;
        for (int i = 0; i < BULK; i++) {
            uint32_t number = draw(&seed);
            items[i] = (strata_item){ .key = strata_bytes(keys[i], make_key(keys[i], number)) };
        }
        if (strata_get_many(cache, items, BULK, &err) != STRATA_OK)
            bench_die("strata_get_many", err.message);
        for (int i = 0; i < BULK; i++)
            strata_value_unref(items[i].value);
        count++;
    }
    return (double)count * 1e9 / (double)(bench_now_ns() - began);
}

static double raw_bulk_rate(void)
{
    static char keys[BULK][32];
    const char *args[BULK + 1] = { "MGET" };
    size_t sizes[BULK + 1] = { 4 };
    redisContext *c = connect_raw();
    uint64_t began = bench_now_ns(), until = began + (uint64_t)(seconds * 1e9), count = 0;
    uint32_t seed = 1;
    while (bench_now_ns() < until) {
        for (int i = 0; i < BULK; i++) {
            sizes[i + 1] = make_key(keys[i], draw(&seed));
            args[i + 1] = keys[i];
        }
        redisReply *reply = redisCommandArgv(c, BULK + 1, args, sizes);
        if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
            bench_die("MGET", c->errstr);
        freeReplyObject(reply);
        count++;
    }
    redisFree(c);
    return (double)count * 1e9 / (double)(bench_now_ns() - began);
}

/* Rounds ------------------------------------------------------------------------------------------------------------ */

/* One line of a cell.  The names are those of the rows; the goals stand in report/report_redis_goals.cpp. */
static void row(const char *cell, int round, double per_second)
{
    printf("redis,%s,%.1f,%d\n", cell, per_second, round);
    fflush(stdout);
}

static void run_round(int r)
{
    row("hiredis_1", r, threads_rate(raw_gets, 1));
    row("strata_1", r, threads_rate(strata_gets, 1));
    row("hiredis_64", r, threads_rate(raw_gets, THREADS));
    row("strata_64", r, threads_rate(strata_gets, THREADS));
    row("strata_async_64", r, strata_async_rate(64));
    row("hiredis_async_256", r, raw_async_rate(256));
    row("strata_async_256", r, strata_async_rate(256));
    row("hiredis_mget_100", r, raw_bulk_rate());
    row("strata_many_100", r, strata_bulk_rate());
}

int main(int argc, char **argv)
{
    char url[128];
    strata_error err = STRATA_ERROR_INIT;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc)
            bench_die(argv[i], "it wants a value");
        if (strcmp(argv[i], "--rounds") == 0)
            rounds = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = atof(argv[i + 1]);
        else
            bench_die(argv[i], "there is no such option; --rounds N, --seconds S");
    }
    if (rounds < 1 || rounds > ROUNDS_MOST || !(seconds > 0))
        bench_die("--rounds, --seconds", "1 to 99, and more than 0");
    port = bench_redis_start();
    snprintf(url, sizeof url, "redis://127.0.0.1:%u?prefix=bench:&compression=none", (unsigned)port);
    if (strata_open_url(&cache, url, NULL, &err) < 0)
        bench_die("strata_open_url", err.message);
    fill();
    for (int r = 1; r <= rounds; r++) {
        run_round(r);
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "\r  over a server, round %d of %d", r, rounds);
    }
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%40s\r", "");
    return strata_close(cache) < 0;
}
