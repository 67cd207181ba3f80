/* guard.h - what stands before every remote layer, so that one that is sick costs a bounded time and forgets no delete.
 *
 * It is a layer over a layer.  It hands batches through, and looks at how they went.  A breaker (src/policy/breaker.h)
 * leaves the layer alone while it fails: gets are then answered with an error at once, so that reading goes on below or loads,
 * puts with STRATA_AGAIN, and removes with STRATA_PENDING.  A remove that the layer itself refuses is its error.
 *
 * No delete is lost: what was to be removed or cleared, and was not, is noted (src/layer/guard_owed.h), as is the key of a put of
 * which nobody knows whether it was carried out.  What is noted is neither served nor stored.  When the layer is back, it is told
 * all of that first, and answers gets after that alone; telling it is the breaker's probe.  Without notes the first
 * operation is, or a ping.  The notes are this process's: those that are left when the cache is closed are tried once more.
 *
 * What it asks of the layer: submit() keeps the order of one key's operations also past a failure, so that a remove that is
 * sent after a put has timed out is carried out after that put, if at all; and every operation is answered in the end.
 *
 * On the healthy path, nothing is allocated and no lock is taken.  Threads: as any layer. */
#ifndef STRATA_LAYER_GUARD_H
#define STRATA_LAYER_GUARD_H
#include "src/policy/breaker.h"
#include "strata/sys/layer.h"

struct guard_options {
    uint32_t breaker_failures; /* at least 1 */
    int64_t breaker_open_ms;   /* at least 1 */
    int64_t probe_ms; /* a probe that has not answered then frees its place: more than the layer's longest timeout */
    uint64_t max_queued_deletes; /* keys; more, or more than */
    uint64_t max_queued_bytes;   /* so much memory for them, become a clear of all */
    /* What an operation's error says about the server; NULL: strata__guard_judge(). */
    enum breaker_verdict (*judge)(int status);
};

/* STRATA_EIO, _ETIMEDOUT and _ECLOSED: it is sick.  _ENOMEM, _EBUSY, _ECANCELED and _EFORKED: it was not asked.  Others are
 * answers of a server that is well. */
enum breaker_verdict strata__guard_judge(int status);

/* Takes `inner` over, which has clear() and is not instant; one that has failed is given back as it is.  Never NULL.  Its name,
 * kind and flags are those of `inner`. */
strata_layer *strata__guard_layer(strata_layer *inner, const struct guard_options *options);

#endif /* STRATA_LAYER_GUARD_H */
