/* test_queue.c - the completion queue: order, the descriptor, reentrancy, closing. */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "src/base/err.h"
#include "src/loop/queue_impl.h"
#include "src/os/os_thread.h"
#include "tests/support/fault_nth.h"

static strata_queue *queue;

/* A completion that notes its number, and may do more from inside. */
struct note {
    struct completion completion;
    int number;
    void (*then)(struct note *note);
    struct note *also;
    int freed;
};

static int order[64];
static size_t ran;

static struct note *note_of(struct completion *completion) { return (struct note *)(void *)completion; }

static void done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct note *note = ctx;
    assert_null(value);
    assert_int_equal(status < 0, err != NULL);
    if (err != NULL)
        assert_int_equal(err->status, status);
    assert_true(ran < 64);
    order[ran++] = note->number;
    if (note->then != NULL)
        note->then(note);
}

static void free_note(struct completion *completion) { note_of(completion)->freed++; }

static struct note make(int number)
{
    struct note note;
    memset(&note, 0, sizeof note);
    note.completion.done = done;
    note.completion.free = free_note;
    note.number = number;
    return note;
}

static int push(struct note *note)
{
    note->completion.ctx = note;
    return strata__queue_push(queue, &note->completion);
}

static int readable(void)
{
    struct pollfd fd = { strata_queue_fd(queue), POLLIN, 0 };
    return poll(&fd, 1, 0) == 1;
}

static int setup(void **state)
{
    (void)state;
    ran = 0;
    return strata_queue_open(&queue, NULL);
}

static int teardown(void **state)
{
    (void)state;
    strata_queue_close(queue);
    queue = NULL;
    return 0;
}

static void runs_in_order_and_shows_it(void **state)
{
    (void)state;
    struct note a = make(1), b = make(2), c = make(3);
    assert_false(readable());
    assert_int_equal(strata_queue_run(queue, 0), 0);
    assert_int_equal(strata_queue_wait(queue, 0), STRATA_ETIMEDOUT);
    b.completion.status = strata__fail(&b.completion.err, STRATA_ELOADER, "loader", "no answer");
    c.completion.status = STRATA_MISS;
    assert_int_equal(push(&a), STRATA_OK);
    assert_int_equal(push(&b), STRATA_OK);
    assert_int_equal(push(&c), STRATA_OK);
    assert_true(readable());
    assert_int_equal(strata_queue_wait(queue, -1), STRATA_OK);
    assert_int_equal(strata_queue_run(queue, 2), 2);
    assert_true(readable()); /* one still waits */
    assert_int_equal(strata_queue_run(queue, 2), 1);
    assert_false(readable());
    assert_int_equal(order[0] * 100 + order[1] * 10 + order[2], 123);
    assert_int_equal(a.freed + b.freed + c.freed, 3);
    assert_int_equal(push(&a), STRATA_OK); /* quiet, then again */
    assert_true(readable());
    assert_int_equal(strata_queue_run(queue, 0), 1);
}

static void push_also(struct note *note) { assert_int_equal(push(note->also), STRATA_OK); }

static void what_callbacks_push_is_for_the_next_run(void **state)
{
    (void)state;
    struct note a = make(1), b = make(2);
    a.then = push_also;
    a.also = &a; /* itself, again and again */
    b.then = NULL;
    assert_int_equal(push(&a), STRATA_OK);
    assert_int_equal(push(&b), STRATA_OK);
    assert_int_equal(strata_queue_run(queue, 0), 2);
    assert_int_equal(order[0] * 10 + order[1], 12);
    assert_true(readable());
    assert_int_equal(strata_queue_run(queue, 0), 1);
    a.then = NULL;
    assert_int_equal(strata_queue_run(queue, 0), 1);
    assert_int_equal(strata_queue_run(queue, 0), 0);
}

static void run_again(struct note *note)
{
    (void)note;
    (void)strata_queue_run(queue, 0);
}

static void callbacks_may_run_the_queue(void **state)
{
    (void)state;
    struct note notes[60];
    for (int i = 0; i < 60; i++) {
        notes[i] = make(i);
        notes[i].then = run_again;
        assert_int_equal(push(&notes[i]), STRATA_OK);
    }
    size_t total = 0, now;
    while ((now = strata_queue_run(queue, 0)) != 0)
        total += now;
    assert_true(total > 0 && total < 60); /* the others ran in runs inside runs */
    assert_int_equal(ran, 60);
    for (int i = 0; i < 60; i++)
        assert_int_equal(order[i], i); /* in order all the same */
}

static void close_in_callback(struct note *note)
{
    (void)note;
    strata_queue_close(queue);
    queue = NULL;
}

static void a_callback_may_close_it(void **state)
{
    (void)state;
    struct note a = make(1), b = make(2);
    a.then = close_in_callback;
    assert_int_equal(push(&a), STRATA_OK);
    assert_int_equal(push(&b), STRATA_OK);
    assert_int_equal(strata_queue_run(queue, 0), 1);
    assert_int_equal(ran, 2); /* close ran the other one */
    assert_int_equal(a.freed + b.freed, 2);
}

static void a_closed_queue_takes_nothing(void **state)
{
    (void)state;
    struct note waiting = make(1), late = make(2);
    strata_queue *kept = strata__queue_ref(queue);
    assert_int_equal(push(&waiting), STRATA_OK);
    strata_queue_close(queue);
    assert_int_equal(waiting.freed, 1); /* it was promised a call */
    queue = kept;
    assert_int_equal(push(&late), STRATA_ECLOSED);
    assert_int_equal(late.freed, 0);
    strata__completion_run(&late.completion); /* what the pusher does then */
    assert_int_equal(late.freed, 1);
    assert_int_equal(ran, 2);
    strata__queue_unref(kept);
    queue = NULL;
}

/* What a thread pushes while it holds is there at once; who sleeps for it wakes when it lets go. */
static void held_signals(void **state)
{
    (void)state;
    struct note notes[4] = { make(0), make(1), make(2), make(3) };
    strata_queue *other, *first = queue;
    assert_int_equal(strata_queue_open(&other, NULL), STRATA_OK);
    strata__queue_hold();
    strata__queue_hold();
    push(&notes[0]);
    push(&notes[1]);
    assert_false(readable());
    strata__queue_let_go();
    assert_false(readable());
    assert_int_equal(strata_queue_run(queue, 0), 2); /* nobody needs to wait for the signal */
    push(&notes[2]);
    queue = other;
    push(&notes[3]); /* another queue: the first one is told now */
    assert_false(readable());
    queue = first;
    assert_true(readable());
    strata__queue_let_go();
    queue = other;
    assert_true(readable());
    strata_queue_close(queue);
    queue = first;
    assert_int_equal(ran, 3);
    assert_int_equal(strata_queue_run(queue, 0), 1);
    assert_false(readable());
}

/* A run that stops early leaves the descriptor as it is; what was taken is not lost when the queue is closed. */
static void stops_early(void **state)
{
    (void)state;
    struct note notes[3] = { make(0), make(1), make(2) };
    for (int i = 0; i < 3; i++)
        push(&notes[i]);
    assert_int_equal(strata_queue_run(queue, 1), 1);
    assert_true(readable());
    assert_int_equal(strata_queue_wait(queue, 0), STRATA_OK);
    assert_int_equal(strata_queue_run(queue, 1), 1);
    assert_true(readable());
    strata_queue_close(queue);
    assert_int_equal(ran, 3);
    assert_int_equal(strata_queue_open(&queue, NULL), STRATA_OK);
}

static void null_is_fine(void **state)
{
    (void)state;
    strata_queue_close(NULL);
    strata__queue_unref(NULL);
    assert_null(strata__queue_ref(NULL));
    assert_int_equal(strata_queue_fd(NULL), -1);
    assert_int_equal(strata_queue_run(NULL, 0), 0);
    assert_int_equal(strata_queue_wait(NULL, 0), STRATA_EINVAL);
    assert_int_equal(strata_queue_open(NULL, NULL), STRATA_EINVAL);
}

static void failing_opens(void **state)
{
    (void)state;
#if defined(__linux__)
    const char *const calls[] = { "eventfd", "pthread_mutex_init" };
#else
    const char *const calls[] = { "pipe", "pthread_mutex_init" };
#endif
    for (int i = 0; i < 2; i++) {
        struct fault_nth fault;
        strata_error err = STRATA_ERROR_INIT;
        strata_queue *none = (strata_queue *)&fault;
        fault_nth_set(&fault, calls[i], 1, EMFILE);
        int status = strata_queue_open(&none, &err);
        fault_nth_clear();
        assert_int_equal(status, STRATA_EIO);
        assert_int_equal(err.status, STRATA_EIO);
        assert_int_equal(err.os_errno, EMFILE);
        assert_null(none);
    }
}

enum { PUSHERS = 3, PUSHES = 3000 };

static struct note crowd[PUSHERS][PUSHES];
static _Atomic(int) refused;
static int counted[PUSHERS];

static void count(int status, strata_value *value, const strata_error *err, void *ctx)
{
    (void)value;
    (void)err;
    (void)ctx;
    counted[status]++;
}

static void push_all(void *ctx)
{
    struct note *notes = ctx;
    for (int i = 0; i < PUSHES; i++)
        if (strata__queue_push(queue, &notes[i].completion) != STRATA_OK)
            atomic_fetch_add(&refused, 1);
    strata__queue_unref(queue);
}

static void start_pushers(struct os_thread *threads)
{
    atomic_store(&refused, 0);
    for (int i = 0; i < PUSHERS; i++) {
        counted[i] = 0;
        for (int j = 0; j < PUSHES; j++)
            crowd[i][j] = (struct note){ .completion = { .done = count, .status = i } };
        (void)strata__queue_ref(queue);
        assert_int_equal(strata__os_thread_start(&threads[i], "pusher", push_all, crowd[i]), 0);
    }
}

static int all_counted(void)
{
    int all = 0;
    for (int i = 0; i < PUSHERS; i++)
        all += counted[i];
    return all;
}

/* A wakeup that is lost makes this wait for ever. */
static void many_threads_push(void **state)
{
    (void)state;
    struct os_thread threads[PUSHERS];
    start_pushers(threads);
    for (size_t i = 0; all_counted() < PUSHERS * PUSHES; i++) {
        assert_int_equal(strata_queue_wait(queue, -1), STRATA_OK);
        (void)strata_queue_run(queue, i % 3 * 5);
    }
    for (int i = 0; i < PUSHERS; i++)
        strata__os_thread_join(&threads[i]);
    (void)strata_queue_run(queue, 0); /* takes away a late write */
    assert_false(readable());
}

static void closing_races_with_pushes(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        struct os_thread threads[PUSHERS];
        if (queue == NULL)
            assert_int_equal(strata_queue_open(&queue, NULL), STRATA_OK);
        start_pushers(threads);
        (void)strata_queue_run(queue, (size_t)round * 50 + 1);
        strata_queue_close(queue); /* the pushers hold it */
        for (int i = 0; i < PUSHERS; i++)
            strata__os_thread_join(&threads[i]);
        assert_int_equal(all_counted() + refused, PUSHERS * PUSHES);
        queue = NULL;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runs_in_order_and_shows_it, setup, teardown),
        cmocka_unit_test_setup_teardown(what_callbacks_push_is_for_the_next_run, setup, teardown),
        cmocka_unit_test_setup_teardown(callbacks_may_run_the_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(a_callback_may_close_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_closed_queue_takes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(held_signals, setup, teardown),
        cmocka_unit_test_setup_teardown(stops_early, setup, teardown),
        cmocka_unit_test(null_is_fine),
        cmocka_unit_test(failing_opens),
        cmocka_unit_test_setup_teardown(many_threads_push, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_races_with_pushes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
