/* memory_tables.h - memory for the tables of all shards (index, ghost): large ones side by side in huge pages. */
#ifndef STRATA_LAYER_MEMORY_TABLES_H
#define STRATA_LAYER_MEMORY_TABLES_H
#include <stddef.h>
#include <stdint.h>

#include "src/os/os_lock.h"

/* A table's memory, on a pair of cache lines. */
struct table_room {
    void *at;
    void *block;  /* what the allocator gave; NULL: from elsewhere */
    size_t bytes; /* what it takes from the budget */
    int shared;   /* it stands in the range of the layer's tables; else, where `block` is NULL, in one of its own */
};

/* The next table of a class comes to `at`, up to `end` there is memory. */
struct table_run {
    size_t at, end;
};

enum { TABLE_CLASSES = 96 }; /* four a power of two: a table that grows by half comes into another one */

struct tables {
    char *range; /* NULL: there is none */
    size_t range_bytes;
    uint32_t *out; /* of each huge page of the range: bytes that tables have */
    struct table_run runs[TABLE_CLASSES];
    struct os_lock lock;
};

struct memory;
/* Where the layer is large enough for huge pages and there are addresses to be had; else each table stands for itself. */
void strata__tables_init(struct memory *m);
/* All that was taken has been given back, or never will be. */
void strata__tables_deinit(struct memory *m);

/* So much a table of so many bytes takes from the budget. */
size_t strata__table_counts(size_t bytes);
/* Zeros.  0, -1 out of memory.  By any thread. */
int strata__table_take(struct memory *m, size_t bytes, struct table_room *out);
void strata__table_give(struct memory *m, const struct table_room *room);

#endif /* STRATA_LAYER_MEMORY_TABLES_H */
