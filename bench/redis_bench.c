/* bench/redis_bench.c - strata over a Redis on this machine, beside hiredis itself: gets of 1 kB through the public API, without
 * a memory layer, so that each one goes to the server.
 *
 * The server is the benchmark's own: on a free port of 127.0.0.1, in a folder of its own, without persistence.  What is compared
 * runs in turn, in rounds, and the ratios are of the same round; medians are printed.
 * Then the server is stopped (SIGSTOP), below a memory layer: what hits in memory and cold misses cost meanwhile.
 *     redis_bench [--rounds N] [--seconds S]
 */
#include <errno.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <poll.h>

#include "bench/bench_clock.h"
#include "strata/strata.h"

enum { KEYS = 1000, VALUE_BYTES = 1024, THREADS = 64, ROUNDS_MOST = 99, BULK = 100 };

static double seconds = 0.5;
static int rounds = 5;
static uint16_t port;
static strata *cache;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "redis_bench: %s: %s\n", what, why);
    exit(1);
}

/* The server -------------------------------------------------------------------------------------------------------- */

static pid_t server;
static char folder[64];

static void stop_server(void)
{
    if (server > 0) {
        kill(server, SIGKILL);
        (void)waitpid(server, NULL, 0);
        server = 0;
    }
    if (folder[0] != '\0')
        (void)rmdir(folder);
}

static uint16_t free_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)(void *)&address, sizeof address) != 0 ||
        getsockname(fd, (struct sockaddr *)(void *)&address, &size) != 0)
        die("no free port", strerror(errno));
    close(fd);
    return ntohs(address.sin_port);
}

static redisContext *connect_raw(void)
{
    redisContext *c = redisConnect("127.0.0.1", port);
    if (c == NULL || c->err != 0)
        die("redisConnect", c != NULL ? c->errstr : "no memory");
    return c;
}

static void start_server(void)
{
    char number[16];
    snprintf(folder, sizeof folder, "/tmp/strata-redis-XXXXXX");
    if (mkdtemp(folder) == NULL)
        die("mkdtemp", strerror(errno));
    port = free_port();
    snprintf(number, sizeof number, "%u", (unsigned)port);
    atexit(stop_server);
    server = fork();
    if (server == 0) {
        if (chdir(folder) == 0 && freopen("/dev/null", "w", stdout) != NULL)
            execlp("redis-server", "redis-server", "--port", number, "--bind", "127.0.0.1", "--save", "",
                   "--appendonly", "no", (char *)NULL);
        _exit(127);
    }
    for (int tries = 0; tries < 200; tries++) {
        redisContext *c = redisConnect("127.0.0.1", port);
        int up = c != NULL && c->err == 0;
        if (c != NULL)
            redisFree(c);
        if (up)
            return;
        if (waitpid(server, NULL, WNOHANG) != 0) {
            server = 0;
            die("redis-server", "it could not be started: install redis-server");
        }
        struct timespec pause = { .tv_nsec = 20000000 };
        nanosleep(&pause, NULL);
    }
    die("redis-server", "it does not answer");
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
            die("SET", raw->errstr);
        freeReplyObject(reply);
        if (strata_set(cache, strata_bytes(key, size), strata_bytes(value, sizeof value), NULL, &err) < 0)
            die("strata_set", err.message);
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
            die("GET", c->errstr);
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
            die("strata_get", err.message);
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
            die("pthread_create", strerror(errno));
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
        die("strata_get_async", err->message);
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
        die("strata_get_async", err.message);
    f->out++;
}

static double strata_async_rate(int depth)
{
    struct flights f = { .seed = 1 };
    strata_error err = STRATA_ERROR_INIT;
    if (strata_queue_open(&f.queue, &err) < 0)
        die("strata_queue_open", err.message);
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
        die("redisAsyncCommand", c->errstr);
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
        die("redisAsyncCommand", f->raw->errstr);
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
        die("redisAsyncConnect", f.raw != NULL ? f.raw->errstr : "no memory");
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
            die("strata_get_many", err.message);
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
            die("MGET", c->errstr);
        freeReplyObject(reply);
        count++;
    }
    redisFree(c);
    return (double)count * 1e9 / (double)(bench_now_ns() - began);
}

/* Rounds ------------------------------------------------------------------------------------------------------------ */

enum { RAW_1, STRATA_1, RAW_64, STRATA_64, ASYNC_64, RAW_256, ASYNC_256, RAW_BULK, STRATA_BULK, CELLS };
static const char *const cell_names[CELLS] = { "hiredis GET, 1 thread",
                                               "strata_get, 1 thread",
                                               "hiredis GET, 64 threads, 64 connections",
                                               "strata_get, 64 threads, 2 connections",
                                               "strata_get_async, 64 in flight",
                                               "hiredis async, 256 in flight, 1 connection",
                                               "strata_get_async, 256 in flight",
                                               "hiredis MGET of 100",
                                               "strata_get_many of 100" };
static double cells[CELLS][ROUNDS_MOST];

struct goal {
    const char *words;
    int above, below; /* cells: above / below */
    double asked;
    int at_most;
};
static const struct goal goals[] = {
    { "Redis, blocking get, 1 thread: time, of hiredis' own", RAW_1, STRATA_1, 1.25, 1 },
    { "Redis, 64 blocking threads: throughput, of one blocking connection", STRATA_64, RAW_1, 3.0, 0 },
    { "the same, of 64 connections", STRATA_64, RAW_64, 1.6, 0 },
    { "Redis, 64 in flight: throughput, of one blocking connection", ASYNC_64, RAW_1, 10.0, 0 },
    { "Redis, 256 in flight: throughput, of hiredis' asynchronous API", ASYNC_256, RAW_256, 0.7, 0 },
    { "Redis, 100 keys at once: time, of the bare MGET", RAW_BULK, STRATA_BULK, 1.3, 1 },
};

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *of, int count)
{
    double copy[ROUNDS_MOST];
    memcpy(copy, of, (size_t)count * sizeof *of);
    qsort(copy, (size_t)count, sizeof *copy, by_size);
    return copy[count / 2];
}

static void run_round(int r)
{
    cells[RAW_1][r] = threads_rate(raw_gets, 1);
    cells[STRATA_1][r] = threads_rate(strata_gets, 1);
    cells[RAW_64][r] = threads_rate(raw_gets, THREADS);
    cells[STRATA_64][r] = threads_rate(strata_gets, THREADS);
    cells[ASYNC_64][r] = strata_async_rate(64);
    cells[RAW_256][r] = raw_async_rate(256);
    cells[ASYNC_256][r] = strata_async_rate(256);
    cells[RAW_BULK][r] = raw_bulk_rate();
    cells[STRATA_BULK][r] = strata_bulk_rate();
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rround %d of %d", r + 1, rounds);
}

static void report(void)
{
    printf("\n%-45s %14s\n", "", "a second");
    for (int i = 0; i < CELLS; i++)
        printf("%-45s %14.0f\n", cell_names[i], median(cells[i], rounds));
    printf("\n%-66s %9s\n", "Ratios, medians of the rounds", "measured");
    for (size_t i = 0; i < sizeof goals / sizeof goals[0]; i++) {
        const struct goal *g = &goals[i];
        double ratios[ROUNDS_MOST];
        for (int r = 0; r < rounds; r++)
            ratios[r] = cells[g->above][r] / cells[g->below][r];
        double ratio = median(ratios, rounds);
        int met = g->at_most ? ratio <= g->asked : ratio >= g->asked;
        printf("%-66s %7.2f x  %s  at %s %.2f x\n", g->words, ratio, met ? "met   " : "missed",
               g->at_most ? "most " : "least", g->asked);
    }
}

/* A server that does not answer ----------------------------------------------------------------------------------- */

enum { SOFT_TIMEOUT_MS = 50, BREAKER_FAILURES = 5, COLD = 200, HITS = 200000 };

static int load_at_once(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    return strata_load_copy(load, ctx, VALUE_BYTES);
}

/* Microseconds of one load of a key that nobody has. */
static double cold_us(strata *stack, uint32_t number)
{
    static char value[VALUE_BYTES];
    char key[32];
    strata_error err = STRATA_ERROR_INIT;
    strata_value *found = NULL;
    size_t size = (size_t)snprintf(key, sizeof key, "cold:%u", number);
    uint64_t began = bench_now_ns();
    if (strata_get_or_load(stack, strata_bytes(key, size), load_at_once, value, NULL, &found, &err) < 0)
        die("strata_get_or_load", err.message);
    strata_value_unref(found);
    return (double)(bench_now_ns() - began) / 1e3;
}

static double cold_median_us(strata *stack, uint32_t from, int count)
{
    double each[COLD];
    for (int i = 0; i < count; i++)
        each[i] = cold_us(stack, from + (uint32_t)i);
    return median(each, count);
}

static double hit_ns(strata *stack)
{
    uint64_t began = bench_now_ns();
    for (int i = 0; i < HITS; i++) {
        strata_value *found = NULL;
        if (strata_get(stack, strata_str("cold:0"), &found, NULL) != STRATA_OK)
            die("strata_get", "what was loaded is not in memory");
        strata_value_unref(found);
    }
    return (double)(bench_now_ns() - began) / HITS;
}

static void stopped_server(void)
{
    char url[256];
    strata *stack;
    strata_error err = STRATA_ERROR_INIT;
    snprintf(url, sizeof url,
             "memory:?max_bytes=16mb|redis://127.0.0.1:%u?prefix=stopped:&soft_timeout_ms=%dms&breaker_failures=%d"
             "&breaker_open_ms=60s",
             (unsigned)port, SOFT_TIMEOUT_MS, BREAKER_FAILURES);
    if (strata_open_url(&stack, url, NULL, &err) < 0)
        die("strata_open_url", err.message);
    double cold = cold_median_us(stack, 0, COLD), hit = hit_ns(stack);
    kill(server, SIGSTOP);
    double first = cold_median_us(stack, 1000, BREAKER_FAILURES - 1), hit_stopped = hit_ns(stack);
    (void)cold_median_us(stack, 2000, BREAKER_FAILURES); /* it opens */
    double open = cold_median_us(stack, 3000, COLD);
    kill(server, SIGCONT);
    printf("\n%-45s %14s %14s %14s\n", "Memory over Redis, soft timeout 50 ms", "server well", "stopped",
           "breaker open");
    printf("%-45s %11.1f ns %11.1f ns %14s\n", "hit in memory", hit, hit_stopped, "");
    printf("%-45s %11.3f ms %11.3f ms %11.3f ms\n", "cold miss, a loader that takes no time", cold / 1e3, first / 1e3,
           open / 1e3);
    if (strata_close(stack) < 0)
        die("strata_close", "it failed");
}

int main(int argc, char **argv)
{
    char url[128];
    strata_error err = STRATA_ERROR_INIT;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc)
            die(argv[i], "it wants a value");
        if (strcmp(argv[i], "--rounds") == 0)
            rounds = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = atof(argv[i + 1]);
        else
            die(argv[i], "there is no such option; --rounds N, --seconds S");
    }
    if (rounds < 1 || rounds > ROUNDS_MOST || !(seconds > 0))
        die("--rounds, --seconds", "1 to 99, and more than 0");
    start_server();
    snprintf(url, sizeof url, "redis://127.0.0.1:%u?prefix=bench:", (unsigned)port);
    if (strata_open_url(&cache, url, NULL, &err) < 0)
        die("strata_open_url", err.message);
    fill();
    for (int r = 0; r < rounds; r++)
        run_round(r);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\n");
    report();
    stopped_server();
    return strata_close(cache) < 0;
}
