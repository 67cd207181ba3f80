/* snapshot_export_impl.h - an export, shared by the files that make one. */
#ifndef STRATA_CORE_SNAPSHOT_EXPORT_IMPL_H
#define STRATA_CORE_SNAPSHOT_EXPORT_IMPL_H
#include "src/core/snapshot_impl.h"

enum { EXPORT_BATCH = 128 };

/* Entries, behind room for their block's head. */
struct export_block {
    uint8_t *bytes;
    size_t used, room;
    uint32_t entries;
};

/* A key that the layer has told, on its way to be read. */
struct asked {
    strata_op op;
    strata_error words;
    strata *handle;
    size_t at, size, plain_size; /* its storage key, in keys */
    uint64_t seen_as;
};

struct export
{
    struct snapshot_call call;
    strata_snapshot_write write;
    void *ctx;
    int rc; /* what ends it */
    int stop;
    struct layer_slot *slot; /* the layer that is told */
    /* The batch. */
    size_t count;
    struct asked *asked; /* EXPORT_BATCH of them */
    unsigned char *keys;
    size_t keys_used, keys_room;
    struct driver driver;
    /* The block, and the one after it, which is begun only while a layer must not be kept waiting (snapshot_scan.c). */
    struct export_block block, next;
    uint8_t *packed; /* behind room for a block's head */
    size_t packed_room;
    uint64_t sum, raw_bytes;
    int packs;
    struct compressor compressor;
    /* Hashes of the keys that were written; NULL: nobody tells a key twice. */
    uint64_t *seen;
    size_t seen_count, seen_room;
    int remembers;
};

int strata__export_no_memory(struct export *x);

/* Blocks (snapshot_blocks.c): < 0 is x->rc, too ----------------------------------------------------------------------- */

int strata__export_begin(struct export *x);
int strata__export_end(struct export *x);
/* Room for an entry of `size` in x->block, which is written where it is full. */
int strata__export_room(struct export *x, size_t size);
/* A block of the usual size in `block`, which is empty. */
int strata__export_block_ready(struct export *x, struct export_block *block);
/* What was begun behind x->block takes its place, and that is written. */
int strata__export_turn(struct export *x);
void strata__export_blocks_free(struct export *x);

/* Entries (snapshot_export.c) ----------------------------------------------------------------------------------------- */

/* It was written: nobody writes it again. */
int strata__export_note_seen(struct export *x, uint64_t hash);
/* The next in x->asked, which has room, for a key; NULL: there is nothing to ask, or x->rc. */
struct asked *strata__export_asked(struct export *x, strata *handle, strata_slice plain);
/* Write what of the answers in x->asked is good, and forget them. */
void strata__export_take_answers(struct export *x);

/* A layer that tells entries itself (snapshot_scan.c) ------------------------------------------------------------------ */

int strata__export_can_scan(const struct layer_slot *slot);
int strata__export_scan(struct export *x);

#endif /* STRATA_CORE_SNAPSHOT_EXPORT_IMPL_H */
