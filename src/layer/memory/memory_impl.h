/* memory_impl.h - the memory layer's structs, shared by the files of this folder.
 *
 * A layer is an array of shards, chosen by the low bits of the key's hash.  A shard has an index (memory_index.c), a
 * two-level segregated fit allocator over chunks of the layer's reserved range (memory_slab.c), queues of entries
 * that a policy orders (policy_*.c), and a list of entries that were unlinked but may still be read
 * (memory_retire.c).  Everything in a shard but the index's slots is guarded by its lock; readers take no lock
 * (memory_read.c).
 *
 * An entry is one block:
 *
 *   +--------+-----------------+---------+------------------+--------------------------------------+
 *   | head   | key             | pad     | meta (optional)  | value, or a pointer to a heap value  |
 *   | 32     | key_size        | to 8    | 48 or full       | to the end of the block less slack   |
 *   +--------+-----------------+---------+------------------+--------------------------------------+
 *
 * Tags stand between meta and value, as a struct entry_tags; where the value is on the heap, behind its pointer: there is room
 * for any number then.
 *
 * The first word of the head is the allocator's too: an entry's size is its block's size, so that a block costs no
 * header of its own.  References are 32 bits: the distance from the range's start in units of 8 bytes << shift. */
#ifndef STRATA_LAYER_MEMORY_IMPL_H
#define STRATA_LAYER_MEMORY_IMPL_H
#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "src/layer/entry_notes.h"
#include "src/layer/hit_line.h"
#include "src/layer/key_hash.h"
#include "src/layer/layer_host.h"
#include "src/layer/memory/memory_bucket.h"
#include "src/layer/memory/memory_eviction.h"
#include "src/layer/memory/memory_history.h"
#include "src/layer/memory/memory_tables.h"
#include "src/layer/value_impl.h"
#include "src/os/os_lock.h"
#include "src/os/os_thread.h"
#include "src/os/reclaim.h"
#include "src/policy/weigh.h"
#include "strata/memory.h"

/* Blocks and entries ----------------------------------------------------------------------------------------- */

#define BLOCK_SLACK (63u << 26) /* no enumerator is that large in C11 */
enum {
    BLOCK_UNITS = (1u << 18) - 1, /* size in units of 8 bytes */
    BLOCK_QUEUE_SHIFT = 18,       /* 5 bits: the queue that an entry stands in */
    BLOCK_QUEUE = 31u << 18,
    BLOCK_FREE = 1u << 23,      /* nobody's */
    BLOCK_PREV_FREE = 1u << 24, /* the block before it is free: its size stands in its last word */
    BLOCK_SLACK_SHIFT = 26,     /* 6 bits, the uppermost: unused bytes at an entry's end */
    UNIT = 8,                   /* bytes */
    BLOCK_MIN_UNITS = 4
};

struct entry {
    _Atomic(uint32_t) block;    /* BLOCK_... */
    _Atomic(uint32_t) position; /* ban position at birth, or of the last ban that it was compared with */
    int64_t deadline;           /* fresh until here (birth, where KIND_FOREVER); coarse clock of the cache */
    uint32_t prev, next;        /* queue neighbours, references; shard lock */
    uint16_t space;
    uint16_t key_size;
    uint8_t kind;          /* KIND_..., set once */
    _Atomic(uint8_t) hits; /* saturating counter; readers bump it */
    uint16_t extra;        /* low 12 bits: where the value is, in units of 8 bytes; high 4: ttl class */
};
static_assert(sizeof(struct entry) == 32, "the head is what an entry costs");

enum {
    KIND_FOREVER = 1,  /* never expires; deadline holds the birth */
    KIND_META = 2,     /* a struct brief_meta follows the key */
    KIND_FULL = 4,     /* a strata_meta follows the key, up to what slides; with KIND_META beside up to what it costs */
    KIND_NEGATIVE = 8, /* no value */
    KIND_HEAP = 16,    /* the value is a pointer to a counted heap value */
    KIND_BACKED = 32,  /* the layer below holds it, too */
    KIND_TAGGED = 64,  /* it has tags, or a validator */
    /* Bits below decide whether a hit may be served without a second thought. */
    KIND_ASK = KIND_NEGATIVE | KIND_META | KIND_FULL
};

/* The tags of an entry, and its validator. */
struct entry_tags {
    uint32_t count;      /* as meta.tag_count */
    uint16_t known;      /* so many of them follow: all, or none */
    uint16_t note_bytes; /* and behind them so many of entry_notes.h */
    uint64_t ids[];
};
static_assert(STRATA_TAGS_MAX <= UINT16_MAX && ENTRY_NOTE_MOST <= UINT16_MAX, "their numbers fit");

/* With more tags than that a value goes on the heap, so that where it is fits its 12 bits. */
enum { TAGS_INLINE = 512 };

/* What most policies with windows need. */
struct brief_meta {
    int64_t born_ms;
    int64_t fresh_ms;
    int64_t retry_at_ms;
    uint32_t stale_ms, error_ms, keep_ms, early_ms;
    uint32_t load_ms;
    uint32_t codec;
};

/* Where an entry stands.  A policy's own queues are [FIRST, OWN_END), and with struct weighing those from COUNT on; who is resident
 * stands aside of them. */
enum { QUEUE_NONE = 0, QUEUE_NEGATIVE = 1, QUEUE_FIRST = 2, QUEUE_OWN_END = 18, QUEUE_RESIDENT = 18 };
enum { QUEUE_HELD = 19 /* of a share: memory_aside.h */, QUEUE_COUNT = 20 };
enum { SHARES_MOST = 64 };

enum { WHOLE_PPM = 1000000, PROMISED_PPM = 900000 }; /* shares are parts of a million; promised are at most so many */
enum { TTL_CLASSES = 15, TTL_CLASS_SHIFT = 12, VALUE_OFFSET = (1 << 12) - 1 };
enum { SLAB_FIRST = 20, SLAB_SECOND = 16, QUICK_LISTS = 16 };
enum { DEAD_VALUES = 32, RETIRE_AHEAD = 8 };

/* A key that was evicted, on its way to a listener. */
struct eviction_note {
    struct eviction_note *next;
    uint32_t space;
    size_t key_size;
    char key[];
};

struct queue {
    uint32_t head, tail; /* head is the newest */
    uint64_t count;
    uint64_t weight; /* entries, or units of 8 bytes where the layer is bounded by bytes */
};

/* The index: open addressing in buckets of a cache line; a slot is hash bits << 32 | reference, 0 is empty. */
struct index_table {
    uint64_t slot_count; /* whole buckets */
    struct table_room room;
    struct index_table *next; /* of the tables that were replaced */
    _Alignas(64) _Atomic(uint64_t) slots[];
};

/* What the policy "cost" keeps beside (policy_cost.c): the other policies have none. */
enum { MORE_QUEUES = 32 - QUEUE_COUNT };
struct weighing {
    struct weigh weigh;
    struct queue more[MORE_QUEUES]; /* the queues from QUEUE_COUNT on, as far as an entry can say */
    int64_t now_ms;                 /* of the put that is under way */
    uint32_t cost_us;               /* what it brings; 0: unknown */
    uint32_t turn;                  /* the class whose oldest is looked at next, whether it has expired */
};

struct memory;
struct shard;
struct share; /* memory_aside.h */

struct shard {
    _Alignas(64) _Atomic(struct index_table *) table; /* readers' line */
    _Atomic(uint64_t) hint_slots; /* slots of the table, for hints alone: readable where the table is not */
    _Atomic(uint64_t) shifts;     /* odd while a removal moves slots */
    char *base;
    uint64_t ref_bytes; /* a reference is so many bytes: 8 << the layer's shift */
    struct memory *layer;
    _Atomic(uintptr_t) hint_ghost; /* its slots, and how many sets: for hints alone, as hint_slots */
    _Atomic(uint32_t) hint_ghost_sets;
    uint8_t quick_hits; /* the policy's max_hits */
    uint8_t shift;      /* the layer's */
    uint8_t no_quick;   /* quick() can't be used: the policy wants to hear of hits */

    /* What a put reads and writes stands together: when threads take turns in a shard, each line moves between them. */
    _Alignas(64) struct os_lock lock;
    uint32_t retired; /* still readable: list through entry->next */
    uint64_t entries;
    uint64_t limit_entries; /* UINT64_MAX: none */
    uint64_t bytes_fit;     /* where the bytes ran out before limit_entries: how many entries there were; else 0 */
    uint64_t bytes;         /* chunks, index, ghost, sketch and heap values: what counts against the limit */
    uint64_t limit_bytes;
    int64_t next_expiry; /* no entry expires before */
    uint64_t retired_count;

    _Alignas(64) struct queue queues[QUEUE_COUNT]; /* the first two of a policy share a line */

    _Alignas(64) struct ghost ghost;
    int ghost_hit;  /* s3-fifo: the key that is about to be inserted was in the ghost */
    int from_small; /* s3-fifo: the victim stood in the small queue */
    unsigned dead_count;
    uint32_t likely;      /* who leaves next, it seems; 0: not known */
    uint64_t likely_hash; /* its key's */
    uint64_t missing;     /* who is to be told of through missed(): hash, */
    uint64_t left;        /* and after that through evicted(), before the next victim() */
    int missing_waits;    /* if there is one */
    int left_waits;
    uint64_t kept; /* of the retired, what the last collection had to leave: pinned */

    _Alignas(64) uint64_t puts;
    uint64_t evictions;
    struct eviction_note *notes; /* for listeners, once the lock is free */
    uint64_t retired_heap;       /* of the retired, those with values on the heap */
    uint64_t kept_heap;          /* of those kept */
    uint32_t aged;               /* the older part of the retired begins here, at the list's end; 0: there is none */
    uint32_t young_last;         /* the one before it; 0: there is none */
    uint32_t young_count;
    uint32_t trail[RETIRE_AHEAD]; /* the last that were retired, in turn: hints */
    uint32_t kept_aged;           /* of those kept, in the older part */
    uint64_t aged_stamp;          /* the older part was unlinked before */

    struct quick_list {
        uint32_t units, head;
    } quick[QUICK_LISTS];
    uint32_t first_map;
    uint32_t second_map[SLAB_FIRST];
    uint32_t free_lists[SLAB_FIRST][SLAB_SECOND];
    uint32_t spare_chunks; /* given back, their addresses kept: list through their first block's next */
    uint64_t free_units;

    const struct eviction_ops *eviction;
    struct index_table *old_tables;
    uint64_t sweep_at;
    uint64_t given;          /* bytes of pages that went back to the system, ever */
    uint64_t slab_bytes;     /* of the bytes, chunks */
    uint64_t heap_bytes;     /* of the bytes, heap values */
    uint64_t negative_limit; /* weight of the negative queue */
    uint32_t hand;           /* sieve: the next to look at */
    uint32_t turn;           /* lfu: the level to age next */
    struct sketch sketch;
    uint64_t random;
    uint64_t aside;            /* positive entries that stand in none of the policy's queues */
    uint64_t resident_bytes;   /* of those that are resident: blocks, and values on the heap */
    uint64_t resident_ppm;     /* of limit_bytes, and of limit_entries: at most so much is resident */
    struct share *shares;      /* NULL: no namespace has any */
    uint32_t share_count;      /* there is room for so many */
    uint32_t share_room;       /* of by_space: the numbers of namespaces below this */
    const uint8_t *by_space;   /* the layer's: by the number of a namespace the share's number and 1, or 0 */
    uint64_t share_ready;      /* of these shares, somebody who is held may be free to leave */
    uint64_t share_breaks;     /* who was held left all the same, as there was nobody else */
    uint64_t unkept;           /* were to be resident, and are not, for want of that */
    struct weighing *weighing; /* cost */
    struct strata_value *dead[DEAD_VALUES]; /* heap values to give back once the lock is free: that may call a codec */
    int64_t seen_expiry;                    /* the earliest met by the sweep that runs */
    uint64_t expirations, rejections, removes;
};

struct memory_watch;

enum { PRESSURE_FILE_ROOM = 256 };

struct memory {
    strata_layer base;
    _Alignas(64) struct shard *shards; /* readers' line */
    uint64_t shard_mask;
    int cell;         /* of the readers' counters; -1: shared_cell */
    uint8_t max_hits; /* of the policy */
    uint8_t wants_touches;
    uint8_t demotes; /* what is evicted goes to the layer below: host->demote() */
    const struct eviction_ops *eviction;
    strata_layer_host *host;
    const strata_allocator *mem;
    strata_memory_options options;
    void *shards_block, *block; /* what the allocator gave; the structs stand on cache lines inside */
    size_t shard_count;

    uint64_t max_bytes; /* the budget: options.max_bytes, or the share that options.max_percent says */
    uint64_t share_of;  /* of so much; 0: of nothing */
    int share_of_group; /* that is a control group's limit; 0: the machine's memory */

    char *range; /* reserved addresses; references count from here */
    size_t range_bytes;
    unsigned shift; /* reference units are 8 << shift bytes */
    size_t chunk_bytes;
    size_t heap_threshold; /* larger values stay on the heap */
    struct os_mutex range_mutex;
    size_t range_used, range_committed, commit_step;
    int huge;
    struct tables tables;
    struct key_secret secret; /* of the space 0 */

    _Atomic(uint64_t) life;       /* of the cache that stored first; 0 none yet */
    _Atomic(int64_t) wall_offset; /* Unix time - cache clock, at that moment */
    _Atomic(uint32_t) class_count;
    _Atomic(int64_t) classes[TTL_CLASSES + 2]; /* distinct fresh_ms; class 0 is unused */
    _Alignas(64) _Atomic(uint64_t) shared_cell[RECLAIM_CELL_WORDS];
    _Atomic(uint32_t) sweep_shard;
    struct memory_watch *watch;             /* where pressure is looked after; else NULL */
    size_t shrink_shard;                    /* where shrinking goes on; by who calls maintain() */
    char pressure_file[PRESSURE_FILE_ROOM]; /* options.pressure_file, where that is given */
    uint64_t lurk_slots;                    /* of the table that the lurker is in; by who calls lurk() */
    struct reclaim_waiter waiter;
    uint8_t *by_space; /* as in a shard; by who calls share() */
    uint32_t share_room, share_count;
    uint32_t shared_ppm;             /* all shares together */
    uint32_t share_ppm[SHARES_MOST]; /* each */
};

enum { CELL_HITS = 0, CELL_MISSES = 1 };

/* References ------------------------------------------------------------------------------------------------- */

static inline struct entry *entry_at(const struct shard *s, uint32_t ref)
{
    return (struct entry *)(void *)(s->base + ((size_t)ref << s->shift) * UNIT);
}

static inline uint32_t ref_of(const struct shard *s, const struct entry *e)
{
    return (uint32_t)((size_t)((const char *)e - s->base) / UNIT >> s->shift);
}

/* Where entries are counted: how many there is room for, as far as is known. */
static inline uint64_t shard_fits_all(const struct shard *s)
{
    if (s->bytes_fit == 0)
        return s->limit_entries;
    return s->entries > s->bytes_fit ? s->entries : s->bytes_fit;
}

/* The same, for those whom the policy orders. */
static inline uint64_t shard_fits(const struct shard *s)
{
    uint64_t all = shard_fits_all(s);
    return all > s->aside ? all - s->aside : 0;
}

static inline unsigned queue_number(const struct entry *e)
{
    return (atomic_load_explicit(&((struct entry *)(uintptr_t)e)->block, memory_order_relaxed) & BLOCK_QUEUE) >>
           BLOCK_QUEUE_SHIFT;
}

static inline int in_policy(const struct entry *e)
{
    unsigned queue = queue_number(e);
    return queue >= QUEUE_FIRST && (queue < QUEUE_OWN_END || queue >= QUEUE_COUNT);
}

static inline struct queue *queue_at(struct shard *s, unsigned queue)
{
    return queue < QUEUE_COUNT ? &s->queues[queue] : &s->weighing->more[queue - QUEUE_COUNT];
}

static inline size_t round8(size_t n) { return (n + 7) & ~(size_t)7; }

static inline uint32_t entry_units(const struct entry *e)
{
    return atomic_load_explicit(&e->block, memory_order_relaxed) & BLOCK_UNITS;
}

static inline char *entry_key(const struct entry *e) { return (char *)(uintptr_t)(e + 1); }

static inline char *entry_meta(const struct entry *e) { return entry_key(e) + round8(e->key_size); }

static inline size_t meta_bytes(uint8_t kind)
{
    if (kind & KIND_FULL)
        return (kind & KIND_META) ? offsetof(strata_meta, cost_us) : offsetof(strata_meta, slide_ms);
    return (kind & KIND_META) ? sizeof(struct brief_meta) : 0;
}

static inline size_t entry_value_offset(const struct entry *e) { return (size_t)(e->extra & VALUE_OFFSET) * UNIT; }

static inline char *entry_value(const struct entry *e) { return (char *)(uintptr_t)e + entry_value_offset(e); }

static inline size_t entry_value_size(const struct entry *e)
{
    uint32_t w = atomic_load_explicit(&e->block, memory_order_relaxed);
    size_t slack = (w & BLOCK_SLACK) >> BLOCK_SLACK_SHIFT;
    return (size_t)(w & BLOCK_UNITS) * UNIT - slack - entry_value_offset(e);
}

/* What stands in place of the value where that is on the heap. */
struct heap_ref {
    struct strata_value *value;
    uint64_t cost; /* what it counts against the budget, asked once */
};

static inline const struct entry_tags *entry_tags(const struct entry *e)
{
    size_t heap = (e->kind & KIND_HEAP) ? sizeof(struct heap_ref) : 0;
    return (const struct entry_tags *)(const void *)(entry_meta(e) + meta_bytes(e->kind) + heap);
}

/* As strata_op.tags has them. */
static inline strata_slice entry_notes(const struct entry *e)
{
    const struct entry_tags *tags = entry_tags(e);
    return strata_bytes(tags->ids, tags->known * sizeof tags->ids[0] + tags->note_bytes);
}

static inline struct heap_ref *entry_heap(const struct entry *e) { return (struct heap_ref *)(void *)entry_value(e); }

/* Of its block, without what is unused at the end. */
static inline size_t entry_used(const struct entry *e)
{
    uint32_t w = atomic_load_explicit(&((struct entry *)(uintptr_t)e)->block, memory_order_relaxed);
    return (size_t)(w & BLOCK_UNITS) * UNIT - ((w & BLOCK_SLACK) >> BLOCK_SLACK_SHIFT);
}

/* The same wherever it stands, with what it has on the heap. */
static inline uint64_t entry_bytes(const struct entry *e)
{
    return entry_used(e) + ((e->kind & KIND_HEAP) != 0 ? entry_heap(e)->cost : 0);
}

/* memory_slab.c: blocks.  Under the shard's lock. */
/* A block of at least `bytes`, or NULL where no free block is large enough. */
struct entry *strata__slab_alloc(struct shard *s, size_t bytes);
void strata__slab_free(struct shard *s, struct entry *e);
/* One more chunk from the layer's range.  0, or -1 where the system has no more. */
int strata__slab_grow(struct shard *s);
/* Give one chunk that is wholly free back to the system, and its bytes to the budget.  1, or 0 where none is. */
int strata__slab_give(struct shard *s);
/* The first block of an entry's chunk, and the one after a block; NULL at the chunk's end. */
struct entry *strata__slab_chunk_of(const struct shard *s, const struct entry *e);
struct entry *strata__slab_next(const struct shard *s, const struct entry *b);
/* Until it is shown again, nothing is allocated in this chunk; nothing may be freed meanwhile. */
void strata__slab_hide(struct shard *s, struct entry *chunk);
void strata__slab_show(struct shard *s, struct entry *chunk);
/* All pages back to the system. */
void strata__slab_release(struct memory *m);
/* Bytes that the largest block can have. */
size_t strata__slab_max(const struct memory *m);

/* Tell the policy of the key that is not here and is about to be inserted, and of the one that left, if that has not been done. */
static inline void strata__memory_tell_policy(struct shard *s)
{
    if (s->missing_waits) {
        s->missing_waits = 0;
        s->eviction->missed(s, s->missing);
    }
    if (s->left_waits) {
        s->left_waits = 0;
        s->eviction->evicted(s, s->left);
    }
}

/* memory_index.c.  Under the shard's lock, but find. */
int strata__index_init(struct shard *s, uint64_t slots);
void strata__index_deinit(struct shard *s);
/* A larger table, or what room the one has above its usual share.  0, -1 there is neither. */
int strata__index_grow(struct shard *s);
/* Room for one more; may replace the table.  0, -1 out of memory. */
static inline int index_reserve(struct shard *s)
{
    const struct index_table *t = atomic_load_explicit(&s->table, memory_order_relaxed);
    return __builtin_expect((s->entries + 1) * 7 <= t->slot_count * 5, 1) ? 0 : strata__index_grow(s);
}
/* A table that is far too large becomes a smaller one, where there is memory for it. */
void strata__index_fit(struct shard *s);
void strata__index_add(struct shard *s, uint64_t hash, uint32_t ref);
/* Point the slot of `old` at `new`. */
void strata__index_replace(struct shard *s, uint64_t hash, uint32_t old_ref, uint32_t new_ref);
void strata__index_remove(struct shard *s, uint64_t hash, uint32_t ref);
struct entry *strata__index_find(struct shard *s, uint64_t hash, uint32_t space, const void *key, size_t key_size);
/* By the hash bits of the slot alone: for hints. */
struct entry *strata__index_find_hash(struct shard *s, uint64_t hash);
void strata__index_free_table(struct shard *s, struct index_table *t);
/* Hash bits of a slot for `hash`: the shard's number is in the low bits, the home in the high ones. */
static inline uint64_t index_tag(uint64_t hash) { return hash >> 32; }
/* The first slot of its bucket. */
static inline uint64_t index_home(uint64_t tag, uint64_t slot_count)
{
    return (tag * slot_count) >> 32 & ~(uint64_t)(BUCKET_SLOTS - 1);
}
/* Its slot will be looked for in a moment. */
static inline void index_fetch(struct shard *s, uint64_t hash)
{
    struct index_table *t = atomic_load_explicit(&s->table, memory_order_relaxed);
    __builtin_prefetch(&t->slots[index_home(index_tag(hash), t->slot_count)], 1);
}

/* memory_ghost.c: its functions stand in memory_history.h. */
/* It will be looked for; by anybody. */
static inline void ghost_fetch(const struct shard *s, uint64_t hash)
{
    struct shard *any = (struct shard *)(uintptr_t)s;
    const char *slots = (const char *)atomic_load_explicit(&any->hint_ghost, memory_order_relaxed);
    uint32_t sets = atomic_load_explicit(&any->hint_ghost_sets, memory_order_relaxed);
    if (slots == NULL)
        return;
    slots += ghost_place(ghost_fingerprint(hash), sets);
    __builtin_prefetch(slots, 1);
    __builtin_prefetch(slots + GHOST_SET_BYTES / 2, 1);
}

/* memory_retire.c */
void strata__retire(struct shard *s, struct entry *e);
void strata__retire_table(struct shard *s, struct index_table *t);
/* Free what nobody reads any more.  How many blocks came free. */
size_t strata__retire_collect(struct shard *s, int insist);
/* The same, but content with the older part where that has come free through others' doing. */
size_t strata__retire_relieve(struct shard *s);
/* Unlock the shard's lock, then give dead values back and tell listeners. */
void strata__shard_unlock_and_tell(struct shard *s);
static inline void shard_unlock(struct shard *s)
{
    if (__builtin_expect(
            (s->dead_count | (unsigned)s->missing_waits | (unsigned)s->left_waits) == 0 && s->notes == NULL, 1))
        os_lock_give(&s->lock);
    else
        strata__shard_unlock_and_tell(s);
}

/* memory_meta.c: strata_meta in and out of entries. */
uint8_t strata__meta_kind(struct memory *m, const strata_meta *meta, uint16_t *out_class);
/* The class of a ttl that is not STRATA_FOREVER; 0: there is none to be had. */
uint16_t strata__meta_class(struct memory *m, int64_t fresh_ms);
/* What the head says of an entry of that kind: until when it is fresh, and when nobody needs it any more. */
void strata__meta_deadlines(const strata_meta *meta, uint8_t kind, int64_t *deadline, int64_t *gone_at);
/* The block of KIND_META and KIND_FULL. */
void strata__meta_store(struct entry *e, const strata_meta *meta);
void strata__meta_load(const struct memory *m, const struct entry *e, strata_meta *out);
/* When nobody needs the entry any more. */
int64_t strata__entry_gone_at(const struct memory *m, const struct entry *e);

/* memory_read.c */
int strata__memory_lookup(strata_layer *layer, strata_op *op);
/* memory_hit.c */
const struct hit_ways *strata__memory_ways(int touches);

const void *strata__memory_hint(strata_layer *layer, uint64_t hash);
strata_value *strata__memory_quick(const void *where, const void *key, size_t n, uint64_t hash,
                                   const strata_lines *lines, int64_t now_ms);
void strata__memory_checked(strata_layer *layer, strata_value *found, uint32_t position);
/* Has a ban come since that may concern it? */
int strata__memory_below_line(const struct entry *e, const strata_lines *lines);
/* It counts as born at `position`, unless it was born later. */
static inline void strata__memory_move_up(struct entry *e, uint32_t position)
{
    uint32_t before = atomic_load_explicit(&e->position, memory_order_relaxed);
    while (before < position && !atomic_compare_exchange_weak_explicit(&e->position, &before, position,
                                                                       memory_order_relaxed, memory_order_relaxed))
        ;
}
/* memory_read_many.c */
size_t strata__memory_quick_many(strata_layer *layer, struct strata_item *items, const uint64_t *hashes, size_t count,
                                 const strata_lines *lines, int64_t now_ms);
/* strata__memory_lookup(), with op->meta always filled.  op->now_ms is INT64_MAX, the real moment is `now_ms`. */
int strata__memory_lookup_meta(struct memory *m, strata_op *op, int64_t now_ms);
/* memory_touch.c: this thread's.  There was a hit; and the policy is told of all of them, or `waits` is 0, of those in shards that
 * nobody has locked. */
void strata__memory_touched(struct memory *m, struct reclaim_record *r, uint64_t hash);
void strata__memory_drain_touches(struct memory *m, struct reclaim_record *r, int waits);
/* The heap value behind a pin, of this memory layer or another one, that is stored by reference; or NULL. */
struct strata_value *strata__memory_pinned_heap(const struct strata_value *value);

/* memory_room.c.  Under the shard's lock. */
/* Room for a negative entry in the share that those have. */
void strata__memory_negative_room(struct shard *s, uint64_t weight);
/* 0: there is none. */
int strata__memory_evict_one(struct shard *s, int negative_first);
/* The next in the policy's order leaves; where it stood, which is readable still.  NULL: there is none. */
struct entry *strata__memory_evict(struct shard *s);
/* Everybody in its chunk leaves. */
void strata__memory_empty_chunk(struct shard *s, struct entry *e);
/* Where two chunks' worth is free between residents: one, given back.  0: it is not, or can't be had. */
int strata__memory_join_chunk(struct shard *s);
/* How many retired entries are worth a look at all threads. */
uint64_t strata__memory_batch(const struct shard *s);

/* memory_write.c */
/* It leaves where it stands, for another reason than the policy's choice.  Under the shard's lock. */
void strata__memory_leave(struct shard *s, struct entry *e);
void strata__memory_remove(struct memory *m, strata_op *op);
/* Take an entry out of index and queue, and retire it. */
void strata__memory_drop_locked(struct shard *s, struct entry *e, uint64_t hash);
static inline uint64_t strata__entry_hash(const struct memory *m, const struct entry *e)
{
    strata_slice key = strata_bytes(entry_key(e), e->key_size);
    if (__builtin_expect(e->space == 0, 1))
        return strata__key_hash_with(&m->secret, key);
    return strata__key_hash(m->host->hash_seed, e->space, key);
}

/* memory_sweep.c */
void strata__memory_maintain(strata_layer *layer, int64_t now_ms, uint64_t budget_us);
int strata__memory_clear(strata_layer *layer, const strata_clear_op *what, strata_error *err);
int strata__memory_keys(strata_layer *layer, int (*each)(uint32_t, strata_slice, void *), void *ctx, strata_error *err);

/* memory_watch.c: where options.pressure is on. */
int strata__memory_watch_start(struct memory *m, strata_error *err);
/* Look, and do what follows from it.  By one thread at a time. */
void strata__memory_watch(struct memory *m, int64_t now_ms);
void strata__memory_health(strata_layer *layer, strata_part_health *out);
void strata__memory_watch_stats(const struct memory *m, strata_layer_stats *out);

/* memory_shrink.c: a piece of the way to this budget, of no longer than some 50 ms. */
void strata__memory_shrink(struct memory *m, uint64_t bytes);

/* memory_lurk.c */
int strata__memory_lurk(strata_layer *layer, strata_lurk *lurk);

/* memory_scan.c */
int strata__memory_scan(strata_layer *layer, strata_scan *scan, strata_error *err);

/* policy_cost.c: 0, -1 out of memory. */
int strata__cost_init(struct shard *s);

#endif /* STRATA_LAYER_MEMORY_IMPL_H */
