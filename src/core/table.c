/* table.c - the key-lock table: which keys are busy, who must wait for whom, and poison.
 *
 * The stripes' locks are taken by the callers (flight.h), but for a close, which goes through all of them. */
#include "src/core/flight.h"
#include "src/core/write.h"

#include <string.h>

enum { BUCKETS_FIRST = 16, BUCKETS_MOST = 4096 };

/* The table --------------------------------------------------------------------------------------------------- */

static struct list_node *new_buckets(const strata_allocator *mem, uint32_t count)
{
    struct list_node *b = strata__alloc_array(mem, count, sizeof *b);
    for (uint32_t i = 0; b != NULL && i < count; i++)
        list_init(&b[i]);
    return b;
}

int strata__stripes_new(struct root *root)
{
    void *block;
    struct stripe *stripes = strata__alloc_lines(root->mem, STRIPES * sizeof *stripes, &block);
    if (stripes == NULL)
        return STRATA_ENOMEM;
    root->stripes = stripes;
    root->stripes_block = block;
    for (int i = 0; i < STRIPES; i++) {
        stripes[i].buckets = new_buckets(root->mem, BUCKETS_FIRST);
        stripes[i].mask = BUCKETS_FIRST - 1;
        if (stripes[i].buckets != NULL)
            continue;
        while (i-- > 0)
            strata__free(root->mem, stripes[i].buckets);
        strata__free(root->mem, block);
        root->stripes = NULL;
        return STRATA_ENOMEM;
    }
    return STRATA_OK;
}

void strata__stripes_free(struct root *root)
{
    for (int i = 0; root->stripes != NULL && i < STRIPES; i++)
        strata__free(root->mem, root->stripes[i].buckets);
    if (root->stripes != NULL)
        strata__free(root->mem, root->stripes_block);
    root->stripes = NULL;
}

static struct list_node *bucket(const struct stripe *s, uint64_t hash)
{
    return &s->buckets[(uint32_t)(hash >> 32) & s->mask];
}

/* Without memory for more, chains get longer: that is all. */
static void grow_locked(struct root *root, struct stripe *s)
{
    uint32_t count = s->mask + 1;
    if (s->count < count || count >= BUCKETS_MOST)
        return;
    struct list_node *old = s->buckets, *more = new_buckets(root->mem, count * 2);
    if (more == NULL)
        return;
    s->buckets = more;
    s->mask = count * 2 - 1;
    for (uint32_t i = 0; i < count; i++) {
        LIST_EACH(node, &old[i])
        {
            list_remove(node);
            list_push_back(bucket(s, list_entry(node, struct busy, chain)->hash), node);
        }
    }
    strata__free(root->mem, old);
}

static int same_key(const struct busy *b, uint64_t hash, uint32_t space, strata_slice key)
{
    return b->hash == hash && b->space == space && b->key.size == key.size &&
           memcmp(b->key.data, key.data, key.size) == 0;
}

/* An earlier item that is at work in slower layers: a write forbids everything, a storing flight forbids writes.  A superseded one forbids
 * flights. */
static int forbids(struct busy *earlier, int write)
{
    if (earlier->is_write)
        return 1;
    const struct flight *f = flight_of_busy(earlier);
    return write ? f->phase == FLIGHT_STORING : f->superseded && !f->poisoned;
}

int strata__busy_must_wait_locked(struct stripe *s, const struct busy *item)
{
    LIST_EACH(node, bucket(s, item->hash))
    {
        struct busy *b = list_entry(node, struct busy, chain);
        if (b == item)
            break;
        if (same_key(b, item->hash, item->space, item->key) && forbids(b, item->is_write))
            return 1;
    }
    return 0;
}

void strata__busy_enter_locked(struct root *root, struct stripe *s, struct busy *item)
{
    grow_locked(root, s);
    list_push_back(bucket(s, item->hash), &item->chain);
    atomic_store_explicit(&s->count, atomic_load_explicit(&s->count, memory_order_relaxed) + 1, memory_order_relaxed);
    item->waiting = (unsigned char)strata__busy_must_wait_locked(s, item);
}

/* Those of this key that nothing forbids any more go on. */
static void wake_locked(struct stripe *s, const struct busy *item)
{
    LIST_EACH(node, bucket(s, item->hash))
    {
        struct busy *b = list_entry(node, struct busy, chain);
        if (!b->waiting || !same_key(b, item->hash, item->space, item->key) || strata__busy_must_wait_locked(s, b))
            continue;
        b->waiting = 0;
        if (b->delayed)
            continue;
        strata__strand_wake(b->is_write ? &write_of_busy(b)->strand : &flight_of_busy(b)->strand);
    }
}

void strata__busy_leave_locked(struct stripe *s, struct busy *item)
{
    list_remove(&item->chain);
    atomic_store_explicit(&s->count, atomic_load_explicit(&s->count, memory_order_relaxed) - 1, memory_order_relaxed);
    wake_locked(s, item);
}

struct busy *strata__busy_write_locked(struct stripe *s, struct busy *after, uint64_t hash, uint32_t space,
                                       strata_slice key)
{
    struct list_node *all = bucket(s, hash);
    for (struct list_node *node = after != NULL ? after->chain.next : all->next; node != all; node = node->next) {
        struct busy *b = list_entry(node, struct busy, chain);
        if (b->is_write && same_key(b, hash, space, key))
            return b;
    }
    return NULL;
}

struct flight *strata__flight_find_locked(struct stripe *s, uint64_t hash, uint32_t space, strata_slice key)
{
    LIST_EACH(node, bucket(s, hash))
    {
        struct busy *b = list_entry(node, struct busy, chain);
        if (!b->is_write && same_key(b, hash, space, key) && flight_of_busy(b)->joinable)
            return flight_of_busy(b);
    }
    return NULL;
}

struct flight *strata__flight_ahead_locked(struct stripe *s, const struct flight *f)
{
    struct flight *ahead = NULL;
    LIST_EACH(node, bucket(s, f->busy.hash))
    {
        struct busy *b = list_entry(node, struct busy, chain);
        if (b == &f->busy)
            break;
        if (!b->is_write && same_key(b, f->busy.hash, f->busy.space, f->busy.key) && forbids(b, 0))
            ahead = flight_of_busy(b);
    }
    return ahead;
}

int strata__another_loads_locked(struct stripe *s, const struct flight *f, int64_t now)
{
    LIST_EACH(node, bucket(s, f->busy.hash))
    {
        struct busy *b = list_entry(node, struct busy, chain);
        if (b->is_write || b->waiting || b == &f->busy || !same_key(b, f->busy.hash, f->busy.space, f->busy.key))
            continue;
        const struct flight *other = flight_of_busy(b);
        if (other->phase <= FLIGHT_LOADING && !strata__flight_too_old(other, now))
            return 1;
    }
    return 0;
}

int strata__key_busy_locked(struct stripe *s, uint64_t hash, uint32_t space, strata_slice key)
{
    LIST_EACH(node, bucket(s, hash))
    {
        if (same_key(list_entry(node, struct busy, chain), hash, space, key))
            return 1;
    }
    return 0;
}

/* A refresh can't be joined where single_flight is off or max_flights is reached, and is one for all the same. */
struct flight *strata__key_loads_locked(struct stripe *s, uint64_t hash, uint32_t space, strata_slice key)
{
    LIST_EACH(node, bucket(s, hash))
    {
        struct busy *b = list_entry(node, struct busy, chain);
        if (b->is_write || !same_key(b, hash, space, key))
            continue;
        struct flight *f = flight_of_busy(b);
        if (f->joinable || (f->refresh && !f->poisoned && !f->detached))
            return f;
    }
    return NULL;
}

/* Poison ------------------------------------------------------------------------------------------------------ */

static void no_more_joins_locked(struct flight *f)
{
    f->joinable = 0;
    if (f->counted) {
        f->counted = 0;
        atomic_fetch_sub_explicit(&f->root->flights, 1, memory_order_relaxed);
    }
}

void strata__flight_seal_locked(struct flight *f) { no_more_joins_locked(f); }

void strata__flight_supersede_locked(struct flight *f)
{
    f->superseded = 1;
    no_more_joins_locked(f);
}

void strata__poison_one_locked(struct flight *f)
{
    f->poisoned = 1;
    no_more_joins_locked(f);
    if (f->lease != NULL)
        strata__lease_drop_locked(f); /* it is not stored: another may load */
    if (f->superseded)
        wake_locked(stripe_of(f->root, f->key.hash), &f->busy); /* who waits for what it brings */
}

/* Those of the key that take too long keep nobody waiting any more. */
void strata__give_up_superseded_locked(struct stripe *s, uint64_t hash, uint32_t space, strata_slice key, int64_t now)
{
    LIST_EACH(node, bucket(s, hash))
    {
        struct busy *b = list_entry(node, struct busy, chain);
        if (b->is_write || !same_key(b, hash, space, key))
            continue;
        struct flight *f = flight_of_busy(b);
        if (f->superseded && !f->poisoned && strata__flight_too_old(f, now))
            strata__poison_one_locked(f);
    }
}

void strata__poison_detached_locked(struct stripe *s, const struct flight *newer)
{
    LIST_EACH(node, bucket(s, newer->busy.hash))
    {
        struct busy *b = list_entry(node, struct busy, chain);
        if (b == &newer->busy)
            return;
        if (!b->is_write && same_key(b, newer->busy.hash, newer->busy.space, newer->busy.key) && flight_of_busy(b)->late)
            strata__poison_one_locked(flight_of_busy(b));
    }
}

int strata__another_stores_locked(struct stripe *s, const struct flight *f)
{
    LIST_EACH(node, bucket(s, f->busy.hash))
    {
        struct busy *b = list_entry(node, struct busy, chain);
        if (b == &f->busy || b->is_write || !same_key(b, f->busy.hash, f->busy.space, f->busy.key))
            continue;
        if (flight_of_busy(b)->phase == FLIGHT_STORING && flight_of_busy(b)->behind_late == BEHIND_NONE)
            return 1;
    }
    return 0;
}

struct flight *strata__first_parked_locked(struct stripe *s, const struct flight *f)
{
    LIST_EACH(node, bucket(s, f->busy.hash))
    {
        struct busy *b = list_entry(node, struct busy, chain);
        if (!b->is_write && same_key(b, f->busy.hash, f->busy.space, f->busy.key) &&
            flight_of_busy(b)->behind_late == BEHIND_PARKED)
            return flight_of_busy(b);
    }
    return NULL;
}

void strata__poison_locked(struct root *root, struct stripe *s, uint64_t hash, uint32_t space, strata_slice key)
{
    (void)root;
    LIST_EACH(node, bucket(s, hash))
    {
        struct busy *b = list_entry(node, struct busy, chain);
        if (!b->is_write && same_key(b, hash, space, key))
            strata__poison_one_locked(flight_of_busy(b));
    }
}

void strata__disturb_locked(struct stripe *s, const struct flight *storing)
{
    LIST_EACH(node, bucket(s, storing->busy.hash))
    {
        struct busy *b = list_entry(node, struct busy, chain);
        if (b->is_write && !b->waiting && same_key(b, storing->busy.hash, storing->busy.space, storing->busy.key))
            write_of_busy(b)->disturbed = write_of_busy(b)->deciding;
    }
}

void strata__outdate_locked(struct stripe *s, uint64_t hash, uint32_t space, strata_slice key)
{
    LIST_EACH(node, bucket(s, hash))
    {
        struct busy *b = list_entry(node, struct busy, chain);
        if (!b->is_write && same_key(b, hash, space, key))
            flight_of_busy(b)->outdated = 1;
    }
}

void strata__supersede_locked(struct stripe *s, uint64_t hash, uint32_t space, strata_slice key, uint64_t version)
{
    LIST_EACH(node, bucket(s, hash))
    {
        struct busy *b = list_entry(node, struct busy, chain);
        if (!b->is_write || b->waiting || b->delayed || !same_key(b, hash, space, key))
            continue;
        struct write *w = write_of_busy(b);
        w->superseded_by = w->superseded && w->superseded_by != version ? 0 : version;
        w->superseded = 1;
    }
}

static uint32_t oldest_locked(const struct stripe *s, uint32_t most, int64_t now)
{
    for (uint32_t i = 0; i <= s->mask; i++) {
        LIST_EACH(node, &s->buckets[i])
        {
            struct busy *b = list_entry(node, struct busy, chain);
            if (b->is_write)
                continue;
            const struct flight *f = flight_of_busy(b);
            if (!f->poisoned && f->position < most && !strata__flight_too_old(f, now))
                most = f->position;
        }
    }
    return most;
}

uint32_t strata__flights_oldest(struct root *root, uint32_t most)
{
    int64_t now = ex_now_ms(root->ex);
    for (int i = 0; i < STRIPES; i++) {
        struct stripe *s = &root->stripes[i];
        key_mutex_lock(&s->lock);
        if (atomic_load_explicit(&s->count, memory_order_relaxed) != 0)
            most = oldest_locked(s, most, now);
        key_mutex_unlock(&s->lock);
    }
    return most;
}

void strata__flight_abandon_locked(struct flight *f)
{
    atomic_store(&f->load.canceled, 1);
    strata__poison_one_locked(f);
    strata__limit_quit_locked(f);
}

/* Its caller may have the value already: a layer that outlives the process gets it before the close is over. */
static int is_being_stored(const struct flight *f) { return f->phase == FLIGHT_STORING && !f->poisoned; }

/* One stripe's share of a close: the flights that were not closed yet, chained; their waiters. */
static struct flight *close_stripe(struct stripe *s, struct list_node *waiters)
{
    struct flight *closed = NULL;
    key_mutex_lock(&s->lock);
    for (uint32_t i = 0; i <= s->mask; i++) {
        LIST_EACH(node, &s->buckets[i])
        {
            struct busy *b = list_entry(node, struct busy, chain);
            if (b->is_write || flight_of_busy(b)->closed || is_being_stored(flight_of_busy(b)))
                continue;
            struct flight *f = flight_ref(flight_of_busy(b));
            f->closed = 1;
            f->background = 0;
            f->keep = 0;
            strata__flight_abandon_locked(f);
            list_move_all(waiters, &f->waiters);
            f->next_closed = closed;
            closed = f;
        }
    }
    key_mutex_unlock(&s->lock);
    return closed;
}

void strata__flights_cancel_all(struct root *root)
{
    strata_error err = STRATA_ERROR_INIT;
    strata__fail(&err, STRATA_ECLOSED, "cache", "the cache was closed while the key was being loaded");
    for (int i = 0; i < STRIPES; i++) {
        struct list_node waiters, *node;
        list_init(&waiters);
        struct flight *f = close_stripe(&root->stripes[i], &waiters);
        while ((node = list_pop_front(&waiters)) != NULL)
            strata__waiter_finish(list_entry(node, struct waiter, link), STRATA_ECLOSED, NULL, &err);
        while (f != NULL) {
            struct flight *next = f->next_closed;
            strata__load_abort(f, STRATA_ECLOSED, err.message);
            strata__flight_unref(f);
            f = next;
        }
    }
}
