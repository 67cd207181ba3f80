/* test_executor_sim.c - the simulator: the same seed, the same schedule; virtual time; parks that overtake each other. */
#include "tests/support/cmocka_all.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/loop/executor_sim.h"

static struct executor *start(uint64_t seed)
{
    struct executor *ex = NULL;
    assert_int_equal(strata__executor_sim_new(&ex, NULL, seed, NULL), STRATA_OK);
    return ex;
}

/* What ran, as text. */
static char trail[64];

static void note(char mark)
{
    size_t n = strlen(trail);
    assert_true(n + 1 < sizeof trail);
    trail[n] = mark;
    trail[n + 1] = '\0';
}

static int forget(void **state)
{
    (void)state;
    trail[0] = '\0';
    return 0;
}

struct actor {
    struct task task;
    struct timer timer;
    struct executor *ex;
    char mark;
    struct parker own, *wakes, *waits;
    int64_t deadline_ms;
    int64_t advance_ms;
    int passed;
};

static void act(struct task *task)
{
    struct actor *actor = (struct actor *)(void *)task;
    void **cell = ex_local(actor->ex);
    assert_null(*cell); /* as on a thread of its own */
    assert_int_equal(ex_on_worker(actor->ex), 1);
    *cell = actor;
    if (actor->advance_ms != 0)
        strata__executor_sim_advance(actor->ex, actor->advance_ms);
    if (actor->waits != NULL)
        actor->passed = ex_park(actor->ex, actor->waits, actor->deadline_ms);
    if (actor->wakes != NULL)
        ex_unpark(actor->ex, actor->wakes);
    note(actor->mark);
    assert_ptr_equal(*ex_local(actor->ex), actor);
}

static void fire(struct timer *timer)
{
    struct actor *actor = (struct actor *)(void *)((char *)timer - offsetof(struct actor, timer));
    assert_true(ex_now_ms(actor->ex) >= timer->due_ms);
    assert_int_equal(ex_on_worker(actor->ex), 1);
    note(actor->mark);
    if (actor->wakes != NULL)
        ex_unpark(actor->ex, actor->wakes);
}

static struct actor make(struct executor *ex, char mark)
{
    return (struct actor){
        .task = { NULL, act }, .timer = { .fire = fire }, .ex = ex, .mark = mark, .deadline_ms = INT64_MAX
    };
}

static void run_ten(uint64_t seed, char *out)
{
    struct executor *ex = start(seed);
    struct actor actors[10];
    trail[0] = '\0';
    for (int i = 0; i < 10; i++) {
        actors[i] = make(ex, (char)('0' + i));
        assert_int_equal(ex_post(ex, &actors[i].task), STRATA_OK);
    }
    strata__executor_sim_run(ex);
    memcpy(out, trail, 11);
    ex->ops->stop(ex);
}

static void the_seed_decides(void **state)
{
    (void)state;
    char first[11], again[11], other[11];
    int differ = 0;
    for (uint64_t seed = 0; seed < 10; seed++) {
        run_ten(seed, first);
        run_ten(seed, again);
        run_ten(seed + 1, other);
        assert_string_equal(first, again);
        differ += strcmp(first, other) != 0;
    }
    assert_true(differ >= 9);
}

static void time_moves_only_by_advance(void **state)
{
    (void)state;
    struct executor *ex = start(1);
    struct actor a = make(ex, 'a'), b = make(ex, 'b'), c = make(ex, 'c');
    int64_t now = ex_now_ms(ex), wall = ex_wall_ms(ex);
    ex_at(ex, &b.timer, now + 20);
    ex_at(ex, &a.timer, now + 10);
    ex_at(ex, &c.timer, now + 15);
    strata__executor_sim_run(ex);
    assert_string_equal(trail, "");
    assert_int_equal(ex_now_ms(ex), now);
    strata__executor_sim_advance(ex, 9);
    assert_string_equal(trail, "");
    assert_int_equal(ex_cancel(ex, &c.timer), 1);
    assert_int_equal(ex_cancel(ex, &c.timer), 0);
    strata__executor_sim_advance(ex, 1);
    assert_string_equal(trail, "a");
    assert_int_equal(ex_cancel(ex, &a.timer), 0);
    strata__executor_sim_advance(ex, 100);
    assert_string_equal(trail, "ab");
    assert_int_equal(ex_now_ms(ex), now + 110);
    assert_int_equal(ex_now_ns(ex), (now + 110) * 1000000);
    assert_int_equal(ex_wall_ms(ex), wall + 110);
    assert_int_equal(strata__executor_sim_step(ex), 0);
    ex->ops->stop(ex);
}

static void parking_outside_drives_the_others(void **state)
{
    (void)state;
    struct executor *ex = start(3);
    struct parker parker = { 0 };
    int64_t now = ex_now_ms(ex);
    assert_int_equal(ex_park(ex, &parker, now + 5), 1);
    assert_int_equal(ex_now_ms(ex), now + 5);
    struct actor task = make(ex, 't'), timer = make(ex, 'i');
    task.wakes = &parker;
    assert_int_equal(ex_post(ex, &task.task), STRATA_OK);
    assert_int_equal(ex_park(ex, &parker, INT64_MAX), 0);
    timer.wakes = &parker;
    ex_at(ex, &timer.timer, now + 50);
    assert_int_equal(ex_park(ex, &parker, now + 100), 0);
    assert_int_equal(ex_now_ms(ex), now + 50);
    assert_string_equal(trail, "ti");
    assert_int_equal(ex_on_worker(ex), 0);
    ex->ops->stop(ex);
}

/* Signalled is not yet running: with some seeds the task comes first, with some it does not. */
static void a_signalled_parker_may_be_overtaken(void **state)
{
    (void)state;
    int overtaken = 0;
    for (uint64_t seed = 0; seed < 64; seed++) {
        struct executor *ex = start(seed);
        struct parker parker = { 0 };
        struct actor actor = make(ex, 'x');
        trail[0] = '\0';
        assert_int_equal(ex_post(ex, &actor.task), STRATA_OK);
        ex_unpark(ex, &parker);
        assert_int_equal(ex_park(ex, &parker, INT64_MAX), 0);
        overtaken += trail[0] == 'x';
        ex->ops->stop(ex);
        assert_string_equal(trail, "x");
    }
    assert_true(overtaken > 10 && overtaken < 54);
}

/* Each waits for the one before it, started in every order: on one stack most orders would be deadlocks. */
static void parked_tasks_go_on_in_any_order(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct executor *ex = start(seed);
        struct parker last = { 0 };
        struct actor actors[6];
        trail[0] = '\0';
        for (int i = 0; i < 6; i++)
            actors[i] = make(ex, (char)('a' + i));
        for (int i = 0; i < 6; i++) {
            actors[i].waits = i > 0 ? &actors[i].own : NULL;
            actors[i].wakes = i < 5 ? &actors[i + 1].own : &last;
            assert_int_equal(ex_post(ex, &actors[i].task), STRATA_OK);
        }
        assert_int_equal(ex_park(ex, &last, INT64_MAX), 0);
        strata__executor_sim_run(ex);
        assert_string_equal(trail, "abcdef");
        ex->ops->stop(ex);
    }
}

static void deadlines_of_parked_tasks_come(void **state)
{
    (void)state;
    struct executor *ex = start(5);
    struct actor a = make(ex, 'a'), b = make(ex, 'b');
    int64_t now = ex_now_ms(ex);
    a.waits = &a.own;
    a.deadline_ms = now + 30;
    b.waits = &b.own;
    b.deadline_ms = now + 10;
    ex_post_always(ex, &a.task);
    ex_post_always(ex, &b.task);
    strata__executor_sim_advance(ex, 9);
    assert_string_equal(trail, "");
    strata__executor_sim_advance(ex, 1);
    assert_string_equal(trail, "b");
    ex_unpark(ex, &a.own);
    strata__executor_sim_run(ex);
    assert_string_equal(trail, "ba");
    assert_int_equal(b.passed, 1);
    assert_int_equal(a.passed, 0);
    ex->ops->stop(ex);
}

/* A task that takes its time: others run meanwhile, also such as wait for it. */
static void a_task_may_advance(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct executor *ex = start(seed);
        struct actor slow = make(ex, 's'), waiter = make(ex, 'w'), timer = make(ex, 't');
        trail[0] = '\0';
        slow.advance_ms = 10;
        slow.wakes = &waiter.own;
        waiter.waits = &waiter.own;
        int64_t now = ex_now_ms(ex);
        ex_at(ex, &timer.timer, now + 5);
        ex_post_always(ex, &slow.task);
        ex_post_always(ex, &waiter.task);
        strata__executor_sim_run(ex);
        assert_string_equal(trail, "tsw");
        assert_int_equal(ex_now_ms(ex), now + 10);
        ex->ops->stop(ex);
    }
}

static void bound_and_stop(void **state)
{
    (void)state;
    struct executor *ex = start(8);
    struct actor a = make(ex, 'a'), b = make(ex, 'b'), c = make(ex, 'c'), timer = make(ex, 't');
    strata__executor_sim_limit(ex, 1);
    assert_int_equal(ex_post(ex, &a.task), STRATA_OK);
    assert_int_equal(ex_post(ex, &b.task), STRATA_EBUSY);
    ex_post_always(ex, &b.task);
    strata__executor_sim_limit(ex, 0);
    assert_int_equal(ex_post(ex, &c.task), STRATA_EBUSY);
    a.waits = &a.own; /* still asleep when the others are through: stop waits for it */
    a.deadline_ms = ex_now_ms(ex) + 1000;
    ex_at(ex, &timer.timer, ex_now_ms(ex) + 500);
    assert_ptr_equal(ex_local(ex), ex_local(ex));
    ex->ops->stop(ex);
    assert_string_equal(trail, "ba");
}

static int ends_by_abort(void (*body)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        (void)close(2);
        body();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void park_for_ever(void)
{
    struct executor *ex = start(1);
    struct parker parker = { 0 };
    (void)ex_park(ex, &parker, INT64_MAX);
}

static void set_twice(void)
{
    struct executor *ex = start(1);
    struct actor actor = make(ex, 'a');
    ex_at(ex, &actor.timer, 1);
    ex_at(ex, &actor.timer, 2);
}

static void mistakes_abort(void **state)
{
    (void)state;
    assert_true(ends_by_abort(park_for_ever));
    assert_true(ends_by_abort(set_twice));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_seed_decides, forget),
        cmocka_unit_test_setup(time_moves_only_by_advance, forget),
        cmocka_unit_test_setup(parking_outside_drives_the_others, forget),
        cmocka_unit_test_setup(a_signalled_parker_may_be_overtaken, forget),
        cmocka_unit_test_setup(parked_tasks_go_on_in_any_order, forget),
        cmocka_unit_test_setup(deadlines_of_parked_tasks_come, forget),
        cmocka_unit_test_setup(a_task_may_advance, forget),
        cmocka_unit_test_setup(bound_and_stop, forget),
        cmocka_unit_test_setup(mistakes_abort, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
