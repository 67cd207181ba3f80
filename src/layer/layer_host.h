/* layer_host.h - what a strata_layer_host is inside: the sink through which a layer talks back.
 *
 * Whoever opens layers (core; the contract suite) embeds one in its own struct, fills every field before start(), and
 * keeps it until the last layer's close() has returned.  The public strata_host_ calls dispatch through it, so a layer
 * knows nothing of core.  All functions are called from any thread, and but for demote() under no lock of the layer. */
#ifndef STRATA_LAYER_LAYER_HOST_H
#define STRATA_LAYER_LAYER_HOST_H
#include <stdatomic.h>
#include <stdint.h>

#include "strata/sys/layer.h"

/* An entry that leaves a memory layer for want of room.  All of it is borrowed for the call. */
struct demotion {
    uint64_t hash; /* of space and key, as strata_op.hash */
    uint32_t space;
    strata_slice key;
    strata_slice bytes;  /* the value, where it stands in the entry */
    strata_value *value; /* where it is on the heap; else NULL */
    strata_slice tags;   /* as in strata_op.tags; empty: none, or unknown ones */
    strata_meta meta;
};

struct strata_layer_host {
    const strata_allocator *mem; /* never NULL */
    /* op->hash is strata__key_hash(hash_seed, op->space, plain key), see src/layer/key_hash.h: layers compute it again. */
    uint64_t hash_seed;
    /* Coarse monotonic milliseconds, the clock of op->now_ms and op->expires_ms. */
    int64_t (*now_ms)(struct strata_layer_host *host);
    int64_t (*wall_ms)(struct strata_layer_host *host); /* Unix time */
    /* As strata_host_post() and strata_host_after(): STRATA_OK, _EBUSY, _ECLOSED, _ENOMEM.  What was accepted runs,
     * also while the cache closes (a delay is then cut short): operations may hang on it.  All of it has run when close() is
     * called. */
    int (*post)(struct strata_layer_host *host, void (*fn)(void *ctx), void *ctx);
    int (*after)(struct strata_layer_host *host, int64_t delay_ms, void (*fn)(void *ctx), void *ctx);
    /* An entry had to leave for want of room.  NULL where nobody can ever listen. */
    void (*evicted)(struct strata_layer_host *host, strata_layer *layer, uint32_t space, strata_slice key);
    /* Something that listeners may want to know of the layer, as a STRATA_EVENT_ with these words.  Under no lock.  NULL where
     * nobody can ever listen. */
    void (*tell)(struct strata_layer_host *host, strata_layer *layer, uint32_t kind, int status, const char *message);
    /* How many listen to evictions.  Relaxed: a layer that sees 0 need not gather the keys of its victims. */
    _Atomic(uint32_t) eviction_listeners;
    /* The layer whose victims go to the one below it (STRATA_LAYER_DEMOTED); NULL: none.  Set before start(), constant. */
    const strata_layer *demotes;
    /* That layer evicts a positive entry that is not STRATA_OP_BACKED.  Called under the lock that its puts and removes
     * of the key take, too: who writes the key after the eviction finds it noted.  Keeps a copy; blocks never. */
    void (*demote)(struct strata_layer_host *host, const struct demotion *entry);
    /* A shared store's list has a ban, at this store_position; its time is not told, nor its life and position, but of one that this cache
     * has issued, and that had to wait.  NULL where nobody can hear of it.  Any thread. */
    void (*ban)(struct strata_layer_host *host, const strata_ban_op *ban);
    /* A shared layer has at last been told what it could not be when it was asked for: a REMOVE of this storage key, with the
     * version that it has given to that, or a clear.  Who heard of it then may have read up since what was still there.  NULL where
     * nobody can hear of it.  Any thread, under no lock. */
    void (*caught_up)(struct strata_layer_host *host, strata_slice key, uint64_t version, const strata_clear_op *clear);
    /* A shared store that counts versions in microseconds of its clock has just answered: what that showed, and the life in which it did, as
     * strata_meta.store_life.  NULL where nobody asks.  Any thread, under no lock; does not block. */
    void (*store_clock)(struct strata_layer_host *host, int64_t store_us, uint32_t life);
    /* All bans of the list up to this position were told: what is loaded from now on is younger than these. */
    _Atomic(uint64_t) store_position;
    /* The greatest store_position of all bans that hold here, wherever they were heard of: a list that ends before it has lost it. */
    _Atomic(uint64_t) store_heard;
    /* 1: the cache is closing: work that nobody waits for is left off.  From then on, and no earlier, delays are cut short. */
    _Atomic(int) closing;
};

/* The bus that it brings, which is the caller's from here on; NULL: none, or it was taken. */
strata_bus *strata__layer_take_bus(strata_layer *layer);
/* What a constructor returns that has no memory for a layer: shared, static, and strata_open() reports it. */
strata_layer *strata__layer_out_of_memory(void);

#endif /* STRATA_LAYER_LAYER_HOST_H */
