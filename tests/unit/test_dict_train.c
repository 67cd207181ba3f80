/* test_dict_train.c - strata/dict.h: a dictionary from samples, what it is worth, and what it refuses. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "strata/dict.h"
#include "tests/support/dictionaries.h"

enum { COUNT = 1000 };

static char values[COUNT][DICTIONARY_VALUE];
static strata_slice samples[COUNT];
static char out[DICTIONARY_BYTES];

static void fill(int family)
{
    for (unsigned i = 0; i < COUNT; i++)
        samples[i] = strata_bytes(values[i], dictionary_value(values[i], family, i));
}

static void test_a_dictionary_and_its_worth(void **state)
{
    (void)state;
    strata_dict_report report = STRATA_DICT_REPORT_INIT;
    strata_error err = STRATA_ERROR_INIT;
    size_t size = 0, again = 0;
    static char second[DICTIONARY_BYTES];
    fill(0);
    assert_int_equal(strata_dict_train(samples, COUNT, out, sizeof out, &size, &report, &err), STRATA_OK);
    assert_int_equal(report.bytes, size);
    assert_int_equal(report.id, strata_dict_id(out, size));
    assert_int_not_equal(report.id, 0);
    assert_int_equal(report.measured, COUNT / 10);
    assert_true(report.alone_bytes <= report.measured_bytes);
    assert_true(report.packed_bytes * 2 < report.alone_bytes);
    /* The same once more, without being tried. */
    assert_int_equal(strata_dict_train(samples, COUNT, second, sizeof second, &again, NULL, NULL), STRATA_OK);
    assert_int_equal(again, size);
    assert_memory_equal(second, out, size);
    /* Empty ones are passed over; few ones are all tried. */
    samples[3].size = 0;
    assert_int_equal(strata_dict_train(samples, 99, out, 1024, &size, &report, &err), STRATA_OK);
    assert_in_range(size, 256, 1024);
    assert_int_equal(report.measured, 99);
}

static void test_other_callers_reports(void **state)
{
    (void)state;
    struct {
        strata_dict_report known;
        uint64_t added;
    } newer = { STRATA_DICT_REPORT_INIT, 77 };
    size_t size;
    fill(1);
    newer.known.size = sizeof newer;
    assert_int_equal(strata_dict_train(samples, COUNT, out, sizeof out, &size, &newer.known, NULL), STRATA_OK);
    assert_int_equal(newer.added, 0);
    assert_int_equal(newer.known.size, sizeof newer);
    strata_dict_report older = { .size = offsetof(strata_dict_report, measured), .measured = 77 };
    assert_int_equal(strata_dict_train(samples, COUNT, out, sizeof out, &size, &older, NULL), STRATA_OK);
    assert_int_equal(older.id, newer.known.id);
    assert_int_equal(older.measured, 77);
}

static void refuses(int status, const char *words, size_t count, void *room, size_t room_size, size_t *out_size,
                    strata_dict_report *report)
{
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(strata_dict_train(samples, count, room, room_size, out_size, report, &err), status);
    if (strstr(err.message, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.message, words);
}

static void test_refusals(void **state)
{
    (void)state;
    size_t size = 77;
    strata_dict_report no_size = { 0 };
    fill(0);
    refuses(STRATA_EINVAL, "NULL", COUNT, NULL, sizeof out, &size, NULL);
    refuses(STRATA_EINVAL, "NULL", COUNT, out, sizeof out, NULL, NULL);
    refuses(STRATA_EINVAL, "256", COUNT, out, 255, &size, NULL);
    refuses(STRATA_EINVAL, "16,777,216", COUNT, out, ((size_t)16 << 20) + 1, &size, NULL);
    refuses(STRATA_EINVAL, "STRATA_DICT_REPORT_INIT", COUNT, out, sizeof out, &size, &no_size);
    refuses(STRATA_EINVAL, "at least 8", 7, out, sizeof out, &size, NULL);
    refuses(STRATA_EINVAL, "at least 8", 0, out, sizeof out, &size, NULL);
    for (size_t i = 0; i < COUNT; i++)
        samples[i].size = 1;
    refuses(STRATA_EINVAL, "hardly a byte", 10, out, sizeof out, &size, NULL);
    assert_int_equal(size, 77);
    assert_int_equal(strata_dict_id(NULL, 100), 0);
    assert_int_equal(strata_dict_id("\x37\xa4\x30\xec\x01\0\0\0", 8), 0); /* a head, and nothing behind it */
    assert_int_equal(strata_dict_id("some text of some length", 24), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_dictionary_and_its_worth),
        cmocka_unit_test(test_other_callers_reports),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
