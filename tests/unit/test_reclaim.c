/* test_reclaim.c - records of threads: keys run out, threads end with pins held, forks, and who waits for the last pin. */
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/os/reclaim.h"

static int cell[64]; /* something to pin */

static struct reclaim_pin *pin(const void *address)
{
    struct reclaim_record *r = reclaim_self();
    assert_non_null(r);
    reclaim_enter(r);
    struct reclaim_pin *p = reclaim_slot(r);
    assert_non_null(p);
    reclaim_protect(p, address);
    reclaim_leave(r);
    return p;
}

/* One who holds very many, and gives them back in any order, is given free slots, and no more blocks than are needed. */
static void test_very_many_pins(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    static char held[MANY];
    static struct reclaim_pin *pins[MANY];
    struct reclaim_record *r = reclaim_self();
    assert_non_null(r);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < MANY; i++) {
            pins[i] = pin(&held[i]);
            assert_ptr_equal((void *)atomic_load(&pins[i]->address), &held[i]);
        }
        for (int i = 0; i < MANY; i++) /* none was given twice */
            assert_ptr_equal((void *)atomic_load(&pins[i]->address), &held[i]);
        for (int i = 0; i < MANY; i++)
            reclaim_drop(pins[(i * 7 + round) % MANY]);
    }
    unsigned slots = 0, blocks = 0;
    struct reclaim_pin *p = &r->block.pins[0];
    do
        slots++;
    while ((p = p->next) != &r->block.pins[0]);
    for (struct reclaim_block *b = &r->block; b != NULL; b = atomic_load(&b->next))
        blocks++;
    assert_int_equal(blocks, (MANY + RECLAIM_PINS - 1) / RECLAIM_PINS);
    assert_int_equal(slots, blocks * RECLAIM_PINS);
}

/* First, in a process that has no key left: other people's keys are not touched. */
static void test_without_a_key(void **state)
{
    (void)state;
    static pthread_key_t keys[PTHREAD_KEYS_MAX + 1];
    static char marks[PTHREAD_KEYS_MAX + 1];
    int count = 0;
    while (count <= PTHREAD_KEYS_MAX && pthread_key_create(&keys[count], NULL) == 0)
        count++;
    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_setspecific(keys[i], &marks[i]), 0);
    assert_non_null(strata__reclaim_join());
    for (int i = 0; i < count; i++)
        assert_ptr_equal(pthread_getspecific(keys[i]), &marks[i]);
    for (int i = 0; i < count; i++)
        pthread_key_delete(keys[i]);
}

static void *pin_and_end(void *out)
{
    struct reclaim_pin **pins = out;
    for (int i = 0; i < 64; i++)
        pins[i] = pin(&cell[i]);
    return NULL;
}

struct wait {
    struct reclaim_waiter base;
    _Atomic(int) done;
};

static void set_done(struct reclaim_waiter *w)
{
    struct wait *wait = (struct wait *)(void *)w;
    atomic_fetch_add(&wait->done, 1);
}

static struct wait wait_for(const void *low, const void *high)
{
    return (struct wait){ .base = { .low = (uintptr_t)low, .high = (uintptr_t)high, .done = set_done } };
}

static void test_thread_ends_with_pins(void **state)
{
    (void)state;
    struct reclaim_pin *pins[64];
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, pin_and_end, pins), 0);
    pthread_join(t, NULL);
    struct wait all = wait_for(cell, cell + 64), last = wait_for(&cell[63], &cell[64]),
                none = wait_for(pins, pins + 64);
    strata__reclaim_when_unpinned(&all.base);
    strata__reclaim_when_unpinned(&last.base);
    strata__reclaim_when_unpinned(&none.base);
    assert_int_equal(none.done, 1);
    for (int i = 63; i >= 0; i--) {
        assert_int_equal(all.done, 0);
        assert_int_equal(last.done, i < 63);
        reclaim_drop(pins[i]);
    }
    assert_int_equal(all.done, 1);
    assert_int_equal(strata__reclaim_waiting & ~RECLAIM_FENCED, 0);
}

static void *hold_until_told(void *pipe_end)
{
    struct reclaim_pin *p = pin(&cell[0]);
    const int *fds = pipe_end;
    char c = 0;
    (void)!write(fds[1], &c, 1);
    (void)!read(fds[2], &c, 1);
    reclaim_drop(p);
    return NULL;
}

/* In the child the pin of a thread that is not there stays; its section does not keep anybody waiting. */
static void test_fork(void **state)
{
    (void)state;
    int fds[4];
    assert_int_equal(pipe(&fds[0]), 0);
    assert_int_equal(pipe(&fds[2]), 0);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, hold_until_told, fds), 0);
    char c;
    assert_int_equal(read(fds[0], &c, 1), 1);
    struct wait one = wait_for(cell, cell + 1);
    strata__reclaim_when_unpinned(&one.base);
    pid_t child = fork();
    if (child == 0) {
        struct wait other = wait_for(&cell[1], &cell[2]);
        struct reclaim_pin *p = pin(&cell[1]);
        strata__reclaim_when_unpinned(&other.base);
        int wrong = other.done != 0 || one.done != 0;
        reclaim_drop(p);
        wrong |= other.done != 1 || one.done != 0 || !strata__reclaim_quiesce(1);
        _exit(wrong);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(one.done, 0);
    assert_int_equal(write(fds[3], &c, 1), 1);
    pthread_join(t, NULL);
    assert_int_equal(one.done, 1);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

static void *drop_it(void *p)
{
    reclaim_drop(p);
    return NULL;
}

/* Whoever is last, the waiter or the one who gives the pin back: exactly one call. */
static void test_last_pin_against_the_waiter(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        struct reclaim_pin *p = pin(&cell[5]);
        struct wait w = wait_for(&cell[5], &cell[6]);
        pthread_t t;
        assert_int_equal(pthread_create(&t, NULL, drop_it, p), 0);
        if (i % 2 != 0)
            sched_yield();
        strata__reclaim_when_unpinned(&w.base);
        pthread_join(t, NULL);
        assert_int_equal(w.done, 1);
    }
}

/* A stamp passes with the next quiesce() that succeeds, and not with one that was over before. */
static void test_stamp(void **state)
{
    (void)state;
    assert_int_equal(strata__reclaim_quiesce(0), 1);
    uint64_t stamp = strata__reclaim_stamp();
    assert_int_equal(strata__reclaim_passed(stamp), 0);
    assert_int_equal(strata__reclaim_quiesce(0), 1);
    assert_int_equal(strata__reclaim_passed(stamp), 1);
    assert_int_equal(strata__reclaim_passed(strata__reclaim_stamp()), 0);
}

static _Atomic(int) inside;

static void *stay_inside(void *arg)
{
    (void)arg;
    struct reclaim_record *r = reclaim_self();
    reclaim_enter(r);
    atomic_store(&inside, 1);
    while (atomic_load(&inside) == 1)
        sched_yield();
    reclaim_leave(r);
    return NULL;
}

/* One that gave up, because a thread stayed inside, serves nobody. */
static void test_stamp_while_somebody_is_inside(void **state)
{
    (void)state;
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, stay_inside, NULL), 0);
    while (atomic_load(&inside) == 0)
        sched_yield();
    uint64_t stamp = strata__reclaim_stamp();
    assert_int_equal(strata__reclaim_quiesce(0), 0);
    assert_int_equal(strata__reclaim_passed(stamp), 0);
    atomic_store(&inside, 2);
    pthread_join(t, NULL);
    assert_int_equal(strata__reclaim_quiesce(0), 1);
    assert_int_equal(strata__reclaim_passed(stamp), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_key),
        cmocka_unit_test(test_very_many_pins),
        cmocka_unit_test(test_thread_ends_with_pins),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_last_pin_against_the_waiter),
        cmocka_unit_test(test_stamp),
        cmocka_unit_test(test_stamp_while_somebody_is_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
