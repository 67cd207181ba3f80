/* test_memory_ghost.c - the ghost of S3-FIFO against a list: the same fingerprints are known, oldest forgotten first, whatever holes
 * takes leave; and where there is no room for more, fewer are known and nothing else is wrong. */
#include <stdlib.h>

#include "src/base/hash.h"
#include "src/layer/memory/memory_impl.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

enum { MOST = 1 << 16 };

/* In order of arrival; 0 was taken. */
struct list {
    uint32_t *fingerprint;
    size_t first, next, live;
};

struct bed {
    struct memory layer;
    struct shard shard;
    struct list list;
    uint64_t random_state;
    uint64_t asked, differed;
};

static uint64_t random_below(struct bed *b, uint64_t below)
{
    b->random_state += 0x9e3779b97f4a7c15u;
    return strata__mix64(b->random_state) % below;
}

static struct bed *open_bed(uint64_t seed)
{
    void *room = NULL;
    assert_int_equal(posix_memalign(&room, 64, sizeof(struct bed)), 0);
    struct bed *b = memset(room, 0, sizeof *b);
    b->random_state = seed;
    b->shard.layer = &b->layer;
    b->shard.limit_bytes = (uint64_t)1 << 40;
    b->list.fingerprint = calloc(MOST * 64, sizeof(uint32_t));
    assert_non_null(b->list.fingerprint);
    return b;
}

static void close_bed(struct bed *b)
{
    strata__ghost_deinit(&b->shard);
    assert_int_equal(b->shard.bytes, 0);
    free(b->list.fingerprint);
    free(b);
}

static int list_take(struct list *l, uint32_t fingerprint)
{
    for (size_t i = l->next; i-- > l->first;)
        if (l->fingerprint[i] == fingerprint) {
            l->fingerprint[i] = 0;
            l->live--;
            return 1;
        }
    return 0;
}

static void list_forget(struct list *l)
{
    while (l->fingerprint[l->first++] == 0)
        ;
    l->live--;
}

static void list_add(struct list *l, uint32_t fingerprint, uint64_t capacity)
{
    (void)list_take(l, fingerprint);
    while (l->live >= capacity)
        list_forget(l);
    assert_true(l->next < MOST * 64);
    l->fingerprint[l->next++] = fingerprint;
    l->live++;
}

static uint32_t a_fingerprint(struct bed *b, uint64_t keys)
{
    return ghost_fingerprint(strata__mix64(1 + random_below(b, keys)));
}

static void step(struct bed *b, uint64_t keys, uint64_t capacity, unsigned takes_percent)
{
    uint32_t fingerprint = a_fingerprint(b, keys);
    if (random_below(b, 100) < takes_percent) {
        b->asked++;
        b->differed += strata__ghost_take(&b->shard.ghost, fingerprint) != list_take(&b->list, fingerprint);
    } else {
        strata__ghost_add(&b->shard, fingerprint, capacity);
        list_add(&b->list, fingerprint, capacity);
    }
}

static void run(struct bed *b, uint64_t keys, uint64_t capacity, unsigned takes_percent, size_t steps)
{
    for (size_t i = 0; i < steps; i++)
        step(b, keys, capacity, takes_percent);
}

/* Few of them never overflow a set: no answer differs. */
static void test_few_are_remembered_exactly(void **state)
{
    (void)state;
    static const unsigned takes[] = { 0, 20, 50, 80 };
    for (uint64_t seed = 1; seed <= 8; seed++)
        for (size_t t = 0; t < 4; t++) {
            struct bed *b = open_bed(seed);
            run(b, 100 + 40 * seed, 5 + 12 * seed, takes[t], 20000);
            assert_int_equal(b->differed, 0);
            assert_int_equal(b->shard.ghost.live, b->list.live);
            close_bed(b);
        }
}

/* Of many some sets overflow, and few answers differ. */
static void test_many_are_remembered_but_for_few(void **state)
{
    (void)state;
    struct bed *b = open_bed(3);
    run(b, 12000, 3000, 40, 60000);
    assert_true(b->asked > 20000 && b->differed * 100 < b->asked);
    assert_true(b->shard.ghost.live <= 3000 && b->shard.ghost.live + 60 > b->list.live);
    close_bed(b);
}

/* One that stays while all who come are taken again: the numbers run out, and are given anew. */
static void test_one_outlives_many_that_were_taken(void **state)
{
    (void)state;
    struct bed *b = open_bed(4);
    struct shard *s = &b->shard;
    strata__ghost_add(s, 7, 50);
    for (uint32_t i = 0; i < 5000; i++) {
        strata__ghost_add(s, 0x80000000u + i, 50);
        assert_int_equal(strata__ghost_take(&s->ghost, 0x80000000u + i), 1);
        assert_int_equal(s->ghost.live, 1);
    }
    uint64_t bytes = s->bytes;
    assert_true(bytes < 8192);
    assert_int_equal(strata__ghost_take(&s->ghost, 7), 1);
    assert_int_equal(strata__ghost_take(&s->ghost, 7), 0);
    close_bed(b);
}

static void test_capacity_grows_and_shrinks(void **state)
{
    (void)state;
    struct bed *b = open_bed(5);
    run(b, 400, 20, 30, 3000);
    run(b, 400, 60, 30, 3000);
    run(b, 400, 130, 30, 3000);
    uint64_t large = b->shard.bytes;
    run(b, 400, 15, 30, 3000);
    assert_int_equal(b->shard.bytes, large);
    strata__ghost_fit(&b->shard, 15);
    assert_true(b->shard.bytes < large);
    run(b, 400, 15, 30, 3000);
    run(b, 400, 90, 30, 3000);
    assert_int_equal(b->differed, 0);
    assert_int_equal(b->shard.ghost.live, b->list.live);
    close_bed(b);
}

/* Numbers wrap. */
static void test_numbers_wrap(void **state)
{
    (void)state;
    struct bed *b = open_bed(6);
    struct ghost *g = &b->shard.ghost;
    strata__ghost_add(&b->shard, 7, 50);
    assert_int_equal(strata__ghost_take(g, 7), 1);
    assert_int_equal(g->live, 0);
    g->oldest = g->next = UINT32_MAX - 3000;
    run(b, 300, 50, 10, 6000);
    assert_true(g->next < 3000);
    run(b, 300, 50, 50, 6000);
    assert_int_equal(b->differed, 0);
    assert_int_equal(g->live, b->list.live);
    close_bed(b);
}

/* One full set: whoever was there first is forgotten before its turn. */
static void test_a_full_set_forgets_its_oldest(void **state)
{
    (void)state;
    struct bed *b = open_bed(8);
    struct shard *s = &b->shard;
    for (uint32_t f = 1; f <= GHOST_WAYS + 2; f++)
        strata__ghost_add(s, f, 1000);
    assert_int_equal(s->ghost.live, GHOST_WAYS);
    assert_int_equal(strata__ghost_take(&s->ghost, 1) + strata__ghost_take(&s->ghost, 2), 0);
    for (uint32_t f = 3; f <= GHOST_WAYS + 2; f++)
        assert_int_equal(strata__ghost_take(&s->ghost, f), 1);
    assert_int_equal(s->ghost.live, 0);
    close_bed(b);
}

/* Without budget or memory it remembers as many as it has room for, or none. */
static void test_no_room(void **state)
{
    (void)state;
    struct bed *b = open_bed(9);
    b->shard.limit_bytes = 0;
    run(b, 200, 100, 0, 500);
    assert_int_equal(b->shard.ghost.live, 0);
    b->shard.limit_bytes = 4096;
    for (int i = 0; i < 5000; i++)
        strata__ghost_add(&b->shard, a_fingerprint(b, 400), 300);
    assert_true(b->shard.bytes <= 4096 && b->shard.ghost.live > 60);
    close_bed(b);
}

static void test_no_memory(void **state)
{
    (void)state;
    for (long nth = 1; nth < 6; nth++) {
        struct bed *b = open_bed(10);
        struct fail_alloc alloc;
        fail_alloc_init(&alloc, nth);
        b->layer.mem = &alloc.mem;
        for (int i = 0; i < 4000; i++)
            strata__ghost_add(&b->shard, a_fingerprint(b, 800), 700);
        assert_int_equal(alloc.failed, 1);
        assert_true(b->shard.ghost.live > 300); /* the next request is heard again */
        close_bed(b);
        assert_int_equal(alloc.live, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_are_remembered_exactly),
        cmocka_unit_test(test_many_are_remembered_but_for_few),
        cmocka_unit_test(test_one_outlives_many_that_were_taken),
        cmocka_unit_test(test_capacity_grows_and_shrinks),
        cmocka_unit_test(test_numbers_wrap),
        cmocka_unit_test(test_a_full_set_forgets_its_oldest),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
