/* test_host.h - a host for layers that no cache opened: a clock that the test moves, and one thread that runs what layers
 * post, smallest delay first and without waiting for it, so that delays cost no time and still mix up the order. */
#ifndef STRATA_TESTS_TEST_HOST_H
#define STRATA_TESTS_TEST_HOST_H
#include <pthread.h>

#include "src/layer/layer_host.h"

struct host_item;

/* Unix time is so much later than the clock. */
enum { TEST_HOST_WALL_MS = 1000000000 };

struct test_host {
    strata_layer_host host;
    _Atomic(int64_t) now_ms;
    _Atomic(long) evicted;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct host_item *items;
    int stopping;
    int running;      /* items that have begun, and not ended */
    int keeps_delays; /* what is delayed waits for the clock: test_host_advance(), test_host_cut() */
};

/* `mem` may be NULL: malloc. */
void test_host_start(struct test_host *h, const strata_allocator *mem);
/* From now on delays are kept. */
void test_host_keep_delays(struct test_host *h);
/* Move the clock, and run what is due then. */
void test_host_advance(struct test_host *h, int64_t ms);
/* As when a cache closes: no delay is kept any more; run everything. */
void test_host_cut(struct test_host *h);
/* Until everything that was posted has run, but for what is delayed and not due. */
void test_host_drain(struct test_host *h);
/* Runs what is left, and joins the thread. */
void test_host_stop(struct test_host *h);

#endif /* STRATA_TESTS_TEST_HOST_H */
