/* bench/instruction_bench.c - how many instructions a memory hit takes, plain and with each option switched on, and a put.
 *
 * A child fills a cache and asks it for what is there; the parent lets the asking thread go one instruction at a time
 * (ptrace) and counts.  That needs no counter of the processor, which virtual machines often hide, and counts the C
 * library and the kernel's clock page as they run here.  To be stopped after each instruction is a break each time (os_watch.h), so the
 * child is not told of breaks.  What the loop around the call takes is counted alone and
 * subtracted.  Keys are hashed with another seed in each process, so that some of them stand beside their place in the
 * index: a row is the mean of several children.  Rows of CSV:
 *     instructions,name,get,get_or_load
 *     puts,name,instructions
 * where a get is strata_get() and strata_value_unref() of a value of 100 bytes, key of 20 bytes. */
#include "bench/bench_clock.h"
#include "strata/strata.h"
#ifndef INSTRUCTIONS_PLAIN_ALONE
#include "tests/support/no_breaks.h"
#else
static void hide_breaks(void) {}
#endif
#include <signal.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

enum {
    KEYS = 64, /* as many hits are counted, and none of those that are timed for the statistics, one of 1,024 */
    WARM_UPS = 5,
    PUTS = 512,    /* some batches of what left are freed among them */
    FITS = 1000,   /* entries, where puts are to evict */
    FILL_UPS = 20, /* PUTS each */
    KEY_BYTES = 20,
    VALUE_BYTES = 100,
    MINUTE_MS = 60000,
    HOUR_MS = 60 * MINUTE_MS
};

enum call { CALL_NOTHING, CALL_GET, CALL_LOAD, CALL_SET_AGAIN, CALL_SET_NEW, CALL_LOAD_NEW };

/* What is set before the cache is opened: a field of one of three structs. */
enum where { IN_NOTHING, IN_POLICY, IN_OPTIONS, IN_MEMORY, LISTEN, TAG_AND_BAN, IN_NAMESPACE, GET_LOADS };

struct row {
    const char *name;
    enum where where;
    size_t offset, size;
    int64_t value;
};

#define POLICY(field, value) \
    { \
#field, IN_POLICY, offsetof(strata_policy, field), sizeof((strata_policy *)0)->field, value \
    }
#define OPTION(field, value) \
    { \
#field, IN_OPTIONS, offsetof(strata_options, field), sizeof((strata_options *)0)->field, value \
    }
#define MEMORY(name, field, value) \
    { \
        name, IN_MEMORY, offsetof(strata_memory_options, field), sizeof((strata_memory_options *)0)->field, value \
    }

static const struct row rows[] = {
    { "plain", IN_NOTHING, 0, 0, 0 },
#ifndef INSTRUCTIONS_PLAIN_ALONE /* older releases, which know fewer options, can be counted with it */
    POLICY(stale_while_revalidate_ms, HOUR_MS),
    POLICY(stale_if_error_ms, HOUR_MS),
    POLICY(keep_ms, HOUR_MS),
    POLICY(negative_ttl_ms, HOUR_MS),
    POLICY(refresh_ahead_ms, MINUTE_MS),
    POLICY(refresh_ahead_percent, 5),
    POLICY(xfetch, STRATA_ON),
    POLICY(jitter_ms, MINUTE_MS),
    POLICY(align_ms, 24 * HOUR_MS),
    POLICY(layer_ttl_ms[0], HOUR_MS),
    POLICY(sliding, STRATA_ON),
    POLICY(adaptive, STRATA_ON),
    POLICY(soft_timeout_ms, MINUTE_MS),
    POLICY(hard_timeout_ms, MINUTE_MS),
    POLICY(load_limit_ms, MINUTE_MS),
    POLICY(uncacheable_ms, MINUTE_MS),
    POLICY(breaker_failures, 5),
    POLICY(max_loads, 100),
    POLICY(rate_loads, 1000000),
    OPTION(stats, STRATA_OFF),
    { "in a namespace", IN_NAMESPACE, 0, 0, 0 },
    { "in a namespace with get_loads", GET_LOADS, 0, 0, 0 },
    { "a listener to hits", LISTEN, 0, 0, 0 },
    { "tags and a ban of another one", TAG_AND_BAN, 0, 0, 0 },
    MEMORY("memory: max_ttl_ms", max_ttl_ms, 24 * HOUR_MS),
    MEMORY("memory: max_entries", max_entries, 100000),
    MEMORY("memory: pressure", pressure, STRATA_ON),
    MEMORY("memory: fifo", policy, STRATA_EVICT_FIFO),
    MEMORY("memory: sieve", policy, STRATA_EVICT_SIEVE),
    MEMORY("memory: cost", policy, STRATA_EVICT_COST),
    MEMORY("memory: lru", policy, STRATA_EVICT_LRU),
    MEMORY("memory: lfu", policy, STRATA_EVICT_LFU),
    MEMORY("memory: w-tinylfu", policy, STRATA_EVICT_WTINYLFU),
#endif
};

#define FULL_OF(name) \
    { \
        name, IN_MEMORY, offsetof(strata_memory_options, max_entries), \
            sizeof((strata_memory_options *)0)->max_entries, FITS \
    }
static const struct {
    struct row row;
    enum call call;
} puts_of[] = {
    { FULL_OF("set of a key that is there"), CALL_SET_AGAIN },
    { FULL_OF("set of another key which takes the place of one"), CALL_SET_NEW },
    { FULL_OF("get_or_load of another key which does"), CALL_LOAD_NEW },
};

static void die(const char *what, const strata_error *err)
{
    fprintf(stderr, "instruction_bench: %s: %s: %s\n", what, err->where, err->message);
    exit(1);
}

static int load(strata_load *l, strata_slice key, void *ctx)
{
    char value[VALUE_BYTES];
    (void)ctx;
    memset(value, 'v', sizeof value);
    memcpy(value, key.data, key.size);
    return strata_load_copy(l, value, sizeof value);
}

static void heard(const strata_event *event, void *ctx)
{
    (void)event;
    (void)ctx;
}

/* Fields are little numbers of 4 or 8 bytes. */
static void store(void *base, const struct row *row)
{
    char *field = (char *)base + row->offset;
    if (row->size == 4)
        memcpy(field, &(int32_t){ (int32_t)row->value }, 4);
    else
        memcpy(field, &row->value, 8);
}

static strata *open_cache(const struct row *row)
{
    strata_policy policy = STRATA_POLICY_INIT;
    strata_memory_options memory = { .size = sizeof memory };
    strata_options options = STRATA_OPTIONS_INIT;
    strata_error err = STRATA_ERROR_INIT;
    strata *cache;
    if (row->where == IN_POLICY)
        store(&policy, row);
    else if (row->where == IN_MEMORY)
        store(&memory, row);
    else if (row->where == IN_OPTIONS)
        store(&options, row);
    strata_layer *layer = strata_memory_layer(&memory);
    options.layers = &layer;
    options.layer_count = 1;
    options.policy = &policy;
    if (strata_open(&cache, &options, &err) < 0)
        die("strata_open", &err);
    uint64_t id;
    if (row->where == LISTEN && strata_on(cache, STRATA_EVENT_HIT, heard, NULL, &id) < 0)
        die("strata_on", &err);
    return cache;
}

#ifndef INSTRUCTIONS_PLAIN_ALONE
static strata *open_namespace(strata *cache, const struct row *row)
{
    strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
    strata_error err = STRATA_ERROR_INIT;
    strata *space;
    if (row->where != IN_NAMESPACE && row->where != GET_LOADS)
        return cache;
    options.loader = load;
    options.get_loads = row->where == GET_LOADS ? STRATA_ON : 0;
    if (strata_namespace(cache, "users", &options, &space, &err) < 0)
        die("strata_namespace", &err);
    return space;
}
#else
static strata *open_namespace(strata *cache, const struct row *row) { return row != NULL ? cache : NULL; }
#endif

struct text {
    char bytes[KEY_BYTES];
};

static inline strata_slice slice_of(const struct text *key) { return strata_bytes(key->bytes, sizeof key->bytes); }

static void fill(strata *cache, const struct row *row, const struct text *keys)
{
    strata_error err = STRATA_ERROR_INIT;
    for (int i = 0; i < KEYS; i++) {
        strata_value *value;
        if (strata_get_or_load(cache, slice_of(&keys[i]), load, NULL, NULL, &value, &err) != STRATA_OK)
            die("strata_get_or_load", &err);
        strata_value_unref(value);
    }
#ifndef INSTRUCTIONS_PLAIN_ALONE
    if (row->where != TAG_AND_BAN)
        return;
    char bytes[VALUE_BYTES] = "value";
    for (int i = 0; i < KEYS; i++)
        if (strata_set_tagged(cache, slice_of(&keys[i]), strata_bytes(bytes, sizeof bytes), &(strata_slice){ "red", 3 },
                              1, NULL, &err) < 0)
            die("strata_set_tagged", &err);
    if (strata_ban_tag(cache, "blue", 0, &err) < 0)
        die("strata_ban_tag", &err);
#else
    (void)row;
#endif
}

/* All keys once; returns how many were there. */
static __attribute__((noinline)) long ask(strata *cache, const struct text *keys, enum call call)
{
    long hits = 0;
    strata_value *value = NULL;
    for (int i = 0; i < KEYS; i++) {
        if (call == CALL_GET)
            hits += strata_get(cache, slice_of(&keys[i]), &value, NULL) == STRATA_OK;
        else if (call == CALL_LOAD)
            hits += strata_get_or_load(cache, slice_of(&keys[i]), load, NULL, NULL, &value, NULL) == STRATA_OK;
        else
            __asm__ volatile("" : "+m"(value) : "r"(&keys[i]));
        if (call != CALL_NOTHING)
            strata_value_unref(value);
    }
    return hits;
}

static void name_keys(struct text *keys, int count, int first)
{
    for (int i = 0; i < count; i++) {
        char name[KEY_BYTES + 1];
        snprintf(name, sizeof name, "user:%015d", first + i);
        memcpy(keys[i].bytes, name, KEY_BYTES);
    }
}

/* In the child. */
static void be_counted(const struct row *row, enum call call)
{
    static struct text keys[KEYS];
    name_keys(keys, KEYS, 0);
    strata *cache = open_cache(row), *space = open_namespace(cache, row);
    fill(space, row, keys);
    hide_breaks();
    for (int i = 0; i < WARM_UPS; i++)
        ask(space, keys, call);
    raise(SIGSTOP);
    long hits = ask(space, keys, call);
    raise(SIGSTOP);
    if (hits != (call == CALL_NOTHING ? 0 : KEYS)) {
        fprintf(stderr, "instruction_bench: %s: %ld of %d hits\n", row->name, hits, KEYS);
        exit(1);
    }
    if (space != cache)
        strata_close(space);
    strata_close(cache);
    exit(0);
}

static __attribute__((noinline)) void put(strata *cache, const struct text *keys, enum call call)
{
    static const char bytes[VALUE_BYTES] = "value";
    for (int i = 0; i < PUTS; i++) {
        strata_value *value = NULL;
        if (call == CALL_LOAD_NEW)
            (void)strata_get_or_load(cache, slice_of(&keys[i]), load, NULL, NULL, &value, NULL);
        else
            (void)strata_set(cache, slice_of(&keys[i]), strata_bytes(bytes, sizeof bytes), NULL, NULL);
        strata_value_unref(value);
    }
}

/* In the child: the same keys again and again, or others each time, which push others out. */
static void be_counted_putting(const struct row *row, enum call call)
{
    static struct text keys[PUTS];
    strata_stats stats = STRATA_STATS_INIT;
    strata *cache = open_cache(row);
    hide_breaks();
    for (int i = 0; i < FILL_UPS; i++) {
        name_keys(keys, PUTS, call == CALL_SET_AGAIN ? 0 : i * PUTS);
        put(cache, keys, call);
    }
    name_keys(keys, PUTS, call == CALL_SET_AGAIN ? 0 : FILL_UPS * PUTS);
    raise(SIGSTOP);
    put(cache, keys, call);
    raise(SIGSTOP);
    uint64_t wanted = (uint64_t)(FILL_UPS + 1) * PUTS;
    if (strata_stats_get(cache, &stats) < 0 || (call == CALL_LOAD_NEW ? stats.loads : stats.sets) != wanted) {
        fprintf(stderr, "instruction_bench: %s: not all %d were put\n", row->name, (int)wanted);
        exit(1);
    }
    strata_close(cache);
    exit(0);
}

static int wait_for(pid_t child)
{
    int status;
    while (waitpid(child, &status, 0) < 0)
        ;
    return status;
}

static void give_up(const struct row *row, int status)
{
    fprintf(stderr, "instruction_bench: %s: the child ended (%x); may this process trace another one?\n", row->name,
            (unsigned)status);
    exit(1);
}

/* From the child's first SIGSTOP to its second. */
static long count(const struct row *row, enum call call)
{
    long instructions = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0) {
            perror("instruction_bench: ptrace");
            _exit(1);
        }
        if (call >= CALL_SET_AGAIN)
            be_counted_putting(row, call);
        be_counted(row, call);
    }
    int status = child > 0 ? wait_for(child) : 0;
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGSTOP)
        give_up(row, status);
    do {
        if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) < 0)
            give_up(row, status);
        status = wait_for(child);
        instructions++;
    } while (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGSTOP)
        give_up(row, status);
    ptrace(PTRACE_CONT, child, NULL, NULL);
    status = wait_for(child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        give_up(row, status);
    return instructions;
}

static double mean(const struct row *row, enum call call, int children)
{
    long sum = 0;
    for (int i = 0; i < children; i++)
        sum += count(row, call);
    return (double)sum / children / (call >= CALL_SET_AGAIN ? PUTS : KEYS);
}

int main(int argc, char **argv)
{
    int children = argc > 1 ? atoi(argv[1]) : 3;
    if (argc > 2 || children < 1) {
        fprintf(stderr, "usage: instruction_bench [CHILDREN]\n");
        return 2;
    }
    bench_pin_thread(0); /* and the children with it: to wake a thread of another processor takes longer */
    double around = mean(&rows[0], CALL_NOTHING, 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double get = mean(&rows[i], CALL_GET, children), load_through = mean(&rows[i], CALL_LOAD, children);
        printf("instructions,%s,%.1f,%.1f\n", rows[i].name, get - around, load_through - around);
    }
    for (size_t i = 0; i < sizeof puts_of / sizeof puts_of[0]; i++)
        printf("puts,%s,%.0f\n", puts_of[i].row.name, mean(&puts_of[i].row, puts_of[i].call, children) - around);
    return 0;
}
