/* test_executor_threads.c - the executor of production: tasks, timers, parking, stopping, and each way its start can fail. */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/mem.h"
#include "src/loop/executor.h"
#include "src/os/os_futex.h"
#include "src/os/os_thread.h"
#include "tests/support/fault_nth.h"
#include "tests/support/still_threads.h"

static struct executor *start(uint32_t workers, uint32_t max_queued)
{
    struct executor *ex = NULL;
    strata_error err = STRATA_ERROR_INIT;
    int status = strata__executor_threads_new(&ex, NULL, workers, max_queued, &err);
    assert_int_equal(status, STRATA_OK);
    assert_non_null(ex);
    return ex;
}

/* A task that tells what it saw, and wakes whoever waits for it. */
struct probe {
    struct task task;
    struct timer timer;
    struct executor *ex;
    struct executor *other;
    struct parker done;
    struct parker *hold; /* waits for this one first, where it is not NULL */
    struct parker started;
    _Atomic(int) runs;
    int on_worker, on_other;
    void **cell;
    char thread_name[16];
};

static void look(struct probe *probe)
{
    probe->on_worker = ex_on_worker(probe->ex);
    probe->on_other = probe->other != NULL ? ex_on_worker(probe->other) : -1;
    probe->cell = ex_local(probe->ex);
    pthread_getname_np(pthread_self(), probe->thread_name, sizeof probe->thread_name);
    atomic_fetch_add(&probe->runs, 1);
    ex_unpark(probe->ex, &probe->done);
}

static void run_probe(struct task *task)
{
    struct probe *probe = (struct probe *)(void *)((char *)task - offsetof(struct probe, task));
    ex_unpark(probe->ex, &probe->started);
    if (probe->hold != NULL) /* as a user's code would: the executor does not know that it sleeps */
        (void)strata__os_park(&probe->hold->word, INT64_MAX);
    look(probe);
}

static void fire_probe(struct timer *timer)
{
    look((struct probe *)(void *)((char *)timer - offsetof(struct probe, timer)));
}

static void init_probe(struct probe *probe, struct executor *ex)
{
    memset(probe, 0, sizeof *probe);
    probe->ex = ex;
    probe->task.run = run_probe;
    probe->timer.fire = fire_probe;
}

static void wait_for(struct probe *probe) { assert_int_equal(ex_park(probe->ex, &probe->done, INT64_MAX), 0); }

static void tasks_run_on_named_workers(void **state)
{
    (void)state;
    struct executor *ex = start(1, 10), *other = start(1, 10);
    struct probe probe;
    init_probe(&probe, ex);
    probe.other = other;
    assert_int_equal(ex_on_worker(ex), 0);
    assert_int_equal(ex_post(ex, &probe.task), STRATA_OK);
    wait_for(&probe);
    assert_int_equal(probe.on_worker, 1);
    assert_int_equal(probe.on_other, 0);
    assert_string_equal(probe.thread_name, "strata-w0");
    assert_non_null(probe.cell);
    assert_ptr_not_equal(probe.cell, ex_local(ex));
    assert_ptr_equal(ex_local(ex), ex_local(ex));
    ex->ops->stop(ex);
    other->ops->stop(other);
}

static void the_queue_is_bounded(void **state)
{
    (void)state;
    struct executor *ex = start(1, 2);
    struct parker hold = { 0 };
    struct probe busy, a, b, c, always;
    init_probe(&busy, ex);
    busy.hold = &hold;
    init_probe(&a, ex);
    init_probe(&b, ex);
    init_probe(&c, ex);
    init_probe(&always, ex);
    assert_int_equal(ex_post(ex, &busy.task), STRATA_OK);
    assert_int_equal(ex_park(ex, &busy.started, INT64_MAX), 0);
    assert_int_equal(ex_post(ex, &a.task), STRATA_OK);
    assert_int_equal(ex_post(ex, &b.task), STRATA_OK);
    assert_int_equal(ex_post(ex, &c.task), STRATA_EBUSY);
    ex_post_always(ex, &always.task);
    ex_unpark(ex, &hold);
    wait_for(&always);
    wait_for(&a);
    wait_for(&b);
    assert_int_equal(busy.runs, 1);
    assert_int_equal(c.runs, 0);
    assert_int_equal(ex_post(ex, &c.task), STRATA_OK);
    ex->ops->stop(ex);
    assert_int_equal(c.runs, 1);
}

static void timers_fire_on_the_loop_thread(void **state)
{
    (void)state;
    struct executor *ex = start(1, 10);
    struct probe late, soon, past;
    init_probe(&late, ex);
    init_probe(&soon, ex);
    init_probe(&past, ex);
    int64_t now = ex_now_ms(ex);
    ex_at(ex, &late.timer, now + 20);
    ex_at(ex, &soon.timer, now + 5); /* earlier than the one that the loop is armed for */
    ex_at(ex, &past.timer, now - 100);
    wait_for(&past);
    wait_for(&soon);
    assert_true(ex_now_ms(ex) >= now + 5); /* by the clock that core reads, never before its moment */
    wait_for(&late);
    assert_true(ex_now_ms(ex) >= now + 20);
    assert_string_equal(late.thread_name, "strata-loop");
    assert_int_equal(late.on_worker, 1);
    assert_int_equal(ex_cancel(ex, &late.timer), 0); /* has fired */
    ex_at(ex, &late.timer, now);                     /* may be set again */
    wait_for(&late);
    assert_int_equal(late.runs, 2);
    ex->ops->stop(ex);
}

static void cancelled_timers_do_not_fire(void **state)
{
    (void)state;
    struct executor *ex = start(1, 10);
    struct probe never, soon;
    init_probe(&never, ex);
    init_probe(&soon, ex);
    assert_int_equal(ex_cancel(ex, &never.timer), 0); /* never set */
    ex_at(ex, &never.timer, ex_now_ms(ex) + 5);
    assert_int_equal(ex_cancel(ex, &never.timer), 1);
    assert_int_equal(ex_cancel(ex, &never.timer), 0);
    ex_at(ex, &soon.timer, ex_now_ms(ex) + 10);
    wait_for(&soon);
    assert_int_equal(never.runs, 0);
    ex_at(ex, &never.timer, ex_now_ms(ex) + 100000000);
    ex->ops->stop(ex); /* set timers do not fire any more */
    assert_int_equal(never.runs, 0);
}

enum { RACERS = 2000 };

/* Each timer is either cancelled or fires: both or neither is what must not be. */
static void cancel_races_with_fire(void **state)
{
    (void)state;
    struct executor *ex = start(1, 10);
    struct probe *probes = test_calloc(RACERS, sizeof *probes);
    for (int i = 0; i < RACERS; i++) {
        init_probe(&probes[i], ex);
        ex_at(ex, &probes[i].timer, ex_now_ms(ex) + i % 8);
    }
    for (int i = 0; i < RACERS; i++) {
        if (ex_cancel(ex, &probes[i].timer)) {
            assert_int_equal(probes[i].runs, 0);
        } else {
            wait_for(&probes[i]);
            assert_int_equal(probes[i].runs, 1);
        }
    }
    ex->ops->stop(ex);
    test_free(probes);
}

static void parking(void **state)
{
    (void)state;
    struct executor *ex = start(1, 10);
    struct parker parker = { 0 };
    ex_unpark(ex, &parker);
    assert_int_equal(ex_park(ex, &parker, INT64_MAX), 0);
    int64_t now_us = ex_now_ns(ex) / 1000;
    assert_int_equal(ex_park(ex, &parker, now_us / 1000 + 3), 1);
    assert_true(ex_now_ns(ex) >= (now_us / 1000 + 3) * 1000000);
    assert_int_equal(ex_park(ex, &parker, INT64_MIN), 1);
    ex_unpark(ex, &parker);
    assert_int_equal(ex_park(ex, &parker, INT64_MAX - 1), 0);
    assert_int_not_equal(ex->ops->random(ex), ex->ops->random(ex));
    assert_true(ex_wall_ms(ex) > 1577836800000);
    ex->ops->stop(ex);
}

/* A chain of tasks, each of which queues the next: all run before stop returns. */
struct chain {
    struct task task;
    struct executor *ex;
    int left, refused;
};

/* Who comes back late finds that it is late, by the clock that it goes by; else it would spin until that one ticks. */
static void a_park_is_over_by_the_clock_of_deadlines(void **state)
{
    (void)state;
    struct executor *ex = start(1, 16);
    for (int i = 0; i < 20; i++) {
        struct parker parker = { 0 };
        int64_t deadline_ms = ex_now_ms(ex) + 1;
        assert_int_equal(ex_park(ex, &parker, deadline_ms), 1);
        assert_true(ex_now_ms(ex) >= deadline_ms);
    }
    ex->ops->stop(ex);
}

static void run_chain(struct task *task)
{
    struct chain *chain = (struct chain *)(void *)task;
    if (--chain->left > 0)
        ex_post_always(chain->ex, &chain->task);
}

/* Runs until the executor stops. */
static void run_for_ever(struct task *task)
{
    struct chain *chain = (struct chain *)(void *)task;
    int status = ex_post(chain->ex, &chain->task);
    if (status != STRATA_OK)
        chain->refused = status;
}

static void stop_finishes_what_was_accepted(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct executor *ex = start(3, 100);
        struct chain chains[8];
        for (int i = 0; i < 8; i++) {
            chains[i] = (struct chain){ { NULL, run_chain }, ex, 2000, 0 };
            assert_int_equal(ex_post(ex, &chains[i].task), STRATA_OK);
        }
        ex->ops->stop(ex);
        for (int i = 0; i < 8; i++)
            assert_int_equal(chains[i].left, 0);
    }
}

static void posts_while_stopping_are_refused(void **state)
{
    (void)state;
    struct executor *ex = start(1, 100);
    struct chain chain = { { NULL, run_for_ever }, ex, 0, 0 };
    assert_int_equal(ex_post(ex, &chain.task), STRATA_OK);
    ex->ops->stop(ex);
    assert_int_equal(chain.refused, STRATA_ECLOSED);
}

enum { POSTERS = 3, POSTS = 3000 };

struct crowd {
    struct executor *ex;
    struct task tasks[POSTS];
};

static _Atomic(int) crowd_ran;

static void count_run(struct task *task)
{
    (void)task;
    atomic_fetch_add(&crowd_ran, 1);
}

static void post_all(void *ctx)
{
    struct crowd *crowd = ctx;
    for (int i = 0; i < POSTS; i++) {
        crowd->tasks[i].run = count_run;
        if (i % 2 != 0 || ex_post(crowd->ex, &crowd->tasks[i]) != STRATA_OK)
            ex_post_always(crowd->ex, &crowd->tasks[i]);
    }
}

static void many_threads_post(void **state)
{
    (void)state;
    struct executor *ex = start(2, 50);
    static struct crowd crowds[POSTERS];
    struct os_thread threads[POSTERS];
    atomic_store(&crowd_ran, 0);
    for (int i = 0; i < POSTERS; i++) {
        crowds[i].ex = ex;
        assert_int_equal(strata__os_thread_start(&threads[i], "poster", post_all, &crowds[i]), 0);
    }
    for (int i = 0; i < POSTERS; i++)
        strata__os_thread_join(&threads[i]);
    ex->ops->stop(ex);
    assert_int_equal(crowd_ran, POSTERS * POSTS);
}

/* Sanitizers see what a failed start leaves behind. */
static void every_failing_start_cleans_up(void **state)
{
    (void)state;
    const struct {
        const char *call;
        int count, os_errno, status;
    } faults[] = {
        { "pthread_create", 4, EAGAIN, STRATA_EIO },    { "pthread_mutex_init", 2, EAGAIN, STRATA_EIO },
        { "pthread_cond_init", 1, EAGAIN, STRATA_EIO }, { "uv_loop_init", 1, EMFILE, STRATA_EIO },
        { "uv_loop_init", 1, ENOMEM, STRATA_ENOMEM },   { "uv_async_init", 1, EMFILE, STRATA_EIO },
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        for (int nth = 1; nth <= faults[i].count; nth++) {
            struct fault_nth fault;
            struct executor *ex = (struct executor *)&fault;
            strata_error err = STRATA_ERROR_INIT;
            fault_nth_set(&fault, faults[i].call, nth, faults[i].os_errno);
            int status = strata__executor_threads_new(&ex, NULL, 3, 10, &err);
            fault_nth_clear();
            assert_int_equal(status, faults[i].status);
            assert_null(ex);
            assert_int_equal(err.status, status);
            assert_int_equal(err.os_errno, faults[i].os_errno);
            assert_true(strlen(err.message) > 20);
        }
    }
}

static int allocations_left;

static void *meagre_alloc(size_t bytes, void *ctx)
{
    (void)ctx;
    return allocations_left-- > 0 ? strata__malloc.alloc(bytes, NULL) : NULL;
}

static void *meagre_realloc(void *old, size_t bytes, void *ctx)
{
    (void)ctx;
    return strata__malloc.realloc(old, bytes, NULL);
}

static void meagre_free(void *old, void *ctx)
{
    (void)ctx;
    strata__malloc.free(old, NULL);
}

static void out_of_memory(void **state)
{
    (void)state;
    const strata_allocator meagre = { sizeof meagre, meagre_alloc, meagre_realloc, meagre_free, NULL };
    struct executor *ex = NULL;
    int tries = 0, status;
    do {
        strata_error err = STRATA_ERROR_INIT;
        allocations_left = tries++;
        status = strata__executor_threads_new(&ex, &meagre, 2, 10, &err);
        assert_int_equal(err.status, status);
        assert_true(status == STRATA_OK || (status == STRATA_ENOMEM && ex == NULL));
    } while (status != STRATA_OK);
    assert_true(tries > 1);
    ex->ops->stop(ex);
}

static void wrong_numbers(void **state)
{
    (void)state;
    struct executor *ex;
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(strata__executor_threads_new(&ex, NULL, 0, 10, &err), STRATA_EINVAL);
    assert_string_equal(err.where, "workers");
    assert_int_equal(strata__executor_threads_new(&ex, NULL, 1, 0, &err), STRATA_EINVAL);
    assert_string_equal(err.where, "max_queued");
}

/* A task that sleeps, as core does, until a continuation that it posts has run. */
struct sleeper {
    struct task task, answer;
    struct executor *ex;
    struct parker woken;
    _Atomic(int) *ended;
    struct parker *all_ended;
    int last;
};

static void run_answer(struct task *task)
{
    struct sleeper *s = (struct sleeper *)(void *)((char *)task - offsetof(struct sleeper, answer));
    ex_unpark(s->ex, &s->woken);
}

static void run_sleeper(struct task *task)
{
    struct sleeper *s = (struct sleeper *)(void *)task;
    ex_post_always(s->ex, &s->answer);
    (void)ex_park(s->ex, &s->woken, INT64_MAX);
    struct executor *ex = s->ex;
    if (atomic_fetch_add(s->ended, 1) + 1 == s->last)
        ex_unpark(ex, s->all_ended);
}

static void all_sleep(uint32_t workers, int count, const char *fault)
{
    struct executor *ex = start(workers, 1000);
    struct sleeper *sleepers = test_calloc((size_t)count, sizeof *sleepers);
    struct parker all_ended = { 0 };
    _Atomic(int) ended = 0;
    struct fault_nth nth;
    if (fault != NULL)
        fault_nth_set(&nth, fault, 1, EAGAIN);
    for (int i = 0; i < count; i++) {
        sleepers[i] = (struct sleeper){ .task.run = run_sleeper,
                                        .answer.run = run_answer,
                                        .ex = ex,
                                        .ended = &ended,
                                        .all_ended = &all_ended,
                                        .last = count };
        assert_int_equal(ex_post(ex, &sleepers[i].task), STRATA_OK);
    }
    assert_int_equal(ex_park(ex, &all_ended, INT64_MAX), 0);
    if (fault != NULL)
        fault_nth_clear();
    ex->ops->stop(ex);
    assert_int_equal(ended, count);
    test_free(sleepers);
}

/* Workers that sleep for a worker do not starve the pool, however many of them. */
static void sleeping_workers_are_replaced(void **state)
{
    (void)state;
    all_sleep(1, 1, NULL);
    all_sleep(1, 300, NULL);
    all_sleep(4, 8, NULL);
    all_sleep(4, 900, NULL);
}

static void without_a_spare_others_go_on(void **state)
{
    (void)state;
    all_sleep(2, 300, "pthread_create");
}

/* All sleep until the last one has begun: new work does not take the last threads, which run continuations alone. */
struct crowded {
    struct task task;
    struct executor *ex;
    struct parker go;
    _Atomic(int) *begun;
    struct parker *told;
    int tells_at;
};

static void run_crowded(struct task *task)
{
    struct crowded *c = (struct crowded *)(void *)task;
    if (atomic_fetch_add(c->begun, 1) + 1 == c->tells_at)
        ex_unpark(c->ex, c->told);
    (void)ex_park(c->ex, &c->go, INT64_MAX);
}

static void spares_are_bounded(void **state)
{
    (void)state;
    enum { CROWD = 40, MOST = 4 * 2 };
    struct executor *ex = start(2, 1000);
    struct crowded crowd[CROWD];
    struct parker told = { 0 };
    struct probe probe;
    _Atomic(int) begun = 0;
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = (struct crowded){
            .task.run = run_crowded, .ex = ex, .begun = &begun, .told = &told, .tells_at = MOST
        };
        assert_int_equal(ex_post(ex, &crowd[i].task), STRATA_OK);
    }
    assert_int_equal(ex_park(ex, &told, INT64_MAX), 0);
    init_probe(&probe, ex);
    ex_post_always(ex, &probe.task);
    wait_for(&probe);
    assert_int_equal(begun, MOST);
    for (int i = 0; i < CROWD; i++)
        ex_unpark(ex, &crowd[i].go);
    ex->ops->stop(ex);
    assert_int_equal(begun, CROWD);
}

static void stop_waits_for_spares(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct executor *ex = start(1, 1000);
        struct sleeper sleepers[16];
        struct parker all_ended = { 0 };
        _Atomic(int) ended = 0;
        for (int i = 0; i < 16; i++) {
            sleepers[i] = (struct sleeper){ .task.run = run_sleeper,
                                            .answer.run = run_answer,
                                            .ex = ex,
                                            .ended = &ended,
                                            .all_ended = &all_ended,
                                            .last = -1 };
            assert_int_equal(ex_post(ex, &sleepers[i].task), STRATA_OK);
        }
        ex->ops->stop(ex);
        assert_int_equal(ended, 16);
    }
}

static int child_uses_its_own(struct executor *ex, uint32_t before)
{
    struct probe probe;
    if (atomic_load(ex->ops->forks(ex)) == before)
        return 1;
    ex->ops->abandon(ex);
    ex = NULL;
    if (strata__executor_threads_new(&ex, NULL, 1, 10, NULL) != STRATA_OK)
        return 2;
    init_probe(&probe, ex);
    if (ex_post(ex, &probe.task) != STRATA_OK || ex_park(ex, &probe.done, INT64_MAX) != 0)
        return 3;
    ex->ops->stop(ex);
    return 0;
}

static void a_child_abandons_and_starts_anew(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip(); /* TSan cannot start threads in the child of a process that has some */
#endif
    struct executor *ex = start(2, 10);
    uint32_t before = atomic_load(ex->ops->forks(ex));
    wait_for_still_threads();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(child_uses_its_own(ex, before));
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    ex->ops->stop(ex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_run_on_named_workers),
        cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(timers_fire_on_the_loop_thread),
        cmocka_unit_test(cancelled_timers_do_not_fire),
        cmocka_unit_test(cancel_races_with_fire),
        cmocka_unit_test(parking),
        cmocka_unit_test(a_park_is_over_by_the_clock_of_deadlines),
        cmocka_unit_test(stop_finishes_what_was_accepted),
        cmocka_unit_test(posts_while_stopping_are_refused),
        cmocka_unit_test(many_threads_post),
        cmocka_unit_test(every_failing_start_cleans_up),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(wrong_numbers),
        cmocka_unit_test(sleeping_workers_are_replaced),
        cmocka_unit_test(without_a_spare_others_go_on),
        cmocka_unit_test(spares_are_bounded),
        cmocka_unit_test(stop_waits_for_spares),
        cmocka_unit_test(a_child_abandons_and_starts_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
