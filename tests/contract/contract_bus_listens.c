/* contract_bus_listens.c - what contract_bus.h asks of a bus that publishes nothing (STRATA_BUS_RECEIVES_ONLY). */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/contract/contract_bus.h"
#include "tests/support/bus_member.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/still_threads.h"

static const struct contract_bus_subject *subject;
static unsigned channel;

static int next_channel(void **state)
{
    (void)state;
    channel++;
    return 0;
}

static strata_bus *make(void) { return subject->make(channel, 0); }

static void start_up(struct bus_member *n)
{
    bus_member_start(n, make());
    bus_member_wait_up(n, 1);
}

static void says_what_it_is(void **state)
{
    (void)state;
    strata_bus *bus = make();
    assert_int_equal(bus->failed.status, STRATA_OK);
    assert_int_equal(bus->size, sizeof *bus);
    assert_true(bus->max_message_bytes >= 4096);
    assert_true(bus->name[0] != '\0');
    assert_non_null(bus->ops->kind);
    assert_null(bus->ops->publish);
    assert_int_equal(bus->flags, STRATA_BUS_RECEIVES_ONLY);
    strata_bus_free(bus); /* one that was never started */
}

static void wrong_options_are_told(void **state)
{
    (void)state;
    struct bus_member n;
    strata_error err = STRATA_ERROR_INIT;
    assert_true(bus_member_try(&n, subject->make_wrong(), NULL, strata_bytes(NULL, 0), &err) < 0);
    assert_true(err.status < 0);
    assert_true(err.where[0] != '\0');
    assert_true(strlen(err.message) > 10);
}

static void stops_at_any_moment(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct bus_member one;
        bus_member_start(&one, make());
        if (i % 4 == 0)
            bus_member_wait_up(&one, 1);
        bus_member_stop(&one);
    }
}

static void starts_without_a_server(void **state)
{
    (void)state;
    struct bus_member one;
    subject->kill();
    bus_member_start(&one, make());
    bus_member_wait_down(&one, "");
    assert_true(strlen(one.why.message) > 10);
    assert_int_equal(one.ups, 0);
    subject->restart();
    bus_member_wait_up(&one, 1);
    bus_member_stop(&one);
}

static void it_comes_back(void **state)
{
    (void)state;
    struct bus_member one;
    start_up(&one);
    for (unsigned round = 0; round < 3; round++) {
        subject->kill();
        bus_member_wait_down(&one, "");
        subject->restart();
        bus_member_wait_up(&one, round + 2);
    }
    strata_bus_stats stats = STRATA_BUS_STATS_INIT;
    one.bus->ops->stats(one.bus, &stats);
    assert_int_equal(stats.up, 1);
    assert_int_equal(stats.reconnects, 3);
    bus_member_stop(&one);
}

static void stops_while_it_is_away(void **state)
{
    (void)state;
    struct bus_member one;
    start_up(&one);
    subject->kill();
    bus_member_stop(&one);
    subject->restart();
}

static void allocations_fail(void **state)
{
    (void)state;
    for (long nth = 1; nth <= (long)subject->allocations; nth++) {
        struct fail_alloc mem;
        struct bus_member one;
        strata_error err = STRATA_ERROR_INIT;
        fail_alloc_init(&mem, nth);
        if (bus_member_try(&one, make(), &mem.mem, strata_bytes(NULL, 0), &err) == STRATA_OK) {
            bus_member_wait_up(&one, 1);
            bus_member_stop(&one);
        } else {
            assert_int_equal(err.status, STRATA_ENOMEM);
        }
        assert_int_equal(mem.live, 0);
    }
}

static void reopens_in_a_child(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__) /* which allows a child of many threads no thread */
    skip();
#endif
    struct bus_member one, child;
    strata_error err = STRATA_ERROR_INIT;
    int status = 0;
    start_up(&one);
    wait_for_still_threads();
    pid_t pid = fork();
    if (pid == 0) {
        if (one.bus->ops->reopen(one.bus, &err) != STRATA_OK ||
            bus_member_try(&child, one.bus, NULL, strata_bytes(NULL, 0), &err) != STRATA_OK)
            _exit(2);
        bus_member_wait_up(&child, 1);
        bus_member_stop(&child);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(one.ups, 1);
    assert_int_equal(one.losts, 0);
    bus_member_stop(&one);
}

int contract_run_listening_bus(const struct contract_bus_subject *of)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(says_what_it_is, next_channel),
        cmocka_unit_test_setup(wrong_options_are_told, next_channel),
        cmocka_unit_test_setup(stops_at_any_moment, next_channel),
        cmocka_unit_test_setup(starts_without_a_server, next_channel),
        cmocka_unit_test_setup(it_comes_back, next_channel),
        cmocka_unit_test_setup(stops_while_it_is_away, next_channel),
        cmocka_unit_test_setup(allocations_fail, next_channel),
        cmocka_unit_test_setup(reopens_in_a_child, next_channel),
    };
    subject = of;
    print_message("== %s\n", of->name);
    return cmocka_run_group_tests_name(of->name, tests, NULL, NULL);
}
