/* flight_new.c - the making of flights, and their end.
 *
 * A flight is large, and where loads are quick one comes just after another: so a block that comes free is kept for the next,
 * one for each of some threads.  What is kept is freed with the root, to which every flight holds a reference. */
#include "src/core/flight.h"

#include <string.h>

enum { ROOM_STEP = 64, ROOM_MOST = 1024 }; /* of the key, in a block that may be kept */

static struct spare_flight *spare_of(struct root *root) { return &root->spares[counter_index() % SPARE_FLIGHTS]; }

static struct flight *new_block(struct root *root, size_t bytes)
{
    struct spare_flight *spare = spare_of(root);
    struct flight *f = NULL;
    if (MEM_KEEPS && atomic_load_explicit(&spare->flight, memory_order_relaxed) != NULL)
        f = atomic_exchange_explicit(&spare->flight, NULL, memory_order_acquire);
    if (f != NULL && f->room >= bytes)
        return f;
    strata__free(root->mem, f);
    bytes = (bytes + ROOM_STEP - 1) / ROOM_STEP * ROOM_STEP; /* for the next, whose key may be a bit longer */
    f = strata__alloc(root->mem, bytes);
    if (f != NULL)
        f->room = bytes;
    return f;
}

static void free_block(struct root *root, struct flight *f)
{
    struct spare_flight *spare = spare_of(root);
    if (MEM_KEEPS && f->room <= sizeof *f + ROOM_MOST &&
        atomic_load_explicit(&spare->flight, memory_order_relaxed) == NULL)
        f = atomic_exchange_explicit(&spare->flight, f, memory_order_acq_rel);
    strata__free(root->mem, f);
}

void strata__spares_free(struct root *root)
{
    for (int i = 0; i < SPARE_FLIGHTS; i++)
        strata__free(root->mem, atomic_load_explicit(&root->spares[i].flight, memory_order_relaxed));
}

static void ref_strand(struct strand *s) { flight_ref(flight_of_strand(s)); }
static void unref_strand(struct strand *s) { strata__flight_unref(flight_of_strand(s)); }

static void no_words(strata_error *err)
{
    err->status = err->os_errno = 0;
    err->where[0] = err->message[0] = 0;
}

struct flight *strata__flight_new(const struct want *want, strata_slice key, uint64_t hash, strata_error *err)
{
    strata *handle = want->handle;
    struct root *root = handle->root;
    size_t storage = root->plain_keys ? key.size : strata__storage_size(handle, key);
    struct flight *f = new_block(root, sizeof *f + storage);
    if (f == NULL) {
        strata__fail(err, STRATA_ENOMEM, "read",
                     "no memory for a read in progress: free some, or ask for fewer keys at once");
        return NULL;
    }
    memset(f, 0, offsetof(struct flight, load) + offsetof(struct strata_load, err));
    no_words(&f->load.err);
    no_words(&f->op_err);
    no_words(&f->err);
    strata__strand_init(&f->strand, root->ex, strata__flight_run, ref_strand, unref_strand);
    atomic_init(&f->refs, 1);
    strata__root_ref(root);
    f->root = root;
    f->life = root->life;
    f->handle = handle;
    f->mem = root->mem;
    if (root->plain_keys)
        memcpy(f->bytes, key.data, key.size);
    else
        strata__storage_write(handle, key, f->bytes);
    f->key.plain = strata_bytes(f->bytes + storage - key.size, key.size);
    f->key.storage = strata_bytes(f->bytes, storage);
    f->key.hash = hash;
    f->busy = (struct busy){ .hash = hash, .space = handle->space, .key = f->key.plain };
    list_init(&f->waiters);
    f->loader = want->loader;
    f->bulk = want->bulk;
    f->loader_ctx = want->loader_ctx;
    f->import = want->import != NULL ? strata__imported_ref(want->import) : NULL;
    f->lead = want->lead;
    f->from_batch = want->lead != NULL;
    atomic_init(&f->wants_load, (unsigned char)want_loads(want));
    f->policy = *want->policy;
    f->begun_ms = ex_now_ms(root->ex);
    f->hit_layer = LAYERS_MAX;
    f->self = f;
    f->op_pointer = &f->op;
    f->solo = (struct read){
        .strand = &f->strand, .root = root, .flights = &f->self, .count = 1, .ops = &f->op_pointer
    };
    return f;
}

static void drop_values(struct flight *f)
{
    strata__held_drop(&f->previous);
    strata_value_unref(f->value);
    strata_value_unref(f->encoded);
    strata_value_unref(f->tags);
    strata_value_unref(f->load.value);
    strata__free(f->mem, f->load.tags);
    strata_value_unref(f->load.notes);
    f->load.notes = NULL;
    strata__imported_unref(f->import);
    f->import = NULL;
    f->load.tags = NULL;
    f->value = f->tags = f->encoded = f->load.value = NULL;
}

void strata__flight_unref(struct flight *f)
{
    if (f == NULL || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct root *root = f->root;
    drop_values(f);
    strata__flight_unref(f->behind);
    free_block(root, f);
    strata__root_unref(root);
}
