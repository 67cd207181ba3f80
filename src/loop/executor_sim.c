/* executor_sim.c - see executor_sim.h.
 *
 * What can run next is every queued task, every parked task that was signalled or is past its deadline, and the earliest
 * timer once it is due.  step() picks one of them by the seed.  The clock stands still while anything can run;
 * advance(), park() and stop() alone move it.
 *
 * A task that parks must be able to go on after others that were started later, so each has a stack of its own: a thread
 * that waits for the baton unless it is the one that runs (sim_thread.h).  So also thread-local state and sanitizers
 * see what they would see in production. */
#include "src/loop/executor_sim.h"

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/loop/sim_thread.h"

enum { START_MS = 1000000 };                         /* not 0, so that nobody takes 0 for "now" by accident */
static const int64_t WALL_MINUS_NOW = 1600000000000; /* some day in 2020, the same in every run */

struct sim {
    struct executor base;
    uint64_t schedule; /* splitmix64's state: who runs next */
    uint64_t random;   /* another: what core is given */
    int64_t now_ms;
    struct task *ready; /* oldest first */
    struct task **tail;
    size_t count; /* of ready */
    size_t limit;
    struct heap timers;
    struct list_node parked;    /* sim_threads, by their link */
    struct sim_thread outside;  /* the test's own thread, which drives */
    struct sim_thread *current; /* the one that runs */
    struct sim_thread *idle;    /* ended their task, wait for the next */
    int firing;                 /* a timer's fire() runs */
    int stopping;
};

static struct sim *own(struct executor *ex) { return (struct sim *)(void *)ex; }

static uint64_t draw(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    return strata__mix64(*state);
}

static struct timer *timer_of(const struct heap_node *node)
{
    return (struct timer *)(void *)((char *)(uintptr_t)node - offsetof(struct timer, node));
}

static int earlier(const struct heap_node *a, const struct heap_node *b)
{
    return timer_of(a)->due_ms < timer_of(b)->due_ms;
}

static int64_t next_due(const struct sim *sim)
{
    const struct heap_node *first = heap_peek(&sim->timers);
    return first != NULL && !sim->stopping ? timer_of(first)->due_ms : INT64_MAX;
}

static void append(struct sim *sim, struct task *task)
{
    task->next = NULL;
    *sim->tail = task;
    sim->tail = &task->next;
    sim->count++;
}

static struct task *take(struct sim *sim, size_t index)
{
    struct task **link = &sim->ready;
    while (index-- != 0)
        link = &(*link)->next;
    struct task *task = *link;
    *link = task->next;
    if (*link == NULL)
        sim->tail = link;
    sim->count--;
    return task;
}

static int post(struct executor *ex, struct task *task)
{
    struct sim *sim = own(ex);
    if (sim->stopping)
        return STRATA_ECLOSED;
    if (sim->count >= sim->limit)
        return STRATA_EBUSY;
    append(sim, task);
    return STRATA_OK;
}

static void post_always(struct executor *ex, struct task *task) { append(own(ex), task); }

static void at(struct executor *ex, struct timer *timer, int64_t due_ms)
{
    if (heap_holds(&timer->node))
        STRATA_BUG("a timer was set twice");
    timer->due_ms = due_ms;
    strata__heap_insert(&own(ex)->timers, &timer->node);
}

static int cancel(struct executor *ex, struct timer *timer)
{
    if (!heap_holds(&timer->node))
        return 0;
    strata__heap_remove(&own(ex)->timers, &timer->node);
    return 1;
}

static int awake(const struct sim *sim, const struct sim_thread *thread)
{
    return thread->parker->word != 0 || thread->deadline_ms <= sim->now_ms;
}

static size_t count_awake(struct sim *sim)
{
    size_t count = 0;
    LIST_EACH(link, &sim->parked)
    count += (size_t)awake(sim, list_entry(link, struct sim_thread, link));
    return count;
}

static struct sim_thread *take_awake(struct sim *sim, size_t index)
{
    LIST_EACH(link, &sim->parked)
    {
        struct sim_thread *thread = list_entry(link, struct sim_thread, link);
        if (awake(sim, thread) && index-- == 0) {
            list_remove(link);
            return thread;
        }
    }
    STRATA_BUG("the simulator counted its parked tasks wrongly");
}

/* Let `thread` run until it parks or ends its task. */
static void resume(struct sim *sim, struct sim_thread *thread)
{
    struct sim_thread *self = sim->current;
    sim->current = thread;
    strata__sim_thread_resume(thread, self);
    sim->current = self;
    if (thread->task == NULL) {
        thread->next_idle = sim->idle;
        sim->idle = thread;
    }
}

static void run_task(struct sim *sim, struct task *task)
{
    struct sim_thread *thread = sim->idle;
    if (thread != NULL)
        sim->idle = thread->next_idle;
    else if ((thread = strata__sim_thread_new()) == NULL)
        STRATA_BUG("the simulator has no thread left for one more parked task: start fewer of them at once");
    thread->task = task;
    thread->cell = NULL;
    resume(sim, thread);
}

static void fire_timer(struct sim *sim)
{
    struct timer *timer = timer_of(strata__heap_pop(&sim->timers));
    /* It runs on a thread of its own as far as core can tell: the loop thread. */
    void *cell = sim->current->cell;
    int firing = sim->firing;
    sim->current->cell = NULL;
    sim->firing = 1;
    timer->fire(timer);
    sim->firing = firing;
    sim->current->cell = cell;
}

/* Run one of all that can run.  With `self`, the caller's own going on is one more choice: 0 when it was taken, or when
 * nothing can run. */
static int step(struct sim *sim, int self)
{
    size_t woken = count_awake(sim);
    size_t due = next_due(sim) != INT64_MAX && next_due(sim) <= sim->now_ms;
    size_t choices = sim->count + woken + due + (size_t)self;
    if (choices == 0)
        return 0;
    size_t pick = (size_t)(draw(&sim->schedule) % choices);
    if (pick < sim->count)
        run_task(sim, take(sim, pick));
    else if (pick < sim->count + woken)
        resume(sim, take_awake(sim, pick - sim->count));
    else if (pick < sim->count + woken + due)
        fire_timer(sim);
    else
        return 0;
    return 1;
}

/* When something will be able to run: the next timer or deadline; INT64_MAX for never. */
static int64_t next_event(struct sim *sim)
{
    int64_t next = next_due(sim);
    LIST_EACH(link, &sim->parked)
    {
        const struct sim_thread *thread = list_entry(link, struct sim_thread, link);
        if (thread->deadline_ms < next)
            next = thread->deadline_ms;
    }
    return next;
}

static void move_clock(struct sim *sim, int64_t to)
{
    if (to > sim->now_ms)
        sim->now_ms = to;
}

int strata__executor_sim_step(struct executor *ex) { return step(own(ex), 0); }

void strata__executor_sim_run(struct executor *ex)
{
    while (step(own(ex), 0))
        ;
}

void strata__executor_sim_advance(struct executor *ex, int64_t ms)
{
    struct sim *sim = own(ex);
    const int64_t end = ms < INT64_MAX - sim->now_ms ? sim->now_ms + ms : INT64_MAX - 1;
    strata__executor_sim_run(ex);
    for (int64_t next = next_event(sim); next <= end; next = next_event(sim)) {
        move_clock(sim, next);
        strata__executor_sim_run(ex);
    }
    move_clock(sim, end); /* a task that advances itself may have moved it further */
}

int64_t strata__executor_sim_next(struct executor *ex) { return next_event(own(ex)); }

void strata__executor_sim_clock(struct executor *ex, int64_t to_ms) { move_clock(own(ex), to_ms); }

void strata__executor_sim_limit(struct executor *ex, size_t max) { own(ex)->limit = max; }

/* The test's own thread sleeps: it drives all others until it can go on. */
static void drive(struct sim *sim, struct sim_thread *self)
{
    for (;;) {
        int can = awake(sim, self);
        if (step(sim, can))
            continue;
        if (can)
            return;
        int64_t next = next_event(sim);
        if (self->deadline_ms < next)
            next = self->deadline_ms;
        if (next == INT64_MAX)
            STRATA_BUG("deadlock: a parker without a deadline, no task and no timer: nothing can ever wake it");
        move_clock(sim, next);
    }
}

static int park(struct executor *ex, struct parker *parker, int64_t deadline_ms)
{
    struct sim *sim = own(ex);
    struct sim_thread *self = sim->current;
    if (sim->firing)
        STRATA_BUG("a timer's fire() must not park");
    self->parker = parker;
    self->deadline_ms = deadline_ms;
    if (self == &sim->outside) {
        drive(sim, self);
    } else {
        list_push_back(&sim->parked, &self->link);
        strata__sim_thread_yield(self);
    }
    /* The signal wins where both came, as it does with threads. */
    int passed = parker->word == 0;
    parker->word = 0;
    return passed;
}

static void unpark(struct executor *ex, struct parker *parker)
{
    (void)ex;
    parker->word = 1;
}

static int64_t now_ms(struct executor *ex) { return own(ex)->now_ms; }

static int64_t now_ns(struct executor *ex) { return own(ex)->now_ms * 1000000; }

static int64_t wall_ms(struct executor *ex) { return own(ex)->now_ms + WALL_MINUS_NOW; }

static uint64_t next_random(struct executor *ex) { return draw(&own(ex)->random); }

static int on_worker(struct executor *ex) { return own(ex)->firing || own(ex)->current != &own(ex)->outside; }

static void **local(struct executor *ex) { return &own(ex)->current->cell; }

static void stop(struct executor *ex)
{
    struct sim *sim = own(ex);
    if (on_worker(ex))
        STRATA_BUG("an executor was stopped by its own task");
    sim->stopping = 1;
    strata__executor_sim_run(ex);
    while (!list_empty(&sim->parked)) { /* a pool would wait for them, too */
        int64_t next = next_event(sim);
        if (next == INT64_MAX)
            STRATA_BUG("deadlock: the executor stops, and a parked task has nothing that could wake it");
        move_clock(sim, next);
        strata__executor_sim_run(ex);
    }
    while (sim->idle != NULL) {
        struct sim_thread *thread = sim->idle;
        sim->idle = thread->next_idle;
        strata__sim_thread_free(thread);
    }
    strata__free(ex->mem, sim);
}

static void abandon(struct executor *ex)
{
    strata__free(ex->mem, ex); /* not its threads: after a fork there are none */
}

static const struct executor_ops ops = {
    .post = post,
    .post_always = post_always,
    .at = at,
    .cancel = cancel,
    .park = park,
    .unpark = unpark,
    .now_ms = now_ms,
    .now_ns = now_ns,
    .wall_ms = wall_ms,
    .random = next_random,
    .on_worker = on_worker,
    .local = local,
    .stop = stop,
    .abandon = abandon,
    .forks = NULL, /* nobody forks a simulation */
};

int strata__executor_sim_new(struct executor **out, const struct strata_allocator *mem, uint64_t seed, strata_error *err)
{
    *out = NULL;
    struct sim *sim = strata__alloc_zero(mem, sizeof *sim);
    if (sim == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, "simulator");
    sim->base.ops = &ops;
    sim->base.mem = mem;
    sim->schedule = strata__mix64(seed + 1);
    sim->random = strata__mix64(~seed);
    sim->now_ms = START_MS;
    sim->tail = &sim->ready;
    sim->limit = SIZE_MAX;
    strata__heap_init(&sim->timers, earlier);
    list_init(&sim->parked);
    sim->current = &sim->outside;
    *out = &sim->base;
    return STRATA_OK;
}
