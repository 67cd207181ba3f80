/* sim_world.c - see sim_world.h. */
#include "tests/sim/sim_world.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/loop/executor_sim.h"
#include "src/os/os_clock.h"
#include "src/os/os_random.h"

/* No run takes nearly so long. */
enum { WORLD_MOST_MS = 40000 };

/* What a cache takes over, and stops; the simulator behind it outlives it. */
struct node_executor {
    struct executor base;
    int node;
};

static struct {
    uint64_t seed, random, system;
    struct executor *net, *sims[SIM_NODES_MOST];
    int frozen[SIM_NODES_MOST];
    int64_t skew_ms[SIM_NODES_MOST];
    int64_t began_ms;
    struct executor *stepping; /* whose task or timer runs */
} w;

static int counting, tracing = -1;
static uint64_t violations;
static _Thread_local int foreign_thread;

static uint64_t next_of(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    return strata__mix64(*state);
}

uint64_t sim_draw(uint64_t below) { return below != 0 ? next_of(&w.random) % below : 0; }

/* In place of the system's: tokens, lives and hash seeds follow from the seed, too. */
uint64_t strata__os_random(void) { return next_of(&w.system); }

int __real_strata__os_park(_Atomic(uint32_t) *word, int64_t deadline_us);
int __wrap_strata__os_park(_Atomic(uint32_t) *word, int64_t deadline_us);

/* Threads of the library that sleep on a word of their own (guard_replay.c, redis_list.c) sleep in virtual time; the simulator's own
 * baton (sim_thread.c) does not. */
int __wrap_strata__os_park(_Atomic(uint32_t) *word, int64_t deadline_us)
{
    if (deadline_us == INT64_MAX - 1 || w.stepping == NULL)
        return __real_strata__os_park(word, deadline_us);
    static_assert(sizeof(struct parker) == sizeof *word, "a parker is a word");
    struct parker *parker = (struct parker *)(void *)word;
    if (deadline_us == INT64_MAX)
        return ex_park(w.stepping, parker, INT64_MAX);
    int64_t ms = (deadline_us - strata__os_now_us()) / 1000 + 1;
    return ex_park(w.stepping, parker, ex_now_ms(w.stepping) + (ms > 0 ? ms : 1));
}

void sim_foreign_thread(int on) { foreign_thread = on; }

int64_t sim_now_ms(void) { return ex_now_ms(w.net) - w.began_ms; }

struct executor *sim_net(void) { return w.net; }

struct executor *sim_inside(int node) { return w.sims[node]; }

/* Running ---------------------------------------------------------------------------------------------------------- */

int sim_step(void)
{
    size_t from = (size_t)sim_draw(SIM_NODES_MOST + 1);
    for (size_t i = 0; i <= SIM_NODES_MOST; i++) {
        size_t at = (from + i) % (SIM_NODES_MOST + 1);
        struct executor *ex = at == SIM_NODES_MOST ? w.net : w.sims[at];
        if (ex == NULL || (at < SIM_NODES_MOST && w.frozen[at]))
            continue;
        struct executor *before = w.stepping;
        w.stepping = ex;
        int ran = strata__executor_sim_step(ex);
        w.stepping = before;
        if (ran)
            return 1;
    }
    return 0;
}

static int64_t next_moment(void)
{
    int64_t next = strata__executor_sim_next(w.net);
    for (int i = 0; i < SIM_NODES_MOST; i++) {
        if (w.sims[i] == NULL || w.frozen[i])
            continue;
        int64_t here = strata__executor_sim_next(w.sims[i]);
        next = here < next ? here : next;
    }
    return next;
}

static void set_clocks(int64_t to_ms)
{
    if (to_ms - w.began_ms > WORLD_MOST_MS)
        sim_broken("this goes on for ever: strata_close() waits for what never ends");
    strata__executor_sim_clock(w.net, to_ms);
    for (int i = 0; i < SIM_NODES_MOST; i++)
        if (w.sims[i] != NULL)
            strata__executor_sim_clock(w.sims[i], to_ms);
}

void sim_pass(int64_t ms)
{
    const int64_t end = ex_now_ms(w.net) + ms;
    for (;;) {
        while (sim_step())
            ;
        int64_t next = next_moment();
        if (next > end)
            break;
        set_clocks(next);
    }
    set_clocks(end);
}

void sim_freeze(int node) { w.frozen[node] = 1; }
void sim_thaw(int node) { w.frozen[node] = 0; }
int sim_frozen(int node) { return w.frozen[node]; }
void sim_set_wall_skew(int node, int64_t ms) { w.skew_ms[node] = ms; }

/* A node's executor ------------------------------------------------------------------------------------------------- */

static int node_of(struct executor *ex) { return ((struct node_executor *)(void *)ex)->node; }
static struct executor *inside(struct executor *ex) { return w.sims[node_of(ex)]; }

/* The test's own thread drives the world until it is woken. */
static int drive(struct executor *ex, struct parker *parker, int64_t deadline_ms)
{
    while (parker->word == 0 && ex_now_ms(ex) < deadline_ms) {
        if (sim_step())
            continue;
        int64_t next = next_moment();
        if (deadline_ms < next)
            next = deadline_ms;
        if (next == INT64_MAX)
            sim_broken("deadlock: the test sleeps, and nothing can ever wake it");
        set_clocks(next);
    }
    int passed = parker->word == 0;
    parker->word = 0;
    return passed;
}

static int nx_park(struct executor *ex, struct parker *p, int64_t deadline_ms)
{
    return ex_on_worker(inside(ex)) ? ex_park(inside(ex), p, deadline_ms) : drive(inside(ex), p, deadline_ms);
}

void sim_park(int node, struct parker *parker)
{
    if (ex_on_worker(w.sims[node]))
        (void)ex_park(w.sims[node], parker, INT64_MAX);
    else
        (void)drive(w.sims[node], parker, INT64_MAX);
}

static int nx_post(struct executor *ex, struct task *t) { return ex_post(inside(ex), t); }
static void nx_post_always(struct executor *ex, struct task *t) { ex_post_always(inside(ex), t); }
static void nx_at(struct executor *ex, struct timer *t, int64_t due) { ex_at(inside(ex), t, due); }
static int nx_cancel(struct executor *ex, struct timer *t) { return ex_cancel(inside(ex), t); }
static void nx_unpark(struct executor *ex, struct parker *p) { ex_unpark(inside(ex), p); }
static int64_t nx_now_ms(struct executor *ex) { return ex_now_ms(inside(ex)); }
static int64_t nx_now_ns(struct executor *ex) { return ex_now_ns(inside(ex)); }
static int64_t nx_wall_ms(struct executor *ex) { return ex_wall_ms(inside(ex)) + w.skew_ms[node_of(ex)]; }
static uint64_t nx_random(struct executor *ex) { return ex_random(inside(ex)); }
static int nx_on_worker(struct executor *ex) { return !foreign_thread && ex_on_worker(inside(ex)); }
static void **nx_local(struct executor *ex) { return ex_local(inside(ex)); }
static void nx_stop(struct executor *ex) { free(ex); }

static const struct executor_ops node_ops = { .post = nx_post,
                                              .post_always = nx_post_always,
                                              .at = nx_at,
                                              .cancel = nx_cancel,
                                              .park = nx_park,
                                              .unpark = nx_unpark,
                                              .now_ms = nx_now_ms,
                                              .now_ns = nx_now_ns,
                                              .wall_ms = nx_wall_ms,
                                              .random = nx_random,
                                              .on_worker = nx_on_worker,
                                              .local = nx_local,
                                              .stop = nx_stop };

static struct executor *new_sim(uint64_t seed)
{
    struct executor *ex = NULL;
    if (strata__executor_sim_new(&ex, NULL, seed, NULL) != STRATA_OK)
        sim_broken("no memory for a simulator");
    if (w.net != NULL)
        strata__executor_sim_clock(ex, ex_now_ms(w.net));
    return ex;
}

struct executor *sim_node_executor(int node)
{
    struct node_executor *ex = calloc(1, sizeof *ex);
    if (ex == NULL)
        sim_broken("no memory for an executor");
    if (w.sims[node] == NULL)
        w.sims[node] = new_sim(sim_draw(UINT64_MAX));
    ex->base.ops = &node_ops;
    ex->node = node;
    return &ex->base;
}

void sim_world_open(uint64_t seed)
{
    memset(&w, 0, sizeof w);
    w.seed = seed;
    w.random = strata__mix64(seed);
    w.system = strata__mix64(seed ^ 0x5bf03635);
    w.net = new_sim(sim_draw(UINT64_MAX));
    w.began_ms = ex_now_ms(w.net);
}

void sim_world_close(void)
{
    for (int i = 0; i < SIM_NODES_MOST; i++)
        sim_thaw(i);
    while (next_moment() != INT64_MAX)
        sim_pass(1000);
    sim_pass(0);
    for (int i = 0; i < SIM_NODES_MOST; i++)
        if (w.sims[i] != NULL)
            w.sims[i]->ops->stop(w.sims[i]);
    w.net->ops->stop(w.net);
    memset(&w, 0, sizeof w);
}

/* Words ------------------------------------------------------------------------------------------------------------- */

static void say(const char *what, const char *format, va_list list)
{
    fprintf(stderr, "%s%sat %" PRId64 " ms: ", what, *what != '\0' ? " " : "", w.net != NULL ? sim_now_ms() : 0);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
}

void sim_trace(const char *format, ...)
{
    va_list list;
    if (tracing < 0)
        tracing = getenv("STRATA_SIM_TRACE") != NULL;
    if (!tracing)
        return;
    va_start(list, format);
    say("", format, list);
    va_end(list);
}

void sim_broken(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    say("broken", format, list);
    va_end(list);
    fprintf(stderr, "seed %" PRIu64 ": test_sim %" PRIu64 " shows it again, STRATA_SIM_TRACE=1 what led to it\n",
            w.seed, w.seed);
    abort();
}

void sim_violation(const char *format, ...)
{
    va_list list;
    violations++;
    if (counting) {
        sim_trace("a violation, as expected");
        return;
    }
    va_start(list, format);
    say("VIOLATION", format, list);
    va_end(list);
    sim_broken("a promise");
}

void sim_expect_violations(int on)
{
    counting = on;
    violations = 0;
}

uint64_t sim_violations(void) { return violations; }
