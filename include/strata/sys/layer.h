/* strata/sys/layer.h - the contract of a layer: one store in the stack.
 *
 * A layer carries out batches of operations, now or later, on any thread.  Memory answers at once; a disk or a server
 * later; a blocking store through strata_blocking_layer() at the end of this file, in 100 lines (examples/).
 * tests/contract runs one suite against every layer.  Extenders' API: may change in a minor version. */
#ifndef STRATA_SYS_LAYER_H
#define STRATA_SYS_LAYER_H
#include "strata/base.h"
#include "strata/error.h"
#include "strata/health.h"
#include "strata/stats.h"
#include "strata/sys/allocator.h"
#include "strata/sys/bus.h"
#include "strata/value.h"
STRATA_BEGIN_DECLS

typedef struct strata_layer strata_layer;
typedef struct strata_op strata_op;
typedef struct strata_layer_host strata_layer_host; /* opaque: what the cache offers its layers */

/** What a layer is. */
enum {
    STRATA_LAYER_LOCAL = 1,   /**< in this process or on this host */
    STRATA_LAYER_SHARED = 2,  /**< read and written by other nodes too */
    STRATA_LAYER_DURABLE = 4, /**< survives the process */
    STRATA_LAYER_SPACES = 8,  /**< tells namespaces apart by op->space; others get one storage key that contains it */
    STRATA_LAYER_BLOCKS = 16, /**< submit may block: called on workers and blocking callers' threads only */
    STRATA_LAYER_INSTANT = 32, /**< has lookup(), and completes every operation before submit returns */
    /** Gets its entries from the layer right above, when they leave there for want of room, and what is left there when the
     *  cache is closed.  What is loaded or set is put here only if that layer had no room for it; otherwise it reaches this
     *  one as a REMOVE, which should cost next to nothing for a key that is not here.  Not with INSTANT, and right below a
     *  memory layer alone, once in a stack: strata_open() refuses it elsewhere. */
    STRATA_LAYER_DEMOTED = 64,
    /** Answers later, on a thread of its own; but where an operation is marked STRATA_OP_WAITED, submit may use the caller's
     *  thread until it is answered, to read the answer for example, so that a call that waits alone changes threads nowhere. */
    STRATA_LAYER_LENDS = 128,
    /** Shared, and gives leases: the right to load a key, of which there is one among all nodes.  See STRATA_OP_LEASE.  What
     *  was loaded without its lease is not put here.  Neither INSTANT nor BLOCKS, and it has hurry(): strata_open() looks. */
    STRATA_LAYER_LEASES = 256
};

/** What is stored beside the bytes.  A layer keeps it as it is, and gives it back as it is. */
typedef struct strata_meta {
    uint64_t life;        /**< the cache (one open) that stored it: born_ms and position count only within it; GET: 0, the
                               layer has put them in terms of the cache that asks */
    uint64_t version;     /**< of the key in a shared store; 0 none */
    int64_t born_ms;      /**< monotonic clock of that cache, when the load or set began */
    int64_t born_wall_ms; /**< the same moment as Unix time, for other lives */
    int64_t fresh_ms;     /**< durations: fresh for so long after birth; STRATA_FOREVER */
    int64_t stale_ms;     /**< stale-while-revalidate window after that */
    int64_t error_ms;     /**< stale-if-error window after that */
    int64_t keep_ms;      /**< keep window after that */
    int64_t early_ms;     /**< refresh-ahead margin before the end of freshness */
    int64_t retry_at_ms;  /**< no new load before this moment (a failed one was just tried); same clock as born_ms */
    uint32_t position;    /**< ban position at birth */
    uint32_t load_ms;     /**< what the load took */
    uint32_t codec;       /**< id of the codec that wrote the bytes; 0 none */
    uint32_t negative;    /**< 1: the origin has no such thing; there are no bytes */
    uint32_t tag_count;   /**< how many tags it has: strata_op.tags has them.  Where it says some and a GET gives none, the
                               entry counts as having any tag */
    uint32_t store_life;  /**< which life of the store has counted the version, as a number of 32 bits; 0 unknown.  Versions of two lives
                               say nothing of each other */
    uint64_t store_position; /**< of the shared store's list of bans, what the node that loaded it knew of at its birth; 0
                               nothing */
    int64_t slide_ms;      /**< a hit makes it fresh for so long from then on; 0: none does */
    int64_t slide_step_ms; /**< if that is so much later than before */
    int64_t slide_max_ms;  /**< and no longer than this after birth; STRATA_FOREVER */
    uint32_t cost_us;      /**< what it would take to load it again, in microseconds, as far as is known; 0 unknown.  A memory layer
                                keeps it as far as its policy weighs it, and does not give it back */
    uint32_t reserved;     /**< 0 */
} strata_meta;

/** Of an entry that a read finds: which need a second thought, for bans have come since.  Read as they are then. */
typedef struct strata_lines {
    uint32_t space;      /**< the namespace that is read */
    uint32_t plain;      /**< an entry without tags that was born below this position; atomic */
    uint32_t tagged;     /**< one with tags that was born below this, and below the line of one of its tags; atomic */
    uint32_t tag_mask;   /**< the line of a tag is tag_lines[tag & tag_mask] */
    const uint32_t *tag_lines; /**< atomic, each */
} strata_lines;

/** What an operation is.  LEASE and RELEASE are asked of STRATA_LAYER_LEASES alone, and LEASE of one layer of a stack: the
 *  farthest that gives any, once a GET of every layer has missed and a loader would be called.
 *
 *  A LEASE is answered
 *    STRATA_OK       an entry is there (found and meta, as by GET): another node was faster
 *    STRATA_MISS     with `lease` != 0: nobody loads it, and it is for us to do so.  The layer keeps the lease alive until a
 *                    PUT or RELEASE of the same `lease` ends it.  With `lease` == 0: this store can't give leases, say for
 *                    want of rights; load, and put without
 *    STRATA_PENDING  another node loads it, and did not come to an end for the layer's wait timeout (or STRATA_OP_NOWAIT); or
 *                    something stands there that is not ours: load, and put nothing here
 *    < 0             it can't be asked: load, and put nothing here.  It is not asked either where its GET has just failed
 *  Until then it waits, for the entry or for the lease of whoever held it and died; one that waits blocks no thread.
 *  A PUT with a lease stores only if nothing has replaced or removed the key since: otherwise it is answered STRATA_AGAIN with
 *  STRATA_OP_LOST, and the value is put in no other layer either.  Whatever it is answered, it ends the lease.  A PUT without
 *  one is a set: it stores whatever is there.
 *  A RELEASE may come while the loader still runs, and after the key was written.  It may be answered before the store has heard
 *  of it. */
enum { STRATA_OP_GET = 1, STRATA_OP_PUT = 2, STRATA_OP_REMOVE = 3, STRATA_OP_LEASE = 4, STRATA_OP_RELEASE = 5 };

/** strata_op.flags. */
enum {
    STRATA_OP_BACKED = 1, /**< PUT: it was just found in the layer right below, and need not go there when it leaves.  GET by
                               submit(), out: a memory layer says so of what it has found */
    STRATA_OP_WAITED = 2, /**< with STRATA_LAYER_LENDS: the thread that submits would sleep until this is answered.  Not with
                               LEASE, which may take long */
    STRATA_OP_LOADED = 4, /**< REMOVE: of what a loaded value replaces, which the layer did not take; nobody deleted the key */
    STRATA_OP_REFRESH = 8,   /**< LEASE: to replace the entry of meta.version (in), which stays readable meanwhile; a newer
                                  one is an answer, that one is none */
    STRATA_OP_NOWAIT = 16,   /**< LEASE: answer STRATA_PENDING at once where another node loads it.  RELEASE: answer at once */
    STRATA_OP_BACKFILL = 32, /**< PUT: found in a layer below; store it only where nothing is, not even a lease or word of
                                  a delete, and answer STRATA_AGAIN elsewhere.  No REMOVE follows then */
    STRATA_OP_LOST = 64, /**< PUT, out: the lease was lost, so the key was written, deleted or leased by another; or, of a REMOVE too,
                              with SAME or NONE, something else stands there */
    STRATA_OP_SAME = 128, /**< PUT, REMOVE, of STRATA_LAYER_LEASES: what was read there had meta.version and meta.store_life; do it only
                               where that very entry still stands, and end a lease to replace it.  Elsewhere STRATA_AGAIN, and LOST */
    STRATA_OP_NONE = 256, /**< PUT, REMOVE, of STRATA_LAYER_LEASES: only where no entry stands; a lease to load one ends.  Elsewhere
                               STRATA_AGAIN, and LOST.  Not with SAME.  PUT, of a memory layer: the same, and what it holds stays,
                               served or not */
    STRATA_OP_UPDATE = 512, /**< PUT, of STRATA_LAYER_INSTANT: only in place of what is held of the key, fresh or not; else STRATA_MISS,
                                and nothing changes */
    STRATA_OP_RESIDENT = 2048, /**< PUT: eviction shall not choose it, as far as there is room for such.  Without this and EVICTABLE it is as
                                what it replaces was */
    STRATA_OP_EVICTABLE = 4096, /**< PUT: eviction may choose it */
    STRATA_OP_UNLESS_NEWER = 8192, /**< PUT, of STRATA_LAYER_LEASES: only where neither an entry nor word of a delete stands whose version
                                        is greater than meta.version (in), in the life meta.store_life, where that is not 0.
                                        Elsewhere STRATA_AGAIN, and LOST */
    STRATA_OP_UNDO = 1024 /**< REMOVE: of a PUT that the layer has just let time out.  One that keeps removes for a store that is away, and has
                               kept this one when the PUT failed, may answer STRATA_PENDING at once */
};

/** One operation.  Belongs to the cache; the layer has it from submit() until it calls strata_op_done(). */
struct strata_op {
    size_t size;         /**< sizeof this struct */
    uint32_t kind;       /**< STRATA_OP_... */
    uint32_t space;      /**< the namespace, a number of this process; 0 is the root */
    uint64_t hash;       /**< of space and key, with a random seed of this process: for tables, not for storage */
    strata_slice key;    /**< storage key; the plain key for STRATA_LAYER_SPACES */
    strata_value *value; /**< PUT, in: what to store; NULL where meta.negative.  Borrowed: ref it to keep it.  "Absent" is
                               stored in every layer, as an entry without bytes; a layer that wants none answers
                               STRATA_AGAIN */
    strata_value *found; /**< GET, out: one reference, given to the cache; NULL on a miss or where meta.negative */
    strata_value *tags;  /**< meta.tag_count numbers of 64 bits, one after the other, as the machine has them.  PUT, in: borrowed,
                              NULL where there are none.  GET, LEASE, out: one reference, given to the cache; see
                              strata_op_tags().  Behind the numbers may stand a validator: a layer that keeps all the bytes
                              of this value, and gives them back by strata_op_notes(), keeps that, too; one that keeps the
                              numbers alone loses it, and no more */
    strata_meta meta;    /**< PUT: in.  GET, LEASE: out.  meta.version: also out of PUT and REMOVE, where the store counts them */
    int64_t now_ms;      /**< the cache's clock, when it submitted */
    int64_t expires_ms;  /**< PUT, in: nobody needs it after this moment of the cache's clock; STRATA_FOREVER */
    int status;          /**< out: STRATA_OK; STRATA_STALE (GET, by a layer that looks at deadlines itself: found);
                               STRATA_MISS (GET; REMOVE, if it likes: nothing was there; PUT with UPDATE); STRATA_AGAIN (PUT: no room,
                               passed through); STRATA_PENDING (REMOVE: this layer answers nothing older from now on, and
                               goes on trying to take it out of a store that it can't reach); < 0.  After a PUT that is not STRATA_OK the cache sends a REMOVE of the
                               key, so that nothing older is served; an instant layer forgets it by itself */
    strata_error *err;   /**< out: words for a status < 0; never NULL.  With another status, where err->status is set < 0:
                               counted as an error of the layer and told to listeners, and no more */
    const strata_allocator *mem; /**< for `found`: the cache's; NULL is malloc.  Not set for lookup() */
    void (*done)(strata_op *op); /**< the cache's; call it through strata_op_done() */
    void *owner;                 /**< the cache's */
    void *layer_data;            /**< the layer's own use while it has the operation */
    uint32_t flags;              /**< STRATA_OP_...: may be ignored, where not by STRATA_LAYER_LEASES */
    uint32_t reserved;           /**< 0 */
    uint64_t lease;              /**< LEASE: out.  PUT, RELEASE: in.  A number of the layer's, 0 none */
    const strata_lines *lines;   /**< lookup(): of the namespace that is read */
    int64_t asked_ms;            /**< GET, LEASE, in: the cache's clock, when this read began to ask this layer, as far as its
                                      time was spent here: of a LEASE, now_ms less what its GET took, and an earlier LEASE that
                                      did not wait.  So a layer can bound what one read may cost.  0 unknown.  Not set for
                                      lookup() */
    /* The library's own, for layers that it asks through a guard: what stood in done and owner, and what the guard needs to
       know when they are called.  Not set before. */
    void (*guarded_done)(strata_op *op);
    void *guarded_owner;
    uint64_t guarded_ticket;
    uint64_t guarded_stamp;
};

/** What quick() answers where there is no entry. */
#define STRATA_NOT_HERE ((strata_value *)(uintptr_t)1)

/** To so many keys quick_many() answers at once. */
#define STRATA_QUICK_MOST 32

struct strata_item; /* strata/cache.h */

/** What of a layer is a namespace's, whatever others put there. */
typedef struct strata_share {
    size_t size;      /**< sizeof this struct */
    uint32_t space;   /**< of the namespace: nothing was put there yet */
    uint32_t of;      /**< the same: it has a share, of `bytes`, or `percent` of the layer's budget, whichever is more.  Another: its
                           entries count for the share of that one, which was told before.  0: what was told of `space` last is
                           void, as it was not opened after all */
    uint64_t bytes;
    uint32_t percent;
    uint32_t reserved; /**< 0 */
} strata_share;

/** A clear: which entries go, and which puts come too late. */
typedef struct strata_clear_op {
    size_t size;         /**< sizeof this struct */
    uint32_t space;      /**< STRATA_LAYER_SPACES: the entries of this namespace */
    uint32_t all;        /**< 1: all entries; space and prefix say nothing then */
    strata_slice prefix; /**< others: the entries whose storage key begins with it: a namespace and
                              all below it, opened or not */
    uint64_t life;       /**< of the cache that clears */
    uint32_t position;   /**< the clear's own: what the same life stored in there at a lower one is void */
} strata_clear_op;

/** A ban, for layers that keep a list of them: what they hold stays as it is, and is judged by the cache when it is read. */
typedef struct strata_ban_op {
    size_t size;             /**< sizeof this struct */
    uint32_t kind;           /**< 1 prefix, 2 pattern, 3 any of the tags, 4 all of them, 5 everything */
    uint32_t soft;           /**< 1: freshness ended, no more */
    strata_slice prefix;     /**< the namespace: what storage keys in it, and below, begin with */
    strata_slice text;       /**< of a prefix or pattern: of plain keys */
    const uint64_t *tags;
    uint32_t tag_count;
    uint32_t position;       /**< in the life that issued it */
    uint64_t life;
    int64_t wall_ms;         /**< Unix time */
    uint64_t store_position; /**< out, of STRATA_LAYER_SHARED: in the store's list; 0 none */
    uint32_t later;          /**< 1: the store is not to be asked now; STRATA_PENDING */
    uint32_t reserved;       /**< 0 */
} strata_ban_op;

/** A walk over what a layer holds and nobody reads, a piece at a time: what bans took goes, and of the rest it becomes known how old
 *  it is. */
typedef struct strata_lurk strata_lurk;
struct strata_lurk {
    size_t size;                     /**< sizeof this struct */
    uint64_t at;                     /**< where the walk goes on, as the layer means it; 0: at its begin */
    uint32_t most;                   /**< look at about so many places in this piece */
    uint32_t space_count;
    const strata_lines *const *lines; /**< by namespace; of namespaces from space_count on nothing needs a look */
    uint32_t position;               /**< what was born below has been compared once the walk is over, and counts as born here */
    uint32_t asked;                  /**< judge() is asked of what was born below this, even where it is not below its line */
    uint32_t oldest;                 /**< in, out: the least position of what stayed */
    uint32_t reserved;               /**< 0 */
    uint64_t freed;                  /**< out: is raised by those that went */
    /** Of an entry born below `position`: where it is below its line, or born below `asked`.  `tags` NULL where it has some that are unknown.  May be called under a lock of the layer
     *  that its puts take: takes no lock but core's own below that, and does not come back to the layer.
     *  @return 1: it goes.  0: it stays, and counts as born at *position from now on. */
    int (*judge)(strata_lurk *lurk, uint32_t space, strata_slice key, const strata_meta *meta, const uint64_t *tags,
                 uint32_t *position);
};

/** A walk over the entries that a layer holds, a piece at a time: for an export, which would else look each key up. */
typedef struct strata_scan strata_scan;
struct strata_scan {
    size_t size;       /**< sizeof this struct */
    uint64_t at;       /**< where the walk goes on, as the layer means it; 0: at its begin */
    uint32_t most;     /**< tell of so many entries in this piece, and of no more */
    uint32_t reserved; /**< 0 */
    /** Of an entry, of any namespace, fresh or not, as a GET that found it is answered: space, key, found, tags, meta and flags are set,
     *  and what else a GET sets; hash is not.  Key, and what `found` lends, stand still only until it returns, unless `found` is a
     *  reference of its own kind: who wants one of a value that is lent copies it.  `found` and `tags` are given to the cache.  The
     *  layer's reclamation waits meanwhile: it blocks never, calls no user, and does not come back to the layer. */
    void (*each)(strata_scan *scan, strata_op *op);
};

/** A layer's functions.  Slots are only ever appended; optional ones are NULL. */
typedef struct strata_layer_ops {
    size_t size;      /**< sizeof this table */
    const char *kind; /**< "memory", "disk": shown in errors */
    /** Called once by strata_open(), before anything else; NULL where there is nothing to start.  May block.
     *  @return STRATA_OK or an error, which fails the open. */
    int (*start)(strata_layer *layer, strata_layer_host *host, strata_error *err);
    /** Carry out `count` operations and strata_op_done() each, now or later, from any thread.  A put is a
     *  suggestion; a remove must make every older version unreachable, also one whose put is still on its way
     *  for an operation that was submitted before; a miss is an ordinary answer.  What the operator should hear of, though
     *  the cache can go on as with any miss or pass-through, is answered so, with words and a status < 0 in op->err: a
     *  record that is damaged (STRATA_MISS), a disk that is full (STRATA_AGAIN).  A store that can't be asked at all is an
     *  error, STRATA_EIO. */
    void (*submit)(strata_layer *layer, strata_op *const *ops, size_t count);
    /** STRATA_LAYER_INSTANT: answer one GET at once, without a lock, without allocation.  As a GET by submit(),
     *  but only the fields of `op` before `value`, meta.position and `lines` are set, and nothing calls done.  An entry born below
     *  meta.position is none.  One that lines or deadlines say needs a thought is STRATA_STALE, with its meta and tags. */
    int (*lookup)(strata_layer *layer, strata_op *op);
    /** Forget the entries of one namespace, or all.  A put that began before may still be on its way: the cache sends a
     *  REMOVE after it.  A layer that outlives the process better refuses it by itself, for the process may end between
     *  the two: where op->meta.life == what->life and op->meta.position < what->position, answer STRATA_AGAIN.
     *  @return STRATA_OK; STRATA_PENDING, as of a REMOVE; an error.
     *  NULL: entries are made unreachable by their position alone.  May block as submit may. */
    int (*clear)(strata_layer *layer, const strata_clear_op *what, strata_error *err);
    /** Call `each` for every key held, in any order; stop when it returns non-zero.  NULL: cannot. */
    int (*keys)(strata_layer *layer, int (*each)(uint32_t space, strata_slice key, void *ctx), void *ctx,
                strata_error *err);
    /** Is it there and well?  NULL: always. */
    int (*ping)(strata_layer *layer, strata_error *err);
    /** Entries, bytes, evictions... of now; the cache adds hits, misses and latency.  NULL: unknown. */
    void (*stats)(strata_layer *layer, strata_layer_stats *out);
    /** Background work: expired entries, compaction.  Stops after about budget_us.  NULL: none. */
    void (*maintain)(strata_layer *layer, int64_t now_ms, uint64_t budget_us);
    /** In a child after fork: forget everything, touch no descriptor, lock or thread of the parent.  NULL: refused. */
    int (*reopen)(strata_layer *layer, strata_layer_host *host, strata_error *err);
    /** Give everything back.  Called once, when no operation is out; values that are pinned outlive it. */
    void (*close)(strata_layer *layer);
    /** STRATA_LAYER_INSTANT, with quick(), or both NULL: a look for a key with this hash comes in a moment.  Fetch ahead what
     *  it will read, touch nothing, and return what quick() shall be given as `where`.  Never NULL. */
    const void *(*hint)(strata_layer *layer, uint64_t hash);
    /** The common case of lookup(), in few instructions: the entry of this key and space if it is positive, fresh at now_ms
     *  and not below its line.  Counts nothing: the cache adds what it answered to what stats() tells.
     *  @return a reference; STRATA_NOT_HERE: there is no entry; NULL: nothing was done, ask lookup(). */
    strata_value *(*quick)(const void *where, const void *key, size_t key_size, uint64_t hash, const strata_lines *lines,
                           int64_t now_ms);
    /** STRATA_LAYER_LEASES: the cache is closing.  Answer every LEASE that waits, STRATA_PENDING, and let none wait from now
     *  on.  Called once, before close(), from any thread; NULL elsewhere. */
    void (*hurry)(strata_layer *layer);
    /** STRATA_LAYER_INSTANT: the entry that lookup() has just given as `found` was compared with all bans up to this position,
     *  and none takes it: from now on it counts as born there.  NULL: it is compared again. */
    void (*checked)(strata_layer *layer, strata_value *found, uint32_t position);
    /** Keep a ban, so that it is there after the layer was opened again, or for other nodes.  May block as submit may.
     *  @return STRATA_OK; STRATA_PENDING, as of a REMOVE; an error.  NULL: the layer keeps none. */
    int (*ban)(strata_layer *layer, strata_ban_op *what, strata_error *err);
    /** Call `each` for every ban that is kept, oldest first.  Once, after start(), before anything is asked of the layer.
     *  NULL: none are. */
    int (*bans)(strata_layer *layer, void (*each)(const strata_ban_op *ban, void *ctx), void *ctx, strata_error *err);
    /** A ban of another node's came by a bus, with this place in the store's list: look after that list soon, for what is stored
     *  until then counts as older than the ban.  0: a heartbeat of the buses': look, where that was a while ago, for this node may have missed
     *  what was said.  Does not block.  NULL: it is looked after from time to time. */
    void (*heard)(strata_layer *layer, uint64_t store_position);
    /** STRATA_LAYER_INSTANT: one piece of a walk.  What is put meanwhile need not be met; of an entry that is passed by for another
     *  reason the cache may say later that it is banned.  No lock is held for long, and a hit waits for none.
     *  @return 1: that was all of it; 0: there is more.  NULL: what the layer holds is not known, and may be as old as the cache. */
    int (*lurk)(strata_layer *layer, strata_lurk *lurk);
    /** STRATA_LAYER_DURABLE: keep these bytes in place of those kept before; at most 100,000.  They say what was carried out here
     *  so far: whatever ends the process or the machine, they may be older than what the layer holds, and never newer than a
     *  REMOVE, PUT, clear() or ban() that was answered before.  May block as submit may.  NULL: what the layer holds from before it
     *  was opened is not trusted where there is a bus. */
    int (*keep)(strata_layer *layer, strata_slice note, strata_error *err);
    /** Call `is` with what was kept last.  After start(), before anything is asked of the layer.  @return STRATA_OK;
     *  STRATA_MISS: nothing is, or nothing that holds.  NULL where keep() is. */
    int (*kept)(strata_layer *layer, void (*is)(strata_slice note, void *ctx), void *ctx);
    /** See strata_follow.  how->kind is looked at by who answers.  Does not block.  NULL: its store remembers nobody's reads. */
    int (*follow)(strata_layer *layer, strata_follow *how, strata_error *err);
    /** What the cache can't know of the layer's health by its stats and by what failed: state, since_ms, retry_ms, last, words may
     *  be set; where `words` stay empty, the cache writes them.  May make the state worse alone.  Any thread; does not block.  NULL:
     *  nothing. */
    void (*health)(strata_layer *layer, strata_part_health *out);
    /** Somebody wants to know now whether the store is there: strata_ping(), or closing.  One that pauses between two attempts to
     *  connect makes the next at once, and what it is asked from here on waits for that.  Any thread; does not block.  NULL: it
     *  makes no pauses. */
    void (*rouse)(strata_layer *layer);
    /** The cache is closing, and its buses still speak: what is kept for a store that was away is tried once more, whatever is
     *  thought of the store.  Called again and again by one thread, while it returns 1: that is under way; 0: it is over.  Does not
     *  block.  NULL: nothing is kept. */
    int (*settle)(strata_layer *layer);
    /** STRATA_LAYER_INSTANT, with STRATA_LAYER_SPACES: one piece of a walk.  What is held all the while is told once.
     *  @return 1: that was all of it; 0: there is more; < 0.  NULL: the cache asks keys(), and looks up each. */
    int (*scan)(strata_layer *layer, strata_scan *scan, strata_error *err);
    /** Evict nothing for others' sake of what is within a share.  After start(); one call at a time; does not block.
     *  @return STRATA_OK; STRATA_EINVAL (all shares together are too much), STRATA_EBUSY (too many), STRATA_ENOMEM.  NULL: the layer keeps
     *  none. */
    int (*share)(strata_layer *layer, const strata_share *what, strata_error *err);
    /** As hint() and quick() of each, in such an order that the waits for memory of all keys overlap: items[i].value is what quick()
     *  would return, and where that is a reference items[i].status is STRATA_OK.  1 to STRATA_QUICK_MOST items, whose keys have these
     *  hashes.  @return how many references.  NULL: they are asked one by one. */
    size_t (*quick_many)(strata_layer *layer, struct strata_item *items, const uint64_t *hashes, size_t count,
                         const strata_lines *lines, int64_t now_ms);
    /** The library's own, of its memory layer: NULL elsewhere.  Asked before start(). */
    const void *(*hits)(strata_layer *layer);
    /** Another of the library's own, NULL elsewhere: a put without options.  Under the key's lock, so it neither blocks nor calls back;
     *  STRATA_EUNSUPPORTED: nothing was done, and submit() is to do it. */
    int (*put_plain)(strata_layer *layer, const void *put);
} strata_layer_ops;

/** The base of a layer: the first member of its own struct. */
struct strata_layer {
    size_t size;                 /**< sizeof this struct */
    const strata_layer_ops *ops; /**< static */
    uint32_t flags;              /**< STRATA_LAYER_... */
    uint32_t reserved;           /**< 0 */
    char name[32];               /**< shown in stats and events */
    strata_error failed;         /**< a constructor that failed sets status < 0 here; strata_open() reports it */
    int64_t max_ttl_ms;          /**< what is put here is needed for no longer from then on: the cache shortens its durations;
                                      0: as long as it says.  Read once, by strata_open() */
    strata_bus *bus;             /**< to tell other nodes of this store what was invalidated, where strata_open() is given no other; the
                                      layer's until it is taken: strata_layer_free() frees it.  NULL: none */
    uint64_t identity;           /**< caches whose shared layer has another one hear nothing of each other; 0: any */
};

/** The operation is finished; the layer must not touch it afterwards.  Threads: any. */
STRATA_API void strata_op_done(strata_op *op, int status);

/** For GET: what was found, as a copy.  Sets op->found and op->meta.  @return STRATA_OK, STRATA_ENOMEM; call
 *  strata_op_done() with it. */
STRATA_API int strata_op_found(strata_op *op, const void *data, size_t size, const strata_meta *meta);

/** For GET: the tags of what was found, as a copy of `count` numbers.  Without memory for them, and where `tags` is NULL, only
 *  meta.tag_count is set: the entry counts as having any tag then. */
STRATA_API void strata_op_tags(strata_op *op, const uint64_t *tags, uint32_t count);

/** The same for a layer that keeps all bytes of the PUT's `tags`, with the validator that may stand behind the numbers: a copy of
 *  `size` bytes, 0 none.  meta.tag_count stays as strata_op_found() has set it. */
STRATA_API void strata_op_notes(strata_op *op, const void *bytes, size_t size);

/** Give a layer back that no strata_open() took over.  NULL is a no-op. */
STRATA_API void strata_layer_free(strata_layer *layer);

/* What the cache offers a layer that was started. */

/** The cache's clock in milliseconds; starts anywhere, never goes back. */
STRATA_API int64_t strata_host_now_ms(strata_layer_host *host);
/** Unix time in milliseconds, for what outlives the process; may jump. */
STRATA_API int64_t strata_host_wall_ms(strata_layer_host *host);
/** Run fn(ctx) on a worker.  @return STRATA_OK, STRATA_ECLOSED, STRATA_ENOMEM. */
STRATA_API int strata_host_post(strata_layer_host *host, void (*fn)(void *ctx), void *ctx);
/** Run fn(ctx) on a worker, once `delay_ms` have passed.  The same statuses. */
STRATA_API int strata_host_after(strata_layer_host *host, int64_t delay_ms, void (*fn)(void *ctx), void *ctx);
/** The cache's allocator. */
STRATA_API const strata_allocator *strata_host_allocator(strata_layer_host *host);
/** An entry had to leave for want of room: for listeners. */
STRATA_API void strata_host_evicted(strata_layer_host *host, strata_layer *layer, uint32_t space, strata_slice key);

/* The blocking adapter --------------------------------------------------------------------------------------- */

/** A store with plain blocking calls.  Each returns STRATA_OK, STRATA_MISS or an error.
 *  `key` is a storage key: the caller's key, with bytes in front of it that say which namespace it is in.  Expect NULs,
 *  and more than max_key_bytes.
 *  Threads: called from several at once. */
typedef struct strata_blocking_ops {
    size_t size; /**< sizeof this struct */
    /** Find the key: answer through strata_op_found(op, ...), and return what that returns. */
    int (*get)(void *ctx, strata_slice key, strata_op *op);
    /** Keep a copy of data and meta; where meta->negative, there is no data.  Nobody needs them after ttl_ms
     *  (STRATA_FOREVER: always).  STRATA_AGAIN says that there is no room, and is no error.  After anything but STRATA_OK
     *  remove() is called: an older version of the key must not be served. */
    int (*put)(void *ctx, strata_slice key, strata_slice data, const strata_meta *meta, int64_t ttl_ms);
    int (*remove)(void *ctx, strata_slice key);
    int (*clear)(void *ctx, strata_slice prefix); /**< keys that begin with prefix, all where it is empty; NULL:
                                                       what was cleared is back after a restart of a durable store */
    void (*close)(void *ctx);                     /**< may be NULL */
} strata_blocking_ops;

/** A layer over a blocking store.  @param name copied, at most 31 bytes.  @param flags STRATA_LAYER_SHARED, _DURABLE.
 *  @param ops static.  Never NULL, as every layer's constructor. */
STRATA_API strata_layer *strata_blocking_layer(const char *name, uint32_t flags, const strata_blocking_ops *ops,
                                               void *ctx);

STRATA_END_DECLS
#endif /* STRATA_SYS_LAYER_H */
