/* test_memory_limit.c - a budget as a share: of a control group's limit, or of the machine's memory. */
#include <errno.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/memory/memory_limit.h"
#include "src/os/os_fault.h"
#include "src/os/os_memory.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/memory_fixture.h"
#include "strata/strata.h"

#define MOUNT_2 "30 1 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
#define MOUNT_1 "30 1 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
#define MIB_100 "104857600\n"
#define MIB_200 "209715200\n"

static struct fake_kernel kernel;

static int set_up(void **state)
{
    (void)state;
    fake_kernel_make(&kernel);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    strata__os_fault_set(NULL);
    fake_kernel_remove(&kernel);
    return 0;
}

/* The limit, in MiB. */
static uint64_t limit(int *is_group)
{
    uint64_t bytes = 0;
    assert_int_equal(strata__memory_limit(&strata__malloc, &bytes, is_group), STRATA_OK);
    return bytes >> 20;
}

static uint64_t machine(void)
{
    uint64_t bytes = 0;
    assert_int_equal(strata__os_memory_total(&bytes), 0);
    return bytes >> 20;
}

static void test_the_least_of_version_2_counts(void **state)
{
    (void)state;
    int is_group = 0;
    fake_kernel_says(&kernel, "/proc/self/cgroup", "0::/shop/web\n");
    fake_kernel_says(&kernel, "/proc/self/mountinfo", MOUNT_2);
    fake_kernel_says(&kernel, "/sys/fs/cgroup/shop/web/memory.max", MIB_200);
    assert_int_equal(limit(&is_group), 200);
    assert_int_equal(is_group, 1);
    fake_kernel_says(&kernel, "/sys/fs/cgroup/shop/memory.max", MIB_100);
    assert_int_equal(limit(&is_group), 100);
    fake_kernel_says(&kernel, "/sys/fs/cgroup/shop/memory.max", "max\n");
    assert_int_equal(limit(&is_group), 200);
    fake_kernel_says(&kernel, "/sys/fs/cgroup/shop/web/memory.max", "max\n");
    assert_int_equal(limit(&is_group), machine());
    assert_int_equal(is_group, 0);
}

static void test_version_1(void **state)
{
    (void)state;
    int is_group = 0;
    fake_kernel_says(&kernel, "/proc/self/cgroup", "4:memory:/a\n0::/b\n");
    fake_kernel_says(&kernel, "/proc/self/mountinfo", MOUNT_1);
    fake_kernel_says(&kernel, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes", MIB_100);
    fake_kernel_says(&kernel, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(limit(&is_group), 100);
    assert_int_equal(is_group, 1);
}

/* A container sees its own group where the hierarchy is mounted. */
static void test_in_a_container(void **state)
{
    (void)state;
    int is_group = 0;
    fake_kernel_says(&kernel, "/proc/self/mountinfo",
                     "30 1 0:28 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    fake_kernel_says(&kernel, "/sys/fs/cgroup/memory/memory.limit_in_bytes", MIB_200);
    fake_kernel_says(&kernel, "/sys/fs/cgroup/memory/in/memory.limit_in_bytes", MIB_100);
    fake_kernel_says(&kernel, "/proc/self/cgroup", "4:memory:/docker/ab\n");
    assert_int_equal(limit(&is_group), 200);
    fake_kernel_says(&kernel, "/proc/self/cgroup", "4:memory:/docker/ab/in\n");
    assert_int_equal(limit(&is_group), 100);
    /* Names that begin alike, and what lies outside of what it sees. */
    fake_kernel_says(&kernel, "/proc/self/cgroup", "4:memory:/docker/abc\n");
    assert_int_equal(limit(&is_group), 200);
    fake_kernel_says(&kernel, "/proc/self/cgroup", "4:memory:/../x\n");
    assert_int_equal(limit(&is_group), 200);
}

static void test_no_group_is_the_machine(void **state)
{
    (void)state;
    int is_group = 1;
    assert_int_equal(limit(&is_group), machine());
    assert_int_equal(is_group, 0);
    fake_kernel_says(&kernel, "/proc/self/cgroup", "0::/a\n");
    assert_int_equal(limit(&is_group), machine());
    fake_kernel_says(&kernel, "/proc/self/mountinfo", "nonsense\n");
    assert_int_equal(limit(&is_group), machine());
    fake_kernel_says(&kernel, "/proc/self/mountinfo", MOUNT_2);
    fake_kernel_says(&kernel, "/sys/fs/cgroup/a/memory.max", "nonsense\n");
    assert_int_equal(limit(&is_group), machine());
}

/* Hosts with many mounts have tables of megabytes. */
static void test_a_long_table_of_mounts(void **state)
{
    (void)state;
    int is_group = 0;
    const size_t room = 300000;
    char *text = test_malloc(room);
    size_t used = 0;
    while (used < room - 200)
        used += (size_t)snprintf(text + used, room - used, "22 1 8:1 / /mnt/%zu rw - ext4 /dev/sda1 rw\n", used);
    snprintf(text + used, room - used, "%s", MOUNT_2);
    fake_kernel_says(&kernel, "/proc/self/cgroup", "0::/\n");
    fake_kernel_says(&kernel, "/proc/self/mountinfo", text);
    fake_kernel_says(&kernel, "/sys/fs/cgroup/memory.max", MIB_100);
    test_free(text);
    assert_int_equal(limit(&is_group), 100);
}

static int deny(const char *call, void *ctx) { return strcmp(call, ctx) == 0 ? EACCES : 0; }

static void test_a_system_that_says_nothing(void **state)
{
    (void)state;
    static const struct os_fault_hook no_sysconf = { deny, (void *)(uintptr_t) "sysconf", NULL };
    uint64_t bytes = 0;
    int is_group = 0;
    strata__os_fault_set(&no_sysconf);
    assert_int_equal(strata__memory_limit(&strata__malloc, &bytes, &is_group), STRATA_EUNSUPPORTED);
    strata_memory_options o = STRATA_MEMORY_OPTIONS_INIT;
    strata_error err = STRATA_ERROR_INIT;
    o.max_percent = 50;
    strata_layer *layer = strata_memory_layer(&o);
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = &layer;
    options.layer_count = 1;
    strata *cache;
    assert_int_equal(strata_open(&cache, &options, &err), STRATA_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "give max_bytes in bytes"));
    strata__os_fault_set(NULL);
}

static strata_layer_stats open_with(const char *url)
{
    strata *cache;
    strata_error err = STRATA_ERROR_INIT;
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    if (strata_open_url(&cache, url, NULL, &err) != STRATA_OK)
        fail_msg("%s: %s", url, err.message);
    assert_int_equal(strata_stats_layer(cache, 0, &s), STRATA_OK);
    strata_close(cache);
    return s;
}

static void test_what_urls_say(void **state)
{
    (void)state;
    fake_kernel_says(&kernel, "/proc/self/cgroup", "0::/\n");
    fake_kernel_says(&kernel, "/proc/self/mountinfo", MOUNT_2);
    fake_kernel_says(&kernel, "/sys/fs/cgroup/memory.max", MIB_200);
    strata_layer_stats s = open_with("memory:?max_bytes=25%");
    assert_int_equal(s.max_bytes, 50 << 20);
    assert_int_equal(s.share_of_bytes, 200 << 20);
    s = open_with("memory:?max_percent=50%25");
    assert_int_equal(s.max_bytes, 100 << 20);
    s = open_with("memory:?max_percent=50%25&max_bytes=64mb"); /* the less of both */
    assert_int_equal(s.max_bytes, 64 << 20);
    s = open_with("memory:?max_bytes=128mb&max_percent=50%");
    assert_int_equal(s.max_bytes, 100 << 20);
    s = open_with("memory:?max_bytes=64mb");
    assert_int_equal(s.share_of_bytes, 0);
    fake_kernel_says(&kernel, "/sys/fs/cgroup/memory.max", "1048576\n");
    s = open_with("memory:?max_bytes=1%25"); /* not below what is a layer at all */
    assert_int_equal(s.max_bytes, 64 << 10);
    strata *cache;
    assert_int_equal(strata_open_url(&cache, "memory:?max_bytes=96%25", NULL, NULL), STRATA_EINVAL);
    assert_int_equal(strata_open_url(&cache, "memory:?max_bytes=25.5%25", NULL, NULL), STRATA_EINVAL);
    assert_int_equal(strata_open_url(&cache, "memory:?max_bytes=off", NULL, NULL), STRATA_EINVAL);
}

/* A share is never silently the whole machine's because there was no memory to look. */
static void test_without_memory(void **state)
{
    (void)state;
    fake_kernel_says(&kernel, "/proc/self/cgroup", "0::/\n");
    fake_kernel_says(&kernel, "/proc/self/mountinfo", MOUNT_2);
    fake_kernel_says(&kernel, "/sys/fs/cgroup/memory.max", MIB_100);
    strata_memory_options o = STRATA_MEMORY_OPTIONS_INIT;
    o.max_percent = 10;
    int rc = STRATA_ENOMEM;
    for (long n = 1; rc != STRATA_OK; n++) {
        struct fail_alloc a;
        fail_alloc_init(&a, n);
        struct memory_fixture f;
        rc = fixture_open(&f, &o, &a.mem);
        if (rc == STRATA_OK) {
            assert_int_equal(fixture_stats(&f).max_bytes, 10485760);
            fixture_close(&f);
        } else {
            assert_int_equal(rc, STRATA_ENOMEM);
        }
        assert_int_equal(a.live, 0);
        assert_true(n < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_least_of_version_2_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_version_1, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_in_a_container, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_group_is_the_machine, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_long_table_of_mounts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_system_that_says_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_urls_say, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
