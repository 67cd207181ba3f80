/* test_redis_resume.c - a node with a disk is killed -9, another one deletes what it held, and it comes back: over a stream of a real
 * Redis that goes on from where it was, or was flushed, trimmed, or is another one. */
#include <stdlib.h>

#include "tests/integration/resume_fixture.h"
#include "tests/support/redis_do.h"

static struct redis_server server;
static char url[64];

static strata_bus *stream(void)
{
    strata_redis_bus_options o = STRATA_REDIS_BUS_OPTIONS_INIT;
    o.url = url;
    o.timeout_ms = o.connect_timeout_ms = 60000;
    return strata_redis_stream_bus(&o);
}

static int start(void **state)
{
    (void)state;
    redis_server_start(&server, NULL);
    (void)snprintf(url, sizeof url, "redis://127.0.0.1:%u", (unsigned)server.port);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_server_stop(&server);
    return 0;
}

static void it_goes_on(void **state)
{
    (void)state;
    resume_round(stream, url, NULL, 1);
}

static void flush(strata *other)
{
    struct redis_link *link = redis_do_open(&server);
    (void)other;
    (void)redis_do(link, "FLUSHALL");
    strata__redis_close(link);
}

static void it_was_flushed(void **state)
{
    (void)state;
    resume_round(stream, url, flush, 0);
}

static void trim(strata *other)
{
    struct redis_link *link = redis_do_open(&server);
    (void)other;
    (void)redis_do(link, "EVAL",
                   "for _, k in ipairs(redis.call('KEYS', '*')) do if redis.call('TYPE', k).ok == 'stream' then "
                   "redis.call('XTRIM', k, 'MAXLEN', 1) end end",
                   "0");
    strata__redis_close(link);
}

static void it_was_trimmed(void **state)
{
    (void)state;
    resume_round(stream, url, trim, 0);
}

static void another_one(strata *other)
{
    (void)other;
    redis_server_kill(&server);
    redis_server_restart(&server);
}

static void it_is_another_one(void **state)
{
    (void)state;
    resume_round(stream, url, another_one, 0);
}

int main(int argc, char **argv)
{
    if (argc == 5) {
        (void)snprintf(url, sizeof url, "%s", argv[4]);
        resume_live(stream, argv[2], atoi(argv[3]));
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_goes_on, start, stop),
        cmocka_unit_test_setup_teardown(it_was_flushed, start, stop),
        cmocka_unit_test_setup_teardown(it_was_trimmed, start, stop),
        cmocka_unit_test_setup_teardown(it_is_another_one, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
