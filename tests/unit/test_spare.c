/* test_spare.c - a thread's spare block: reused for what it fits, freed with its thread, never another allocator's. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/os/spare.h"
#include "tests/support/cmocka_all.h"

static void *take_and_give(size_t bytes, size_t *out_room)
{
    void *block = strata__spare_alloc(NULL, bytes, out_room);
    assert_non_null(block);
    assert_true(*out_room >= bytes);
    memset(block, 0xa5, *out_room);
    strata__spare_free(NULL, block, *out_room);
    return block;
}

/* Whether it is the same block is the allocator's affair where a sanitizer looks on; that it is large enough never is. */
static void test_rooms(void **state)
{
    (void)state;
    size_t room;
    for (size_t bytes = 1; bytes < (256 << 10); bytes += 1 + bytes / 3) {
        take_and_give(bytes, &room);
        take_and_give(bytes - bytes / 16, &room);
        assert_true(room <= bytes + 1);
        take_and_give(bytes / 2 + 1, &room);
        assert_int_equal(room, bytes / 2 + 1); /* one of twice the size is not handed out */
    }
}

static void test_two_at_once(void **state)
{
    (void)state;
    size_t a_room, b_room;
    for (int i = 0; i < 4; i++) {
        char *a = strata__spare_alloc(NULL, 5000, &a_room), *b = strata__spare_alloc(NULL, 5000, &b_room);
        assert_true(a != NULL && b != NULL && a != b);
        memset(a, 1, a_room);
        memset(b, 2, b_room);
        assert_int_equal(a[a_room - 1], 1);
        strata__spare_free(NULL, a, a_room);
        strata__spare_free(NULL, b, b_room);
    }
    strata__spare_free(NULL, NULL, 0);
}

struct counts {
    int allocated, freed;
};

static void *count_alloc(size_t bytes, void *ctx)
{
    ((struct counts *)ctx)->allocated++;
    return malloc(bytes);
}

static void *count_realloc(void *old, size_t bytes, void *ctx)
{
    (void)ctx;
    return realloc(old, bytes);
}

static void count_free(void *old, void *ctx)
{
    ((struct counts *)ctx)->freed++;
    free(old);
}

static void test_others_are_left_alone(void **state)
{
    (void)state;
    struct counts counts = { 0, 0 };
    const strata_allocator mem = { sizeof mem, count_alloc, count_realloc, count_free, &counts };
    size_t room;
    take_and_give(3000, &room);
    for (int i = 1; i <= 3; i++) {
        void *block = strata__spare_alloc(&mem, 3000, &room);
        strata__spare_free(&mem, block, room);
        assert_int_equal(counts.allocated, i); /* neither taken from what malloc gave, */
        assert_int_equal(counts.freed, i);     /* nor kept */
    }
}

static pthread_key_t late_key;

/* Runs when its thread ends, before or after our own: what it gives back then is freed, too (the leak checker looks). */
static void give_late(void *block) { strata__spare_free(NULL, block, 4000); }

static void *live_and_end(void *ctx)
{
    (void)ctx;
    size_t room;
    take_and_give(4000, &room);
    void *late = strata__spare_alloc(NULL, 9000, &room);
    strata__spare_free(NULL, late, room);
    void *last = strata__alloc(NULL, 4000);
    assert_int_equal(pthread_setspecific(late_key, last), 0);
    return NULL;
}

static void test_threads_end(void **state)
{
    (void)state;
    assert_int_equal(pthread_key_create(&late_key, give_late), 0);
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, live_and_end, NULL), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    pthread_key_delete(late_key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rooms),
        cmocka_unit_test(test_two_at_once),
        cmocka_unit_test(test_others_are_left_alone),
        cmocka_unit_test(test_threads_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
