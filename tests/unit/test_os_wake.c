/* test_os_wake.c - the pollable wakeup: the variant of this system, and the pipe of others. */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "src/os/os_clock.h"
#include "src/os/os_thread.h"
#include "src/os/os_wake.h"
#include "tests/support/fault_nth.h"

#define strata__os_wake_init pipe_init
#define strata__os_wake_deinit pipe_deinit
int pipe_init(struct os_wake *wake);
void pipe_deinit(struct os_wake *wake);
#include "src/os/os_wake_pipe.c"
#undef strata__os_wake_init
#undef strata__os_wake_deinit

struct variant {
    int (*init)(struct os_wake *wake);
    void (*deinit)(struct os_wake *wake);
    const char *call;
};

#if defined(__linux__)
static struct variant native = { strata__os_wake_init, strata__os_wake_deinit, "eventfd" };
#else
static struct variant native = { strata__os_wake_init, strata__os_wake_deinit, "pipe" };
#endif
static struct variant portable = { pipe_init, pipe_deinit, "pipe" };

static int readable(const struct os_wake *wake)
{
    struct pollfd fd = { wake->read_fd, POLLIN, 0 };
    return poll(&fd, 1, 0) == 1;
}

static void signal_and_clear(void **state)
{
    const struct variant *v = *state;
    struct os_wake wake;
    assert_int_equal(v->init(&wake), 0);
    assert_int_equal(fcntl(wake.read_fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(fcntl(wake.write_fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_false(readable(&wake));
    strata__os_wake_clear(&wake); /* nothing to clear: must not block */
    for (int i = 0; i < 1000; i++)
        strata__os_wake_signal(&wake);
    assert_true(readable(&wake));
    strata__os_wake_clear(&wake);
    assert_false(readable(&wake));
    strata__os_wake_signal(&wake);
    assert_true(readable(&wake));
    assert_int_equal(strata__os_wake_wait(&wake, INT64_MAX), 0);
    strata__os_wake_clear(&wake);
    assert_int_equal(strata__os_wake_wait(&wake, strata__os_now_us() + 2000), 1);
    v->deinit(&wake);
}

static void no_descriptor_left(void **state)
{
    const struct variant *v = *state;
    struct os_wake wake;
    struct fault_nth fault;
    fault_nth_set(&fault, v->call, 1, EMFILE);
    int failed = v->init(&wake);
    fault_nth_clear();
    assert_int_equal(failed, EMFILE);
}

enum { ITEMS = 5000 };

struct stream {
    struct os_wake wake;
    _Atomic(int) made;
};

static void produce(void *ctx)
{
    struct stream *stream = ctx;
    for (int i = 0; i < ITEMS; i++) {
        atomic_fetch_add(&stream->made, 1);
        strata__os_wake_signal(&stream->wake);
    }
}

/* A wakeup that is lost makes this wait for ever. */
static void none_is_lost(void **state)
{
    const struct variant *v = *state;
    struct stream stream;
    struct os_thread thread;
    assert_int_equal(v->init(&stream.wake), 0);
    atomic_init(&stream.made, 0);
    assert_int_equal(strata__os_thread_start(&thread, "test-produce", produce, &stream), 0);
    do {
        assert_int_equal(strata__os_wake_wait(&stream.wake, INT64_MAX), 0);
        strata__os_wake_clear(&stream.wake);
    } while (atomic_load(&stream.made) < ITEMS);
    strata__os_thread_join(&thread);
    v->deinit(&stream.wake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(signal_and_clear, &native),
        cmocka_unit_test_prestate(no_descriptor_left, &native),
        cmocka_unit_test_prestate(none_is_lost, &native),
        cmocka_unit_test_prestate(signal_and_clear, &portable),
        cmocka_unit_test_prestate(no_descriptor_left, &portable),
        cmocka_unit_test_prestate(none_is_lost, &portable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
