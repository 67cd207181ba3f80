/* test_redis_snapshot.c - snapshots of what a server holds, and into one: what other nodes wrote or deleted there stays as it is. */
#include "strata/snapshot.h"

#include "tests/support/redis_cache.h"
#include "tests/support/redis_do.h"
#include "tests/support/temp_dir.h"

#define URL "redis://127.0.0.1:%u?prefix=app:&" REDIS_PATIENT
#define OTHER "redis://127.0.0.1:%u?prefix=other:&" REDIS_PATIENT
#define WITH_MEMORY "memory:?max_bytes=16mb | " URL

enum { MANY = 3000 };

static struct redis_server server;
static char dir[256], path[512];
static strata_snapshot_report report;

static int start(void **state)
{
    (void)state;
    redis_server_start(&server, NULL);
    temp_dir_make(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/s", dir);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    temp_dir_remove(dir);
    redis_server_stop(&server);
    return 0;
}

static void save(strata *cache)
{
    strata_error err = STRATA_ERROR_INIT;
    report = (strata_snapshot_report)STRATA_SNAPSHOT_REPORT_INIT;
    if (strata_snapshot_save(cache, path, NULL, &report, &err) != STRATA_OK)
        fail_msg("save: %s", err.message);
}

static void load(strata *cache)
{
    strata_error err = STRATA_ERROR_INIT;
    report = (strata_snapshot_report)STRATA_SNAPSHOT_REPORT_INIT;
    if (strata_snapshot_load(cache, path, NULL, &report, &err) != STRATA_OK)
        fail_msg("load: %s", err.message);
}

/* Behind the layer's back. */
static void remove_key(const char *key)
{
    struct redis_link *link = redis_do_open(&server);
    assert_int_equal(redis_do(link, "DEL", key).status, STRATA_OK);
    strata__redis_close(link);
}

static void from_one_prefix_to_another(void **state)
{
    (void)state;
    char key[16];
    strata *from = redis_cache_open(URL, server.port), *to = redis_cache_open(OTHER, server.port);
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "%d", i);
        redis_cache_set(from, key, key);
    }
    save(from);
    assert_int_equal(report.entries, MANY);
    load(to);
    assert_int_equal(report.entries, MANY);
    redis_cache_expect(to, "17", STRATA_OK, "17");
    load(to);
    assert_int_equal(report.kept, MANY);
    assert_int_equal(strata_clear(from, NULL), STRATA_OK);
    strata_close(from);
    strata_close(to);
}

/* With memory above it, each key is written once; what comes in goes to the server, and to memory when it is read. */
static void a_stack_over_a_server(void **state)
{
    (void)state;
    strata *one = redis_cache_open(WITH_MEMORY, server.port), *two = redis_cache_open(WITH_MEMORY, server.port);
    redis_cache_set(one, "stays", "old");
    redis_cache_set(one, "goes", "old");
    redis_cache_set(one, "deleted", "old");
    save(one);
    assert_int_equal(report.entries, 3);
    redis_cache_set(two, "stays", "new");
    assert_int_equal(strata_delete(two, strata_str("deleted"), NULL), STRATA_OK); /* of which the server keeps word */
    strata *three = redis_cache_open(WITH_MEMORY, server.port);
    remove_key("app:goes");
    load(three);
    assert_int_equal(report.entries, 1);
    redis_cache_expect(three, "stays", STRATA_OK, "new");
    redis_cache_expect(three, "goes", STRATA_OK, "old");
    redis_cache_expect(three, "deleted", STRATA_MISS, NULL);
    strata_close(one);
    strata_close(two);
    strata_close(three);
}

/* The ban came after the export, by another node: it is in the server's list. */
static void a_ban_of_another_node_holds(void **state)
{
    (void)state;
    strata_slice tag[] = { strata_str("red") };
    strata *one = redis_cache_open(URL, server.port);
    assert_int_equal(strata_set_tagged(one, strata_str("banned"), strata_str("v"), tag, 1, NULL, NULL), STRATA_OK);
    save(one);
    assert_int_equal(strata_ban_tag(one, "red", STRATA_BAN_HARD, NULL), STRATA_OK);
    remove_key("app:banned");
    strata *two = redis_cache_open(URL, server.port);
    load(two);
    redis_cache_expect(two, "banned", STRATA_MISS, NULL);
    strata_close(one);
    strata_close(two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_one_prefix_to_another),
        cmocka_unit_test(a_stack_over_a_server),
        cmocka_unit_test(a_ban_of_another_node_holds),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
