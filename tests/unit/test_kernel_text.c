/* test_kernel_text.c - what the kernel's files say, as it writes them, and as it never would. */
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/format/kernel_text.h"

static int number(const char *text, uint64_t *out) { return strata__kernel_number(text, strlen(text), out); }

static void test_numbers(void **state)
{
    (void)state;
    uint64_t n = 7;
    assert_int_equal(number("4096\n", &n), 0);
    assert_int_equal(n, 4096);
    assert_int_equal(number("max\n", &n), 0);
    assert_true(n == UINT64_MAX);
    assert_int_equal(number("9223372036854771712\n", &n), 0);
    assert_true(n == UINT64_C(9223372036854771712));
    assert_int_equal(number("18446744073709551615", &n), 0);
    assert_int_equal(number("18446744073709551616", &n), -1);
    assert_int_equal(number("", &n), -1);
    assert_int_equal(number("\n", &n), -1);
    assert_int_equal(number("-1\n", &n), -1);
    assert_int_equal(number("12 kB\n", &n), -1);
}

static int psi(const char *text, uint64_t *some, uint64_t *full)
{
    return strata__kernel_psi(text, strlen(text), some, full);
}

static void test_pressure(void **state)
{
    (void)state;
    uint64_t some = 1, full = 1;
    assert_int_equal(psi("some avg10=0.12 avg60=1.00 avg300=0.00 total=58761\n"
                         "full avg10=0.00 avg60=0.00 avg300=0.00 total=1234\n",
                         &some, &full),
                     0);
    assert_int_equal(some, 58761);
    assert_int_equal(full, 1234);
    assert_int_equal(psi("some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n", &some, &full), 0);
    assert_int_equal(some, 5);
    assert_int_equal(full, 0);
    assert_int_equal(psi("full avg10=0.00 total=5\n", &some, &full), -1);
    assert_int_equal(psi("some avg10=0.00\n", &some, &full), -1);
    assert_int_equal(psi("some total=5\nfull total=x\n", &some, &full), -1);
    assert_int_equal(psi("some total=\n", &some, &full), -1);
    assert_int_equal(psi("", &some, &full), -1);
    assert_int_equal(some, 5); /* set by success alone */
}

static int group(const char *text, char *out, size_t room)
{
    return strata__kernel_cgroup(text, strlen(text), out, room);
}

static void test_the_group(void **state)
{
    (void)state;
    char path[16] = "";
    assert_int_equal(group("0::/a/b\n", path, sizeof path), 2);
    assert_string_equal(path, "/a/b");
    assert_int_equal(group("0::/\n", path, sizeof path), 2);
    assert_string_equal(path, "/");
    /* Both at once: a controller is in one hierarchy. */
    assert_int_equal(group("5:devices:/\n4:cpu,memory:/old\n0::/new\n", path, sizeof path), 1);
    assert_string_equal(path, "/old");
    assert_int_equal(group("0::/new\n4:memory:/old\n", path, sizeof path), 1);
    assert_int_equal(group("0::/new\n4:memoryx:/old\n", path, sizeof path), 2);
    assert_int_equal(group("0::/a:b\n", path, sizeof path), 2);
    assert_string_equal(path, "/a:b");
    assert_int_equal(group("1:name=systemd:/x\n", path, sizeof path), 0);
    assert_int_equal(group("0::/a/path/that/is/too/long\n", path, sizeof path), 0);
    assert_int_equal(group("0::\n", path, sizeof path), 0);
    assert_int_equal(group("0::x\n", path, sizeof path), 0);
    assert_int_equal(group("", path, sizeof path), 0);
}

static void test_the_mount(void **state)
{
    (void)state;
    static const char text[] =
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "31 23 0:28 / /sys/fs/cgroup\\040x rw,nosuid shared:9 master:3 - cgroup2 cgroup2 rw,nsdelegate\n"
        "35 31 0:32 /docker/ab /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
        "36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices\n";
    char root[64], at[64];
    assert_int_equal(strata__kernel_cgroup_mount(text, strlen(text), 2, root, at, sizeof at), 0);
    assert_string_equal(root, "/");
    assert_string_equal(at, "/sys/fs/cgroup x");
    assert_int_equal(strata__kernel_cgroup_mount(text, strlen(text), 1, root, at, sizeof at), 0);
    assert_string_equal(root, "/docker/ab");
    assert_string_equal(at, "/sys/fs/cgroup/memory");
    assert_int_equal(strata__kernel_cgroup_mount(text, strlen(text), 1, root, at, 16), -1);
    assert_int_equal(strata__kernel_cgroup_mount("31 23 0:28 / /x rw - ext4", 25, 2, root, at, sizeof at), -1);
    /* Cut anywhere, it is read to its end and no further. */
    for (size_t n = 0; n < sizeof text; n++) {
        char *copy = test_malloc(n + 1);
        memcpy(copy, text, n);
        (void)strata__kernel_cgroup_mount(copy, n, 1, root, at, sizeof at);
        (void)strata__kernel_cgroup(copy, n, root, sizeof root);
        test_free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_pressure),
        cmocka_unit_test(test_the_group),
        cmocka_unit_test(test_the_mount),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
