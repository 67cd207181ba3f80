/* hit_line.h - what a plain hit reads of a cache's handle, and the seam by which a layer answers it in one call.
 *
 * strata_get() and strata_get_or_load() are one jump: to handle->get, to handle->load.  A memory layer brings its own (memory_hit.c),
 * which do everything that a plain hit has to do, duties of core's among them (the gate is looked at inside of the thread's section
 * of reclaim.h, which ends when the hit has been counted: cache.c about closing), for each instruction is a wait for memory that
 * overlaps less with others.  Whatever is no plain hit goes on in handle->rest, which is core's, as the last word: so a hit saves no
 * register for it.
 *
 * `struct strata` begins with these fields; a layer sees no more of it than these. */
#ifndef STRATA_LAYER_HIT_LINE_H
#define STRATA_LAYER_HIT_LINE_H
#include <stdatomic.h>

#include "src/base/counter.h"
#include "src/layer/key_hash.h"
#include "src/os/reclaim.h"
#include "strata/cache.h"
#include "strata/sys/layer.h"

struct executor;
struct strata_hit;

/* As strata_get(), and as strata_get_or_load(). */
typedef int strata_hit_get(struct strata_hit *hit, strata_slice key, strata_value **out, strata_error *err);
typedef int strata_hit_load(struct strata_hit *hit, strata_slice key, strata_loader loader, void *loader_ctx,
                            const strata_policy *policy, strata_value **out, strata_error *err);

/* What of a call is for whoever goes on. */
struct hit_call {
    int loads; /* 1: strata_get_or_load(); 0: the next three are not set */
    strata_loader loader;
    void *loader_ctx;
    const strata_policy *policy;
    strata_error *err;
};

/* What goes on where there is no plain hit: *out says why, and is set anew.
 *   NULL             ask lookup(); `number` is the key's hash
 *   STRATA_NOT_HERE  there is no entry; `number` is the key's hash
 *   HIT_NOT_ASKED    nobody looked; `number` is how many looks this thread had begun before, or HIT_SAMPLE_MASK: this one is to be timed
 * The call is counted as begun, but for arguments that are wrong: out is looked at by core, too. */
typedef int strata_hit_rest(struct strata_hit *hit, strata_slice key, strata_value **out, const struct hit_call *call,
                            uint64_t number);

/* How a read begins. */
struct hit_ways {
    strata_hit_get *get;
    strata_hit_load *load;
};

#define HIT_NOT_ASKED ((strata_value *)(uintptr_t)2)
static inline int hit_found(const strata_value *said) { return (uintptr_t)said > (uintptr_t)HIT_NOT_ASKED; }

/* Words of the thread's cell (counts.h), and which looks of a thread are timed: those for which so many bits are set.  A plain hit is
 * not counted as begun, nor are looks for one: one of its thread's sections in so many is timed. */
enum { HIT_WORD_BEGUN, HIT_WORD_HITS, HIT_SAMPLE_MASK = 1023 };
/* Keys that such ways have to expect: where a cache allows for fewer bytes, they are not taken. */
enum { HIT_KEY_MOST = 32 };

#define STRATA_HIT_FIELDS \
    strata_hit_get *get; /* how a read begins, as struct hit_ways */ \
    strata_hit_load *load; \
    strata_layer *layer;            /* the nearest */ \
    const _Atomic(uint32_t) *forks; /* the process' fork generation */ \
    _Atomic(uint32_t) gate;         /* equals *forks: open, and nobody listens to hits; else look closer */ \
    /* What is held needs a thought from this moment on; tree lock to write.  Both are the same moment, but for */ \
    /* INT64_MIN in the first where bounds of the clock mean nothing (os_bound.h). */ \
    _Atomic(int64_t) trusted_bound; \
    _Atomic(int64_t) trusted_until; \
    strata_lines lines;             /* which entries need a second thought: bans.c; tree lock to write */ \
    struct key_secret secret;       /* of strata__key_hash(), with the space mixed in */ \
    const struct hit_ways *general; /* the ways for all layers, threads and keys: core's */ \
    strata_hit_rest *rest; \
    struct executor *ex; \
    int64_t (*now_ms)(struct executor * ex); \
    struct counter_cell cells[COUNTER_CELLS]

struct strata_hit {
    STRATA_HIT_FIELDS;
};

/* After a gate was shut, a walk that begins then.  1: no thread is on one of a layer's own ways any more that looked at it before; 0:
 * ask again. */
static inline int strata__hits_over(struct reclaim_walk *walk)
{
    /* All of such a way is one section.  The gate was shut before the walk fences, and a section is entered before the gate is looked at. */
    return strata__reclaim_walk(walk);
}

#endif /* STRATA_LAYER_HIT_LINE_H */
