/* guard_owed.c - see guard_owed.h. */
#include "src/layer/guard_owed.h"

#include <string.h>

#include "src/base/hash.h"
#include "src/base/mem.h"

enum { OWED_CLEARS = 64, OWED_BUCKETS_LEAST = 64, OWED_BUCKETS_MOST = 1 << 16 };

void strata__owed_init(struct owed *o, const strata_allocator *mem, size_t max_keys, size_t max_bytes, int by_space)
{
    *o = (struct owed){ .mem = mem, .max_keys = max_keys, .max_bytes = max_bytes, .by_space = by_space };
    o->all.what = (strata_clear_op){ .size = sizeof o->all.what, .all = 1, .prefix = strata_bytes("", 0) };
    list_init(&o->keys);
    list_init(&o->clears);
}

/* Keys ------------------------------------------------------------------------------------------------------------- */

static uint64_t own_hash(uint32_t space, strata_slice key) { return strata__hash(key.data, key.size, space); }

static uint32_t space_of(const struct owed *o, uint32_t space) { return o->by_space ? space : 0; }

static struct owed_key *find_key(const struct owed *o, uint32_t op_space, strata_slice key)
{
    uint32_t space = space_of(o, op_space);
    uint64_t own = own_hash(space, key);
    struct owed_key *note = o->buckets[own & (o->bucket_count - 1)];
    while (note != NULL && (note->own != own || note->space != space || note->size != key.size ||
                            memcmp(note->bytes, key.data, key.size) != 0))
        note = note->next;
    return note;
}

static void drop_key(struct owed *o, struct owed_key *note)
{
    struct owed_key **at = &o->buckets[note->own & (o->bucket_count - 1)];
    while (*at != note)
        at = &(*at)->next;
    *at = note->next;
    if (list_linked(&note->link))
        list_remove(&note->link);
    o->key_count--;
    o->bytes -= sizeof *note + note->size;
    strata__free(o->mem, note);
}

static void drop_clear(struct owed *o, struct owed_clear *note)
{
    if (note == &o->all) {
        note->stamp = note->sent = 0;
        return;
    }
    if (list_linked(&note->link))
        list_remove(&note->link);
    o->clear_count--;
    o->bytes -= sizeof *note + note->what.prefix.size;
    strata__free(o->mem, note);
}

/* One clear of everything instead of all notes; what the layer has just now stays until it answers. */
static void owe_all(struct owed *o)
{
    o->all.stamp = ++o->stamp;
    LIST_EACH(key, &o->keys)
    drop_key(o, list_entry(key, struct owed_key, link));
    LIST_EACH(clear, &o->clears)
    if (list_entry(clear, struct owed_clear, link)->sent == 0)
        drop_clear(o, list_entry(clear, struct owed_clear, link));
}

static int covered_by_all(const struct owed *o) { return o->all.stamp != 0 && o->all.sent == 0; }

static int have_buckets(struct owed *o)
{
    size_t count = OWED_BUCKETS_LEAST;
    if (o->buckets != NULL)
        return 1;
    while (count < o->max_keys / 2 && count < OWED_BUCKETS_MOST)
        count *= 2;
    o->buckets = strata__alloc_array(o->mem, count, sizeof *o->buckets);
    o->bucket_count = o->buckets != NULL ? count : 0;
    return o->buckets != NULL;
}

static void renew_key(struct owed *o, struct owed_key *note)
{
    note->stamp = ++o->stamp;
    if (list_linked(&note->link))
        list_remove(&note->link);
    if (note->sent == 0)
        list_push_back(&o->keys, &note->link);
}

/* NULL: there is no room for it. */
static struct owed_key *new_key(struct owed *o, const strata_op *op)
{
    size_t bytes = sizeof(struct owed_key) + op->key.size, share = op->flags & STRATA_OP_LOADED ? 2 : 1;
    if (o->key_count >= o->max_keys / share || o->bytes + bytes > o->max_bytes / share || !have_buckets(o))
        return NULL;
    struct owed_key *note = strata__alloc_zero(o->mem, bytes);
    if (note == NULL)
        return NULL;
    note->space = space_of(o, op->space);
    note->op_space = op->space;
    note->own = own_hash(note->space, op->key);
    note->op_hash = op->hash;
    note->size = op->key.size;
    memcpy(note->bytes, op->key.data, op->key.size);
    struct owed_key **bucket = &o->buckets[note->own & (o->bucket_count - 1)];
    note->next = *bucket;
    *bucket = note;
    o->key_count++;
    o->bytes += bytes;
    return note;
}

int strata__owed_key(struct owed *o, const strata_op *op)
{
    if (covered_by_all(o))
        return 1;
    struct owed_key *note = o->key_count != 0 ? find_key(o, op->space, op->key) : NULL;
    if (note == NULL)
        note = new_key(o, op);
    if (note != NULL)
        renew_key(o, note);
    else if (op->flags & STRATA_OP_LOADED)
        return 0;
    else
        owe_all(o);
    return 1;
}

void strata__owed_removed(struct owed *o, const strata_op *op, uint64_t stamp)
{
    struct owed_key *note = o->key_count != 0 ? find_key(o, op->space, op->key) : NULL;
    if (note != NULL && note->sent == 0 && note->stamp <= stamp)
        drop_key(o, note);
}

struct owed_key *strata__owed_take_key(struct owed *o, uint64_t limit)
{
    if (list_empty(&o->keys))
        return NULL;
    struct owed_key *note = list_entry(o->keys.next, struct owed_key, link);
    if (note->stamp > limit)
        return NULL;
    note->sent = note->stamp;
    list_remove(&note->link);
    return note;
}

void strata__owed_key_over(struct owed *o, struct owed_key *note, int done)
{
    if (done && note->stamp == note->sent) {
        drop_key(o, note);
        return;
    }
    note->sent = 0;
    renew_key(o, note);
}

/* Clears ----------------------------------------------------------------------------------------------------------- */

static int same_clear(const strata_clear_op *a, const strata_clear_op *b)
{
    return a->space == b->space && a->prefix.size == b->prefix.size &&
           (a->prefix.size == 0 || memcmp(a->prefix.data, b->prefix.data, a->prefix.size) == 0);
}

static void renew_clear(struct owed *o, struct owed_clear *note)
{
    note->stamp = ++o->stamp;
    if (note == &o->all)
        return;
    if (list_linked(&note->link))
        list_remove(&note->link);
    list_push_back(&o->clears, &note->link);
}

static struct owed_clear *new_clear(struct owed *o, const strata_clear_op *what)
{
    size_t bytes = sizeof(struct owed_clear) + what->prefix.size;
    if (o->clear_count == OWED_CLEARS || o->bytes + bytes > o->max_bytes)
        return NULL;
    struct owed_clear *note = strata__alloc_zero(o->mem, bytes);
    if (note == NULL)
        return NULL;
    if (what->prefix.size != 0)
        memcpy(note + 1, what->prefix.data, what->prefix.size);
    note->what = *what;
    note->what.size = sizeof note->what;
    note->what.prefix = strata_bytes(note + 1, what->prefix.size);
    o->clear_count++;
    o->bytes += bytes;
    return note;
}

void strata__owed_clear(struct owed *o, const strata_clear_op *what)
{
    if (what->all) {
        o->all.what.life = what->life;
        o->all.what.position = what->position;
        owe_all(o);
        return;
    }
    if (covered_by_all(o))
        return;
    struct owed_clear *note = NULL;
    LIST_EACH(node, &o->clears)
    if (same_clear(&list_entry(node, struct owed_clear, link)->what, what))
        note = list_entry(node, struct owed_clear, link);
    if (note == NULL)
        note = new_clear(o, what);
    if (note == NULL) {
        owe_all(o);
        return;
    }
    note->what.life = what->life;
    note->what.position = what->position;
    renew_clear(o, note);
}

struct owed_clear *strata__owed_take_clear(struct owed *o, uint64_t limit, strata_clear_op *out)
{
    struct owed_clear *note = NULL;
    if (o->all.stamp != 0 && o->all.sent == 0 && o->all.stamp <= limit)
        note = &o->all;
    else if (!list_empty(&o->clears) && list_entry(o->clears.next, struct owed_clear, link)->stamp <= limit)
        note = list_entry(o->clears.next, struct owed_clear, link);
    if (note == NULL)
        return NULL;
    note->sent = note->stamp;
    *out = note->what;
    return note;
}

void strata__owed_clear_over(struct owed *o, struct owed_clear *note, int done)
{
    if (done && note->stamp == note->sent) {
        drop_clear(o, note);
        return;
    }
    note->sent = 0;
    renew_clear(o, note);
}

/* Fences ----------------------------------------------------------------------------------------------------------- */

static int clears_key(const struct owed *o, const strata_clear_op *what, uint32_t space, strata_slice key)
{
    if (o->by_space)
        return what->space == space;
    return what->prefix.size <= key.size &&
           (what->prefix.size == 0 || memcmp(what->prefix.data, key.data, what->prefix.size) == 0);
}

int strata__owed_fences(const struct owed *o, uint32_t space, strata_slice key)
{
    if (o->all.stamp != 0)
        return 1;
    for (const struct list_node *node = o->clears.next; node != &o->clears; node = node->next)
        if (clears_key(o, &list_entry(node, struct owed_clear, link)->what, space, key))
            return 1;
    return o->key_count != 0 && find_key(o, space, key) != NULL;
}

void strata__owed_deinit(struct owed *o)
{
    LIST_EACH(node, &o->clears)
    drop_clear(o, list_entry(node, struct owed_clear, link));
    for (size_t i = 0; i < o->bucket_count; i++)
        while (o->buckets[i] != NULL)
            drop_key(o, o->buckets[i]);
    strata__free(o->mem, o->buckets);
    o->buckets = NULL;
    o->bucket_count = 0;
}
