/* kill_store.h - the cache that is killed: a disk layer without a cache around it, or the public API with it alone or below
 * memory, from which it takes what is loaded and set or what is evicted; with numbered keys of four classes, and every write and read held against a history. */
#ifndef STRATA_TESTS_KILL_STORE_H
#define STRATA_TESTS_KILL_STORE_H
#include <pthread.h>

#include "strata/strata.h"
#include "tests/fault/kill_history.h"
#include "tests/support/test_host.h"

/* The layer; a cache of it; a cache of memory and it; the same, where it gets what memory evicts. */
enum { STORE_LAYER, STORE_DISK, STORE_BOTH, STORE_DEMOTED, STORE_KINDS };

struct kill_store {
    int kind;
    strata_disk_options options;
    struct history *history;
    int gets_may_fail; /* the files are not what they were; they are counted */
    _Atomic(int) failed_gets;
    /* STORE_LAYER */
    struct test_host host;
    strata_layer *layer;
    uint64_t life;
    _Atomic(uint32_t) position;
    pthread_mutex_t writer[HISTORY_KEYS]; /* as a cache, which lets one write of a key at a time to its layers */
    /* the others */
    strata *cache, *space[HISTORY_CLASSES];
};

/* STRATA_OK, or what the open answered.  `life` is another one for each open. */
int kill_store_open(struct kill_store *s, uint64_t life, strata_error *err);
void kill_store_close(struct kill_store *s);

/* What must not be fails the history. */
void kill_store_put(struct kill_store *s, uint32_t key, uint32_t size);
void kill_store_remove(struct kill_store *s, uint32_t key);
/* HISTORY_CLASSES: all. */
void kill_store_clear(struct kill_store *s, uint32_t class);
void kill_store_get(struct kill_store *s, uint32_t key);
/* NULL where it is not there. */
strata_value *kill_store_look(struct kill_store *s, uint32_t key);
void kill_store_maintain(struct kill_store *s);
/* Of the disk layer. */
strata_layer_stats kill_store_stats(struct kill_store *s);

#endif /* STRATA_TESTS_KILL_STORE_H */
