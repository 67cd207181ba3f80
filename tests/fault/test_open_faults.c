/* test_open_faults.c - opening a cache while the n-th allocation fails, or the n-th system call, for every n.
 *
 * With real threads.  Each time: no crash, a status with words, nothing left behind; or a cache that works, where there is
 * another way. */
#include <errno.h>
#include <stdlib.h>

#include "tests/support/cmocka_all.h"

#include "strata/strata.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/fault_nth.h"
#include "tests/support/memory_stacks.h"

enum { RUNS_MOST = 500 };

static int load_copy(strata_load *load, strata_slice key, void *ctx)
{
    (void)ctx;
    return strata_load_copy(load, key.data, key.size);
}

static int open_real(struct fail_alloc *alloc, make_layers *make, strata **out, strata_error *err)
{
    strata_layer *layers[2];
    const strata_options options = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = make(layers),
                                     .allocator = &alloc->mem, .workers = 2 };
    return strata_open(out, &options, err);
}

static void use_and_close(strata *cache)
{
    strata_value *v = NULL;
    assert_int_equal(strata_get_or_load(cache, strata_str("a"), load_copy, NULL, NULL, &v, NULL), STRATA_OK);
    strata_value_unref(v);
    assert_int_equal(strata_close(cache), STRATA_OK);
}

static void open_fails_cleanly_at_each_allocation(void **state)
{
    static make_layers *const stacks[] = { memory_alone, memory_and_map };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fail_alloc alloc;
        long n = 0;
        do {
            strata *cache = NULL;
            strata_error err = STRATA_ERROR_INIT;
            fail_alloc_init(&alloc, ++n);
            int rc = open_real(&alloc, stacks[i], &cache, &err);
            atomic_store(&alloc.fail_at, 0);
            if (rc == STRATA_OK) {
                use_and_close(cache);
            } else {
                assert_null(cache);
                assert_int_equal(rc, STRATA_ENOMEM);
                assert_int_equal(err.status, rc);
                assert_true(err.message[0] != 0);
            }
            assert_int_equal(alloc.live, 0);
            assert_in_range(n, 1, RUNS_MOST);
        } while (alloc.failed);
        assert_in_range(n, 5, RUNS_MOST);
    }
}

static void open_fails_cleanly_at_each_system_call(void **state)
{
    static const struct {
        const char *call;
        int may_open; /* there is another way */
    } calls[] = {
        { "pthread_atfork", 0 }, /* first: the process asks for it once */
        { "mmap", 0 },           { "mprotect", 0 },          { "madvise", 1 },
        { "pthread_create", 0 }, { "pthread_cond_init", 0 }, { "pthread_mutex_init", 0 },
        { "getrandom", 1 },      { "eventfd", 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        struct fault_nth fault;
        int n = 0;
        do {
            struct fail_alloc alloc;
            strata *cache = NULL;
            strata_error err = STRATA_ERROR_INIT;
            fail_alloc_init(&alloc, 0);
            fault_nth_set(&fault, calls[i].call, ++n, ENOMEM);
            int rc = open_real(&alloc, memory_and_map, &cache, &err);
            fault_nth_clear();
            int failed = fault.seen >= n;
            if (rc == STRATA_OK) {
                if (!calls[i].may_open && failed)
                    fail_msg("%s failed, and the cache opened all the same", calls[i].call);
                use_and_close(cache);
            } else {
                assert_true(failed);
                assert_true(rc == STRATA_EIO || rc == STRATA_ENOMEM);
                assert_int_equal(err.status, rc);
                assert_true(err.message[0] != 0 && err.where[0] != 0);
                assert_null(cache);
            }
            assert_int_equal(alloc.live, 0);
            assert_in_range(n, 1, RUNS_MOST);
        } while (fault.seen >= n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_fails_cleanly_at_each_system_call),
        cmocka_unit_test(open_fails_cleanly_at_each_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
