/* test_redis_object.c - commands as bytes, and replies out of bytes however they are cut. */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/link/redis_link_impl.h"
#include "tests/support/fail_alloc.h"

static void commands(void **state)
{
    static const char expected[] = "*3\r\n$3\r\nSET\r\n$2\r\na\n\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n";
    struct redis_buffer buffer = { 0 };
    const strata_slice set[] = { strata_str("SET"), strata_bytes("a\n", 2), strata_bytes(NULL, 0) };
    const strata_slice ping[] = { strata_str("PING") };
    (void)state;
    size_t bytes = strata__redis_command(NULL, &buffer, set, 3);
    bytes += strata__redis_command(NULL, &buffer, ping, 1);
    assert_int_equal(bytes, sizeof expected - 1);
    assert_int_equal(buffer.size, bytes);
    assert_memory_equal(buffer.data, expected, bytes);
    const strata_slice absurd[] = { strata_bytes("", SIZE_MAX / 2) };
    assert_int_equal(strata__redis_command(NULL, &buffer, absurd, 1), 0);
    assert_int_equal(buffer.size, bytes); /* as it was */
    strata__redis_buffer_reset(NULL, &buffer);
    assert_true(buffer.room > 0);
    assert_true(strata__redis_buffer_reserve(NULL, &buffer, REDIS_KEEP_ROOM + 1));
    strata__redis_buffer_reset(NULL, &buffer);
    assert_int_equal(buffer.room, 0); /* a large one is given back */
    strata__redis_buffer_free(NULL, &buffer);
}

static const char all_kinds[] =
    "*7\r\n+fine\r\n-ERR not\r\n:-42\r\n$5\r\na\r\n\0b\r\n$-1\r\n*-1\r\n*2\r\n*0\r\n$0\r\n\r\n";

static void check_all_kinds(const struct redisReply *reply)
{
    static const enum redis_reply_kind kinds[] = { REDIS_IS_STATUS, REDIS_IS_ERROR, REDIS_IS_INTEGER, REDIS_IS_TEXT,
                                                   REDIS_IS_NIL,    REDIS_IS_NIL,   REDIS_IS_ARRAY };
    assert_int_equal(strata__redis_kind(reply), REDIS_IS_ARRAY);
    assert_int_equal(strata__redis_count(reply), 7);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(strata__redis_kind(strata__redis_at(reply, i)), kinds[i]);
    assert_string_equal(strata__redis_text(strata__redis_at(reply, 1)).data, "ERR not");
    assert_int_equal(strata__redis_integer(strata__redis_at(reply, 2)), -42);
    strata_slice text = strata__redis_text(strata__redis_at(reply, 3));
    assert_int_equal(text.size, 5);
    assert_memory_equal(text.data, "a\r\n\0b", 5);
    const struct redisReply *inner = strata__redis_at(reply, 6);
    assert_int_equal(strata__redis_count(inner), 2);
    assert_int_equal(strata__redis_count(strata__redis_at(inner, 0)), 0);
    assert_int_equal(strata__redis_text(strata__redis_at(inner, 1)).size, 0);
}

/* Fed in pieces of so many bytes. */
static void cut_anywhere(void **state)
{
    (void)state;
    const size_t size = sizeof all_kinds - 1;
    for (size_t piece = 1; piece <= size; piece++) {
        struct fail_alloc alloc;
        fail_alloc_init(&alloc, 0);
        struct redis_replies replies = { .mem = &alloc.mem };
        struct redisReader *reader = strata__redis_reader_new(&replies);
        struct redisReply *reply = NULL;
        const char *why;
        for (size_t at = 0; at < size; at += piece) {
            assert_null(reply);
            assert_true(strata__redis_reader_feed(reader, all_kinds + at, at + piece < size ? piece : size - at));
            assert_true(strata__redis_reader_next(reader, &reply, &why) >= 0);
            assert_int_equal(strata__redis_reader_inside(reader), reply == NULL);
        }
        assert_non_null(reply);
        check_all_kinds(reply);
        strata__redis_reply_free(reply);
        strata__redis_reader_free(reader);
        assert_int_equal(atomic_load(&alloc.live), 0);
    }
}

static void no_memory_for_a_reply(void **state)
{
    (void)state;
    for (long nth = 1;; nth++) {
        struct fail_alloc alloc;
        fail_alloc_init(&alloc, nth);
        struct redis_replies replies = { .mem = &alloc.mem };
        struct redisReader *reader = strata__redis_reader_new(&replies);
        struct redisReply *reply;
        const char *why;
        assert_true(strata__redis_reader_feed(reader, all_kinds, sizeof all_kinds - 1));
        int got = strata__redis_reader_next(reader, &reply, &why);
        if (got > 0)
            strata__redis_reply_free(reply);
        else
            assert_int_equal(got, -ENOMEM);
        strata__redis_reader_free(reader);
        assert_int_equal(atomic_load(&alloc.live), 0);
        if (got > 0)
            break;
    }
}

/* Many elements, and many announced that never come. */
static void long_arrays(void **state)
{
    enum { COUNT = 1000 };
    struct fail_alloc alloc;
    (void)state;
    fail_alloc_init(&alloc, 0);
    struct redis_replies replies = { .mem = &alloc.mem };
    struct redisReader *reader = strata__redis_reader_new(&replies);
    struct redisReply *reply;
    const char *why;
    assert_true(strata__redis_reader_feed(reader, "*1000\r\n", 7));
    for (int i = 0; i < COUNT; i++)
        assert_true(strata__redis_reader_feed(reader, ":7\r\n", 4));
    assert_int_equal(strata__redis_reader_next(reader, &reply, &why), 1);
    assert_int_equal(strata__redis_count(reply), COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(strata__redis_integer(strata__redis_at(reply, i)), 7);
    strata__redis_reply_free(reply);
    assert_true(strata__redis_reader_feed(reader, "*2000000000\r\n:1\r\n", 17));
    assert_int_equal(strata__redis_reader_next(reader, &reply, &why), 0);
    strata__redis_reader_free(reader);
    assert_int_equal(atomic_load(&alloc.live), 0);
}

struct lent_texts {
    int count;
    char last[16];
};

static void note_text(void *ctx, const struct redisReply *reply)
{
    struct lent_texts *texts = ctx;
    strata_slice text = strata__redis_text(reply);
    assert_int_equal(strata__redis_kind(reply), REDIS_IS_TEXT);
    texts->count++;
    assert_true(text.size < sizeof texts->last);
    memcpy(texts->last, text.data, text.size);
    texts->last[text.size] = '\0';
}

/* A text by itself is shown where it stands; one in an array, and what is no text, becomes a reply. */
static void lent_text(void **state)
{
    (void)state;
    static const char bytes[] = "$5\r\nhello\r\n+OK\r\n*1\r\n$3\r\nabc\r\n$-1\r\n$0\r\n\r\n";
    struct lent_texts texts = { 0 };
    struct fail_alloc alloc;
    fail_alloc_init(&alloc, 0);
    struct redis_replies replies = { .mem = &alloc.mem, .lend = note_text, .ctx = &texts };
    struct redisReader *reader = strata__redis_reader_new(&replies);
    static const int lent[] = { 1, 0, 0, 0, 1 };
    struct redisReply *reply;
    const char *why;
    assert_true(strata__redis_reader_feed(reader, bytes, sizeof bytes - 1));
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(strata__redis_reader_next(reader, &reply, &why), 1);
        assert_int_equal(reply == strata__redis_lent, lent[i]);
        if (i == 0)
            assert_string_equal(texts.last, "hello");
        strata__redis_reply_free(reply);
    }
    assert_int_equal(texts.count, 2);
    assert_string_equal(texts.last, "");
    strata__redis_reader_free(reader);
    assert_int_equal(atomic_load(&alloc.live), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands),    cmocka_unit_test(cut_anywhere), cmocka_unit_test(no_memory_for_a_reply),
        cmocka_unit_test(long_arrays), cmocka_unit_test(lent_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
