/* snapshot_import_impl.h - an import, shared by the files that make one. */
#ifndef STRATA_CORE_SNAPSHOT_IMPORT_IMPL_H
#define STRATA_CORE_SNAPSHOT_IMPORT_IMPL_H
#include "src/core/snapshot_impl.h"

enum { IMPORT_BATCH = 64, IMPORT_QUICK = 32 };

struct import_half;

/* An entry on its way. */
struct entering {
    struct imported *import;
    struct waiter waiter;
    strata_error words;
    uint64_t bytes; /* of key and value */
};

struct import {
    struct snapshot_call call;
    strata_snapshot_read read;
    void *ctx;
    int rc;   /* what ends it */
    int stop; /* no more are wanted */
    int cut;  /* the stream has ended too early */
    int worst;
    uint64_t sum, raw_bytes, entries, blocks;
    uint8_t *stored, *raw;
    size_t stored_room, raw_room;
    struct compressor compressor;
    struct entering *entering; /* IMPORT_BATCH of them */
    size_t count;
    struct driver driver;
    const uint8_t *block_end; /* of the block's entries */
    struct import_half *half; /* who takes a part of each block; NULL: nobody */
    int is_half;              /* this is that part: what needs a flight is left */
    size_t quick_count;
    struct quick_import quick[IMPORT_QUICK];
};

int strata__import_no_memory(struct import *m);
int strata__import_damaged(struct import *m, const char *what);

/* Entries (snapshot_entries.c) ---------------------------------------------------------------------------------------- */

/* All of a block's. */
int strata__import_entries(struct import *m, const struct stream_block *block, const uint8_t *raw);
/* So many from *at on, which is moved behind what was taken; fewer where m->rc or m->stop ends it.  A half ends before what it cannot
 * take. */
uint32_t strata__import_run(struct import *m, const uint8_t **at, uint32_t count);

/* Halves (snapshot_half.c) -------------------------------------------------------------------------------------------- */

/* Another thread is to help, where that is of use.  Without one, this one does it all. */
void strata__half_new(struct import *m);
void strata__half_free(struct import *m);
/* Offer the second half of so many entries; how many are left for the caller, and where the others begin. */
uint32_t strata__half_offer(struct import *m, const uint8_t *at, uint32_t count);
/* The caller has done its own: it takes back what nobody has begun, or waits, and does what was left.  *at is the end of it. */
void strata__half_finish(struct import *m, const uint8_t **at);
/* An entry of a half needs a flight: it is left for the caller.  0: there is no room for it. */
int strata__half_leave(struct import *m, const uint8_t *at);

#endif /* STRATA_CORE_SNAPSHOT_IMPORT_IMPL_H */
