/* test_tracking_words.c - what a server says of its keys, told apart from answers and from noise; which keys are ours; and words for
 * what is refused. */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "src/bus/redis_tracking/tracking_words.h"
#include "src/link/redis_link_impl.h"

/* The one reply in the bytes; how many keys it names. */
static enum tracking_news read_one(const char *bytes, size_t size, size_t *out_keys)
{
    struct redis_replies replies = { .resp3 = strata__redis_pushes() };
    struct redisReader *reader = strata__redis_reader_new(&replies);
    struct redisReply *reply = NULL;
    const struct redisReply *keys = NULL;
    const char *why;
    assert_true(strata__redis_reader_feed(reader, bytes, size));
    assert_int_equal(strata__redis_reader_next(reader, &reply, &why), 1);
    enum tracking_news news = tracking_read(reply, &keys);
    *out_keys = news == TRACKING_KEYS ? strata__redis_count(keys) : 0;
    strata__redis_reply_free(reply);
    strata__redis_reader_free(reader);
    return news;
}

static void expect(const char *bytes, enum tracking_news expected, size_t expected_keys)
{
    size_t keys;
    enum tracking_news news = read_one(bytes, strlen(bytes), &keys);
    if (news != expected || keys != expected_keys)
        fail_msg("%d with %zu keys: %s", (int)news, keys, bytes);
}

#define CHANNEL "$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n"

static void news_of_a_channel(void **state)
{
    (void)state;
    expect("*3\r\n" CHANNEL "*2\r\n$1\r\na\r\n$0\r\n\r\n", TRACKING_KEYS, 2);
    expect("*3\r\n" CHANNEL "*0\r\n", TRACKING_KEYS, 0);
    expect("*3\r\n" CHANNEL "$-1\r\n", TRACKING_ALL, 0);
    expect("*3\r\n" CHANNEL "*-1\r\n", TRACKING_ALL, 0);
    expect("*3\r\n" CHANNEL ":1\r\n", TRACKING_GARBLED, 0);
    expect("*3\r\n" CHANNEL "*2\r\n$1\r\na\r\n:1\r\n", TRACKING_GARBLED, 0);
    expect("*3\r\n" CHANNEL "$4\r\nhoho\r\n", TRACKING_NOISE, 0); /* somebody published it */
    expect("*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n*1\r\n$1\r\na\r\n", TRACKING_NOISE, 0);
    expect("*3\r\n$9\r\nsubscribe\r\n$20\r\n__redis__:invalidate\r\n:1\r\n", TRACKING_ANSWER, 0);
    expect("*2\r\n$4\r\npong\r\n$0\r\n\r\n", TRACKING_ANSWER, 0);
    expect("*0\r\n", TRACKING_ANSWER, 0);
    expect("*3\r\n:1\r\n:2\r\n:3\r\n", TRACKING_ANSWER, 0);
    expect("+OK\r\n", TRACKING_ANSWER, 0);
    expect("*2\r\n$10\r\ninvalidate\r\n*0\r\n", TRACKING_ANSWER, 0); /* no push */
}

static void news_that_are_pushed(void **state)
{
    (void)state;
    if (!strata__redis_pushes())
        return;
    expect(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n", TRACKING_KEYS, 1);
    expect(">2\r\n$10\r\ninvalidate\r\n_\r\n", TRACKING_ALL, 0);
    expect(">2\r\n$10\r\ninvalidate\r\n+a\r\n", TRACKING_GARBLED, 0);
    expect(">1\r\n$10\r\ninvalidate\r\n", TRACKING_GARBLED, 0);
    expect(">3\r\n$7\r\nmessage\r\n$4\r\napp:\r\n$1\r\nx\r\n", TRACKING_NOISE, 0);
    expect(">1\r\n:1\r\n", TRACKING_NOISE, 0);
    expect(">3\r\n$9\r\nsubscribe\r\n$4\r\napp:\r\n:1\r\n", TRACKING_ANSWER, 0);
    expect("%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n", TRACKING_ANSWER, 0);
}

static int is_ours(const char *prefix, const char *key, size_t size, const char *expected)
{
    strata_slice out;
    int ours = tracking_key(strata_str(prefix), strata_bytes(key, size), &out);
    if (ours)
        assert_memory_equal(out.data, expected, out.size);
    return ours;
}

static void keys_that_are_ours(void **state)
{
    char longest[2 + 255] = { '\0', '\377' };
    (void)state;
    assert_true(is_ours("app:", "app:k", 5, "k"));
    assert_true(is_ours("", "k", 1, "k"));
    assert_true(is_ours("app:", "app:\0", 5, "\0"));
    assert_true(is_ours("app:", "app:\0\376life", 10, "\0\376life"));
    assert_false(is_ours("app:", "app:", 4, ""));
    assert_false(is_ours("app:", "app", 3, ""));
    assert_false(is_ours("app:", "apple", 5, ""));
    assert_false(is_ours("", "", 0, ""));
    assert_false(is_ours("app:", "app:\0\377life", 10, ""));
    assert_false(is_ours("", "\0\377", 2, ""));
    /* The key of a namespace whose name is that long begins so, too. */
    assert_true(is_ours("", longest, 255, longest));
    assert_false(is_ours("", longest, 254, longest));
}

static void words_for_refusals(void **state)
{
    static const struct {
        enum tracking_step step;
        const char *text, *words;
    } rows[] = {
        { TRACKING_ON, "NOPERM this user has no permissions to run the 'client|tracking' command", "+client|tracking" },
        { TRACKING_LISTEN, "NOPERM this user has no permissions to access one of the channels used as arguments",
          "&__redis__:invalidate" },
        { TRACKING_HELLO, "NOPROTO unsupported protocol version", "protocol to 2" },
        { TRACKING_HELLO, "ERR unknown command `HELLO`, with args beginning with: `3`, ", "6.0" },
        { TRACKING_ON, "ERR Unknown subcommand or wrong number of arguments for 'TRACKING'. Try CLIENT HELP", "6.0" },
        { TRACKING_ON, "ERR Syntax error, try CLIENT (LIST | KILL | GETNAME | SETNAME | PAUSE | REPLY)", "6.0" },
        { TRACKING_ID, "LOADING Redis is loading the dataset in memory", "LOADING" },
        { TRACKING_ON, "", "CLIENT TRACKING" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        strata_error err = STRATA_ERROR_INIT;
        tracking_refused("bus", rows[i].step, strata_str(rows[i].text), &err);
        assert_int_equal(err.status, STRATA_EIO);
        if (strstr(err.message, rows[i].words) == NULL)
            fail_msg("%s", err.message);
        assert_true(strlen(err.message) < 160); /* or a link cuts the advice off */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(news_of_a_channel),
        cmocka_unit_test(news_that_are_pushed),
        cmocka_unit_test(keys_that_are_ours),
        cmocka_unit_test(words_for_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
