/* test_memory_pressure.c - a memory layer that takes less while memory is short: what leaves, what goes back to the system, and what
 * stays readable meanwhile. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/os/os_fault.h"
#include "src/os/os_map.h"
#include "src/os/os_memory.h"
#include "strata/strata.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/memory_fixture.h"

#define PSI "/proc/pressure/memory"
#define MIB ((uint64_t)1 << 20)

enum { LOOK_MS = 250 };

static struct fake_kernel kernel;
static uint64_t some_us, full_us;
static char last_words[512];
static uint32_t last_kind, told;

static void says(const char *path)
{
    char text[256];
    snprintf(text, sizeof text,
             "some avg10=0.00 avg60=0.00 avg300=0.00 total=%llu\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=%llu\n",
             (unsigned long long)some_us, (unsigned long long)full_us);
    fake_kernel_says(&kernel, path, text);
}

static int set_up(void **state)
{
    (void)state;
    some_us = full_us = 0;
    told = last_kind = 0;
    fake_kernel_make(&kernel);
    says(PSI);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    strata__os_fault_set(NULL);
    fake_kernel_remove(&kernel);
    return 0;
}

static int64_t now_ms;

static int64_t now_of(struct strata_layer_host *host)
{
    (void)host;
    return now_ms;
}

static void note(struct strata_layer_host *host, strata_layer *layer, uint32_t kind, int status, const char *message)
{
    (void)host, (void)layer, (void)status;
    last_kind = kind;
    told++;
    snprintf(last_words, sizeof last_words, "%s", message);
}

static strata_memory_options watched(uint64_t max_bytes)
{
    strata_memory_options o = STRATA_MEMORY_OPTIONS_INIT;
    o.max_bytes = max_bytes;
    o.pressure = STRATA_ON;
    return o;
}

static void open_watched(struct memory_fixture *f, const strata_memory_options *o)
{
    assert_int_equal(fixture_open(f, o, NULL), STRATA_OK);
    f->host.tell = note;
    f->layer->ops->maintain(f->layer, f->now_ms, 2000); /* the first look says nothing yet */
}

/* A second passes in which some stood still for so many thousandths. */
static void pass(struct memory_fixture *f, uint64_t some)
{
    for (int i = 0; i < 4; i++) {
        some_us += some * LOOK_MS;
        says(PSI);
        f->now_ms += LOOK_MS;
        f->layer->ops->maintain(f->layer, f->now_ms, 2000);
    }
}

static uint64_t fill(struct memory_fixture *f, size_t size)
{
    uint64_t n = 0;
    while (fixture_stats(f).evictions == 0)
        for (int i = 0; i < 1000; i++)
            assert_int_equal(fixture_put_number(f, n++, size), STRATA_OK);
    return n;
}

static uint64_t held(struct memory_fixture *f, uint64_t count)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < count; i++)
        n += (uint64_t)fixture_has_number(f, i);
    return n;
}

static void test_shrinks_and_grows(void **state)
{
    (void)state;
    struct memory_fixture f;
    strata_memory_options o = watched(16 * MIB);
    open_watched(&f, &o);
    uint64_t count = fill(&f, 100);
    strata_layer_stats full = fixture_stats(&f), s;
    assert_int_equal(full.budget_bytes, 16 * MIB);
    pass(&f, 0);
    assert_int_equal(fixture_stats(&f).given_back_bytes, 0);
    for (int i = 0; i < 30; i++)
        pass(&f, 500);
    s = fixture_stats(&f);
    assert_int_equal(s.budget_bytes, 4 * MIB); /* the default floor */
    assert_true(s.bytes <= 4 * MIB);
    assert_true(s.given_back_bytes >= 9 * MIB);
    assert_true(s.entries < full.entries / 2 && s.entries > full.entries / 6);
    assert_int_equal(held(&f, count), s.entries); /* what is there is what was put */
    assert_int_equal(s.max_bytes, 16 * MIB);
    assert_int_equal(last_kind, STRATA_EVENT_PRESSURE);
    assert_non_null(strstr(last_words, "shrinks to 4194304 bytes, 25.0 % of max_bytes"));
    assert_int_equal(told, s.pressure_shrinks);
    for (uint64_t n = 0; n < 20000; n++) /* puts keep to it */
        assert_int_equal(fixture_put_number(&f, count + n, 100), STRATA_OK);
    assert_true(fixture_stats(&f).bytes <= 4 * MIB);
    for (int i = 0; i < 80; i++)
        pass(&f, 0);
    s = fixture_stats(&f);
    assert_int_equal(s.budget_bytes, 16 * MIB);
    assert_int_equal(s.pressure_grows, 30);
    assert_non_null(strstr(last_words, "grows to 16777216 bytes, 100.0 %"));
    for (uint64_t n = 0; n < count; n++)
        assert_int_equal(fixture_put_number(&f, n, 100), STRATA_OK);
    s = fixture_stats(&f);
    assert_true(s.bytes > 14 * MIB && s.bytes <= 16 * MIB);
    fixture_close(&f);
}

/* Values that are held are readable, and keep their chunks; the rest goes. */
static void test_what_is_held_stays_readable(void **state)
{
    (void)state;
    enum { HELD = 8 };
    struct memory_fixture f;
    strata_memory_options o = watched(8 * MIB);
    open_watched(&f, &o);
    uint64_t count = fill(&f, 100);
    strata_value *pinned[HELD] = { NULL };
    size_t got = 0;
    for (uint64_t n = 0; n < count && got < HELD; n += count / 20) {
        char room[32];
        if (fixture_get(&f, fixture_key(room, n), &pinned[got]) == STRATA_OK)
            got++;
    }
    assert_true(got > 0);
    uint64_t first[HELD];
    for (size_t i = 0; i < got; i++)
        memcpy(&first[i], strata_value_data(pinned[i]), 8);
    for (int i = 0; i < 30; i++)
        pass(&f, 500);
    assert_true(fixture_stats(&f).given_back_bytes > 4 * MIB);
    for (size_t i = 0; i < got; i++) {
        assert_int_equal(strata_value_size(pinned[i]), 100);
        assert_memory_equal(strata_value_data(pinned[i]), &first[i], 8);
        strata_value_unref(pinned[i]);
    }
    for (int i = 0; i < 3; i++)
        pass(&f, 500);
    assert_true(fixture_stats(&f).bytes <= 2 * MIB);
    fixture_close(&f);
}

static void test_values_on_the_heap(void **state)
{
    (void)state;
    struct memory_fixture f;
    struct fail_alloc a;
    fail_alloc_init(&a, 0);
    strata_memory_options o = watched(16 * MIB);
    assert_int_equal(fixture_open(&f, &o, &a.mem), STRATA_OK);
    f.layer->ops->maintain(f.layer, f.now_ms, 2000);
    (void)fill(&f, 30000);
    strata_layer_stats before = fixture_stats(&f);
    for (int i = 0; i < 30; i++)
        pass(&f, 500);
    strata_layer_stats s = fixture_stats(&f);
    assert_int_equal(s.budget_bytes, 4 * MIB);
    assert_true(s.bytes <= 4 * MIB);
    assert_true(s.entries < before.entries / 2 && s.entries > before.entries / 6);
    fixture_close(&f);
    assert_int_equal(a.live, 0);
}

/* The limit follows the bytes down: whoever puts meanwhile need not make all that room alone. */
static void test_no_put_pays_for_all(void **state)
{
    (void)state;
    struct memory_fixture f;
    strata_memory_options o = watched(64 * MIB);
    o.shards = 1;
    open_watched(&f, &o);
    (void)fill(&f, 20000);
    some_us += 1000 * LOOK_MS;
    says(PSI);
    f.now_ms += LOOK_MS;
    f.layer->ops->maintain(f.layer, f.now_ms, 2000);
    for (uint64_t n = 0; n < 200; n++) {
        strata_layer_stats before = fixture_stats(&f);
        assert_int_equal(fixture_put_number(&f, n + (1u << 30), 20000), STRATA_OK);
        assert_true(fixture_stats(&f).evictions - before.evictions < 64);
    }
    fixture_close(&f);
}

static void test_every_policy(void **state)
{
    (void)state;
    for (int32_t policy = STRATA_EVICT_S3FIFO; policy <= STRATA_EVICT_COST; policy++) {
        struct memory_fixture f;
        strata_memory_options o = watched(4 * MIB);
        o.policy = policy;
        o.pressure_floor_percent = 50;
        open_watched(&f, &o);
        uint64_t count = fill(&f, 200);
        for (int i = 0; i < 20; i++)
            pass(&f, 500);
        strata_layer_stats s = fixture_stats(&f);
        assert_int_equal(s.budget_bytes, 2 * MIB);
        assert_true(s.bytes <= 2 * MIB);
        assert_int_equal(held(&f, count), s.entries);
        fixture_close(&f);
    }
}

static void test_the_group_and_its_bound(void **state)
{
    (void)state;
    struct memory_fixture f;
    strata_memory_options o = watched(4 * MIB);
    fake_kernel_says(&kernel, "/proc/self/cgroup", "0::/a/b\n");
    fake_kernel_says(&kernel, "/proc/self/mountinfo", "30 1 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    says("/sys/fs/cgroup/a/b/memory.pressure");
    fake_kernel_says(&kernel, "/sys/fs/cgroup/a/b/memory.high", "max\n");
    fake_kernel_says(&kernel, "/sys/fs/cgroup/a/b/memory.current", "100\n");
    fake_kernel_says(&kernel, "/sys/fs/cgroup/a/memory.high", "1000\n");
    fake_kernel_says(&kernel, "/sys/fs/cgroup/a/memory.current", "100\n");
    open_watched(&f, &o);
    fake_kernel_forgets(&kernel, PSI); /* it is the group's that counts */
    f.now_ms += LOOK_MS;
    f.layer->ops->maintain(f.layer, f.now_ms, 2000);
    assert_int_equal(fixture_stats(&f).pressure_shrinks, 0);
    fake_kernel_says(&kernel, "/sys/fs/cgroup/a/memory.current", "1000\n");
    f.now_ms += LOOK_MS;
    f.layer->ops->maintain(f.layer, f.now_ms, 2000);
    assert_int_equal(fixture_stats(&f).pressure_shrinks, 1);
    assert_non_null(strstr(last_words, "memory.high is reached"));
    assert_int_equal(fixture_stats(&f).errors, 0);
    fixture_close(&f);
}

static int deny(const char *call, void *ctx) { return strcmp(call, ctx) == 0 ? EIO : 0; }

static void test_a_kernel_that_stops_saying(void **state)
{
    (void)state;
    static const struct os_fault_hook no_reads = { deny, (void *)(uintptr_t) "pread", NULL };
    struct memory_fixture f;
    strata_memory_options o = watched(4 * MIB);
    open_watched(&f, &o);
    pass(&f, 500);
    uint64_t budget = fixture_stats(&f).budget_bytes;
    assert_true(budget < 4 * MIB);
    told = 0;
    strata__os_fault_set(&no_reads);
    pass(&f, 1000);
    strata__os_fault_set(NULL);
    assert_int_equal(told, 1); /* once */
    assert_int_equal(last_kind, STRATA_EVENT_ERROR);
    assert_non_null(strstr(last_words, "can't be read"));
    assert_int_equal(fixture_stats(&f).errors, 4);
    assert_int_equal(fixture_stats(&f).budget_bytes, budget);
    fake_kernel_says(&kernel, PSI, "what\n");
    f.now_ms += LOOK_MS;
    f.layer->ops->maintain(f.layer, f.now_ms, 2000);
    assert_int_equal(fixture_stats(&f).errors, 5);
    pass(&f, 0);
    fixture_close(&f);
}

static void test_its_health(void **state)
{
    (void)state;
    struct memory_fixture f;
    strata_part_health h = STRATA_PART_HEALTH_INIT;
    strata_memory_options o = watched(4 * MIB);
    open_watched(&f, &o);
    f.host.now_ms = now_of;
    f.layer->ops->health(f.layer, &h);
    assert_int_equal(h.state, STRATA_HEALTH_WELL);
    int64_t from = f.now_ms;
    pass(&f, 500);
    pass(&f, 500);
    now_ms = f.now_ms;
    h.max_bytes = 4 * MIB;
    h.budget_bytes = fixture_stats(&f).budget_bytes;
    f.layer->ops->health(f.layer, &h);
    assert_int_equal(h.state, STRATA_HEALTH_LESS);
    assert_int_equal(h.since_ms, now_ms - from - LOOK_MS);
    assert_non_null(strstr(h.words, "it takes 3212836 of 4194304 bytes"));
    for (int i = 0; i < 60; i++)
        pass(&f, 0);
    h = (strata_part_health)STRATA_PART_HEALTH_INIT;
    f.layer->ops->health(f.layer, &h);
    assert_int_equal(h.state, STRATA_HEALTH_WELL);
    fixture_close(&f);
}

static void test_a_kernel_that_does_not_count(void **state)
{
    (void)state;
    strata *cache;
    strata_error err = STRATA_ERROR_INIT;
    fake_kernel_forgets(&kernel, PSI);
    assert_int_equal(strata_open_url(&cache, "memory:?pressure=on", NULL, &err), STRATA_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "pressure=on, but /proc/pressure/memory does not say"));
    assert_int_equal(strata_open_url(&cache, "memory:?pressure=on&pressure_file=/none", NULL, &err),
                     STRATA_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "/none"));
    assert_int_equal(strata_open_url(&cache, "memory:?pressure_floor_percent=5%", NULL, &err), STRATA_EINVAL);
    says("/elsewhere");
    assert_int_equal(strata_open_url(&cache, "memory:?pressure=on&pressure_file=/elsewhere", NULL, &err), STRATA_OK);
    strata_close(cache);
    assert_int_equal(strata_open_url(&cache, "memory:", NULL, &err), STRATA_OK);
    strata_close(cache);
}

static void test_without_memory(void **state)
{
    (void)state;
    strata_memory_options o = watched(1 * MIB);
    int rc = STRATA_ENOMEM;
    for (long n = 1; rc != STRATA_OK; n++) {
        struct fail_alloc a;
        fail_alloc_init(&a, n);
        struct memory_fixture f;
        rc = fixture_open(&f, &o, &a.mem);
        if (rc == STRATA_OK)
            fixture_close(&f);
        else
            assert_int_equal(rc, STRATA_ENOMEM);
        assert_int_equal(a.live, 0);
        assert_true(n < 100);
    }
}

/* And while it shrinks: only its tables need any, and can be left as they are. */
static void test_without_memory_while_it_shrinks(void **state)
{
    (void)state;
    strata_memory_options o = watched(1 * MIB);
    int failed = 1;
    for (long n = 1; failed; n++) {
        struct fail_alloc a;
        struct memory_fixture f;
        fail_alloc_init(&a, 0);
        assert_int_equal(fixture_open(&f, &o, &a.mem), STRATA_OK);
        uint64_t count = fill(&f, 100);
        a.fail_at = a.requests + n;
        f.layer->ops->maintain(f.layer, f.now_ms, 2000);
        for (int i = 0; i < 20; i++)
            pass(&f, 500);
        failed = a.failed;
        strata_layer_stats s = fixture_stats(&f);
        assert_int_equal(s.budget_bytes, MIB / 4);
        assert_true(s.bytes <= MIB / 4);
        assert_int_equal(held(&f, count), s.entries);
        fixture_close(&f);
        assert_int_equal(a.live, 0);
        assert_true(n < 100);
    }
}

/* The real one, where the machine has it: it is read, and the cache works. */
static void test_the_machine_s_own(void **state)
{
    (void)state;
    strata__os_text_root_set(NULL);
    strata *cache;
    strata_error err = STRATA_ERROR_INIT;
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    int rc = strata_open_url(&cache, "memory:?max_bytes=1mb&pressure=on", NULL, &err);
    if (rc == STRATA_EUNSUPPORTED)
        skip();
    assert_int_equal(rc, STRATA_OK);
    assert_int_equal(strata_set(cache, strata_str("a"), strata_str("b"), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_stats_layer(cache, 0, &s), STRATA_OK);
    assert_int_equal(s.errors, 0);
    assert_true(s.budget_bytes <= MIB);
    strata_close(cache);
}

static _Atomic(int) over;

static void *use(void *ctx)
{
    struct memory_fixture *f = ctx;
    for (uint64_t n = 0; !atomic_load(&over); n++) {
        (void)fixture_put_number(f, n % 30000, n % 7 == 0 ? 2000 : 100);
        (void)fixture_has_number(f, n * 7919 % 30000);
    }
    return NULL;
}

static void test_while_it_is_used(void **state)
{
    (void)state;
    struct memory_fixture f;
    pthread_t threads[2];
    strata_memory_options o = watched(8 * MIB);
    open_watched(&f, &o);
    (void)fill(&f, 100);
    atomic_store(&over, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use, &f), 0);
    int64_t now = f.now_ms;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 12; i++) {
            some_us += 500 * 1000;
            says(PSI);
            f.layer->ops->maintain(f.layer, now += 1000, 2000);
        }
        for (int i = 0; i < 60; i++)
            f.layer->ops->maintain(f.layer, now += 1000, 2000);
    }
    atomic_store(&over, 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    strata_layer_stats s = fixture_stats(&f);
    assert_true(s.pressure_shrinks >= 20 && s.given_back_bytes > 0);
    assert_true(s.bytes <= 8 * MIB);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shrinks_and_grows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_held_stays_readable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_values_on_the_heap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_put_pays_for_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_policy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_group_and_its_bound, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_kernel_that_stops_saying, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_its_health, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_kernel_that_does_not_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_memory_while_it_shrinks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_machine_s_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_while_it_is_used, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
