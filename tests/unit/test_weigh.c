/* test_weigh.c - classes of worth, and which of them loses one. */
#include <string.h>

#include "src/base/hash.h"
#include "src/policy/weigh.h"
#include "tests/support/cmocka_all.h"

static void test_log(void **state)
{
    (void)state;
    assert_int_equal(strata__weigh_log(0), 0);
    assert_int_equal(strata__weigh_log(1), 0);
    assert_int_equal(strata__weigh_log(2), 8);
    assert_int_equal(strata__weigh_log(3), 12);
    assert_int_equal(strata__weigh_log(1000), 79);
    assert_int_equal(strata__weigh_log(UINT64_MAX), 511);
    for (unsigned octave = 0; octave < 64; octave++)
        assert_int_equal(strata__weigh_log((uint64_t)1 << octave), octave * 8);
    unsigned before = 0;
    for (uint64_t n = 1; n < 200000; n++) {
        unsigned log = strata__weigh_log(n);
        assert_true(log == before || log > before);
        assert_int_equal(strata__weigh_log(n << 20), log + 160);
        before = log;
    }
}

/* Dearer is never worth less, larger never more; all of it in range, whatever is asked. */
static void test_class(void **state)
{
    (void)state;
    uint64_t x = 1;
    for (int i = 0; i < 200000; i++) {
        x = strata__mix64(x + 1);
        uint32_t cost = (uint32_t)(x >> 32) >> (x & 31);
        uint64_t bytes = strata__mix64(x) >> (x >> 8 & 63);
        unsigned class = strata__weigh_class(cost, bytes);
        assert_true(class < WEIGH_CLASSES);
        assert_true(strata__weigh_class(cost, bytes / 2) >= class);
        if (cost != 0 && cost < UINT32_MAX / 2)
            assert_true(strata__weigh_class(cost * 2, bytes) >= class);
        assert_int_equal(strata__weigh_class(0, bytes), strata__weigh_class(WEIGH_DEFAULT_US, bytes));
    }
    assert_int_equal(strata__weigh_class(1, UINT64_MAX), 0);
    assert_int_equal(strata__weigh_class(UINT32_MAX, 1), WEIGH_CLASSES - 1);
    /* What is usual is nowhere near the ends: 100 us for 16 KiB, 10 s for 100 bytes. */
    assert_in_range(strata__weigh_class(100, 16384), 4, WEIGH_CLASSES);
    assert_in_range(strata__weigh_class(10000000, 100), 0, WEIGH_CLASSES - 3);
    /* A thousand times as dear are eight classes, whatever the size. */
    for (uint64_t bytes = 64; bytes < 1 << 20; bytes *= 4)
        assert_in_range(strata__weigh_class(5000000, bytes) - strata__weigh_class(5000, bytes), 7, 8);
}

static void test_again_and_keep(void **state)
{
    (void)state;
    for (unsigned old = 0; old < WEIGH_CLASSES; old++) {
        assert_int_equal(strata__weigh_again(old, old), old);
        for (unsigned fresh = 0; fresh < WEIGH_CLASSES; fresh++) {
            unsigned class = strata__weigh_again(old, fresh);
            assert_in_range(class, old < fresh ? old : fresh, old < fresh ? fresh : old);
        }
        assert_int_equal(strata__weigh_keep(old, 0), -1);
        assert_int_equal(strata__weigh_keep(old, 1), old);
        for (unsigned hits = 2; hits < 300; hits++)
            assert_int_equal(strata__weigh_keep(old, hits), old + 1 < WEIGH_CLASSES ? old + 1 : old);
    }
    /* One load in a hundred thousand times the usual time is forgotten after a few usual ones. */
    unsigned usual = strata__weigh_class(10000, 1000), class = strata__weigh_class(1000000000, 1000);
    assert_true(class > usual + 10);
    for (int i = 0; i < 5; i++)
        class = strata__weigh_again(class, usual);
    assert_in_range(class, usual, usual + 1);
}

/* So many choices, each leaver replaced by one of its class: how often each class lost one. */
static void lose(struct weigh *w, uint64_t choices, uint64_t lost[WEIGH_CLASSES])
{
    memset(lost, 0, WEIGH_CLASSES * sizeof *lost);
    for (uint64_t i = 0; i < choices; i++) {
        unsigned class = strata__weigh_choose(w);
        assert_true(class < WEIGH_CLASSES);
        assert_true(w->count[class] != 0);
        weigh_drop(w, class);
        weigh_add(w, class);
        lost[class]++;
    }
}

static void fill(struct weigh *w, unsigned class, unsigned count)
{
    while (count-- > 0)
        weigh_add(w, class);
}

/* Time that an entry stays is proportional to what its class is worth. */
static void test_time_is_worth(void **state)
{
    (void)state;
    for (unsigned low = 0; low + 4 < WEIGH_CLASSES; low++) {
        struct weigh w = { 0 };
        uint64_t lost[WEIGH_CLASSES];
        static const unsigned counts[5] = { 100, 1000, 50, 400, 700 };
        for (unsigned i = 0; i < 5; i++)
            fill(&w, low + i, counts[i]);
        lose(&w, 200000, lost);
        for (unsigned i = 1; i < 5; i++) {
            double before = (double)counts[i - 1] / (double)lost[low + i - 1],
                   stay = (double)counts[i] / (double)lost[low + i];
            assert_in_range((uint64_t)(stay / before * 1000), 2300, 2460); /* 2^1.25 = 2.378 */
        }
    }
}

/* Nobody stays for longer than 64 turns, how much more it may be worth; nor much shorter for that. */
static void test_the_dearest_leave(void **state)
{
    (void)state;
    for (unsigned top = 9; top < WEIGH_CLASSES; top += 3) {
        struct weigh w = { 0 };
        uint64_t lost[WEIGH_CLASSES];
        fill(&w, 0, 900);
        fill(&w, top, 100);
        lose(&w, 64000, lost);
        assert_in_range(lost[top], 94, 102); /* all of the hundred, in 64 turns of a thousand */
        assert_int_equal(lost[0] + lost[top], 64000);
    }
}

/* What was owed among classes that are empty now says nothing of those that have come. */
static void test_no_old_debts(void **state)
{
    (void)state;
    struct weigh w = { 0 };
    uint64_t lost[WEIGH_CLASSES], x = 3;
    fill(&w, 0, 5000);
    fill(&w, 1, 5000);
    lose(&w, 10007, lost);
    while (w.all != 0)
        weigh_drop(&w, w.count[0] != 0 ? 0 : 1);
    fill(&w, 20, 100);
    fill(&w, 21, 100);
    lose(&w, 1000, lost);
    assert_in_range(lost[20], 695, 713); /* 2.378 of 3.378 */
    /* Whatever comes and goes: no class is ever owed more than some leavers, and an empty one nothing. */
    memset(&w, 0, sizeof w);
    for (int i = 0; i < 200000; i++) {
        x = strata__mix64(x + 1);
        if (w.all == 0 || x % 100 < 51) {
            weigh_add(&w, (unsigned)(x >> 32) % WEIGH_CLASSES);
        } else if (x % 100 < 60) {
            unsigned class = (unsigned)(x >> 32) % WEIGH_CLASSES;
            if (w.count[class] != 0)
                weigh_drop(&w, class);
        } else {
            weigh_drop(&w, strata__weigh_choose(&w));
        }
        for (unsigned c = 0; c < WEIGH_CLASSES; c++)
            assert_true(w.due[c] > -20 && w.due[c] < 20 && (w.count[c] != 0 || w.due[c] == 0));
    }
}

static void test_nobody_there(void **state)
{
    (void)state;
    struct weigh w = { 0 };
    assert_int_equal(strata__weigh_choose(&w), 0);
    for (unsigned class = 0; class < WEIGH_CLASSES; class ++) {
        weigh_add(&w, class);
        assert_int_equal(strata__weigh_choose(&w), class);
        weigh_drop(&w, class);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_class),
        cmocka_unit_test(test_again_and_keep),
        cmocka_unit_test(test_time_is_worth),
        cmocka_unit_test(test_the_dearest_leave),
        cmocka_unit_test(test_no_old_debts),
        cmocka_unit_test(test_nobody_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
