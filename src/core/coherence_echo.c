/* coherence_echo.c - a key of the store was changed, says the store, and not by whom: what is held of it is compared with the store.
 *
 * What this node writes comes back so, too: the lease that a load takes, and the value that it stores.  To drop the key each time would
 * leave nothing in memory that was loaded here, and to poison its flight would store nothing at all.  So the key is read in the store,
 * which was changed before it told, and only an entry of another version goes.
 *
 * A flight or write of the key that is under way is let alone: with a lease the store itself refuses what was overtaken, and its end is
 * waited for, by looking, in pauses.  What it has put here is compared then.  What was held before is compared at once, busy or not.
 *
 * There is one check of a key at a time; what comes meanwhile has it done again.  Past CHECKS_MOST the key is dropped unseen, flights
 * and all: too much goes, never too little. */
#include <string.h>

#include "src/core/coherence_impl.h"

enum { CHECKS_MOST = 4096, PAUSE_LEAST_MS = 4, PAUSE_MOST_MS = 250 };

struct check {
    struct list_node link;  /* c->checks[]; coherence lock */
    struct list_node first; /* c->first_checks, until what was held when it was changed was compared; coherence lock */
    struct bus_slot *bus;
    strata *handle;
    struct key_forms key;
    int64_t since_ms; /* when it was changed; coherence lock */
    int64_t pause_ms;
    unsigned char again; /* it was changed once more; coherence lock */
    struct task task;
    strata_op op;
    strata_error err;
    unsigned char bytes[];
};

struct layer_slot *strata__store_of(struct root *root)
{
    struct layer_slot *store = NULL;
    for (size_t i = 0; i < root->layer_count; i++)
        if (root->layers[i].flags & STRATA_LAYER_SHARED)
            store = &root->layers[i];
    return store;
}

static struct list_node *bucket_of(struct coherence *c, uint64_t hash) { return &c->checks[hash % CHECK_BUCKETS]; }

void strata__checks_init(struct coherence *c)
{
    for (size_t i = 0; i < CHECK_BUCKETS; i++)
        list_init(&c->checks[i]);
    list_init(&c->first_checks);
    c->check_count = 0;
}

int64_t strata__checks_bound(struct coherence *c, int64_t moment)
{
    key_mutex_lock(&c->lock);
    if (!list_empty(&c->first_checks)) {
        int64_t oldest = list_entry(c->first_checks.next, struct check, first)->since_ms;
        moment = moment < oldest ? moment : oldest;
    }
    key_mutex_unlock(&c->lock);
    return moment;
}

static int is_closing(const struct coherence *c) { return atomic_load(&c->root->state) != ROOT_OPEN; }

/* What is here ------------------------------------------------------------------------------------------------- */

static int is_local(const struct layer_slot *slot) { return !(slot->flags & STRATA_LAYER_SHARED); }

static int has_slow_local(const struct root *root)
{
    for (size_t i = 0; i < root->layer_count; i++)
        if (is_local(&root->layers[i]) && !slot_instant(&root->layers[i]))
            return 1;
    return 0;
}

enum { HERE_BUSY = 1, HERE_HELD = 2 };

/* Is the key busy, and what do instant layers hold?  What differs from `version` goes, where `drops` is set. */
static int look_locked(strata *handle, struct stripe *s, const struct key_forms *key, int drops, uint64_t version)
{
    struct root *root = handle->root;
    int here = strata__key_busy_locked(s, key->hash, handle->space, key->plain) ? HERE_BUSY : 0;
    for (size_t i = root->layer_count; i-- > 0;) {
        struct layer_slot *slot = &root->layers[i];
        strata_error words;
        strata_op op;
        if (!is_local(slot) || !slot_instant(slot))
            continue;
        op_init(&op, handle, slot, key, STRATA_OP_GET, ex_now_ms(root->ex), &words);
        strata__instant_submit(slot, &op);
        int found = strata__op_found(&op), same = found && version != 0 && op.meta.version == version;
        strata_value_unref(op.found);
        here |= found ? HERE_HELD : 0;
        if (!found || same || !drops)
            continue;
        op_init(&op, handle, slot, key, STRATA_OP_REMOVE, ex_now_ms(root->ex), &words);
        strata__instant_submit(slot, &op);
    }
    return here;
}

static int look(strata *handle, const struct key_forms *key, int drops, uint64_t version)
{
    struct frame frame;
    struct stripe *s = stripe_lock(handle->root, key->hash, &frame);
    int here = look_locked(handle, s, key, drops, version);
    stripe_unlock(s, &frame);
    return here;
}

/* A check ------------------------------------------------------------------------------------------------------ */

static void ask(struct check *k);

/* What was held when it was last changed was compared. */
static void compared(struct check *k)
{
    struct coherence *c = k->bus->c;
    key_mutex_lock(&c->lock);
    if (!k->again && list_linked(&k->first))
        list_remove(&k->first);
    key_mutex_unlock(&c->lock);
}

/* Was it changed once more?  That is dealt with now. */
static int take_again(struct check *k)
{
    key_mutex_lock(&k->bus->c->lock);
    int again = k->again;
    k->again = 0;
    key_mutex_unlock(&k->bus->c->lock);
    return again;
}

/* It is over, and gone, unless the key was changed once more. */
static void end(struct check *k)
{
    struct coherence *c = k->bus->c;
    struct root *root = c->root;
    key_mutex_lock(&c->lock);
    int over = !k->again || is_closing(c);
    k->again = 0;
    if (over) {
        list_remove(&k->link);
        if (list_linked(&k->first))
            list_remove(&k->first);
        c->check_count--;
    }
    key_mutex_unlock(&c->lock);
    if (!over) {
        ask(k);
        return;
    }
    strata__free(root->mem, k);
    root_leave(root);
}

static void look_again(void *ctx);

static void wait_for_end(struct check *k)
{
    struct root *root = k->bus->c->root;
    int64_t pause_ms = k->pause_ms;
    k->pause_ms = pause_ms < PAUSE_MOST_MS / 2 ? pause_ms * 2 : PAUSE_MOST_MS;
    if (root->host.after(&root->host, pause_ms, look_again, k) == STRATA_OK)
        return;
    strata__say_change(k->bus, k->key.storage, 0);
    end(k);
}

/* Is it busy still? */
static void look_again(void *ctx)
{
    struct check *k = ctx;
    if (is_closing(k->bus->c))
        end(k);
    else if (!take_again(k) && look(k->handle, &k->key, 0, 0) & HERE_BUSY)
        wait_for_end(k);
    else
        ask(k);
}

/* On a worker: the store has answered. */
static void judge(struct task *task)
{
    struct check *k = (struct check *)(void *)((char *)task - offsetof(struct check, task));
    struct coherence *c = k->bus->c;
    int found = strata__op_found(&k->op);
    uint64_t version = found ? k->op.meta.version : 0; /* it did not answer, or has none: what is here goes */
    strata_value_unref(k->op.found);
    int here = look(k->handle, &k->key, 1, version);
    compared(k);
    if (here & HERE_BUSY && !is_closing(c)) {
        wait_for_end(k);
        return;
    }
    if (has_slow_local(c->root))
        strata__say_change(k->bus, k->key.storage, version);
    end(k);
}

static void answered(strata_op *op)
{
    struct check *k = op->owner;
    k->task.run = judge;
    ex_post_always(k->bus->c->root->ex, &k->task);
}

static void ask(struct check *k)
{
    struct root *root = k->bus->c->root;
    struct layer_slot *slot = strata__store_of(root);
    strata_op *op = &k->op;
    op_init(op, k->handle, slot, &k->key, STRATA_OP_GET, ex_now_ms(root->ex), &k->err);
    op->lease = 0;
    op->done = answered;
    op->owner = k;
    slot->layer->ops->submit(slot->layer, &op, 1);
}

/* 1: one that is under way does it again; -1: there is no room for one more; 0. */
static int join(struct bus_slot *b, const struct key_forms *key)
{
    struct coherence *c = b->c;
    int joined = 0;
    key_mutex_lock(&c->lock);
    LIST_EACH(node, bucket_of(c, key->hash))
    {
        struct check *k = list_entry(node, struct check, link);
        if (k->key.storage.size != key->storage.size ||
            memcmp(k->key.storage.data, key->storage.data, key->storage.size) != 0)
            continue;
        k->again = 1;
        joined = 1;
        if (list_linked(&k->first))
            continue;
        k->since_ms = ex_now_ms(c->root->ex);
        list_push_back(&c->first_checks, &k->first);
    }
    if (!joined && c->check_count >= CHECKS_MOST)
        joined = -1;
    key_mutex_unlock(&c->lock);
    return joined;
}

/* NULL: no memory. */
static struct check *begin(struct bus_slot *b, strata *handle, const struct key_forms *key)
{
    struct coherence *c = b->c;
    struct check *k = strata__alloc(c->root->mem, sizeof *k + key->storage.size);
    if (k == NULL)
        return NULL;
    memset(k, 0, sizeof *k);
    memcpy(k->bytes, key->storage.data, key->storage.size);
    k->bus = b;
    k->handle = handle;
    k->key.hash = key->hash;
    k->key.storage = strata_bytes(k->bytes, key->storage.size);
    k->key.plain = strata_bytes(k->bytes + (key->storage.size - key->plain.size), key->plain.size);
    k->since_ms = ex_now_ms(c->root->ex);
    k->pause_ms = PAUSE_LEAST_MS;
    root_hold(c->root);
    key_mutex_lock(&c->lock);
    list_push_back(bucket_of(c, key->hash), &k->link);
    list_push_back(&c->first_checks, &k->first);
    c->check_count++;
    key_mutex_unlock(&c->lock);
    return k;
}

void strata__apply_key(struct bus_slot *b, strata_slice storage)
{
    struct root *root = b->c->root;
    struct key_forms key = { .storage = storage };
    b->counted.received++;
    strata *handle = storage.size != 0 ? strata__handle_of_storage(root, storage, &key.plain) : NULL;
    if (storage.size == 0 || strata__store_of(root) == NULL) {
        strata__apply_change(b, storage, 0);
        return;
    }
    if (handle == NULL) /* a namespace that is not open holds nothing that is served */
        return;
    key.hash = handle_hash(handle, key.plain);
    int joined = join(b, &key);
    if (joined > 0)
        return;
    int here = look(handle, &key, 0, 0);
    if (here == 0 && !has_slow_local(root))
        return;
    atomic_fetch_add_explicit(&b->applied, 1, memory_order_relaxed);
    struct check *k = joined == 0 ? begin(b, handle, &key) : NULL;
    if (k == NULL) {
        strata__apply_change(b, storage, 0);
    } else if (here == HERE_BUSY && !has_slow_local(root)) {
        compared(k); /* there is nothing */
        wait_for_end(k);
    } else {
        ask(k);
    }
}
