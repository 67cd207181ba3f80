/* test_nats_off.c - a build without nats.c: the bus says which option of the build brings it. */
#include <string.h>

#include "src/link/nats_link.h"
#include "strata/strata.h"
#include "tests/support/cmocka_all.h"

static void test_the_constructor_says_so(void **state)
{
    (void)state;
    assert_int_equal(strata__nats_built_in(), 0);
    strata_bus *bus = strata_nats_bus(NULL);
    assert_int_equal(bus->failed.status, STRATA_EUNSUPPORTED);
    assert_non_null(strstr(bus->failed.message, "STRATA_WITH_NATS"));
    strata_bus_free(bus);
}

static void test_a_cache_with_it_is_not_opened(void **state)
{
    (void)state;
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(strata_open_url(&cache, "memory: | bus:nats://host", NULL, &err), STRATA_EUNSUPPORTED);
    assert_null(cache);
    assert_non_null(strstr(err.message, "STRATA_WITH_NATS"));
}

static void test_nothing_is_connected(void **state)
{
    (void)state;
    struct nats_link *link;
    strata_error err = STRATA_ERROR_INIT;
    const struct nats_link_options options = { .name = "nats", .host = "h", .port = 4222 };
    assert_int_equal(strata__nats_check(&options, &err), STRATA_EUNSUPPORTED);
    assert_int_equal(strata__nats_connect(&link, &options, &err), STRATA_EUNSUPPORTED);
    assert_null(link);
    assert_int_equal(strata__nats_lend(&link, &err, &options, &err), STRATA_EUNSUPPORTED);
    assert_null(link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_constructor_says_so),
        cmocka_unit_test(test_a_cache_with_it_is_not_opened),
        cmocka_unit_test(test_nothing_is_connected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
