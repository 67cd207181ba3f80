/* bans.h - invalidations that name many keys by rule, and which entries they take (docs/decisions/0011-bans.md).
 *
 * A ban has a position: entries that were born before are taken, if they match.  Positions are raised under the tree lock, and
 * published (root->position) once the ban stands in the tables and the lines of the handles are raised: who has read a position
 * finds every ban up to it.  So a birth may be too low, never too high, and so may what an entry is moved up to.
 *
 * Bounded: past TAG_BANS tags that are banned the older half of them fold into an array by hash, past RULES_A_NAMESPACE prefixes,
 * patterns and lists of tags, the oldest becomes a ban of its namespace, or of one of its tags.  What is forgotten is
 * precision, never a ban. */
#ifndef STRATA_CORE_BANS_H
#define STRATA_CORE_BANS_H
#include "src/core/core_impl.h"
#include "src/format/bus_message.h"

enum {
    BANS_PLACED = 256,
    TAG_BANS = 32768,
    TAG_FOLDS = 4096,
    RULES = 1024,
    RULES_A_NAMESPACE = 64,
    BAN_TAGS_ALL_MOST = 64
};

enum ban_kind {
    BAN_PREFIX = BUS_BAN_PREFIX,
    BAN_PATTERN = BUS_BAN_PATTERN,
    BAN_TAGS_ANY = BUS_BAN_TAGS_ANY,
    BAN_TAGS_ALL = BUS_BAN_TAGS_ALL,
    BAN_ALL /* of a namespace and below it, as a clear */
};

/* One ban, as it is told of: by a caller, a peer, a layer that kept it.  Borrowed for the call. */
struct ban {
    uint32_t kind;
    int soft;
    strata_slice path; /* what storage keys of the namespace and of those below begin with: ban_path(); empty: the cache */
    strata_slice text; /* PREFIX, PATTERN */
    const uint64_t *tags;
    uint32_t tag_count;
    /* Where another life of the cache issued it, and a durable layer kept it; else 0. */
    uint64_t life;
    uint32_t position;
    int64_t wall_ms;         /* when it was issued, Unix time; 0: now */
    uint64_t store_position; /* in the shared store's list; 0: none */
};

/* The position of the next ban or clear; under the tree lock, as its publishing.  The last one there is has no end: nothing is born at
 * it, so that what it takes is not held again until the cache is opened anew. */
static inline uint32_t next_position(const struct root *root)
{
    return atomic_load(&((struct root *)(uintptr_t)root)->position) + 1;
}
static inline void publish_position(struct root *root, uint32_t position)
{
    if (position != UINT32_MAX)
        atomic_store(&root->position, position);
}

int strata__bans_new(struct root *root);
void strata__bans_free(struct root *root);
/* In a child after fork: all that was there before is banned. */
void strata__bans_reopen(struct root *root);

/* It holds from now on, in this node.  For bans that come from elsewhere: a peer's, through a bus; the store's list; a durable
 * layer's.  Without memory everything of its namespace is banned.  STRATA_OK; STRATA_EINVAL: it is no ban. */
int strata__ban_apply(struct root *root, const struct ban *ban);
/* A peer's ban, which holds here: durable layers of this node are told, so that it does when they are opened again.  < 0: some layer
 * could not keep it. */
int strata__ban_keep(struct root *root, const struct ban *ban);
/* What layers have kept.  Once they are started. */
int strata__bans_restore(struct root *root, strata_error *err);
/* Called, under no lock, once a ban that was issued by this node's caller holds here and in its layers: whoever publishes
 * to other nodes sets root->publish_ban.  STRATA_OK, STRATA_PENDING, < 0 with words: as strata_clear() answers. */

/* As apply, with its position.  STRATA_ENOMEM: part of it may hold. */
int strata__ban_enter(struct root *root, const struct ban *ban, uint32_t *out_position);
/* A ban of this life was given a position by the store. */
void strata__ban_placed(struct root *root, const struct ban *ban);
/* Issue it, in `cache`: `how` is made of STRATA_BAN_ flags.  As strata_ban_tag() answers. */
int strata__ban_issue(strata *cache, struct ban *ban, uint32_t how, strata_error *err);
/* When this tag was last banned in the whole cache, as far as that is still known: by the store's list, and by the clock; 0: never. */
void strata__ban_tag_known(struct root *root, uint64_t tag, uint64_t *store_position, int64_t *wall_ms);
/* host->ban(). */
void strata__host_ban(strata_layer_host *host, const strata_ban_op *op);
/* Forget all of a path, in this node: what needs no memory. */
void strata__clear_here(struct root *root, strata_slice path);

/* What storage keys below a handle begin with: its path without the byte that ends it. */
static inline strata_slice ban_path(const strata *handle)
{
    return strata_bytes(handle->prefix, handle->parent != NULL ? handle->prefix_size - 1 : 0);
}
uint64_t strata__path_hash(strata_slice path);
/* The number of a tag. */
uint64_t strata__tag_id(strata_slice tag);

/* The numbers of tags that a caller gave, as strata_op.tags has them.  STRATA_EINVAL: one is empty, or there are too many. */
int strata__tags_value(const strata_allocator *mem, const strata_slice *tags, size_t count, strata_value **out,
                       strata_error *err);

enum ban_verdict { BAN_NONE, BAN_SOFT, BAN_HARD };

/* What bans say of an entry.  `tags` NULL where meta->tag_count says that it has some: any of them.  `key` is the plain one.  All that
 * stood in root->position before the call is compared. */
enum ban_verdict strata__bans_judge(strata *handle, const struct layer_slot *slot, const strata_meta *meta,
                                    strata_slice key, const strata_value *tags);
/* The same for who has the tags as numbers, meta->tag_count of them; NULL: unknown. */
enum ban_verdict strata__bans_judge_ids(strata *handle, const struct layer_slot *slot, const strata_meta *meta,
                                        strata_slice key, const uint64_t *tags);
/* Is something that was born at `position` of this life banned by now (clears included)?  For fills. */
int strata__banned_since(strata *handle, strata_slice key, uint32_t position, uint32_t tag_count,
                         const strata_value *tags);

/* Some work of the lurker's, by the thread that maintains (lurker.c). */
void strata__lurk(struct root *root);
/* How many bans are kept: tags, and all others; those that were folded count as one. */
uint32_t strata__bans_count(struct root *root);
/* Forget the bans up to floor among so many slots of tags, and, with the first, among all others.  1: that was all.  bans->lock. */
int strata__bans_retire_locked(struct root *root, uint32_t *io_at, uint32_t most);

/* ban_rules.c, for bans.c: under bans->lock ------------------------------------------------------------------------- */

/* A ban's place in time: of the last one, where several were put together.  Stores may have taken them in another order, so the
 * store's position is the greatest of all. */
struct mark {
    uint64_t life;
    uint64_t store_position;
    int64_t wall_ms;
    uint32_t position;
    /* Where this node entered the last one that the store has given no position yet, or none that this node heard of; 0: they all have
     * one.  While there is one, clocks decide what was stored after the others. */
    uint32_t unplaced;
};

struct rule {
    uint32_t kind;
    int soft;
    uint64_t path_hash;
    struct mark mark;
    uint32_t tag_count;
    size_t text_size;
    unsigned char *bytes; /* the text, or the tags; behind this struct */
};

struct tag_ban {
    uint64_t key; /* of tag and namespace; 0: free */
    struct mark hard, soft;
};

/* The walk over what instant layers hold (lurker.c).  The thread that maintains has it, but for what is atomic. */
struct lurker {
    enum { LURK_RESTS, LURK_WALKS, LURK_RETIRES } state;
    uint32_t position;  /* bans up to here are what this walk is for */
    uint32_t held;      /* no load that was under way when it began is older, and, at its end, no entry */
    uint32_t done;      /* bans up to here have nothing left to do */
    uint32_t layer;     /* whose turn it is */
    uint32_t retire_at; /* the next slot of bans->tags */
    int64_t not_before, pause_ms;
    const strata_lines **lines;
    uint32_t line_count, line_room;
    uint64_t at;
    _Atomic(uint64_t) freed; /* entries */
};

struct bans {
    struct key_mutex lock;
    struct list_node generations; /* generation.h; tree lock */
    _Atomic(uint32_t) any;        /* 1: there is a ban, or was one */
    _Atomic(uint32_t) newest;     /* position of the last ban */
    /* Bans up to this position are forgotten: what was born below it, and is below its line, may have been taken by one of these, and
     * counts so. */
    uint32_t floor;
    struct lurker lurker;
    uint32_t tag_count, tag_room;
    struct tag_ban *tags;         /* open addressing; tag_room is a power of two */
    struct tag_ban *folded;       /* TAG_FOLDS, by key; NULL: nothing was folded */
    uint64_t placed[BANS_PLACED]; /* store positions of bans that hold here: a ring */
    uint32_t placed_count;
    uint32_t rule_count, rule_room;
    struct rule **rules;       /* oldest first */
    uint32_t lines[TAG_FOLDS]; /* of strata_lines */
};

/* What position says nothing about was issued in another life: it stays. */
static inline int mark_retires(const struct root *root, const struct mark *mark, uint32_t floor)
{
    return mark->life == root->life && mark->position <= floor;
}
static inline int mark_is_set(const struct mark *mark) { return mark->wall_ms != 0 || mark->position != 0; }
void strata__rules_retire(struct root *root);
/* 0: no memory. */
int strata__tag_ban_put(struct root *root, uint64_t path_hash, uint64_t tag, int soft, const struct mark *mark);
int strata__rules_put(struct root *root, const struct ban *ban, uint64_t path_hash, const struct mark *mark);
/* It counts for another one, too. */
void strata__mark_raise(const struct root *root, struct mark *mark, const struct mark *by);
/* A ban that it counts for was given its position by the store. */
void strata__mark_placed(struct mark *mark, const struct ban *ban);
/* 0: it is not known where it stands. */
int strata__rules_placed(struct root *root, const struct ban *ban, uint64_t path_hash);
/* Does the mark come after the entry's birth? */
int strata__mark_after(const struct root *root, const struct layer_slot *slot, const strata_meta *meta,
                       const struct mark *mark);
enum ban_verdict strata__rules_judge(const strata *handle, const struct layer_slot *slot, const strata_meta *meta,
                                     strata_slice key, const uint64_t *tags);

#endif /* STRATA_CORE_BANS_H */
