/* test_redis_bus.c - buses over Redis, where the server does what is allowed and inconvenient: streams that are trimmed, flushed, evicted and
 * replaced, users without rights, wrong passwords, foreign writers; a server that is stopped, and a network that cuts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "strata/bus_redis.h"
#include "tests/support/bus_member.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/delay_proxy.h"
#include "tests/support/redis_do.h"

static struct redis_server server;
static struct redis_link *other;
static unsigned channel;
static char prefix[32], key[48];
static size_t key_size;

static int next_channel(void **state)
{
    (void)state;
    key_size = (size_t)snprintf(prefix, sizeof prefix, "b%u:", ++channel);
    memcpy(key, prefix, key_size);
    memcpy(key + key_size, "\0\377bus", 5);
    key_size += 5;
    return 0;
}

static strata_redis_bus_options options_at(uint16_t port, char url[96])
{
    strata_redis_bus_options options = STRATA_REDIS_BUS_OPTIONS_INIT;
    snprintf(url, 96, "redis://127.0.0.1:%u", (unsigned)port);
    options.url = url;
    options.prefix = prefix;
    options.timeout_ms = options.connect_timeout_ms = 20000;
    return options;
}

static strata_bus *stream_at(uint16_t port)
{
    char url[96];
    strata_redis_bus_options options = options_at(port, url);
    options.max_length = 1000;
    return strata_redis_stream_bus(&options);
}

static strata_bus *pubsub_at(uint16_t port)
{
    char url[96];
    strata_redis_bus_options options = options_at(port, url);
    return strata_redis_pubsub_bus(&options);
}

static void say(struct bus_member *n, const char *text)
{
    bus_member_say_taken(n, text);
    bus_member_wait_text(n, text);
}

static void start_up(struct bus_member *n, strata_bus *bus)
{
    bus_member_start(n, bus);
    bus_member_wait_up(n, 1);
}

/* A command on the stream: the word "KEY" is its key. */
#define on_stream(...) on_stream_words((const char *const[]){ __VA_ARGS__, NULL })
static struct redis_answer on_stream_words(const char *const *words)
{
    strata_slice args[8];
    struct redis_answer answer = { 0 };
    struct redis_request request = { .args = args, .timeout_ms = 60000, .done = redis_ask_done, .owner = &answer };
    for (; request.arg_count < 8 && words[request.arg_count] != NULL; request.arg_count++) {
        const char *word = words[request.arg_count];
        args[request.arg_count] = strcmp(word, "KEY") == 0 ? strata_bytes(key, key_size) : strata_str(word);
    }
    strata__redis_call(other, &request);
    if (answer.status != STRATA_OK || answer.kind == REDIS_IS_ERROR)
        fail_msg("%s: %s %s", words[0], answer.text, answer.err.message);
    return answer;
}

static struct delay_proxy *proxy;

/* It is away, and comes back; meanwhile() in between. */
static void away(struct bus_member *n, void (*meanwhile)(struct bus_member *writer), struct bus_member *writer)
{
    unsigned ups = n->ups;
    delay_proxy_refuse(proxy, 1);
    delay_proxy_cut_all(proxy);
    bus_member_wait_down(n, "");
    if (meanwhile != NULL)
        meanwhile(writer);
    delay_proxy_refuse(proxy, 0);
    bus_member_wait_up(n, ups + 1);
}

static void begin(struct bus_member *reader, struct bus_member *writer)
{
    proxy = delay_proxy_start(server.port);
    start_up(reader, stream_at(delay_proxy_port(proxy)));
    start_up(writer, stream_at(server.port));
    say(writer, "first");
    bus_member_wait_text(reader, "first");
}

static void end(struct bus_member *reader, struct bus_member *writer)
{
    bus_member_stop(reader);
    bus_member_stop(writer);
    delay_proxy_stop(proxy);
}

/* What came meanwhile ------------------------------------------------------------------------------------------------ */

static void write_many(struct bus_member *writer, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char text[32];
        snprintf(text, sizeof text, "m %06u", i);
        bus_member_say(writer, text);
    }
    bus_member_wait_sent(writer);
    assert_int_equal(writer->bad, 0);
}

static void write_some(struct bus_member *writer) { write_many(writer, 700); }

static void write_too_many(struct bus_member *writer) { write_many(writer, 3000); }

static void flush(struct bus_member *writer)
{
    (void)redis_do(other, "FLUSHALL");
    bus_member_wait_echo(
        writer, "after the flush"); /* the first may get the very id of what was read before, and tell nobody */
}

static void empty(struct bus_member *writer)
{
    (void)writer;
    on_stream("XTRIM", "KEY", "MAXLEN", "0");
}

static void evict_unread(struct bus_member *writer)
{
    say(writer, "unread");
    on_stream("DEL", "KEY");
    bus_member_wait_echo(writer, "in another stream");
}

static void write_one_more(struct bus_member *writer) { bus_member_say_taken(writer, "of the new server"); }

/* As after a failover to a replica whose clock is behind, and that had less. */
static void fall_back(struct bus_member *writer)
{
    (void)writer;
    on_stream("DEL", "KEY");
    on_stream("XADD", "KEY", "5-1", "m", "from the past");
}

static void nothing_is_missing(void **state)
{
    (void)state;
    struct bus_member reader, writer;
    begin(&reader, &writer);
    away(&reader, NULL, &writer);
    away(&reader, write_some, &writer);
    bus_member_wait_came(&reader, 701);
    for (unsigned i = 0; i < 700; i++) {
        char text[32];
        snprintf(text, sizeof text, "m %06u", i);
        assert_string_equal(reader.came[i + 1].bytes, text);
    }
    away(&reader, NULL, &writer);
    say(&writer, "last");
    bus_member_wait_text(&reader, "last");
    assert_int_equal(reader.losts, 0);
    end(&reader, &writer);
}

static void told_of(void (*meanwhile)(struct bus_member *writer), const char *words)
{
    struct bus_member reader, writer;
    begin(&reader, &writer);
    away(&reader, meanwhile, &writer);
    bus_member_wait_lost(&reader, 1);
    if (strstr(reader.lost_why, words) == NULL)
        fail_msg("\"%s\" has no \"%s\"", reader.lost_why, words);
    bus_member_wait_echo(&reader, "and on it goes");
    assert_int_equal(reader.losts, 1);
    end(&reader, &writer);
}

static void trimmed(void **state)
{
    (void)state;
    told_of(write_too_many, "trimmed");
}

static void flushed(void **state)
{
    (void)state;
    told_of(flush, "emptied");
}

static void emptied(void **state)
{
    (void)state;
    told_of(empty, "emptied");
}

static void evicted(void **state)
{
    (void)state;
    told_of(evict_unread, "evicted");
}

/* The reader has read both, and the second is not there any more. */
static void failed_over_to_another_end(void **state)
{
    (void)state;
    struct bus_member reader, writer;
    begin(&reader, &writer);
    static const char longer[] = "longer than those before, which are read with it: so it is no anchor";
    char last[256];
    delay_proxy_stall(proxy, 1);
    write_many(&writer, 2); /* the first answers a read that waits, and the others the next one */
    bus_member_say_taken(&writer, longer);
    delay_proxy_stall(proxy, 0);
    bus_member_wait_text(&reader, longer);
    (void)snprintf(last, sizeof last, "%s", reader.came[bus_member_find(&reader, longer)].cursor);
    *strchr(last, '/') = '\0';
    on_stream("XDEL", "KEY", last);
    away(&reader, write_one_more, &writer);
    bus_member_wait_lost(&reader, 1);
    bus_member_wait_echo(&reader, "and on it goes");
    end(&reader, &writer);
}

static void failed_over_to_less(void **state)
{
    (void)state;
    told_of(fall_back, "had less");
}

/* The connection stands, and the reader is slow: what it did not read is gone when it asks. */
static void trimmed_under_a_slow_reader(void **state)
{
    (void)state;
    struct bus_member reader, writer;
    begin(&reader, &writer);
    delay_proxy_stall(proxy, 1);
    write_many(&writer, 4000); /* the first is on its way to the reader; those behind it are trimmed */
    delay_proxy_stall(proxy, 0);
    bus_member_wait_lost(&reader, 1);
    bus_member_wait_echo(&reader, "and on it goes");
    end(&reader, &writer);
}

/* The server is emptied while a reader is connected and waits: nothing that was published is missing, but what it has read is
 * not there any more, and it says so. */
static void flushed_under_a_reader(void **state)
{
    (void)state;
    struct bus_member reader, writer;
    begin(&reader, &writer);
    (void)redis_do(other, "FLUSHALL");
    bus_member_say_taken(&writer, "after");
    bus_member_wait_lost(&reader, 1); /* also where it got the same id */
    bus_member_wait_lost(&writer, 1); /* else it may jump over what it says next, which it then never reads */
    say(&writer, "and on");
    bus_member_wait_text(&reader, "and on");
    assert_int_equal(reader.losts, 1);
    end(&reader, &writer);
}

/* Emptied and begun again within a millisecond: what is new has the id of what was read. */
static void the_same_id_again(void **state)
{
    (void)state;
    struct bus_member reader, writer;
    on_stream("XADD", "KEY", "77-0", "m", "before");
    begin(&reader, &writer);
    char id[256];
    bus_member_say_taken(&writer, "read");
    bus_member_wait_text(&reader, "read");
    (void)snprintf(id, sizeof id, "%s", reader.came[reader.came_count - 1].cursor);
    *strchr(id, '/') = '\0';
    on_stream("DEL", "KEY");
    on_stream("XADD", "KEY", id, "m", "not to be read");
    bus_member_wait_lost(&reader, 1);
    bus_member_wait_lost(&writer, 1);
    bus_member_say_taken(&writer, "and on");
    bus_member_wait_text(&reader, "and on");
    assert_int_equal(reader.losts, 1);
    end(&reader, &writer);
}

/* Without a connection that breaks: the end of the stream is looked at when nothing has come for a while. */
static void the_past_is_noticed_in_silence(void **state)
{
    (void)state;
    struct bus_member reader;
    start_up(&reader, stream_at(server.port));
    say(&reader, "first");
    fall_back(&reader);
    bus_member_wait_lost(&reader, 1);
    bus_member_stop(&reader);
}

static void resumes_where_it_was_or_says_so(void **state)
{
    (void)state;
    struct bus_member reader, writer;
    strata_error err = STRATA_ERROR_INIT;
    char cursor[256];
    start_up(&writer, stream_at(server.port));
    start_up(&reader, stream_at(server.port));
    say(&writer, "first");
    bus_member_wait_text(&reader, "first");
    size_t size = reader.came[0].cursor_size;
    memcpy(cursor, reader.came[0].cursor, size);
    bus_member_stop(&reader);
    write_some(&writer);
    assert_int_equal(bus_member_try(&reader, stream_at(server.port), NULL, strata_bytes(cursor, size), &err), STRATA_OK);
    bus_member_wait_came(&reader, 700);
    assert_int_equal(reader.losts, 0);
    assert_string_equal(reader.came[0].bytes, "m 000000");
    bus_member_stop(&reader);
    write_too_many(&writer);
    assert_int_equal(bus_member_try(&reader, stream_at(server.port), NULL, strata_bytes(cursor, size), &err), STRATA_OK);
    bus_member_wait_lost(&reader, 1);
    bus_member_wait_up(&reader, 1);
    bus_member_wait_echo(&writer, "on it goes"); /* it has missed some, too */
    bus_member_wait_echo(&reader, "on it goes");
    assert_int_equal(bus_member_find(&reader, "m 000699"), -1);
    bus_member_stop(&reader);
    bus_member_stop(&writer);
}

static void others_write_there(void **state)
{
    (void)state;
    struct bus_member reader;
    start_up(&reader, stream_at(server.port));
    on_stream("XADD", "KEY", "*", "who", "knows");
    bus_member_wait_lost(&reader, 1);
    on_stream("XADD", "KEY", "*", "m", "like one of ours");
    bus_member_wait_text(&reader, "like one of ours"); /* a bus trusts nobody, and reads nothing: the cache does */
    bus_member_stop(&reader);
}

static void another_kind_of_key(void **state)
{
    (void)state;
    struct bus_member n;
    on_stream("SET", "KEY", "a text");
    bus_member_start(&n, stream_at(server.port));
    bus_member_wait_down(&n, "another channel");
    bus_member_say(&n, "x");
    bus_member_wait_sent(&n);
    assert_non_null(strstr(n.last_err.message, "WRONGTYPE"));
    on_stream("DEL", "KEY");
    bus_member_wait_echo(&n, "now it works");
    bus_member_wait_up(&n, 1);
    bus_member_stop(&n);
}

/* The stream does not grow without bound. */
static void its_length_is_bounded(void **state)
{
    (void)state;
    struct bus_member n;
    start_up(&n, stream_at(server.port));
    write_many(&n, 5000);
    int64_t length = on_stream("XLEN", "KEY").integer;
    assert_in_range(length, 1000, 1300);
    bus_member_stop(&n);
}

/* Rights ------------------------------------------------------------------------------------------------------------- */

static strata_bus *as_user(strata_bus *(*make)(const strata_redis_bus_options *), const char *user, const char *password)
{
    char url[96];
    strata_redis_bus_options options = options_at(server.port, url);
    snprintf(url, sizeof url, "redis://%s:%s@127.0.0.1:%u", user, password, (unsigned)server.port);
    return make(&options);
}

static void wrong_password(void **state)
{
    (void)state;
    struct bus_member n;
    (void)redis_do(other, "ACL", "SETUSER", "ann", "reset", "on", ">right", "+@all", "~*");
    bus_member_start(&n, as_user(strata_redis_stream_bus, "ann", "verywrong"));
    bus_member_wait_down(&n, "password");
    assert_null(strstr(n.why.message, "verywrong"));
    bus_member_say(&n, "x");
    bus_member_wait_sent(&n);
    assert_true(n.last_status < 0);
    assert_null(strstr(n.last_err.message, "verywrong"));
    bus_member_stop(&n);
}

static void no_xadd(void **state)
{
    (void)state;
    struct bus_member n;
    (void)redis_do(other, "ACL", "SETUSER", "ben", "reset", "on", ">pw", "+@all");
    (void)redis_do(other, "ACL", "SETUSER", "ben", "-xadd", "~*", "&*");
    start_up(&n, as_user(strata_redis_stream_bus, "ben", "pw"));
    bus_member_say(&n, "x");
    bus_member_wait_down(&n, "XADD was refused");
    bus_member_wait_sent(&n);
    assert_non_null(strstr(n.why.message, "ACL SETUSER"));
    assert_true(n.last_status < 0);
    (void)redis_do(other, "ACL", "SETUSER", "ben", "+xadd");
    bus_member_say_taken(&n, "now");
    bus_member_wait_up(&n, 2);
    bus_member_wait_text(&n, "now");
    assert_int_equal(n.losts, 0);
    bus_member_stop(&n);
}

static void no_xread(void **state)
{
    (void)state;
    struct bus_member n;
    (void)redis_do(other, "ACL", "SETUSER", "cid", "reset", "on", ">pw", "+@all");
    (void)redis_do(other, "ACL", "SETUSER", "cid", "-xread", "~*", "&*");
    bus_member_start(&n, as_user(strata_redis_stream_bus, "cid", "pw"));
    bus_member_wait_down(&n, "XREAD was refused");
    (void)redis_do(other, "ACL", "SETUSER", "cid", "+xread");
    bus_member_wait_echo(&n, "now");
    bus_member_stop(&n);
}

static void no_subscribe(void **state)
{
    (void)state;
    struct bus_member n;
    (void)redis_do(other, "ACL", "SETUSER", "dot", "reset", "on", ">pw", "+@all");
    (void)redis_do(other, "ACL", "SETUSER", "dot", "-subscribe", "~*", "&*");
    bus_member_start(&n, as_user(strata_redis_pubsub_bus, "dot", "pw"));
    bus_member_wait_down(&n, "SUBSCRIBE was refused");
    (void)redis_do(other, "ACL", "SETUSER", "dot", "+subscribe", "-publish");
    bus_member_wait_up(&n, 1);
    bus_member_say(&n, "x");
    bus_member_wait_down(&n, "PUBLISH was refused");
    bus_member_stop(&n);
}

/* Trouble on the way ------------------------------------------------------------------------------------------------- */

static void a_stopped_server(strata_bus *(*make)(const strata_redis_bus_options *))
{
    char url[96];
    struct bus_member n;
    strata_redis_bus_options options = options_at(server.port, url);
    options.timeout_ms = options.connect_timeout_ms = 300;
    start_up(&n, make(&options));
    redis_server_pause(&server);
    bus_member_say(&n, "to nobody");
    bus_member_wait_sent(&n);
    assert_int_equal(n.last_status, STRATA_ETIMEDOUT);
    bus_member_wait_down(&n, "");
    redis_server_resume(&server);
    bus_member_wait_up(&n, 2);
    bus_member_wait_echo(&n, "there again");
    assert_int_equal(n.losts, 0);
    bus_member_stop(&n);
}

static void a_stopped_server_streams(void **state)
{
    (void)state;
    a_stopped_server(strata_redis_stream_bus);
}

static void a_stopped_server_pubsub(void **state)
{
    (void)state;
    a_stopped_server(strata_redis_pubsub_bus);
}

/* At many bytes of what the server says: everything comes, once and in order. */
static void cut_in_the_middle(void **state)
{
    (void)state;
    struct bus_member reader, writer;
    unsigned count = 0;
    begin(&reader, &writer);
    for (int64_t at = 0; at < 600; at += 7) {
        char text[32];
        delay_proxy_cut_at(proxy, at);
        for (int i = 0; i < 5; i++) {
            snprintf(text, sizeof text, "c %06u", count++);
            bus_member_say(&writer, text);
        }
        bus_member_wait_text(&reader, text);
    }
    delay_proxy_cut_at(proxy, -1);
    bus_member_wait_came(&reader, count + 1);
    assert_int_equal(reader.came_count, count + 1);
    for (unsigned i = 0; i < count; i++) {
        char text[32];
        snprintf(text, sizeof text, "c %06u", i);
        assert_string_equal(reader.came[i + 1].bytes, text);
    }
    assert_int_equal(reader.losts, 0);
    end(&reader, &writer);
}

/* Of Pub/Sub: whatever is missing lies before an up(). */
static void cut_pubsub(void **state)
{
    (void)state;
    struct bus_member reader, writer;
    proxy = delay_proxy_start(server.port);
    start_up(&reader, pubsub_at(delay_proxy_port(proxy)));
    start_up(&writer, pubsub_at(server.port));
    for (unsigned round = 1; round < 20; round++) {
        char text[32];
        delay_proxy_cut_all(proxy);
        bus_member_wait_up(&reader, round + 1);
        snprintf(text, sizeof text, "p %06u", round);
        bus_member_say(&writer, text);
        bus_member_wait_text(&reader, text);
    }
    end(&reader, &writer);
}

static int make_server(void **state)
{
    (void)state;
    redis_server_start(&server, NULL);
    other = redis_do_open(&server);
    (void)redis_do(other, "CONFIG", "SET", "stream-node-max-entries", "100");
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    strata__redis_close(other);
    redis_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nothing_is_missing, next_channel),
        cmocka_unit_test_setup(trimmed, next_channel),
        cmocka_unit_test_setup(flushed, next_channel),
        cmocka_unit_test_setup(emptied, next_channel),
        cmocka_unit_test_setup(evicted, next_channel),
        cmocka_unit_test_setup(failed_over_to_less, next_channel),
        cmocka_unit_test_setup(failed_over_to_another_end, next_channel),
        cmocka_unit_test_setup(trimmed_under_a_slow_reader, next_channel),
        cmocka_unit_test_setup(flushed_under_a_reader, next_channel),
        cmocka_unit_test_setup(the_same_id_again, next_channel),
        cmocka_unit_test_setup(the_past_is_noticed_in_silence, next_channel),
        cmocka_unit_test_setup(resumes_where_it_was_or_says_so, next_channel),
        cmocka_unit_test_setup(others_write_there, next_channel),
        cmocka_unit_test_setup(another_kind_of_key, next_channel),
        cmocka_unit_test_setup(its_length_is_bounded, next_channel),
        cmocka_unit_test_setup(wrong_password, next_channel),
        cmocka_unit_test_setup(no_xadd, next_channel),
        cmocka_unit_test_setup(no_xread, next_channel),
        cmocka_unit_test_setup(no_subscribe, next_channel),
        cmocka_unit_test_setup(a_stopped_server_streams, next_channel),
        cmocka_unit_test_setup(a_stopped_server_pubsub, next_channel),
        cmocka_unit_test_setup(cut_in_the_middle, next_channel),
        cmocka_unit_test_setup(cut_pubsub, next_channel),
    };
    return cmocka_run_group_tests_name("buses over redis", tests, make_server, stop_server);
}
