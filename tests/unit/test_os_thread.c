/* test_os_thread.c - threads of the library, and the small things that the system gives: clocks, seeds, fork. */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/os/os_clock.h"
#include "src/os/os_fork.h"
#include "src/os/os_random.h"
#include "src/os/os_thread.h"
#include "tests/support/fault_nth.h"

struct seen {
    char name[16];
    int blocked;
};

static void look(void *ctx)
{
    struct seen *seen = ctx;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    seen->blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGUSR1) == 1;
    pthread_getname_np(pthread_self(), seen->name, sizeof seen->name);
}

static void threads_have_names_and_take_no_signals(void **state)
{
    (void)state;
    struct os_thread thread;
    struct seen seen = { { 0 }, 0 };
    assert_int_equal(strata__os_thread_start(&thread, "a name of more than fifteen", look, &seen), 0);
    strata__os_thread_join(&thread);
    assert_string_equal(seen.name, "a name of more ");
    assert_true(seen.blocked);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGTERM), 0); /* ours is as it was */
}

static void a_thread_that_cannot_start(void **state)
{
    (void)state;
    struct os_thread thread;
    struct fault_nth fault;
    fault_nth_set(&fault, "pthread_create", 1, EAGAIN);
    assert_int_equal(strata__os_thread_start(&thread, "x", look, NULL), EAGAIN);
    fault_nth_clear();
}

struct gate {
    struct os_mutex lock;
    struct os_cond open;
    int is_open;
};

static void open_gate(void *ctx)
{
    struct gate *gate = ctx;
    os_mutex_lock(&gate->lock);
    gate->is_open = 1;
    strata__os_cond_signal(&gate->open);
    os_mutex_unlock(&gate->lock);
}

static void conditions_wait_and_time_out(void **state)
{
    (void)state;
    struct gate gate = { .is_open = 0 };
    struct os_thread thread;
    assert_int_equal(strata__os_mutex_init(&gate.lock), 0);
    assert_int_equal(strata__os_cond_init(&gate.open), 0);
    os_mutex_lock(&gate.lock);
    assert_false(os_mutex_try(&gate.lock));
    int64_t deadline = strata__os_now_us() + 1000;
    while (strata__os_cond_wait(&gate.open, &gate.lock, deadline) == 0)
        ;
    assert_true(strata__os_now_us() >= deadline);
    assert_int_equal(strata__os_thread_start(&thread, "opener", open_gate, &gate), 0);
    while (!gate.is_open)
        assert_int_equal(strata__os_cond_wait(&gate.open, &gate.lock, INT64_MAX), 0);
    os_mutex_unlock(&gate.lock);
    strata__os_thread_join(&thread);
    strata__os_cond_deinit(&gate.open);
    strata__os_mutex_deinit(&gate.lock);
}

static void clocks_share_an_origin(void **state)
{
    (void)state;
    int64_t before_us = strata__os_now_us();
    int64_t coarse = strata__os_now_ms();
    assert_true(coarse <= strata__os_now_us() / 1000); /* never leads */
    assert_true(coarse >= before_us / 1000 - 1000);    /* nor is of another origin */
    assert_true(strata__os_wall_ms() > 1577836800000); /* after 2019 */
}

static void seeds_differ(void **state)
{
    (void)state;
    assert_int_not_equal(strata__os_random(), strata__os_random());
    struct fault_nth fault;
    fault_nth_set(&fault, "getrandom", 1, ENOSYS);
    uint64_t poor = strata__os_random();
    fault_nth_clear();
    assert_int_not_equal(poor, 0);
}

static void fork_raises_the_generation_in_the_child(void **state)
{
    (void)state;
    assert_int_equal(strata__os_fork_watch(), 0);
    assert_int_equal(strata__os_fork_watch(), 0);
    uint32_t mine = strata__os_fork_generation();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(strata__os_fork_generation() == mine + 1 ? 0 : 1);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(strata__os_fork_generation(), mine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_have_names_and_take_no_signals),
        cmocka_unit_test(a_thread_that_cannot_start),
        cmocka_unit_test(conditions_wait_and_time_out),
        cmocka_unit_test(clocks_share_an_origin),
        cmocka_unit_test(seeds_differ),
        cmocka_unit_test(fork_raises_the_generation_in_the_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
