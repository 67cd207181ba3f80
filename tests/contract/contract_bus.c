/* contract_bus.c - see contract_bus.h.  Cases that need what a bus does not say of itself (its flags) are passed over. */
#include "tests/contract/contract_bus.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/bus_member.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

static const struct contract_bus_subject *subject;
static unsigned channel;

static strata_bus *make(unsigned node) { return subject->make(channel, node); }

static int next_channel(void **state)
{
    (void)state;
    channel++;
    return 0;
}

static void start_up(struct bus_member *n, unsigned node)
{
    bus_member_start(n, make(node));
    bus_member_wait_up(n, 1);
}

static uint32_t flags_of(void)
{
    strata_bus *probe = make(0);
    uint32_t flags = probe->flags;
    strata_bus_free(probe);
    return flags;
}

static int echoes(void) { return (flags_of() & (STRATA_BUS_ECHOES | STRATA_BUS_ORDERED)) != 0; }

static int has(uint32_t flag) { return (flags_of() & flag) != 0; }

/* What a message says stands at the end of its text. */
static unsigned number_of(const struct bus_came *m) { return (unsigned)strtoul(m->bytes + m->size - 6, NULL, 10); }

static void says_what_it_is(void **state)
{
    (void)state;
    strata_bus *bus = make(0);
    assert_int_equal(bus->failed.status, STRATA_OK);
    assert_int_equal(bus->size, sizeof *bus);
    assert_true(bus->max_message_bytes >= 4096);
    assert_true(bus->name[0] != '\0');
    assert_non_null(bus->ops->kind);
    assert_true((bus->flags & STRATA_BUS_RECEIVES_ONLY) == 0);
    strata_bus_free(bus); /* one that was never started */
}

static void everybody_hears_it(void **state)
{
    (void)state;
    enum { NODES = 4 };
    struct bus_member nodes[NODES];
    for (unsigned i = 0; i < NODES; i++)
        start_up(&nodes[i], i);
    for (unsigned i = 0; i < NODES; i++) {
        char text[32];
        snprintf(text, sizeof text, "from %u", i);
        bus_member_say(&nodes[i], text);
        bus_member_wait_sent(&nodes[i]);
        assert_int_equal(nodes[i].last_status, STRATA_OK);
        for (unsigned to = 0; to < NODES; to++)
            if (to != i || echoes())
                bus_member_wait_text(&nodes[to], text);
    }
    for (unsigned i = 0; i < NODES; i++) {
        assert_int_equal(nodes[i].came_count, echoes() ? NODES : NODES - 1);
        assert_int_equal(nodes[i].losts, 0);
        assert_int_equal(nodes[i].ups, 1);
        bus_member_stop(&nodes[i]);
    }
}

/* "From now on" is from up(). */
static void begins_with_what_comes_now(void **state)
{
    (void)state;
    struct bus_member one, other;
    start_up(&one, 0);
    bus_member_say(&one, "before");
    bus_member_wait_sent(&one);
    if (echoes())
        bus_member_wait_text(&one, "before");
    start_up(&other, 1);
    bus_member_say(&one, "after");
    bus_member_wait_text(&other, "after");
    assert_int_equal(bus_member_find(&other, "before"), -1);
    bus_member_stop(&one);
    bus_member_stop(&other);
}

static void channels_are_apart(void **state)
{
    (void)state;
    struct bus_member one, other;
    start_up(&one, 0);
    channel++;
    start_up(&other, 0);
    bus_member_say(&one, "to one");
    bus_member_wait_sent(&one);
    bus_member_say(&other, "to the other");
    bus_member_wait_sent(&other);
    if (echoes()) {
        bus_member_wait_text(&one, "to one");
        bus_member_wait_text(&other, "to the other");
    }
    assert_int_equal(bus_member_find(&one, "to the other"), -1);
    assert_int_equal(bus_member_find(&other, "to one"), -1);
    bus_member_stop(&one);
    bus_member_stop(&other);
}

static void say_numbered(struct bus_member *n, const char *who, unsigned number)
{
    char text[64];
    snprintf(text, sizeof text, "%s %06u", who, number);
    bus_member_say(n, text);
}

/* Of each publisher's messages, in order, and each one once. */
static void in_order_of(const struct bus_member *n, char who, unsigned count)
{
    unsigned next = 0;
    for (size_t i = 0; i < n->came_count; i++) {
        if (n->came[i].bytes[0] != who)
            continue;
        assert_int_equal(number_of(&n->came[i]), next);
        next++;
    }
    assert_int_equal(next, count);
}

static void a_burst_stays_in_order(void **state)
{
    (void)state;
    const unsigned count = subject->burst != 0 ? subject->burst : 10000;
    struct bus_member one, other;
    start_up(&one, 0);
    start_up(&other, 1);
    for (unsigned i = 0; i < count; i++)
        say_numbered(&one, "a", i);
    bus_member_wait_sent(&one);
    assert_int_equal(one.bad, 0);
    bus_member_wait_came(&other, count);
    in_order_of(&other, 'a', count);
    assert_int_equal(other.losts, 0);
    if (echoes()) {
        bus_member_wait_came(&one, count);
        in_order_of(&one, 'a', count);
    }
    bus_member_stop(&one);
    bus_member_stop(&other);
}

static void *talk(void *ctx)
{
    struct bus_member *n = ctx;
    for (unsigned i = 0; i < 1000; i++)
        say_numbered(n, n->lost_why, i); /* "a" or "b": its room is not used for anything else here */
    bus_member_wait_sent(n);
    return NULL;
}

/* Two publish at once: in what order they are heard is the same everywhere, where the bus is ordered. */
static void two_at_once(void **state)
{
    (void)state;
    struct bus_member nodes[3];
    pthread_t threads[2];
    for (unsigned i = 0; i < 3; i++)
        start_up(&nodes[i], i);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(nodes[i].lost_why, sizeof nodes[i].lost_why, "%c", (char)('a' + i));
        assert_int_equal(pthread_create(&threads[i], NULL, talk, &nodes[i]), 0);
    }
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    bus_member_wait_came(&nodes[2], 2000);
    in_order_of(&nodes[2], 'a', 1000);
    in_order_of(&nodes[2], 'b', 1000);
    for (unsigned i = 0; i < 2 && has(STRATA_BUS_ORDERED); i++) {
        bus_member_wait_came(&nodes[i], 2000);
        for (size_t k = 0; k < 2000; k++)
            assert_string_equal(nodes[i].came[k].bytes, nodes[2].came[k].bytes);
    }
    for (unsigned i = 0; i < 3; i++)
        bus_member_stop(&nodes[i]);
}

static void any_bytes_of_any_size(void **state)
{
    (void)state;
    struct bus_member one, other;
    start_up(&one, 0);
    start_up(&other, 1);
    const uint32_t most = one.bus->max_message_bytes;
    const uint32_t sizes[] = { 1, 2, 255, 256, 4095, 4096, most / 2, most - 1, most };
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    unsigned char *bytes = malloc(most + 1);
    assert_non_null(bytes);
    for (uint32_t i = 0; i <= most; i++)
        bytes[i] = (unsigned char)(i * 31 + i / 256);
    for (size_t s = 0; s < SIZES; s++) {
        bus_member_publish(&one, bytes, sizes[s]);
        bus_member_wait_sent(&one);
        if (one.last_status != STRATA_OK)
            fail_msg("%u bytes: %s", (unsigned)sizes[s], one.last_err.message);
        bus_member_wait_came(&other, s + 1);
        assert_int_equal(other.came[s].size, sizes[s]);
        assert_memory_equal(other.came[s].bytes, bytes, sizes[s]);
    }
    /* More is refused, and harms nobody. */
    bus_member_publish(&one, bytes, most + 1);
    bus_member_wait_sent(&one);
    assert_true(one.last_status < 0);
    bus_member_say(&one, "still there");
    bus_member_wait_text(&other, "still there");
    assert_int_equal(other.came_count, SIZES + 1);
    free(bytes);
    bus_member_stop(&one);
    bus_member_stop(&other);
}

static void wrong_options_are_told(void **state)
{
    (void)state;
    if (subject->make_wrong == NULL)
        skip();
    struct bus_member n;
    strata_error err = STRATA_ERROR_INIT;
    assert_true(bus_member_try(&n, subject->make_wrong(), NULL, strata_bytes(NULL, 0), &err) < 0);
    assert_true(err.status < 0);
    assert_true(err.where[0] != '\0');
    assert_true(strlen(err.message) > 10);
}

/* Stopping ---------------------------------------------------------------------------------------------------------- */

static void stop_sends_what_was_submitted(void **state)
{
    (void)state;
    struct bus_member one, other;
    start_up(&one, 0);
    start_up(&other, 1);
    for (unsigned i = 0; i < 1000; i++)
        say_numbered(&one, "a", i);
    bus_member_close(&one, 60000);
    assert_int_equal(one.good, 1000);
    bus_member_wait_came(&other, 1000);
    in_order_of(&other, 'a', 1000);
    bus_member_free(&one);
    bus_member_stop(&other);
}

static void stop_without_patience_answers_all(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        struct bus_member one;
        bus_member_start(&one, make(0));
        if (round % 2 == 0)
            bus_member_wait_up(&one, 1);
        for (unsigned i = 0; i < 50 * round; i++)
            say_numbered(&one, "a", i);
        bus_member_close(&one, 0); /* checks that nothing is out */
        assert_int_equal(one.good + one.bad, 50 * round);
        bus_member_free(&one);
        channel++;
    }
}

static void *chatter(void *ctx)
{
    struct bus_member *n = ctx;
    for (unsigned i = 0;; i++) {
        say_numbered(n, "a", i);
        pthread_mutex_lock(&n->mutex);
        int over = n->bad > 0;
        pthread_mutex_unlock(&n->mutex);
        if (over)
            return NULL;
    }
}

/* A thread still publishes while another one stops: each message is answered.  close() comes after its end. */
static void stop_while_publishing(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 10; round++) {
        struct bus_member one;
        pthread_t thread;
        start_up(&one, 0);
        assert_int_equal(pthread_create(&thread, NULL, chatter, &one), 0);
        one.bus->ops->stop(one.bus, round);
        pthread_join(thread, NULL);
        pthread_mutex_lock(&one.mutex);
        assert_int_equal(one.out, 0);
        assert_true(one.bad > 0);
        pthread_mutex_unlock(&one.mutex);
        bus_member_close(&one, 0); /* stop() again is harmless */
        bus_member_free(&one);
        channel++;
    }
}

/* The server goes --------------------------------------------------------------------------------------------------- */

static void starts_without_a_server(void **state)
{
    (void)state;
    if (subject->kill == NULL)
        skip();
    struct bus_member one;
    subject->kill();
    bus_member_start(&one, make(0));
    bus_member_wait_down(&one, "");
    assert_true(strlen(one.why.message) > 10);
    bus_member_say(&one, "to nobody");
    bus_member_wait_sent(&one);
    assert_true(one.last_status < 0);
    assert_true(strlen(one.last_err.message) > 10);
    subject->restart();
    bus_member_wait_up(&one, 1);
    bus_member_say_taken(&one, "somebody");
    bus_member_stop(&one);
}

static void publishing_while_it_is_away(void **state)
{
    (void)state;
    if (subject->kill == NULL)
        skip();
    struct bus_member one;
    start_up(&one, 0);
    subject->kill();
    bus_member_wait_down(&one, "");
    for (unsigned i = 0; i < 1000; i++)
        say_numbered(&one, "a", i);
    bus_member_wait_sent(&one); /* all are answered */
    assert_true(one.bad > 0);
    subject->restart();
    bus_member_wait_up(&one, 2);
    bus_member_say_taken(&one, "again");
    bus_member_stop(&one);
}

static void rouse(struct bus_member *n)
{
    if (n->bus->ops->rouse != NULL)
        n->bus->ops->rouse(n->bus);
}

/* Whatever state it is in: it comes up where that is possible, and works then as ever. */
static void is_roused(void **state)
{
    (void)state;
    struct bus_member one, other;
    start_up(&one, 0);
    start_up(&other, 1);
    rouse(&one); /* it is well */
    bus_member_say(&one, "well");
    bus_member_wait_text(&other, "well");
    if (subject->kill != NULL) {
        assert_non_null(one.bus->ops->rouse);
        subject->kill();
        bus_member_wait_down(&one, "");
        for (int i = 0; i < 20; i++)
            rouse(&one); /* in vain */
        subject->restart();
        rouse(&one);
        rouse(&other);
        bus_member_wait_up(&one, 2);
        bus_member_wait_up(&other, 2);
        bus_member_say_taken(&one, "again");
        bus_member_wait_text(&other, "again");
    }
    bus_member_close(&one, 1000);
    bus_member_free(&one);
    bus_member_stop(&other);
}

static void stop_while_it_is_away(void **state)
{
    (void)state;
    if (subject->kill == NULL)
        skip();
    struct bus_member one;
    start_up(&one, 0);
    subject->kill();
    for (unsigned i = 0; i < 100; i++)
        say_numbered(&one, "a", i);
    bus_member_close(&one, 10);
    bus_member_free(&one);
    subject->restart();
}

/* Either what a server took is delivered, or the node was told that something may be missing: by lost(), or by down() and up() of a bus
 * that does not replay. */
static void it_comes_back(void **state)
{
    (void)state;
    if (subject->kill == NULL)
        skip();
    struct bus_member one, other;
    start_up(&one, 0);
    start_up(&other, 1);
    for (unsigned round = 0; round < 3; round++) {
        char text[32];
        snprintf(text, sizeof text, "before %u", round);
        bus_member_say(&one, text);
        bus_member_wait_sent(&one);
        bus_member_wait_text(&other, text);
        subject->kill();
        bus_member_wait_down(&one, "");
        bus_member_wait_down(&other, "");
        subject->restart();
        bus_member_wait_up(&one, round + 2);
        bus_member_wait_up(&other, round + 2);
        snprintf(text, sizeof text, "after %u", round);
        bus_member_say_taken(&one, text);
        bus_member_wait_text(&other, text);
    }
    if (has(STRATA_BUS_REPLAYS) && !subject->keeps)
        bus_member_wait_lost(&other, 1); /* what was in it before the crash may have had a successor that nobody heard */
    if (subject->keeps)
        assert_int_equal(other.losts, 0);
    bus_member_stop(&one);
    bus_member_stop(&other);
}

static void resumes_from_a_cursor(void **state)
{
    (void)state;
    if (!has(STRATA_BUS_REPLAYS))
        skip();
    struct bus_member one, other;
    strata_error err = STRATA_ERROR_INIT;
    char cursor[256];
    start_up(&one, 0);
    start_up(&other, 1);
    bus_member_say(&one, "the last that it heard");
    bus_member_wait_text(&other, "the last that it heard");
    size_t size = other.came[other.came_count - 1].cursor_size;
    memcpy(cursor, other.came[other.came_count - 1].cursor, size);
    bus_member_stop(&other);
    for (unsigned i = 0; i < 600; i++)
        say_numbered(&one, "a", i);
    bus_member_wait_sent(&one);
    if (size == 0) {
        bus_member_stop(&one);
        skip();
    }
    assert_int_equal(bus_member_try(&other, make(1), NULL, strata_bytes(cursor, size), &err), STRATA_OK);
    bus_member_wait_came(&other, 600);
    in_order_of(&other, 'a', 600);
    assert_int_equal(other.losts, 0);
    bus_member_stop(&other);
    /* What is no cursor of its own is told. */
    assert_int_equal(bus_member_try(&other, make(1), NULL, strata_str("no cursor"), &err), STRATA_OK);
    bus_member_wait_lost(&other, 1);
    bus_member_wait_up(&other, 1);
    bus_member_stop(&other);
    bus_member_stop(&one);
}

/* Trouble ----------------------------------------------------------------------------------------------------------- */

/* With a failed allocation it starts, or says why not; and where it starts it works in the end. */
static void allocations_fail(void **state)
{
    (void)state;
    if (subject->allocations == 0)
        skip();
    for (long nth = 1; nth <= (long)subject->allocations; nth++) {
        struct fail_alloc mem;
        struct bus_member one;
        strata_error err = STRATA_ERROR_INIT;
        fail_alloc_init(&mem, nth);
        if (bus_member_try(&one, make(0), &mem.mem, strata_bytes(NULL, 0), &err) == STRATA_OK) {
            if (echoes())
                bus_member_wait_echo(&one, "through");
            bus_member_stop(&one);
        } else {
            assert_int_equal(err.status, STRATA_ENOMEM);
        }
        assert_int_equal(mem.live, 0);
        channel++;
    }
}

static void forked_child(strata_bus *bus)
{
    struct bus_member child;
    strata_error err = STRATA_ERROR_INIT;
    if (bus->ops->reopen(bus, &err) != STRATA_OK)
        _exit(2);
    if (bus_member_try(&child, bus, NULL, strata_bytes(NULL, 0), &err) != STRATA_OK)
        _exit(3);
    bus_member_wait_up(&child, 1);
    bus_member_say(&child, "from the child");
    bus_member_wait_sent(&child);
    if (child.last_status != STRATA_OK)
        _exit(4);
    bus_member_stop(&child);
    _exit(0);
}

static void reopens_in_a_child(void **state)
{
    (void)state;
    struct bus_member one;
    int status = 0;
#if defined(__SANITIZE_THREAD__) /* which allows a child of many threads no thread */
    skip();
#endif
    start_up(&one, 0);
    if (one.bus->ops->reopen == NULL || subject->one_process) {
        bus_member_stop(&one);
        skip();
    }
    pid_t pid = fork();
    if (pid == 0)
        forked_child(one.bus);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    bus_member_wait_text(&one, "from the child");
    bus_member_say(&one, "the parent's");
    bus_member_wait_sent(&one);
    assert_int_equal(one.last_status, STRATA_OK);
    assert_int_equal(one.ups, 1);
    bus_member_stop(&one);
}

static void counts(void **state)
{
    (void)state;
    struct bus_member one, other;
    strata_bus_stats stats = STRATA_BUS_STATS_INIT;
    start_up(&one, 0);
    start_up(&other, 1);
    if (one.bus->ops->stats != NULL) {
        bus_member_say(&one, "12345");
        bus_member_wait_sent(&one);
        bus_member_wait_text(&other, "12345");
        one.bus->ops->stats(one.bus, &stats);
        assert_int_equal(stats.up, 1);
        assert_int_equal(stats.published, 1);
        assert_true(stats.bytes_out >= 5);
        other.bus->ops->stats(other.bus, &stats);
        assert_int_equal(stats.received, 1);
        assert_true(stats.bytes_in >= 5);
    }
    bus_member_stop(&one);
    bus_member_stop(&other);
}

int contract_run_bus(const struct contract_bus_subject *of)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(says_what_it_is, next_channel),
        cmocka_unit_test_setup(everybody_hears_it, next_channel),
        cmocka_unit_test_setup(begins_with_what_comes_now, next_channel),
        cmocka_unit_test_setup(channels_are_apart, next_channel),
        cmocka_unit_test_setup(a_burst_stays_in_order, next_channel),
        cmocka_unit_test_setup(two_at_once, next_channel),
        cmocka_unit_test_setup(any_bytes_of_any_size, next_channel),
        cmocka_unit_test_setup(wrong_options_are_told, next_channel),
        cmocka_unit_test_setup(stop_sends_what_was_submitted, next_channel),
        cmocka_unit_test_setup(stop_without_patience_answers_all, next_channel),
        cmocka_unit_test_setup(stop_while_publishing, next_channel),
        cmocka_unit_test_setup(starts_without_a_server, next_channel),
        cmocka_unit_test_setup(publishing_while_it_is_away, next_channel),
        cmocka_unit_test_setup(stop_while_it_is_away, next_channel),
        cmocka_unit_test_setup(is_roused, next_channel),
        cmocka_unit_test_setup(it_comes_back, next_channel),
        cmocka_unit_test_setup(resumes_from_a_cursor, next_channel),
        cmocka_unit_test_setup(allocations_fail, next_channel),
        cmocka_unit_test_setup(reopens_in_a_child, next_channel),
        cmocka_unit_test_setup(counts, next_channel),
    };
    subject = of;
    print_message("== %s\n", of->name);
    return cmocka_run_group_tests_name(of->name, tests, NULL, NULL);
}
