/* test_nats_place.c - the numbers of JetStream: what is next, repeated, removed or missing; cursors; names of consumers. */
#include <string.h>

#include "src/bus/nats/nats_answer.h"
#include "src/bus/nats/nats_bus_impl.h"
#include "src/bus/nats/nats_place.h"
#include "tests/support/cmocka_all.h"

static void test_each_jump_means_something_else(void **state)
{
    (void)state;
    struct nats_place p = { .known = 1, .last = 10, .created_ns = 5, .number = 0 };
    assert_int_equal(strata__nats_step(&p, 11, 1), NATS_STEP_NEXT);
    assert_int_equal(strata__nats_step(&p, 12, 2), NATS_STEP_NEXT);
    assert_int_equal(strata__nats_step(&p, 12, 3), NATS_STEP_REPEATED);
    assert_int_equal(strata__nats_step(&p, 3, 4), NATS_STEP_REPEATED);
    assert_int_equal(p.last, 12);
    assert_int_equal(strata__nats_step(&p, 15, 5), NATS_STEP_REMOVED);
    assert_int_equal(p.last, 15);
    assert_int_equal(strata__nats_step(&p, 16, 7), NATS_STEP_MISSING);
    assert_int_equal(strata__nats_step(&p, 16, 5), NATS_STEP_MISSING);
    assert_int_equal(p.last, 15); /* where to go on */
    assert_int_equal(p.number, 5);
}

static void test_a_place_is_checked_against_its_stream(void **state)
{
    (void)state;
    struct nats_place p = { .known = 1, .last = 10, .created_ns = 5 };
    assert_null(strata__nats_place_check(&p, 1, 20, 5));
    assert_null(strata__nats_place_check(&p, 11, 20, 5)); /* the next one is there */
    assert_null(strata__nats_place_check(&p, 11, 10, 5)); /* purged of what we have */
    assert_int_equal(p.last, 10);
    assert_non_null(strata__nats_place_check(&p, 12, 20, 5)); /* the next one is not */
    assert_int_equal(p.last, 11);
    assert_non_null(strata__nats_place_check(&p, 1, 7, 5)); /* it has lost its end */
    assert_int_equal(p.last, 7);
    assert_non_null(strata__nats_place_check(&p, 1, 7, 6)); /* another stream of that name: all of it is new */
    assert_int_equal(p.last, 0);
    assert_int_equal(p.created_ns, 6);
    assert_null(strata__nats_place_check(&p, 0, 0, 6)); /* empty */
}

static void test_replies_give_their_numbers(void **state)
{
    (void)state;
    static const char *const bad[] = { "",
                                       "_INBOX.x",
                                       "$JS.ACK.",
                                       "$JS.ACK.s.c.1.7.3.99",
                                       "$JS.ACK.s.c.1.7.3.99.0.x",
                                       "$JS.ACK.s.c.1.x.3.99.0",
                                       "$JS.ACK.s.c.1..3.99.0",
                                       "$JS.ACK.s.c.1.7x.3.99.0",
                                       "$JS.ACK.s.c.1.0.3.99.0",
                                       "$JS.ACK.s.c.1.99999999999999999999999.3.99.0",
                                       "$JS.FC.s.c.1.7.3.99.0" };
    uint64_t stream, consumer;
    assert_int_equal(strata__nats_numbers("$JS.ACK.s.c.1.7.3.99.0", &stream, &consumer), 1);
    assert_int_equal(stream, 7);
    assert_int_equal(consumer, 3);
    assert_int_equal(strata__nats_numbers("$JS.ACK.domain.hash.s.c.1.70.30.99.0", &stream, &consumer), 1);
    assert_int_equal(stream, 70);
    assert_int_equal(strata__nats_numbers("$JS.ACK.domain.hash.s.c.1.71.31.99.0.more", &stream, &consumer), 1);
    assert_int_equal(consumer, 31);
    assert_int_equal(strata__nats_numbers(NULL, &stream, &consumer), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(strata__nats_numbers(bad[i], &stream, &consumer), 0);
}

static void test_a_stream_answers(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
        int good;
    } answers[] = {
        { "{\"stream\":\"S\",\"seq\":5}", "", 1 },
        { "{\"stream\":\"S\",\"domain\":\"hub\",\"seq\":12,\"duplicate\":true}", "", 1 },
        { "{\"error\":{\"code\":503,\"description\":\"no room\"},\"stream\":\"S\",\"seq\":0}", "no room", 0 },
        { "{\"error\":{\"code\":503},\"seq\":5}", "", 0 },
        { "{\"error\":{\"description\":\"no e\nd", "no e?d", 0 },
        { "{\"seq\":", "", 0 },
        { "{\"seq\":0}", "", 0 },
        { "\"seq\":5", "", 0 },
        { "", "", 0 },
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        char words[16];
        assert_int_equal(strata__nats_answer(strata_str(answers[i].text), words, sizeof words), answers[i].good);
        assert_string_equal(words, answers[i].words);
    }
}

static void test_cursors_come_back(void **state)
{
    (void)state;
    static const unsigned char bytes[16] = { 7, 0, 0, 0, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F };
    unsigned char written[16];
    struct nats_place p, again;
    assert_int_equal(strata__nats_cursor_read(strata_bytes(bytes, 16), &p), 1);
    assert_int_equal(p.known, 1);
    assert_int_equal(p.last, UINT64_C(0x0100000000000007));
    assert_int_equal(p.created_ns, INT64_MAX);
    strata__nats_cursor_write(&p, written);
    assert_memory_equal(written, bytes, 16);
    assert_int_equal(strata__nats_cursor_read(strata_bytes(bytes, 15), &again), 0);
    assert_int_equal(strata__nats_cursor_read(strata_bytes(NULL, 0), &again), 0);
}

static void test_names_of_nodes_become_names_of_consumers(void **state)
{
    (void)state;
    char name[NATS_CONSUMER_BYTES], longest[200];
    assert_int_equal(strata__nats_consumer_name("web-1_A", name, sizeof name), 1);
    assert_string_equal(name, "web-1_A");
    assert_int_equal(strata__nats_consumer_name("a.b c*>/=\xFF", name, sizeof name), 1);
    assert_string_equal(name, "a=2Eb=20c=2A=3E=2F=3D=FF");
    assert_int_equal(strata__nats_consumer_name("", name, sizeof name), 0);
    memset(longest, '.', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(strata__nats_consumer_name(longest, name, sizeof name), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_jump_means_something_else),
        cmocka_unit_test(test_a_place_is_checked_against_its_stream),
        cmocka_unit_test(test_replies_give_their_numbers),
        cmocka_unit_test(test_a_stream_answers),
        cmocka_unit_test(test_cursors_come_back),
        cmocka_unit_test(test_names_of_nodes_become_names_of_consumers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
