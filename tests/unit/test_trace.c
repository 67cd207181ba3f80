/* test_trace.c - a trace dealt out in blocks: streamed or kept, the same requests in the same order, every time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/trace.h"

enum { REQUESTS = 5000, KEYS = 700 };

static char path[] = "/tmp/strata-test-trace-XXXXXX";

static int write_trace(void **state)
{
    int fd = mkstemp(path);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    int i;

    (void)state;
    if (file == NULL)
        return -1;
    for (i = 0; i < REQUESTS; i++)
        fprintf(file, i % 10 == 0 ? "\nkey-%d,%d\n" : "key-%d,%d\n", i % KEYS, i);
    return fclose(file);
}

static int remove_trace(void **state)
{
    (void)state;
    return unlink(path);
}

/* One pass; every request must be the one that write_trace() wrote. */
static void expect_pass(struct trace *trace, uint32_t block_requests)
{
    struct trace_block *mine = trace_block_new();
    const struct trace_block *block;
    char key[32];
    int i = 0;

    assert_non_null(mine);
    for (trace_take(trace, mine, &block, NULL); block != NULL; trace_take(trace, mine, &block, NULL)) {
        struct trace_line line;
        uint32_t offset = 0;

        assert_in_range(block->count, 1, block_requests);
        while (trace_block_next(block, &offset, &line)) {
            snprintf(key, sizeof key, "key-%d", i % KEYS);
            assert_int_equal(line.key_size, strlen(key));
            assert_memory_equal(line.key, key, line.key_size);
            assert_int_equal(line.value_bytes, i);
            i++;
        }
    }
    assert_int_equal(i, REQUESTS);
    assert_int_equal(trace_status(trace, NULL), STRATA_OK);
    free(mine);
}

static void passes(int keep, uint32_t block_requests)
{
    struct trace_options options = { 0, 0 };
    struct trace_survey survey;
    struct trace *trace;
    int pass;

    assert_int_equal(trace_open(&trace, path, &options, keep, NULL), STRATA_OK);
    trace_set_block_requests(trace, block_requests);
    assert_int_equal(trace_survey(trace, &survey, NULL, NULL), STRATA_OK);
    assert_int_equal(survey.requests, REQUESTS);
    assert_int_equal(survey.unique, KEYS);
    assert_int_equal(survey.key_max, 7);
    assert_int_equal(survey.value_max, REQUESTS - 1);
    assert_int_equal(survey.value_total, REQUESTS * (REQUESTS - 1) / 2);
    assert_int_equal(trace_empty_lines(trace), REQUESTS / 10);
    for (pass = 0; pass < 3; pass++) {
        expect_pass(trace, block_requests);
        assert_int_equal(trace_rewind(trace, NULL), STRATA_OK);
    }
    trace_close(trace);
}

static void streamed(void **state)
{
    (void)state;
    passes(0, TRACE_BLOCK_REQUESTS);
    passes(0, 16);
}

static void kept(void **state)
{
    (void)state;
    passes(1, TRACE_BLOCK_REQUESTS);
    passes(1, 1);
}

/* Long keys: a block is full by bytes before it is by requests, and nothing is lost at the seam. */
static void long_keys_cross_blocks(void **state)
{
    enum { COUNT = 40 };
    struct trace_options options = { 0, 0 };
    char name[] = "/tmp/strata-test-trace-XXXXXX", key[TRACE_KEY_MAX];
    struct trace_block *mine = trace_block_new();
    const struct trace_block *block;
    struct trace *trace;
    FILE *file = fdopen(mkstemp(name), "w");
    int i, seen = 0;

    (void)state;
    assert_non_null(file);
    for (i = 0; i < COUNT; i++) {
        memset(key, 'a' + i % 26, sizeof key);
        fwrite(key, 1, sizeof key, file);
        fputc('\n', file);
    }
    fclose(file);
    assert_int_equal(trace_open(&trace, name, &options, 0, NULL), STRATA_OK);
    for (trace_take(trace, mine, &block, NULL); block != NULL; trace_take(trace, mine, &block, NULL)) {
        struct trace_line line;
        uint32_t offset = 0;

        while (trace_block_next(block, &offset, &line)) {
            assert_int_equal(line.key_size, TRACE_KEY_MAX);
            assert_int_equal(line.key[0], 'a' + seen % 26);
            assert_int_equal(line.key[TRACE_KEY_MAX - 1], 'a' + seen % 26);
            seen++;
        }
    }
    assert_int_equal(seen, COUNT);
    trace_close(trace);
    free(mine);
    unlink(name);
}

static void an_error_ends_the_pass(void **state)
{
    struct trace_options options = { 0, 0 };
    char name[] = "/tmp/strata-test-trace-XXXXXX";
    FILE *file = fdopen(mkstemp(name), "w");
    struct trace_survey survey;
    struct trace *trace;
    strata_error err = STRATA_ERROR_INIT;
    int keep;

    (void)state;
    assert_non_null(file);
    fputs("1\n2\n3,x\n4\n", file);
    fclose(file);
    for (keep = 0; keep < 2; keep++) {
        assert_int_equal(trace_open(&trace, name, &options, keep, NULL), STRATA_OK);
        assert_int_equal(trace_survey(trace, &survey, NULL, &err), STRATA_EIO);
        assert_non_null(strstr(err.message, "line 3"));
        trace_close(trace);
    }
    unlink(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streamed),
        cmocka_unit_test(kept),
        cmocka_unit_test(long_keys_cross_blocks),
        cmocka_unit_test(an_error_ends_the_pass),
    };

    return cmocka_run_group_tests(tests, write_trace, remove_trace);
}
