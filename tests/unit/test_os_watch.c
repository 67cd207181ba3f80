/* test_os_watch.c - a mark stands as long as its thread runs, and no longer: with the kernel that is here. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/os/os_clock.h"
#include "src/os/os_fault.h"
#include "src/os/reclaim.h"
#include "tests/support/cmocka_all.h"

static int unbroken(const struct reclaim_record *r) { return os_watch_unbroken(r->watched, &r->watch); }

static void mark(struct reclaim_record *r) { os_watch_mark(r->watched, &r->watch); }

/* The processor may be taken from us at any moment: but not each time within some instructions. */
static int stands(struct reclaim_record *r)
{
    for (int i = 0; i < 1000; i++) {
        mark(r);
        if (unbroken(r))
            return 1;
    }
    return 0;
}

/* A thread that answers, on the one processor that both have: who has its answer was not running meanwhile. */
static int asked[2], answered[2];

static void *answer(void *ctx)
{
    char byte;
    while (read(asked[0], &byte, 1) == 1 && write(answered[1], &byte, 1) == 1)
        ;
    return ctx;
}

static void make_way(void)
{
    char byte = 0;
    assert_int_equal(write(asked[1], &byte, 1), 1);
    assert_int_equal(read(answered[0], &byte, 1), 1);
}

static int begin(void **state)
{
    static pthread_t thread;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    *state = &thread;
    return sched_setaffinity(0, sizeof one, &one) | pipe(asked) | pipe(answered) |
           pthread_create(&thread, NULL, answer, NULL);
}

static int end(void **state)
{
    close(asked[1]);
    return pthread_join(*(pthread_t *)*state, NULL);
}

static void it_stands_while_its_thread_runs(void **state)
{
    (void)state;
    struct reclaim_record *r = reclaim_self();
    assert_int_equal(stands(r), strata__os_watch_works());
    os_watch_unmark(r->watched);
    assert_false(unbroken(r));
}

static void to_make_way_ends_it(void **state)
{
    (void)state;
    struct reclaim_record *r = reclaim_self();
    for (int i = 0; i < 50; i++) {
        mark(r);
        make_way();
        assert_false(unbroken(r));
    }
}

struct pair {
    struct reclaim_record *mine;
    int stood, after_join;
};

static void *beside(void *arg)
{
    struct pair *p = arg;
    p->mine = strata__reclaim_join();
    p->after_join = unbroken(p->mine) || os_bound_until(&p->mine->bound) != OS_BOUND_UNKNOWN;
    p->stood = stands(p->mine);
    (void)reclaim_renew_bound(p->mine);
    return NULL;
}

static void run_beside(struct pair *p)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, beside, p), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void each_thread_has_its_own_and_begins_with_none(void **state)
{
    (void)state;
    struct reclaim_record *r = reclaim_self();
    struct pair first = { 0 }, second = { 0 };
    run_beside(&first);
    run_beside(&second);
    assert_ptr_not_equal(first.mine, r);
    assert_ptr_equal(first.mine, second.mine); /* passed on, and nothing of what the other knew */
    assert_int_equal(first.after_join + second.after_join, 0);
    assert_int_equal(first.stood + second.stood, 2 * strata__os_watch_works());
}

static void a_renewed_bound_holds_until_a_break(void **state)
{
    (void)state;
    struct reclaim_record *r = reclaim_self();
    int held = 0;
    for (int i = 0; i < 1000 && !held; i++) {
        (void)reclaim_renew_bound(r);
        held = reclaim_bound_holds(r);
    }
    assert_true(held);
    make_way();
    assert_false(unbroken(r));
    os_bound_set(&r->bound, os_bound_second() - 1, strata__os_now_ms());
    assert_false(reclaim_bound_holds(r));
    assert_int_equal(os_bound_until(&r->bound), OS_BOUND_UNKNOWN); /* not to be taken for one of the new mark */
}

/* In the same second the clock need not be read again. */
static void after_a_break_the_second_says_whether_it_holds(void **state)
{
    (void)state;
    struct reclaim_record *r = reclaim_self();
    int held = 0, marked = 0;
    for (int i = 0; i < 1000 && !(held && marked == strata__os_watch_works()); i++) {
        os_bound_set(&r->bound, os_bound_second(), strata__os_now_ms());
        os_watch_unmark(r->watched);
        held = reclaim_bound_holds(r);
        marked = unbroken(r);
    }
    assert_true(held);
    assert_int_equal(marked, strata__os_watch_works());
}

/* 0: as it should be. */
static int in_child(struct reclaim_record *r)
{
    if (unbroken(r) || os_bound_until(&r->bound) != OS_BOUND_UNKNOWN)
        return 1;
    if (stands(r) != strata__os_watch_works())
        return 2;
    (void)reclaim_renew_bound(r);
    raise(SIGSTOP);
    return unbroken(r) ? 3 : 0;
}

static void a_fork_knows_nothing_and_a_stop_is_a_break(void **state)
{
    (void)state;
    struct reclaim_record *r = reclaim_self();
    (void)reclaim_renew_bound(r);
    pid_t child = fork();
    if (child == 0)
        _exit(in_child(r));
    int status;
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    if (WIFSTOPPED(status)) {
        kill(child, SIGCONT);
        assert_int_equal(waitpid(child, &status, 0), child);
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int no_rseq(const char *call, void *ctx)
{
    (void)ctx;
    return strcmp(call, "rseq") == 0 ? ENOSYS : 0;
}

static void where_there_is_none_no_mark_stands(void **state)
{
    static const struct os_fault_hook hook = { .decide = no_rseq };
    static struct os_watch watch;
    (void)state;
    strata__os_fault_set(&hook);
    assert_false(strata__os_watch_works());
    _Atomic(int64_t) *word = strata__os_watch_word(&watch);
    strata__os_fault_set(NULL);
    assert_ptr_equal(word, &watch.none);
    os_watch_mark(word, &watch);
    assert_false(os_watch_unbroken(word, &watch));
    assert_int_equal(watch.none, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_stands_while_its_thread_runs),
        cmocka_unit_test(to_make_way_ends_it),
        cmocka_unit_test(each_thread_has_its_own_and_begins_with_none),
        cmocka_unit_test(a_renewed_bound_holds_until_a_break),
        cmocka_unit_test(after_a_break_the_second_says_whether_it_holds),
        cmocka_unit_test(a_fork_knows_nothing_and_a_stop_is_a_break),
        cmocka_unit_test(where_there_is_none_no_mark_stands),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
