/* counts.h - what a handle counts: on its hot paths in cells of a line each, elsewhere in one word each.  stats.c reads them. */
#ifndef STRATA_CORE_COUNTS_H
#define STRATA_CORE_COUNTS_H
#include <assert.h>

#include "src/base/counter.h"
#include "src/layer/hit_line.h"

/* Words of a handle's cells, raised by the hot paths.  BEGUN == LOOKED + SLOW, and SETS_BEGUN == SETS, while nobody is inside. */
enum hot_word {
    HOT_BEGUN,  /* reads, but plain hits of a layer's own way (hit_line.h) */
    HOT_HITS,   /* those: counted when they are over, and inside of a section of reclaim.h until then */
    HOT_LOOKED, /* reads that ended as hits otherwise; the asynchronous ones of async_direct.c on another thread */
    HOT_SLOW,   /* the other reads */
    HOT_SETS_BEGUN,
    HOT_SETS,
    HOT_FOUND,  /* finds of quick(); where layer 0 is not instant, those of direct.h */
    HOT_MISSED, /* misses of the same */
    HOT_END
};
static_assert((int)HOT_BEGUN == (int)HIT_WORD_BEGUN && (int)HOT_HITS == (int)HIT_WORD_HITS, "layers know these two");
static_assert((int)HOT_END <= (int)COUNTER_WORDS, "a cell is one line");

/* Counters of a handle that only slower paths raise. */
enum count {
    COUNT_REQUESTS, /* besides those in HOT_BEGUN and HOT_HITS */
    COUNT_HITS,     /* besides those in HOT_HITS and HOT_LOOKED */
    COUNT_STALE_SERVES,
    COUNT_NEGATIVE_HITS,
    COUNT_LOADS,
    COUNT_LOAD_ERRORS,
    COUNT_LOAD_TIMEOUTS,
    COUNT_JOINS,
    COUNT_REFRESHES,
    COUNT_BACKFILLS,
    COUNT_SETS, /* besides those in HOT_SETS */
    COUNT_DELETES,
    COUNT_EXPIRES,
    COUNT_CONFLICTS,
    COUNT_CLEARS,
    COUNT_FENCED,
    COUNT_LEASES,
    COUNT_LEASE_WAITS,
    COUNT_LEASES_LOST,
    COUNT_LEASE_TIMEOUTS,
    COUNT_UNLEASED_WAITS,
    COUNT_BREAKER_OPENED,
    COUNT_BREAKER_REFUSED,
    COUNT_LIMIT_WAITS,
    COUNT_LIMIT_REFUSED,
    COUNT_LOADS_DETACHED,
    COUNT_SETS_BEHIND,
    COUNT_BEHIND_PASSED,
    COUNT_BEHIND_MERGED,
    COUNT_BEHIND_WRITTEN,
    COUNT_BEHIND_DROPPED,
    COUNT_BEHIND_REFUSED,
    COUNT_BEHIND_FAILED,
    COUNT_ERRORS,
    COUNT_END
};

#endif /* STRATA_CORE_COUNTS_H */
