/* test_disk_kill.c - kill -9 at random moments of a mixed workload, reopen, and compare with the workload's own history.
 *
 * A *directory* has some rounds.  In each a child opens it and works on it with several threads: first puts, overwrites, removes,
 * clears, gets, of 0 to 64 KiB.  It is killed after a random number of steps, while it opens, before its n-th system call, or
 * just when it writes.  Another child opens what is left and looks at every key: never what was superseded, never what was
 * not written, nothing damaged.  Where there is room for all, what may be missing besides is what was put last and replaced
 * nothing, no more than the buffers hold.  Then the next round goes on from there.
 *
 * 50 rounds; 500 where STRATA_TEST_LONG is set.  STRATA_SEED says which choices are made; the moment of a death is the
 * machine's own, so a seed makes a failure likely again, not certain. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include "tests/support/cmocka_all.h"

#include "src/os/os_fault.h"
#include "strata/version.h"
#include "tests/fault/kill_store.h"
#include "tests/support/temp_dir.h"

enum { ROUNDS = 50, ROUNDS_LONG = 500, ROUNDS_OF_ONE = 6, THREADS_MOST = 4, STEPS_MOST = 12000 };

/* How a round ends. */
enum { AFTER_STEPS, WHILE_OPENING, BEFORE_A_CALL, BEFORE_A_RARE_CALL, WHILE_WRITING, AFTER_A_CLEAR, DEATHS };
static const char *const death_names[DEATHS] = {
    "after some steps", "while it opens", "before a system call", "before a system call that neither reads nor writes",
    "while it writes",  "after a clear"
};
static const char *const kind_names[STORE_KINDS] = { "the layer", "a cache of disk", "a cache of memory and disk" };

/* What one directory is. */
struct plan {
    strata_disk_options options;
    int kind;
    int roomy; /* nothing has to leave */
    uint32_t threads;
    int maintained;
    uint64_t random;
    char path[256];
};

struct death {
    struct os_fault_hook hook;
    struct history *history;
    int how;
    int nth;           /* call, or after so many steps */
    int opening_alone; /* it shall not work */
    _Atomic(int) seen;
};

static uint64_t draw(uint64_t *random)
{
    *random += 0x9e3779b97f4a7c15u;
    uint64_t x = *random;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint32_t below(uint64_t *random, uint32_t most) { return (uint32_t)(draw(random) % most); }

/* What a round's workers do, of 10,000 steps; the rest are gets.  `hot`: how many puts of ten go to few keys; `few` of the
 * rest do, of ten. */
struct mixture {
    uint32_t puts, removes, clears, hot, few;
};
static const struct mixture mixtures[] = {
    { 4200, 1400, 30, 5, 5 }, /* of everything */
    { 8000, 200, 30, 0, 0 },  /* mostly first puts */
    { 4000, 1000, 2, 10, 0 }, /* segments that soon hold nothing but what took other keys away */
};
enum { MIXTURES = sizeof mixtures / sizeof mixtures[0], FEW_KEYS = 40 };

/* The one that dies --------------------------------------------------------------------------------------------- */

struct worker {
    pthread_t thread;
    struct kill_store *store;
    struct death *death;
    uint64_t random;
    const struct mixture *mixture;
};

static uint32_t some_size(uint64_t *random)
{
    uint32_t what = below(random, 100);
    return what < 10   ? below(random, 20)
           : what < 60 ? below(random, 400)
           : what < 90 ? below(random, 4096)
           : what < 98 ? below(random, 16384)
                       : below(random, 65537);
}

static void die_now(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void clear(struct worker *w)
{
    kill_store_clear(w->store, below(&w->random, HISTORY_CLASSES + 1));
    if (w->death->how == AFTER_A_CLEAR && atomic_fetch_add(&w->death->seen, 1) + 1 == w->death->nth)
        die_now();
}

static void one_step(struct worker *w)
{
    const struct mixture *m = w->mixture;
    uint32_t what = below(&w->random, 10000);
    uint32_t hot = what < m->puts ? m->hot : m->few;
    uint32_t key = below(&w->random, below(&w->random, 10) < hot ? FEW_KEYS : HISTORY_KEYS);
    if (what < m->puts)
        kill_store_put(w->store, key, some_size(&w->random));
    else if (what < m->puts + m->removes)
        kill_store_remove(w->store, key);
    else if (what < m->puts + m->removes + m->clears)
        clear(w);
    else
        kill_store_get(w->store, key);
}

static void *work(void *ctx)
{
    struct worker *w = ctx;
    struct history *h = w->store->history;
    while (atomic_load(&h->writes) < HISTORY_WRITES - 1 && !atomic_load(&h->failed)) {
        one_step(w);
        atomic_fetch_add(&h->steps, 1);
    }
    return NULL;
}

static void *maintain(void *ctx)
{
    struct worker *w = ctx;
    const struct timespec a_while = { 0, 500000 };
    for (;;) {
        kill_store_maintain(w->store);
        nanosleep(&a_while, NULL);
    }
    return NULL;
}

static int on_call(const char *call, void *ctx)
{
    struct death *death = ctx;
    int moves = strcmp(call, "pread") == 0 || strcmp(call, "pwrite") == 0;
    if ((death->how == BEFORE_A_RARE_CALL && moves) || (death->how == WHILE_WRITING && strcmp(call, "pwrite") != 0))
        return 0;
    if (atomic_fetch_add(&death->seen, 1) + 1 != death->nth)
        return 0;
    if (death->how != WHILE_WRITING)
        die_now();
    atomic_store(&death->history->shoot, 1);
    return 0;
}

/* Not the parent's to wait for for ever, where the parent is killed. */
static void be_a_child(void)
{
#if defined(__linux__)
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
}

static struct kill_store *store_of(const struct plan *plan, struct history *h)
{
    struct kill_store *s = calloc(1, sizeof *s);
    if (s == NULL)
        abort();
    s->kind = plan->kind;
    s->options = plan->options;
    s->options.path = plan->path;
    s->history = h;
    return s;
}

static void live(const struct plan *plan, struct history *h, uint64_t random, struct death *death)
{
    struct worker workers[THREADS_MOST + 1];
    strata_error err = STRATA_ERROR_INIT;
    const struct mixture *mixture = &mixtures[below(&random, MIXTURES)];
    be_a_child();
    struct kill_store *s = store_of(plan, h);
    if (death->how >= BEFORE_A_CALL && death->how <= WHILE_WRITING)
        strata__os_fault_set(&death->hook);
    int rc = kill_store_open(s, draw(&random), &err);
    if (rc != STRATA_OK) {
        history_fail(h, "not opened: %d, %s", rc, err.message);
        _exit(1);
    }
    atomic_store(&h->ready, 1);
    for (uint32_t i = 0; i <= plan->threads; i++) {
        workers[i].store = s;
        workers[i].death = death;
        workers[i].random = draw(&random);
        workers[i].mixture = mixture;
        if (i < plan->threads || plan->maintained)
            if (pthread_create(&workers[i].thread, NULL, i < plan->threads ? work : maintain, &workers[i]) != 0)
                _exit(2);
    }
    for (;;)
        pause();
}

/* The one that looks -------------------------------------------------------------------------------------------- */

struct sight {
    unsigned char there[HISTORY_KEYS];
    size_t sure[HISTORY_KEYS];
    uint64_t end[HISTORY_KEYS];
    int replaced[HISTORY_KEYS];
};

/* Before anything is looked at: what is expected. */
static void expect(struct history *h, struct sight *sight)
{
    for (uint32_t k = 0; k < HISTORY_KEYS; k++) {
        sight->sure[k] = history_sure(h, k, &sight->end[k], &sight->replaced[k]);
        uint64_t begin = atomic_load(&h->write[atomic_load(&h->key[k].last)].begin);
        if (sight->sure[k] != 0 && sight->replaced[k] && begin > atomic_load(&h->waited))
            atomic_store(&h->waited, begin);
    }
}

static void look(struct kill_store *s, struct sight *sight)
{
    struct history *h = s->history;
    for (uint32_t k = 0; k < HISTORY_KEYS && !atomic_load(&h->failed); k++) {
        strata_value *value = kill_store_look(s, k);
        sight->there[k] = value != NULL;
        history_seen(h, k, value != NULL ? strata_value_data(value) : NULL,
                     value != NULL ? strata_value_size(value) : 0);
        strata_value_unref(value);
        h->seen += sight->there[k];
    }
}

/* Nothing had to leave, so what is gone was in the last buffers. */
static void account(const struct plan *plan, struct history *h, const struct sight *sight)
{
    size_t bytes = 0;
    for (uint32_t k = 0; k < HISTORY_KEYS && !atomic_load(&h->failed); k++) {
        if (sight->sure[k] == 0 || sight->there[k])
            continue;
        uint64_t begin = atomic_load(&h->write[atomic_load(&h->key[k].last)].begin);
        if (sight->replaced[k])
            history_fail(h, "key %u is gone, whose last put had replaced another value, and returned", k);
        else if (begin < h->life_began)
            history_fail(h, "key %u is gone, which an earlier process had put", k);
        else if (sight->end[k] < atomic_load(&h->waited))
            history_fail(h, "key %u is gone, which was put before something else returned that waits for all before it",
                         k);
        bytes += sight->sure[k] - 1;
        h->lost++;
    }
    h->lost_bytes += bytes;
    if (plan->options.compression == 0 && bytes > 2 * plan->options.write_buffer_bytes)
        history_fail(h, "%zu bytes were lost, more than two buffers", bytes);
}

static void no_damage(struct kill_store *s)
{
    strata_layer_stats stats = kill_store_stats(s);
    if (stats.errors != 0)
        history_fail(s->history, "%llu errors were counted at opening: a death is no damage",
                     (unsigned long long)stats.errors);
}

static void inspect(const struct plan *plan, struct history *h, uint64_t random)
{
    static struct sight first, second;
    strata_error err = STRATA_ERROR_INIT;
    be_a_child();
    struct kill_store *s = store_of(plan, h);
    expect(h, &first);
    int rc = kill_store_open(s, draw(&random), &err);
    if (rc != STRATA_OK) {
        history_fail(h, "not opened after a death: %d, %s", rc, err.message);
        _exit(1);
    }
    no_damage(s);
    look(s, &first);
    if (plan->roomy)
        account(plan, h, &first);
    if (below(&random, 2)) {
        kill_store_close(s);
        if (kill_store_open(s, draw(&random), &err) != STRATA_OK)
            history_fail(h, "not opened after a close: %s", err.message);
        else
            look(s, &second);
        for (uint32_t k = 0; k < HISTORY_KEYS; k++)
            if (first.there[k] && !second.there[k])
                history_fail(h, "key %u was lost by a close", k);
        if (below(&random, 2))
            kill_store_close(s);
    }
    _exit(0);
}

/* The one that kills -------------------------------------------------------------------------------------------- */

static void report(const struct plan *plan, const struct history *h, uint64_t seed, int round, const struct death *death)
{
    fail_msg("%s\nround %d, %s, %s, killed %s (%d); %u threads, segments of %llu, buffers of %llu, compression %d; "
             "STRATA_SEED=%llu",
             h->words, round, kind_names[plan->kind], plan->roomy ? "roomy" : "tight", death_names[death->how],
             death->nth, plan->threads, (unsigned long long)plan->options.segment_bytes,
             (unsigned long long)plan->options.write_buffer_bytes, plan->options.compression, (unsigned long long)seed);
}

static int is_time(const struct history *h, const struct death *death)
{
    if (atomic_load(&h->failed) || atomic_load(&h->shoot))
        return 1;
    if (death->how == WHILE_OPENING)
        return 1;
    if (death->opening_alone && atomic_load(&h->ready))
        return 1;
    return atomic_load(&h->steps) >= (uint64_t)(death->how == AFTER_STEPS ? death->nth : STEPS_MOST);
}

static void kill_in_time(struct history *h, const struct death *death, pid_t child)
{
    const struct timespec opening = { 0, death->nth * 1000L }, a_moment = { 0, 30000 };
    int status = 0;
    pid_t ended = 0;
    if (death->how == WHILE_OPENING)
        nanosleep(&opening, NULL);
    while (!is_time(h, death) && (ended = waitpid(child, &status, WNOHANG)) == 0)
        if (death->how == WHILE_WRITING)
            sched_yield();
        else
            nanosleep(&a_moment, NULL);
    if (ended == 0) {
        kill(child, SIGKILL);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
    }
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        history_fail(h, "the child ended by itself: %s %d", WIFSIGNALED(status) ? "signal" : "exit",
                     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void wait_for(struct history *h, pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        history_fail(h, "the child that looks ended with status %x", (unsigned)status);
}

static struct death some_death(struct history *h, uint64_t *random)
{
    struct death death = { .history = h, .how = (int)below(random, DEATHS) };
    uint32_t most[DEATHS] = { STEPS_MOST, 3000, 20000, 600, 3000, 8 };
    death.nth = 1 + (int)below(random, 1 + below(random, most[death.how])); /* early ones more often */
    return death;
}

static void live_and_die(const struct plan *plan, struct history *h, uint64_t random, struct death *death)
{
    death->hook = (struct os_fault_hook){ on_call, death, NULL };
    pid_t child = fork();
    if (child == 0)
        live(plan, h, random, death);
    assert_true(child > 0);
    kill_in_time(h, death, child);
    history_dead(h);
}

/* What opens after a death dies, too. */
static void die_opening(const struct plan *plan, struct history *h, uint64_t *random)
{
    struct plan idle = *plan;
    struct death death = { .history = h, .opening_alone = 1 };
    idle.threads = 0;
    idle.maintained = 0;
    death.how = below(random, 2) ? BEFORE_A_CALL : BEFORE_A_RARE_CALL;
    death.nth = 1 + (int)below(random, 40);
    atomic_store(&h->ready, 0);
    live_and_die(&idle, h, draw(random), &death);
}

static void one_round(struct plan *plan, struct history *h, uint64_t seed, int round)
{
    struct death death = some_death(h, &plan->random);
    uint64_t random = draw(&plan->random);
    history_born(h);
    live_and_die(plan, h, random, &death);
    while (!atomic_load(&h->failed) && below(&plan->random, 3) == 0)
        die_opening(plan, h, &plan->random);
    if (!atomic_load(&h->failed)) {
        pid_t child = fork();
        if (child == 0)
            inspect(plan, h, draw(&random));
        assert_true(child > 0);
        wait_for(h, child);
    }
    if (atomic_load(&h->failed))
        report(plan, h, seed, round, &death);
}

static struct plan some_plan(uint64_t *random, int kind, int roomy)
{
    static const uint64_t buffers[] = { 4096, 8192, 32768, 262144 };
    struct plan plan = { .kind = kind, .roomy = roomy };
    strata_disk_options *o = &plan.options;
    plan.random = draw(random);
    plan.threads = 1 + below(random, THREADS_MOST);
    plan.maintained = below(random, 3) != 0;
    o->size = sizeof *o;
    o->max_bytes = plan.roomy ? 512u << 20 : (1u << 20) << below(random, 3);
    o->segment_bytes = (64u << 10) << below(random, plan.roomy ? 4 : 2);
    o->write_buffer_bytes = buffers[below(random, 4)];
    if (below(random, 3) == 0)
        o->compression = below(random, 2) ? STRATA_COMPRESS_LZ4 : STRATA_COMPRESS_ZSTD;
    if (strstr(strata_features(), o->compression == STRATA_COMPRESS_LZ4 ? "lz4" : "zstd") == NULL)
        o->compression = 0;
    o->compress_above_bytes = 64;
    return plan;
}

static void run(int kind, uint64_t salt)
{
    const char *chosen = getenv("STRATA_SEED"), *often = getenv("STRATA_TEST_LONG");
    uint64_t seed = chosen != NULL ? strtoull(chosen, NULL, 10) : 20261121, random = seed * 31 + salt;
    int rounds = (often != NULL && often[0] != '\0' ? ROUNDS_LONG : ROUNDS) / STORE_KINDS + 1, round = 0;
    struct history *h = history_new();
    for (int directory = 0; round < rounds; directory++) {
        struct plan plan = some_plan(&random, kind, directory % 2);
        temp_dir_make(plan.path, sizeof plan.path);
        history_reset(h);
        for (int i = 0; i < ROUNDS_OF_ONE && round < rounds; i++, round++)
            one_round(&plan, h, seed, round);
        temp_dir_remove(plan.path);
    }
    print_message("%s: %d rounds, %llu times a key was there, %llu first puts lost (%llu bytes)\n", kind_names[kind],
                  round, (unsigned long long)h->seen, (unsigned long long)h->lost, (unsigned long long)h->lost_bytes);
    assert_true(h->seen > 0);
    history_free(h);
}

static void the_layer_is_killed(void **state)
{
    (void)state;
    run(STORE_LAYER, 1);
}

static void a_cache_of_disk_is_killed(void **state)
{
    (void)state;
    run(STORE_DISK, 2);
}

static void a_cache_of_memory_and_disk_is_killed(void **state)
{
    (void)state;
    run(STORE_BOTH, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_layer_is_killed),
        cmocka_unit_test(a_cache_of_disk_is_killed),
        cmocka_unit_test(a_cache_of_memory_and_disk_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
