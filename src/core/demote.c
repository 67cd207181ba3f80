/* demote.c - see demote.h.
 *
 * A note is in two lists: the queue, until the worker takes it, and its bucket, until the worker knows under the key lock
 * whether it may begin.  Who cancels one marks it and no more, so that nothing is freed, and no codec called, under a lock.
 * There is one worker at most, and one put at a time: what comes faster than the layer below can write is dropped. */
#include "src/core/demote.h"

#include <string.h>

#include "src/core/bans.h"
#include "src/core/write.h"

enum { PUTS_AT_ONCE = 64 }; /* then others of the pool get their turn */

struct demotion_note {
    struct list_node link;      /* queue; lock */
    struct demotion_note *next; /* bucket; lock */
    int cancelled;              /* lock */
    uint32_t space;
    uint64_t hash;
    size_t cost;
    strata_value *value; /* one reference */
    strata_value *tags;  /* one reference; NULL: none, or unknown ones */
    strata_meta meta;
    size_t key_size;
    char key[];
};

/* A note that has begun: a write of its key, in one layer. */
struct carried {
    struct write write;
    _Atomic(uint32_t) refs;  /* the worker's, the write's own, and the pool's */
    _Atomic(uint32_t) parts; /* the worker and the write: the last one goes on with the queue */
    struct demotions *demotions;
    struct demotion_note *note;
};

int strata__demotions_new(struct root *root, uint32_t layer, strata_error *err)
{
    struct demotions *d = strata__alloc_zero(root->mem, sizeof *d);
    if (d == NULL)
        return strata__fail(err, STRATA_ENOMEM, "layers", "no memory for a queue between two layers: free some");
    d->root = root;
    d->layer = layer;
    list_init(&d->queue);
    key_mutex_init(&d->lock);
    root->demotions = d;
    root->layers[layer - 1].demotions = d;
    root->host.demotes = root->layers[layer - 1].layer;
    return STRATA_OK;
}

static void free_note(struct demotions *d, struct demotion_note *n)
{
    strata_value_unref(n->value);
    strata_value_unref(n->tags);
    strata__free(d->root->mem, n);
}

void strata__demotions_forget(struct root *root)
{
    struct demotions *d = root->demotions;
    struct list_node *node;
    if (d == NULL)
        return;
    /* Where a thread of the parent had the lock the queue may be half changed. */
    if (os_lock_try(&d->lock.lock))
        while ((node = list_pop_front(&d->queue)) != NULL)
            free_note(d, list_entry(node, struct demotion_note, link));
    key_mutex_init(&d->lock);
    list_init(&d->queue);
    memset(d->buckets, 0, sizeof d->buckets);
    d->count = 0;
    d->bytes = 0;
    d->running = 0;
}

/* Notes --------------------------------------------------------------------------------------------------------- */

static struct demotion_bucket *bucket_of(struct demotions *d, uint64_t hash)
{
    return &d->buckets[hash % DEMOTION_BUCKETS];
}

/* Room for one more, which is counted from now on. */
static int reserve(struct demotions *d, size_t cost)
{
    key_mutex_lock(&d->lock);
    int room = d->count == 0 ||
               (d->count < DEMOTIONS_MOST && cost <= DEMOTION_BYTES_MOST && d->bytes <= DEMOTION_BYTES_MOST - cost);
    if (room) {
        d->count++;
        d->bytes += cost;
    }
    key_mutex_unlock(&d->lock);
    return room;
}

static void unreserve(struct demotions *d, size_t cost)
{
    key_mutex_lock(&d->lock);
    d->count--;
    d->bytes -= cost;
    key_mutex_unlock(&d->lock);
}

static struct demotion_note *new_note(struct demotions *d, const struct demotion *entry, size_t cost)
{
    const strata_allocator *mem = d->root->mem;
    struct demotion_note *n = strata__alloc(mem, sizeof *n + entry->key.size);
    if (n == NULL)
        return NULL;
    n->value = entry->value != NULL ? strata_value_ref(entry->value)
                                    : strata__value_copy(mem, entry->bytes.data, entry->bytes.size);
    if (n->value == NULL) {
        strata__free(mem, n);
        return NULL;
    }
    /* Without memory for them it counts as having any tag. */
    n->tags = entry->tags.size != 0 ? strata__value_copy(mem, entry->tags.data, entry->tags.size) : NULL;
    n->cancelled = 0;
    n->space = entry->space;
    n->hash = entry->hash;
    n->cost = cost;
    n->meta = entry->meta;
    n->key_size = entry->key.size;
    memcpy(n->key, entry->key.data, entry->key.size);
    return n;
}

static int is_over(const strata_meta *meta, int64_t now)
{
    struct deadlines at;
    strata__deadlines(meta, meta->born_ms, &at);
    return at.gone_at <= now;
}

static void run_again(struct demotions *d)
{
    struct executor *ex = d->root->ex;
    if (ex_post(ex, &d->task) != STRATA_OK)
        ex_post_always(ex, &d->task);
}

static void run_queue(struct task *task);

/* 1: nobody is at it. */
static int enqueue(struct demotions *d, struct demotion_note *n)
{
    struct demotion_bucket *b = bucket_of(d, n->hash);
    key_mutex_lock(&d->lock);
    list_push_back(&d->queue, &n->link);
    n->next = b->first;
    b->first = n;
    atomic_fetch_add_explicit(&b->count, 1, memory_order_relaxed);
    int idle = !d->running;
    d->running = 1;
    key_mutex_unlock(&d->lock);
    return idle;
}

void strata__host_demote(strata_layer_host *host, const struct demotion *entry)
{
    struct root *root = (struct root *)(void *)((char *)host - offsetof(struct root, host));
    struct demotions *d = root->demotions;
    size_t bytes = entry->value != NULL ? strata__value_cost(entry->value)
                                        : sizeof(struct strata_value) + entry->bytes.size;
    size_t cost = sizeof(struct demotion_note) + entry->key.size + bytes + entry->tags.size;
    struct demotion_note *n = NULL;
    if (is_over(&entry->meta, ex_now_ms(root->ex)))
        return;
    if (reserve(d, cost)) {
        n = new_note(d, entry, cost);
        if (n == NULL)
            unreserve(d, cost);
    }
    if (n == NULL) {
        atomic_fetch_add_explicit(&d->dropped, 1, memory_order_relaxed);
    } else if (enqueue(d, n)) {
        root_hold(root); /* the task's */
        d->task.run = run_queue;
        run_again(d);
    }
}

static int same_key(const struct demotion_note *n, const strata_op *op)
{
    return n->hash == op->hash && n->space == op->space && n->key_size == op->key.size &&
           memcmp(n->key, op->key.data, n->key_size) == 0;
}

void strata__demotion_cancel(struct demotions *d, const strata_op *op)
{
    key_mutex_lock(&d->lock);
    for (struct demotion_note *n = bucket_of(d, op->hash)->first; n != NULL; n = n->next)
        if (same_key(n, op))
            n->cancelled = 1;
    key_mutex_unlock(&d->lock);
}

/* The worker ---------------------------------------------------------------------------------------------------- */

/* The oldest; it stays in its bucket.  NULL: there is none, and the worker stops. */
static struct demotion_note *take_next(struct demotions *d)
{
    struct demotion_note *n = NULL;
    key_mutex_lock(&d->lock);
    struct list_node *node = list_pop_front(&d->queue);
    if (node != NULL) {
        n = list_entry(node, struct demotion_note, link);
        d->count--;
        d->bytes -= n->cost;
    } else {
        d->running = 0;
    }
    key_mutex_unlock(&d->lock);
    return n;
}

/* From here on nobody can cancel it.  1: somebody has. */
static int leave_bucket(struct demotions *d, struct demotion_note *n)
{
    struct demotion_bucket *b = bucket_of(d, n->hash);
    key_mutex_lock(&d->lock);
    struct demotion_note **at = &b->first;
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    atomic_fetch_sub_explicit(&b->count, 1, memory_order_relaxed);
    int cancelled = n->cancelled;
    key_mutex_unlock(&d->lock);
    return cancelled;
}

static void count_dropped(struct demotions *d) { atomic_fetch_add_explicit(&d->dropped, 1, memory_order_relaxed); }

static struct carried *carried_of(struct strand *s)
{
    return (struct carried *)(void *)((char *)s - offsetof(struct carried, write.strand));
}

static void ref_carried(struct strand *s) { atomic_fetch_add_explicit(&carried_of(s)->refs, 1, memory_order_relaxed); }

static void unref_carried(struct strand *s)
{
    struct carried *c = carried_of(s);
    if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    const strata_allocator *mem = c->demotions->root->mem;
    strata__free(mem, c->write.storage);
    strata__free(mem, c);
}

static int last_part(struct carried *c) { return atomic_fetch_sub_explicit(&c->parts, 1, memory_order_acq_rel) == 1; }

static void tell_codec_failure(struct write *w)
{
    struct layer_slot *slot = &w->root->layers[w->end - 1];
    atomic_fetch_add_explicit(&slot->errors, 1, memory_order_relaxed);
    count_up(w->handle, COUNT_ERRORS);
    strata__event_error(w->handle, w->key.plain, slot->layer->name, w->status, w->err.message);
}

static void carried_over(struct write *w)
{
    struct carried *c = (struct carried *)(void *)w;
    struct demotions *d = c->demotions;
    if (w->op.kind == STRATA_OP_PUT && w->op.status == STRATA_OK)
        atomic_fetch_add_explicit(&d->done, 1, memory_order_relaxed);
    if (w->value->object != NULL && w->encoded == NULL)
        tell_codec_failure(w);
    strata_value_unref(w->encoded);
    free_note(d, c->note);
    if (last_part(c))
        run_again(d);
    unref_carried(&w->strand);
}

static struct carried *new_carried(struct demotions *d, struct demotion_note *n)
{
    struct root *root = d->root;
    struct carried *c = strata__alloc(root->mem, sizeof *c);
    if (c == NULL)
        return NULL;
    key_mutex_lock(&root->tree_lock);
    strata *handle = root->spaces[n->space]; /* stays while the cache is open, which our hold sees to */
    key_mutex_unlock(&root->tree_lock);
    struct write *w = &c->write;
    strata__write_begin(w, handle, STRATA_OP_PUT);
    strata__strand_init(&w->strand, root->ex, strata__write_run, ref_carried, unref_carried);
    atomic_init(&c->refs, 2);
    atomic_init(&c->parts, 2);
    c->demotions = d;
    c->note = n;
    w->demotes = 1;
    w->done_layers = d->layer;
    w->end = d->layer + 1;
    w->value = n->value;
    w->tags = n->tags;
    w->meta = n->meta;
    w->over = carried_over;
    if (strata__forms_make(handle, strata_bytes(n->key, n->key_size), &w->key, &w->storage) == STRATA_OK)
        return c;
    strata__free(root->mem, c);
    return NULL;
}

/* 1: its key is busy with it. */
static int begin(struct demotions *d, struct demotion_note *n, struct carried *c)
{
    struct root *root = d->root;
    struct write *w = &c->write;
    struct frame frame;
    struct stripe *s = stripe_lock(root, n->hash, &frame);
    int over = leave_bucket(d, n) ||
               strata__banned_since(w->handle, w->key.plain, n->meta.position, n->meta.tag_count, n->tags) ||
               is_over(&n->meta, ex_now_ms(root->ex));
    int busy = strata__key_busy_locked(s, n->hash, n->space, w->key.plain);
    if (!over && !busy) {
        w->busy = (struct busy){ .hash = n->hash, .space = n->space, .is_write = 1, .key = w->key.plain };
        strata__busy_enter_locked(root, s, &w->busy);
    }
    stripe_unlock(s, &frame);
    if (!over && busy)
        count_dropped(d);
    return !over && !busy;
}

/* 1: it is done with; 0: somebody else goes on with the queue. */
static int carry(struct demotions *d, struct demotion_note *n)
{
    struct carried *c = new_carried(d, n);
    if (c == NULL) {
        (void)leave_bucket(d, n);
        count_dropped(d);
        free_note(d, n);
        return 1;
    }
    if (!begin(d, n, c)) {
        free_note(d, n);
        atomic_store_explicit(&c->refs, 1, memory_order_relaxed);
        unref_carried(&c->write.strand);
        return 1;
    }
    strata__write_run(&c->write.strand);
    int done = last_part(c);
    unref_carried(&c->write.strand);
    return done;
}

static void run_queue(struct task *task)
{
    struct demotions *d = (struct demotions *)(void *)((char *)task - offsetof(struct demotions, task));
    struct root *root = d->root;
    for (int i = 0; i < PUTS_AT_ONCE; i++) {
        struct demotion_note *n = take_next(d);
        if (n == NULL) {
            root_leave(root);
            return;
        }
        if (!carry(d, n))
            return;
    }
    run_again(d);
}
