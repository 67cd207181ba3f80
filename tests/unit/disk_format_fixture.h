/* disk_format_fixture.h - a directory's identity, and damage of every kind, for the tests of the disk layer's files. */
#ifndef STRATA_TESTS_DISK_FORMAT_FIXTURE_H
#define STRATA_TESTS_DISK_FORMAT_FIXTURE_H
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "src/format/disk_dir.h"
#include "tests/support/doc_vector.h"

static const struct disk_dir home = { .id = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
                                      .seed = 0x0807060504030201,
                                      .created_wall_ms = 1767225600000 };

/* Calls `read` with a copy of exactly `size` bytes, so that a sanitizer sees a read past its end. */
static inline int with_copy(const void *bytes, size_t size, int (*read)(const uint8_t *copy, size_t size))
{
    uint8_t *copy = malloc(size != 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    int verdict = read(copy, size);
    free(copy);
    return verdict;
}

/* Whatever bit flips and wherever it is cut: `read` sees it. */
static inline void sees_all_damage(uint8_t *bytes, size_t size, int (*read)(const uint8_t *copy, size_t size))
{
    assert_int_equal(with_copy(bytes, size, read), FORMAT_OK);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_not_equal(with_copy(bytes, cut, read), FORMAT_OK);
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (with_copy(bytes, size, read) == FORMAT_OK)
            fail_msg("bit %zu of byte %zu may flip unseen", bit % 8, bit / 8);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

#endif /* STRATA_TESTS_DISK_FORMAT_FIXTURE_H */
