/* snapshot_impl.h - what export and import of a snapshot share, and what an import hands to its flights. */
#ifndef STRATA_CORE_SNAPSHOT_IMPL_H
#define STRATA_CORE_SNAPSHOT_IMPL_H
#include "src/core/flight.h"
#include "src/format/compress.h"
#include "src/format/snapshot_stream.h"
#include "strata/snapshot.h"

/* What became of an entry. */
enum imported_as {
    IMPORTED_KEPT, /* never asked for: something is there, or being loaded */
    IMPORTED_BANNED,
    IMPORTED_EXPIRED,
    IMPORTED_FAILED, /* a layer could not be asked, so it may hold a younger one */
    IMPORTED_JUDGED, /* it goes into the layers; no word of any yet */
    IMPORTED_STORED,
    IMPORTED_NOT_YET /* nothing was done: it takes a flight */
};

struct imported {
    _Atomic(uint32_t) refs;
    _Atomic(int) became; /* enum imported_as */
    const strata_allocator *mem;
    strata_value *value; /* NULL where meta.negative */
    strata_value *tags;
    strata_meta meta; /* as the snapshot has it: of another life, or of this one */
};

/* What both begin with: options checked and filled in, the cache entered (root_leave() when it is over).  The report is zero
 * then.  STRATA_OK, or an error in words. */
struct snapshot_call {
    strata *cache;
    struct root *root;
    strata_snapshot_options options;
    strata_snapshot_report report;
    strata_error *err;
    int64_t begun_wall_ms;
};
int strata__snapshot_begin(struct snapshot_call *call, strata *cache, const strata_snapshot_options *options,
                           const strata_snapshot_report *report, strata_error *err);
/* Hand the report out, leave; `rc`. */
int strata__snapshot_end(struct snapshot_call *call, strata_snapshot_report *report, int rc);
/* STRATA_OK, STRATA_ECANCELED, STRATA_ECLOSED. */
int strata__snapshot_progress(struct snapshot_call *call);
/* Is there room for one more of `bytes`?  0: it is limited. */
int strata__snapshot_room(struct snapshot_call *call, uint64_t bytes);
/* The namespace of a storage key, opened if the options say so.  STRATA_OK; STRATA_MISS: it is not open, or no such key; an error. */
int strata__snapshot_space(struct snapshot_call *call, strata_slice key, strata **out, strata_slice *plain);

/* The short way of an import (snapshot_quick.c) ---------------------------------------------------------------------- */

/* The layer below all others, as far as judging an import goes. */
extern struct layer_slot strata__below_all;

/* An entry on that way; its slices are the stream's. */
struct quick_import {
    strata *handle;
    strata_slice key; /* plain */
    uint64_t hash;
    uint64_t bytes;    /* of key and value */
    const uint8_t *at; /* where it stands in its block */
    strata_slice payload;
    strata_value *tags; /* one reference; NULL: none, or unknown ones */
    strata_meta meta;   /* as in struct imported */
};

/* May entries of this namespace take it? */
int strata__import_may_be_quick(const strata *handle);
/* It will be put in a moment. */
void strata__import_hint(const struct quick_import *q);
/* Put it, if nothing stands in its way; takes q->tags.  Its answer is final but for IMPORTED_NOT_YET. */
enum imported_as strata__import_quick(struct quick_import *q);

#endif /* STRATA_CORE_SNAPSHOT_IMPL_H */
