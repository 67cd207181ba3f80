/* disk_fixture.h - a disk layer in a directory of its own, without a cache: numbered keys, values that say whose they are.
 *
 * The value of key n in its version v is filled from (n, v), so that a get can tell which version it got. */
#ifndef STRATA_TESTS_DISK_FIXTURE_H
#define STRATA_TESTS_DISK_FIXTURE_H
#include <stddef.h>
#include <stdint.h>

#include "strata/disk.h"
#include "tests/support/test_host.h"

struct disk_fixture {
    struct test_host host;
    strata_disk_options options; /* path is set by disk_make() */
    strata_layer *layer;         /* NULL: closed */
    strata_error err;            /* of the last call */
    uint64_t life;               /* of what is put */
    uint32_t position;
    int64_t expires_ms; /* of what is put; default never */
    char path[256];
};

/* A new directory; nothing is open. */
void disk_make(struct disk_fixture *f);
/* The same, for 1 MiB in segments of 64 KiB. */
void disk_make_small(struct disk_fixture *f);
/* Close what is open, and remove it. */
void disk_unmake(struct disk_fixture *f);
/* STRATA_OK, or what the open answered. */
int disk_open(struct disk_fixture *f);
void disk_close(struct disk_fixture *f);
/* The state that a kill -9 now would leave, in `copy`, with the same options. */
void disk_crash_copy(struct disk_fixture *f, struct disk_fixture *copy);

/* The state that a kill -9 now would leave takes its place, opened. */
void disk_kill_and_open(struct disk_fixture *f);

struct disk;
/* What the layer is inside (src/layer/disk/disk_impl.h). */
struct disk *disk_inside(struct disk_fixture *f);
/* Puts of keys from 100 on that "b:" does not begin, until this segment is the newest.  The last key. */
uint64_t disk_fill_up_to(struct disk_fixture *f, uint64_t segment);

int disk_put(struct disk_fixture *f, uint64_t key, uint32_t version, size_t size);
int disk_remove(struct disk_fixture *f, uint64_t key);
/* STRATA_OK and *out_version; aborts where the value is no version of this key, or torn. */
int disk_get(struct disk_fixture *f, uint64_t key, uint32_t *out_version);
/* Without a look at the value: the status. */
int disk_status(struct disk_fixture *f, uint64_t key);
/* prefix NULL: all. */
int disk_clear_keys(struct disk_fixture *f, const char *prefix);
strata_layer_stats disk_stats_of(struct disk_fixture *f);
/* maintain() often. */
void disk_settle(struct disk_fixture *f);

#endif /* STRATA_TESTS_DISK_FIXTURE_H */
