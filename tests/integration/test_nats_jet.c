/* test_nats_jet.c - the bus on JetStream, with a real server of its own: order, replay, and what it says when something is gone. */
#include <nats/nats.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "strata/nats.h"
#include "tests/support/bus_ear.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/nats_server.h"

static strata_bus *jet_with(const struct nats_server *s, strata_nats_options options)
{
    options.url = s->url;
    options.jetstream = STRATA_ON;
    return strata_nats_bus(&options);
}

static strata_bus *jet(const struct nats_server *s)
{
    return jet_with(s, (strata_nats_options)STRATA_NATS_OPTIONS_INIT);
}

/* What an administrator does, with a connection of his own. */
struct admin {
    natsConnection *nc;
    jsCtx *js;
};

static void no_word(natsConnection *nc, natsSubscription *sub, natsStatus status, void *ctx)
{
    (void)nc;
    (void)sub;
    (void)status;
    (void)ctx;
}

static void admin_open(struct admin *a, const struct nats_server *s)
{
    natsOptions *options = NULL;
    assert_int_equal(natsOptions_Create(&options), NATS_OK);
    assert_int_equal(natsOptions_SetURL(options, s->url), NATS_OK);
    assert_int_equal(natsOptions_SetErrorHandler(options, no_word, NULL), NATS_OK);
    assert_int_equal(natsConnection_Connect(&a->nc, options), NATS_OK);
    assert_int_equal(natsConnection_JetStream(&a->js, a->nc, NULL), NATS_OK);
    natsOptions_Destroy(options);
}

static void admin_close(struct admin *a)
{
    jsCtx_Destroy(a->js);
    natsConnection_Destroy(a->nc);
}

static void test_it_replays_what_came_while_the_server_was_away(void **state)
{
    (void)state;
    enum { SAID = 200 };
    struct nats_server s;
    struct bus_ear a, b;
    char text[16];
    nats_server_start(&s, NULL);
    bus_ear_open(&a, jet(&s), "a");
    bus_ear_open(&b, jet(&s), "b");
    assert_int_equal(a.bus->flags, STRATA_BUS_ECHOES | STRATA_BUS_ORDERED | STRATA_BUS_REPLAYS | STRATA_BUS_DURABLE);
    for (int i = 0; i < SAID; i++) {
        (void)snprintf(text, sizeof text, "m%d", i);
        if (i == SAID / 2) {
            nats_server_kill(&s);
            nats_server_restart(&s);
        }
        bus_ear_say_surely(&a, text);
    }
    bus_ear_until_heard(&a, text);
    bus_ear_until_heard(&b, text);
    for (int i = 0; i < SAID; i++) { /* each, and in one order for both */
        (void)snprintf(text, sizeof text, "m%d", i);
        assert_true(bus_ear_times(&a, text) >= 1);
        assert_true(bus_ear_times(&b, text) >= 1);
    }
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++)
        assert_string_equal(a.texts[i], b.texts[i]);
    assert_int_equal(bus_ear_losses(&a), 0);
    assert_int_equal(bus_ear_losses(&b), 0);
    bus_ear_close(&a);
    bus_ear_close(&b);
    nats_server_stop(&s);
}

static void test_a_node_that_was_away_gets_what_came_meanwhile(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a, b;
    unsigned char cursor[255];
    nats_server_start(&s, NULL);
    bus_ear_open(&a, jet(&s), "a.example/1 *");
    bus_ear_open(&b, jet(&s), "b");
    assert_int_equal(bus_ear_say(&b, "first", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "first");
    size_t size = a.cursor_size;
    assert_int_equal(size, 16);
    memcpy(cursor, a.cursor, size);
    assert_int_equal(bus_ear_say(&b, "second", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "second");
    bus_ear_close(&a);
    assert_int_equal(bus_ear_say(&b, "third", NULL), STRATA_OK);

    /* By its cursor. */
    struct bus_ear_how how = { "a.example/1 *", strata_bytes(cursor, size) };
    assert_int_equal(bus_ear_start(&a, jet(&s), &how, NULL), STRATA_OK);
    bus_ear_until_heard(&a, "third");
    assert_int_equal(bus_ear_times(&a, "first"), 0);
    assert_int_equal(bus_ear_times(&a, "second"), 1);
    assert_int_equal(bus_ear_losses(&a), 0);
    bus_ear_close(&a);
    assert_int_equal(bus_ear_say(&b, "fourth", NULL), STRATA_OK);

    /* By what the server knows of it: the last ones may come twice, for they were perhaps not acknowledged any more. */
    how.resume_from.size = 0;
    assert_int_equal(bus_ear_start(&a, jet(&s), &how, NULL), STRATA_OK);
    bus_ear_until_heard(&a, "fourth");
    assert_int_equal(bus_ear_times(&a, "first"), 0);
    bus_ear_close(&a);

    /* A node that was never there begins now. */
    bus_ear_open(&a, jet(&s), "c");
    assert_int_equal(bus_ear_say(&b, "fifth", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "fifth");
    assert_int_equal(a.count, 1);
    bus_ear_close(&a);
    bus_ear_close(&b);
    nats_server_stop(&s);
}

/* What a cursor says is known to the server, too, before anything was acknowledged behind it. */
static void test_a_place_that_was_only_told_is_remembered(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a, b;
    unsigned char cursor[255];
    nats_server_start(&s, NULL);
    bus_ear_open(&a, jet(&s), "a");
    bus_ear_open(&b, jet(&s), "b");
    assert_int_equal(bus_ear_say(&b, "first", NULL), STRATA_OK);
    assert_int_equal(bus_ear_say(&b, "second", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "second");
    struct bus_ear_how how = { "a", strata_bytes(cursor, a.cursor_size) };
    memcpy(cursor, a.cursor, a.cursor_size);
    bus_ear_close(&a);
    assert_int_equal(bus_ear_start(&a, jet(&s), &how, NULL), STRATA_OK);
    bus_ear_until_up(&a, 1);
    bus_ear_close(&a);
    assert_int_equal(bus_ear_say(&b, "third", NULL), STRATA_OK);
    how.resume_from.size = 0;
    assert_int_equal(bus_ear_start(&a, jet(&s), &how, NULL), STRATA_OK);
    bus_ear_until_heard(&a, "third");
    assert_int_equal(a.count, 1);
    bus_ear_close(&a);
    bus_ear_close(&b);
    nats_server_stop(&s);
}

static void test_a_stream_that_is_deleted_under_us_is_made_anew_and_told(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    struct admin admin;
    nats_server_start(&s, NULL);
    bus_ear_open(&a, jet(&s), "a");
    assert_int_equal(bus_ear_say(&a, "before", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "before");
    admin_open(&admin, &s);
    assert_int_equal(js_DeleteStream(admin.js, "CACHE_INVALIDATIONS", NULL, NULL), NATS_OK);
    strata_error err;
    assert_int_equal(bus_ear_say(&a, "nowhere", &err), STRATA_EIO);
    assert_non_null(strstr(err.message, "no stream"));
    bus_ear_until_lost(&a, 1);
    bus_ear_until_up(&a, 2);
    bus_ear_say_surely(&a, "after");
    bus_ear_until_heard(&a, "after");
    admin_close(&admin);
    bus_ear_close(&a);
    nats_server_stop(&s);
}

static void test_what_left_the_stream_while_a_node_was_away_is_told(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a, b;
    struct admin admin;
    unsigned char cursor[255];
    nats_server_start(&s, NULL);
    bus_ear_open(&a, jet(&s), "a");
    bus_ear_open(&b, jet(&s), "b");
    assert_int_equal(bus_ear_say(&b, "first", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "first");
    struct bus_ear_how how = { "a", strata_bytes(cursor, a.cursor_size) };
    memcpy(cursor, a.cursor, a.cursor_size);
    bus_ear_close(&a);
    /* A purge of nothing that it lacks is no loss. */
    admin_open(&admin, &s);
    assert_int_equal(js_PurgeStream(admin.js, "CACHE_INVALIDATIONS", NULL, NULL), NATS_OK);
    assert_int_equal(bus_ear_start(&a, jet(&s), &how, NULL), STRATA_OK);
    assert_int_equal(bus_ear_say(&b, "second", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "second");
    assert_int_equal(bus_ear_losses(&a), 0);
    bus_ear_close(&a);
    /* One of what it lacks is. */
    assert_int_equal(bus_ear_say(&b, "third", NULL), STRATA_OK);
    assert_int_equal(js_PurgeStream(admin.js, "CACHE_INVALIDATIONS", NULL, NULL), NATS_OK);
    assert_int_equal(bus_ear_start(&a, jet(&s), &how, NULL), STRATA_OK);
    bus_ear_until_lost(&a, 1);
    bus_ear_until_up(&a, 1);
    assert_int_equal(bus_ear_say(&b, "fourth", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "fourth");
    bus_ear_close(&a);
    admin_close(&admin);
    bus_ear_close(&b);
    nats_server_stop(&s);
}

static void test_a_stream_in_memory_that_died_with_its_server_is_told(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    strata_nats_options options = STRATA_NATS_OPTIONS_INIT;
    options.storage = STRATA_NATS_MEMORY;
    nats_server_start(&s, NULL);
    bus_ear_open(&a, jet_with(&s, options), "a");
    assert_int_equal(bus_ear_say(&a, "before", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "before");
    nats_server_kill(&s);
    nats_server_restart(&s);
    bus_ear_until_lost(&a, 1);
    bus_ear_until_up(&a, 2);
    bus_ear_say_surely(&a, "after");
    bus_ear_until_heard(&a, "after");
    bus_ear_close(&a);
    nats_server_stop(&s);
}

static void test_what_it_makes_is_as_its_options_say(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    struct admin admin;
    jsStreamInfo *stream = NULL;
    jsConsumerInfo *consumer = NULL;
    strata_nats_options options = STRATA_NATS_OPTIONS_INIT;
    nats_server_start(&s, NULL);
    admin_open(&admin, &s);
    bus_ear_open(&a, jet(&s), "node 1");
    assert_int_equal(js_GetStreamInfo(&stream, admin.js, "CACHE_INVALIDATIONS", NULL, NULL), NATS_OK);
    assert_string_equal(stream->Config->Subjects[0], "cache.invalidations");
    assert_int_equal(stream->Config->Storage, js_FileStorage);
    assert_int_equal(stream->Config->MaxAge, 0);
    assert_int_equal(stream->Config->MaxMsgs, -1);
    jsStreamInfo_Destroy(stream);
    assert_int_equal(js_GetConsumerInfo(&consumer, admin.js, "CACHE_INVALIDATIONS", "node=201", NULL, NULL), NATS_OK);
    assert_string_equal(consumer->Config->Durable, "node=201");
    assert_int_equal(consumer->Config->AckWait, INT64_C(30000000000));
    assert_int_equal(consumer->Config->MaxDeliver, 10);
    jsConsumerInfo_Destroy(consumer);
    bus_ear_close(&a);
    options.stream = "OTHER";
    options.subject = "other.subject";
    options.storage = STRATA_NATS_MEMORY;
    options.max_age_ms = 60000;
    options.max_messages = 1000;
    options.consumer = "me";
    options.ack_wait_ms = 5000;
    options.max_deliver = 3;
    bus_ear_open(&a, jet_with(&s, options), NULL);
    assert_int_equal(js_GetStreamInfo(&stream, admin.js, "OTHER", NULL, NULL), NATS_OK);
    assert_int_equal(stream->Config->Storage, js_MemoryStorage);
    assert_int_equal(stream->Config->MaxAge, INT64_C(60000000000));
    assert_int_equal(stream->Config->MaxMsgs, 1000);
    jsStreamInfo_Destroy(stream);
    assert_int_equal(js_GetConsumerInfo(&consumer, admin.js, "OTHER", "me", NULL, NULL), NATS_OK);
    assert_int_equal(consumer->Config->AckWait, INT64_C(5000000000));
    assert_int_equal(consumer->Config->MaxDeliver, 3);
    jsConsumerInfo_Destroy(consumer);
    bus_ear_close(&a);
    admin_close(&admin);
    nats_server_stop(&s);
}

static void test_what_is_not_to_be_made_has_to_be_there(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    struct admin admin;
    const char *subjects[] = { "cache.invalidations" };
    strata_nats_options options = STRATA_NATS_OPTIONS_INIT;
    options.ensure_stream = STRATA_OFF;
    options.ensure_consumer = STRATA_OFF;
    struct bus_ear_how how = { "a", { NULL, 0 } };
    nats_server_start(&s, NULL);
    admin_open(&admin, &s);
    assert_int_equal(bus_ear_start(&a, jet_with(&s, options), &how, NULL), STRATA_OK);
    bus_ear_until_down(&a, "ensure_stream");
    jsStreamConfig stream;
    (void)jsStreamConfig_Init(&stream);
    stream.Name = "CACHE_INVALIDATIONS";
    stream.Subjects = subjects;
    stream.SubjectsLen = 1;
    assert_int_equal(js_AddStream(NULL, admin.js, &stream, NULL, NULL), NATS_OK);
    bus_ear_until_down(&a, "ensure_consumer");
    jsConsumerConfig consumer;
    (void)jsConsumerConfig_Init(&consumer);
    consumer.Durable = "a";
    consumer.AckPolicy = js_AckAll;
    consumer.DeliverSubject = "deliver.a";
    assert_int_equal(js_AddConsumer(NULL, admin.js, "CACHE_INVALIDATIONS", &consumer, NULL, NULL), NATS_OK);
    bus_ear_until_up(&a, 1);
    assert_int_equal(bus_ear_say(&a, "taken", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "taken");
    bus_ear_close(&a);
    admin_close(&admin);
    nats_server_stop(&s);
}

static void test_a_stream_of_others_is_not_used(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    struct admin admin;
    const char *subjects[] = { "cache.>" };
    struct bus_ear_how how = { "a", { NULL, 0 } };
    nats_server_start(&s, NULL);
    admin_open(&admin, &s);
    jsStreamConfig stream;
    (void)jsStreamConfig_Init(&stream);
    stream.Name = "CACHE_INVALIDATIONS";
    stream.Subjects = subjects;
    stream.SubjectsLen = 1;
    assert_int_equal(js_AddStream(NULL, admin.js, &stream, NULL, NULL), NATS_OK);
    assert_int_equal(bus_ear_start(&a, jet(&s), &how, NULL), STRATA_OK);
    bus_ear_until_down(&a, "another subject");
    bus_ear_close(&a);
    admin_close(&admin);
    nats_server_stop(&s);
}

static void test_a_server_without_jetstream_says_so(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    const struct nats_server_options with = { .no_jetstream = 1 };
    struct bus_ear_how how = { "a", { NULL, 0 } };
    nats_server_start(&s, &with);
    assert_int_equal(bus_ear_start(&a, jet(&s), &how, NULL), STRATA_OK);
    bus_ear_until_down(&a, "JetStream is off");
    s.options.no_jetstream = 0;
    nats_server_restart(&s);
    bus_ear_until_up(&a, 1);
    bus_ear_close(&a);
    nats_server_stop(&s);
}

static void test_a_node_needs_a_name_and_has_it_alone(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a, b;
    strata_error err;
    nats_server_start(&s, NULL);
    assert_int_equal(bus_ear_start(&a, jet(&s), NULL, &err), STRATA_EINVAL);
    assert_string_equal(err.where, "node_name");
    bus_ear_open(&a, jet(&s), "same");
    bus_ear_open(&b, jet(&s), "same");
    bus_ear_until_down(&a, "node_name"); /* and does not take it back */
    assert_int_equal(bus_ear_say(&b, "mine", NULL), STRATA_OK);
    bus_ear_until_heard(&b, "mine");
    bus_ear_close(&b);
    bus_ear_until_up(&a, 2); /* until it is free */
    bus_ear_until_heard(&a, "mine");
    bus_ear_close(&a);
    nats_server_stop(&s);
}

static void test_a_paused_server_loses_nothing(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    strata_error err;
    nats_server_start(&s, NULL);
    bus_ear_open(&a, jet(&s), "a");
    nats_server_pause(&s);
    assert_int_equal(bus_ear_say(&a, "slow", &err), STRATA_ETIMEDOUT);
    sleep(2);
    nats_server_resume(&s);
    bus_ear_say_surely(&a, "fast");
    bus_ear_until_heard(&a, "fast");
    assert_int_equal(bus_ear_losses(&a), 0);
    bus_ear_close(&a);
    nats_server_stop(&s);
}

static void test_a_message_that_is_too_large_fails_alone(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    strata_error err;
    const struct nats_server_options with = { .more = "max_payload: 8192" };
    nats_server_start(&s, &with);
    bus_ear_open(&a, jet(&s), "a");
    assert_int_equal(bus_ear_say_bytes(&a, 8193, &err), STRATA_EVALUESIZE);
    assert_int_equal(bus_ear_say_bytes(&a, 8000, &err), STRATA_OK);
    bus_ear_close(&a);
    nats_server_stop(&s);
}

static void test_a_lent_connection_that_does_not_echo_is_told(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    natsConnection *deaf = NULL;
    natsOptions *how = NULL;
    strata_nats_options options = STRATA_NATS_OPTIONS_INIT;
    nats_server_start(&s, NULL);
    assert_int_equal(natsOptions_Create(&how), NATS_OK);
    assert_int_equal(natsOptions_SetURL(how, s.url), NATS_OK);
    assert_int_equal(natsOptions_SetNoEcho(how, true), NATS_OK);
    assert_int_equal(natsConnection_Connect(&deaf, how), NATS_OK);
    natsOptions_Destroy(how);
    options.connection = deaf;
    assert_int_equal(bus_ear_start(&a, strata_nats_bus(&options), NULL, NULL), STRATA_OK);
    bus_ear_until_down(&a, "echo");
    bus_ear_close(&a);
    options.jetstream = STRATA_ON; /* a stream is not the one who published */
    bus_ear_open(&a, strata_nats_bus(&options), "a");
    assert_int_equal(bus_ear_say(&a, "kept", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "kept");
    bus_ear_close(&a);
    natsConnection_Destroy(deaf);
    nats_server_stop(&s);
}

static void test_a_consumer_that_is_deleted_under_us_loses_nothing(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    struct admin admin;
    nats_server_start(&s, NULL);
    admin_open(&admin, &s);
    bus_ear_open(&a, jet(&s), "a");
    assert_int_equal(bus_ear_say(&a, "before", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "before");
    assert_int_equal(js_DeleteConsumer(admin.js, "CACHE_INVALIDATIONS", "a", NULL, NULL), NATS_OK);
    assert_int_equal(bus_ear_say(&a, "meanwhile", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "meanwhile");
    assert_int_equal(bus_ear_losses(&a), 0);
    bus_ear_close(&a);
    admin_close(&admin);
    nats_server_stop(&s);
}

/* A message of the stream's that is removed before it was sent: by its limit, while the server sends nothing to us. */
static void test_what_is_purged_before_it_is_sent_is_told(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a, b;
    struct admin admin;
    nats_server_start(&s, NULL);
    admin_open(&admin, &s);
    bus_ear_open(&a, jet(&s), "a");
    bus_ear_open(&b, jet(&s), "b");
    assert_int_equal(js_DeleteConsumer(admin.js, "CACHE_INVALIDATIONS", "a", NULL, NULL), NATS_OK);
    assert_int_equal(bus_ear_say(&b, "unheard", NULL), STRATA_OK);
    assert_int_equal(js_PurgeStream(admin.js, "CACHE_INVALIDATIONS", NULL, NULL), NATS_OK);
    bus_ear_until_lost(&a, 1);
    bus_ear_until_up(&a, 2);
    assert_int_equal(bus_ear_say(&b, "heard", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "heard");
    assert_int_equal(bus_ear_times(&a, "unheard"), 0);
    bus_ear_close(&a);
    bus_ear_close(&b);
    admin_close(&admin);
    nats_server_stop(&s);
}

static void test_a_lent_connection_is_used_and_left_open(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a, b;
    struct admin admin;
    strata_nats_options options = STRATA_NATS_OPTIONS_INIT;
    nats_server_start(&s, NULL);
    admin_open(&admin, &s);
    options.connection = admin.nc;
    bus_ear_open(&a, strata_nats_bus(&options), NULL);
    options.jetstream = STRATA_ON;
    options.subject = "cache.kept";
    bus_ear_open(&b, strata_nats_bus(&options), "b");
    assert_int_equal(bus_ear_say(&a, "core", NULL), STRATA_OK);
    assert_int_equal(bus_ear_say(&b, "kept", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "core");
    bus_ear_until_heard(&b, "kept");
    nats_server_kill(&s);
    nats_server_restart(&s);
    bus_ear_until_up(&a, 2);
    bus_ear_until_up(&b, 2);
    bus_ear_say_surely(&a, "again");
    bus_ear_say_surely(&b, "again");
    bus_ear_until_heard(&a, "again");
    bus_ear_until_heard(&b, "again");
    assert_int_equal(bus_ear_losses(&b), 0);
    bus_ear_close(&a);
    bus_ear_close(&b);
    assert_int_equal(natsConnection_Status(admin.nc), NATS_CONN_STATUS_CONNECTED);
    assert_int_equal(natsConnection_FlushTimeout(admin.nc, 5000), NATS_OK);
    admin_close(&admin);
    nats_server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_replays_what_came_while_the_server_was_away),
        cmocka_unit_test(test_a_node_that_was_away_gets_what_came_meanwhile),
        cmocka_unit_test(test_a_place_that_was_only_told_is_remembered),
        cmocka_unit_test(test_a_stream_that_is_deleted_under_us_is_made_anew_and_told),
        cmocka_unit_test(test_what_left_the_stream_while_a_node_was_away_is_told),
        cmocka_unit_test(test_a_stream_in_memory_that_died_with_its_server_is_told),
        cmocka_unit_test(test_what_it_makes_is_as_its_options_say),
        cmocka_unit_test(test_what_is_not_to_be_made_has_to_be_there),
        cmocka_unit_test(test_a_stream_of_others_is_not_used),
        cmocka_unit_test(test_a_server_without_jetstream_says_so),
        cmocka_unit_test(test_a_node_needs_a_name_and_has_it_alone),
        cmocka_unit_test(test_a_paused_server_loses_nothing),
        cmocka_unit_test(test_a_message_that_is_too_large_fails_alone),
        cmocka_unit_test(test_a_lent_connection_that_does_not_echo_is_told),
        cmocka_unit_test(test_a_consumer_that_is_deleted_under_us_loses_nothing),
        cmocka_unit_test(test_what_is_purged_before_it_is_sent_is_told),
        cmocka_unit_test(test_a_lent_connection_is_used_and_left_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
