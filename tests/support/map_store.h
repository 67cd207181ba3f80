/* map_store.h - a store in a map with plain blocking calls: what a user would put behind strata_blocking_layer(). */
#ifndef STRATA_TESTS_MAP_STORE_H
#define STRATA_TESTS_MAP_STORE_H
#include <pthread.h>

#include "strata/sys/layer.h"

struct map_record;
enum { MAP_BUCKETS = 1024 };

struct map_store {
    pthread_mutex_t mutex;
    struct map_record *buckets[MAP_BUCKETS];
    size_t count;
    int fail_status; /* every call answers this, where it is not 0 */
    int calls;
    int64_t last_ttl_ms; /* of the last put */
    int *closed;         /* set to 1 by close; may be NULL */
};

struct map_store *map_store_new(void);
/* The functions of a map_store as a blocking store; its close() frees the map. */
extern const strata_blocking_ops map_store_ops;
/* A blocking layer over a new map. */
strata_layer *map_store_layer(void);

#endif /* STRATA_TESTS_MAP_STORE_H */
