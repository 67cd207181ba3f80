/* test_trace_reader.c - what counts as a request, which errors name which line, and compressed input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#include "cli/trace_reader.h"

static struct trace_reader *open_bytes(const void *data, size_t size, const struct trace_options *options)
{
    struct trace_reader *reader;
    strata_error err;

    assert_int_equal(trace_reader_open_memory(&reader, data, size, options, &err), STRATA_OK);
    return reader;
}

static struct trace_reader *open_text(const char *text) { return open_bytes(text, strlen(text), NULL); }

static void expect(struct trace_reader *reader, const char *key, int64_t value_bytes)
{
    struct trace_line line;
    strata_error err = STRATA_ERROR_INIT;

    assert_int_equal(trace_reader_next(reader, &line, &err), STRATA_OK);
    assert_int_equal(line.key_size, strlen(key));
    assert_memory_equal(line.key, key, line.key_size);
    assert_int_equal(line.value_bytes, value_bytes);
}

static void expect_end(struct trace_reader *reader)
{
    struct trace_line line;
    strata_error err;

    assert_int_equal(trace_reader_next(reader, &line, &err), STRATA_MISS);
    assert_int_equal(trace_reader_next(reader, &line, &err), STRATA_MISS);
    trace_reader_close(reader);
}

/* The next answer is an error whose words contain `words`. */
static void expect_error(struct trace_reader *reader, const char *words)
{
    struct trace_line line;
    strata_error err = STRATA_ERROR_INIT;

    assert_int_equal(trace_reader_next(reader, &line, &err), STRATA_EIO);
    assert_int_equal(err.status, STRATA_EIO);
    if (strstr(err.message, words) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", words, err.message);
    trace_reader_close(reader);
}

static void keys_and_sizes(void **state)
{
    struct trace_reader *reader = open_text("17\nproduct/9,4096\na,b,3\nz,0\n");

    (void)state;
    expect(reader, "17", -1);
    expect(reader, "product/9", 4096);
    expect(reader, "a,b", 3);
    expect(reader, "z", 0);
    expect_end(reader);
}

static void line_ends(void **state)
{
    struct trace_reader *reader = open_text("1\r\n2,7\r\n3");

    (void)state;
    expect(reader, "1", -1);
    expect(reader, "2", 7);
    expect(reader, "3", -1);
    expect_end(reader);
}

static void empty_lines_are_counted(void **state)
{
    struct trace_reader *reader = open_text("\n1\n\r\n\n2\n\n");
    struct trace_position at;

    (void)state;
    expect(reader, "1", -1);
    expect(reader, "2", -1);
    {
        struct trace_line line;

        assert_int_equal(trace_reader_next(reader, &line, NULL), STRATA_MISS);
    }
    trace_reader_position(reader, &at);
    assert_int_equal(at.empty, 4);
    assert_int_equal(at.line, 6);
    trace_reader_close(reader);
}

static void nothing_at_all(void **state)
{
    (void)state;
    expect_end(open_bytes("", 0, NULL));
}

static void keys_may_hold_any_byte(void **state)
{
    static const char text[] = "a\0b\n \t\n\xff\xfe\n";
    struct trace_reader *reader = open_bytes(text, sizeof text - 1, NULL);
    struct trace_line line;

    (void)state;
    assert_int_equal(trace_reader_next(reader, &line, NULL), STRATA_OK);
    assert_int_equal(line.key_size, 3);
    assert_memory_equal(line.key, "a\0b", 3);
    expect(reader, " \t", -1);
    expect(reader, "\xff\xfe", -1);
    expect_end(reader);
}

static void sizes_that_are_wrong(void **state)
{
    struct trace_reader *reader = open_text("1,2\n3,four\n");

    (void)state;
    expect(reader, "1", 2);
    expect_error(reader, "line 2");
    expect_error(open_text("1,\n"), "line 1: what follows the comma");
    expect_error(open_text("1,-5\n"), "line 1: what follows the comma");
    expect_error(open_text("\n\n1,1073741825\n"), "line 3: the size is above 1 GiB");
    expect_error(open_text("1,99999999999999999999999\n"), "line 1: the size is above 1 GiB");
    expect_error(open_text(",5\n"), "line 1: no key");
    reader = open_text("1,1073741824\n");
    expect(reader, "1", 1073741824);
    expect_end(reader);
}

static void commas_can_belong_to_keys(void **state)
{
    struct trace_options options = { 1, 0 };
    struct trace_reader *reader = open_bytes("a,b\n,\n1,2\n", 10, &options);

    (void)state;
    expect(reader, "a,b", -1);
    expect(reader, ",", -1);
    expect(reader, "1,2", -1);
    expect_end(reader);
}

static char *long_line(size_t key_size, const char *tail, size_t *out_size)
{
    size_t tail_size = strlen(tail);
    char *text = malloc(2 + key_size + tail_size);

    assert_non_null(text);
    memcpy(text, "1\n", 2);
    memset(text + 2, 'k', key_size);
    memcpy(text + 2 + key_size, tail, tail_size);
    *out_size = 2 + key_size + tail_size;
    return text;
}

static void long_keys(void **state)
{
    size_t size;
    char *text = long_line(TRACE_KEY_MAX, ",1073741824\r\n2\n", &size);
    struct trace_reader *reader = open_bytes(text, size, NULL);
    struct trace_line line;

    (void)state;
    expect(reader, "1", -1);
    assert_int_equal(trace_reader_next(reader, &line, NULL), STRATA_OK);
    assert_int_equal(line.key_size, TRACE_KEY_MAX);
    expect(reader, "2", -1);
    expect_end(reader);
    free(text);

    text = long_line(TRACE_KEY_MAX + 1, "\n", &size);
    reader = open_bytes(text, size, NULL);
    expect(reader, "1", -1);
    expect_error(reader, "line 2: the key is longer than 4096");
    free(text);

    text = long_line(1 << 20, "", &size);
    reader = open_bytes(text, size, NULL);
    expect(reader, "1", -1);
    expect_error(reader, "line 2 is longer than");
    free(text);
}

/* Numbers, so many that they do not fit one buffer; *out_size their bytes. */
static char *many_lines(int count, size_t *out_size)
{
    size_t room = (size_t)count * 8, used = 0;
    char *text = malloc(room);
    int i;

    assert_non_null(text);
    for (i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, room - used, "%d\n", i);
    *out_size = used;
    return text;
}

static void expect_many(struct trace_reader *reader, int count)
{
    char key[16];
    int i;

    for (i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%d", i);
        expect(reader, key, -1);
    }
}

static void larger_than_the_buffer(void **state)
{
    size_t size;
    char *text = many_lines(100000, &size);
    struct trace_reader *reader = open_bytes(text, size, NULL);

    (void)state;
    expect_many(reader, 100000);
    expect_end(reader);
    free(text);
}

static void *zstd_of(const void *data, size_t size, size_t *out_size)
{
    size_t room = ZSTD_compressBound(size);
    void *out = malloc(room);

    assert_non_null(out);
    *out_size = ZSTD_compress(out, room, data, size, 1);
    assert_false(ZSTD_isError(*out_size));
    return out;
}

static void *gzip_of(const void *data, size_t size, size_t *out_size)
{
    z_stream z = { 0 };
    unsigned char *out;
    size_t room;

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    room = deflateBound(&z, (uLong)size);
    out = malloc(room);
    assert_non_null(out);
    z.next_in = (unsigned char *)(uintptr_t)data;
    z.avail_in = (unsigned)size;
    z.next_out = out;
    z.avail_out = (unsigned)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    *out_size = z.total_out;
    deflateEnd(&z);
    return out;
}

/* Both compressors, through the same cases. */
static void compressed(void *(*pack)(const void *, size_t, size_t *), const char *cut_words)
{
    enum { COUNT = 50000 };
    size_t size, packed_size, two_size, cut;
    char *text = many_lines(COUNT, &size);
    unsigned char *packed = pack(text, size, &packed_size);
    unsigned char *two = malloc(packed_size * 2);
    struct trace_reader *reader = open_bytes(packed, packed_size, NULL);

    expect_many(reader, COUNT);
    expect_end(reader);

    /* one after the other are one trace */
    assert_non_null(two);
    memcpy(two, packed, packed_size);
    memcpy(two + packed_size, packed, packed_size);
    two_size = packed_size * 2;
    reader = open_bytes(two, two_size, NULL);
    expect_many(reader, COUNT);
    expect_many(reader, COUNT);
    expect_end(reader);

    /* cut off anywhere, it never looks like a shorter trace */
    for (cut = 5; cut < packed_size; cut += packed_size / 23) {
        struct trace_line line;
        strata_error err = STRATA_ERROR_INIT;
        int status;

        reader = open_bytes(packed, cut, NULL);
        do
            status = trace_reader_next(reader, &line, &err);
        while (status == STRATA_OK);
        assert_int_equal(status, STRATA_EIO);
        assert_non_null(strstr(err.message, cut_words));
        trace_reader_close(reader);
    }
    free(two);
    free(packed);
    free(text);
}

static void zstd_input(void **state)
{
    (void)state;
    compressed(zstd_of, "the zstd data ends too early");
}

static void gzip_input(void **state)
{
    (void)state;
    compressed(gzip_of, "the gzip data ends too early");
}

static void damaged(void **state)
{
    static const unsigned char gzip[] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xff, 0xff, 0xff };
    static const unsigned char zstd[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x24, 0xff, 0xff, 0xff, 0xff, 0xff };
    static const char after_gzip[] = "garbage";
    size_t size;
    unsigned char *packed = gzip_of("1\n", 2, &size);
    unsigned char *both = malloc(size + sizeof after_gzip);
    struct trace_reader *reader;

    (void)state;
    expect_error(open_bytes(gzip, sizeof gzip, NULL), "the gzip data is damaged");
    expect_error(open_bytes(zstd, sizeof zstd, NULL), "the zstd data is damaged");
    assert_non_null(both);
    memcpy(both, packed, size);
    memcpy(both + size, after_gzip, sizeof after_gzip);
    reader = open_bytes(both, size + sizeof after_gzip, NULL);
    expect(reader, "1", -1);
    expect_error(reader, "after line 1: the gzip data is damaged");
    /* padding with zero bytes is no garbage */
    memset(both + size, 0, sizeof after_gzip);
    reader = open_bytes(both, size + sizeof after_gzip, NULL);
    expect(reader, "1", -1);
    expect_end(reader);
    free(both);
    free(packed);
}

static void output_is_capped(void **state)
{
    struct trace_options options = { 0, 100000 };
    size_t size, packed_size;
    char *text = many_lines(50000, &size);
    void *packed = zstd_of(text, size, &packed_size);
    struct trace_reader *reader = open_bytes(packed, packed_size, &options);
    struct trace_line line;
    strata_error err = STRATA_ERROR_INIT;
    int status;

    (void)state;
    do
        status = trace_reader_next(reader, &line, &err);
    while (status == STRATA_OK);
    assert_int_equal(status, STRATA_EIO);
    assert_non_null(strstr(err.message, "larger than the 100000 bytes"));
    trace_reader_close(reader);
    free(packed);
    free(text);
}

static void files_that_are_not_there(void **state)
{
    struct trace_reader *reader;
    strata_error err = STRATA_ERROR_INIT;

    (void)state;
    assert_int_equal(trace_reader_open(&reader, "/no/such/trace", NULL, &err), STRATA_EIO);
    assert_null(reader);
    assert_string_equal(err.where, "/no/such/trace");
    assert_int_equal(trace_reader_open(&reader, "/", NULL, &err), STRATA_EIO);
    assert_non_null(strstr(err.message, "folder"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_sizes),
        cmocka_unit_test(line_ends),
        cmocka_unit_test(empty_lines_are_counted),
        cmocka_unit_test(nothing_at_all),
        cmocka_unit_test(keys_may_hold_any_byte),
        cmocka_unit_test(sizes_that_are_wrong),
        cmocka_unit_test(commas_can_belong_to_keys),
        cmocka_unit_test(long_keys),
        cmocka_unit_test(larger_than_the_buffer),
        cmocka_unit_test(zstd_input),
        cmocka_unit_test(gzip_input),
        cmocka_unit_test(damaged),
        cmocka_unit_test(output_is_capped),
        cmocka_unit_test(files_that_are_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
