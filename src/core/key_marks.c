/* key_marks.c - see key_marks.h.  Marks of a key stand where its stripe's do, so that the key lock guards them. */
#include "src/core/key_marks.h"

#include "src/policy/key_notes.h"

enum { UNCACHEABLE_PART = 256 }; /* marks a stripe: 16,384 keys, 384 KiB */

/* NULL: no memory, which is no reason to fail. */
static struct key_notes *made(struct root *root, _Atomic(struct key_notes *) *at, uint32_t part)
{
    struct key_notes *n = atomic_load_explicit(at, memory_order_acquire), *none = NULL;
    if (n != NULL)
        return n;
    n = strata__alloc_zero(root->mem, strata__key_notes_size(STRIPES, part));
    if (n == NULL)
        return NULL;
    strata__key_notes_init(n, part);
    if (atomic_compare_exchange_strong(at, &none, n))
        return n;
    strata__free(root->mem, n); /* another thread was faster */
    return none;
}

/* The stripe's part of them, and the place in it. */
static uint32_t part_of(uint64_t hash) { return (uint32_t)((hash >> 48) % STRIPES); }

void strata__uncacheable_note(struct flight *f, const strata_policy *policy)
{
    struct root *root = f->root;
    struct frame frame;
    if (policy->uncacheable_ms <= 0)
        return;
    struct key_notes *notes = made(root, &root->uncacheable, UNCACHEABLE_PART);
    if (notes == NULL)
        return;
    int64_t now = ex_now_ms(root->ex), until;
    if (__builtin_add_overflow(now, policy->uncacheable_ms, &until))
        until = INT64_MAX;
    struct stripe *s = stripe_lock(root, f->key.hash, &frame);
    struct key_note *n = strata__key_note_make(notes, part_of(f->key.hash), f->key.hash, now);
    n->until_ms = until;
    stripe_unlock(s, &frame);
}

void strata__uncacheable_forget(struct flight *f, const strata_policy *policy)
{
    struct root *root = f->root;
    struct frame frame;
    struct key_notes *notes = atomic_load_explicit(&root->uncacheable, memory_order_acquire);
    if (policy->uncacheable_ms <= 0 || notes == NULL)
        return;
    struct stripe *s = stripe_lock(root, f->key.hash, &frame);
    struct key_note *n = strata__key_note_find(notes, part_of(f->key.hash), f->key.hash, ex_now_ms(root->ex));
    if (n != NULL)
        n->until_ms = 0;
    stripe_unlock(s, &frame);
}

int strata__uncacheable_locked(struct root *root, const strata_policy *policy, uint64_t hash, int64_t now)
{
    struct key_notes *notes = atomic_load_explicit(&root->uncacheable, memory_order_acquire);
    return policy->uncacheable_ms > 0 && notes != NULL &&
           strata__key_note_find(notes, part_of(hash), hash, now) != NULL;
}

void strata__key_marks_free(struct root *root)
{
    strata__free(root->mem, atomic_load(&root->uncacheable));
    atomic_store(&root->uncacheable, NULL);
}
