/* behind.c - write-behind: the queue, its clock, and the end of what was in it.  See behind.h.
 *
 * A note has one reference while it is in the table, another while its strand is with the pool or the worker looks at it.  Who takes
 * it out of the table gives up the first: the write's end, or, under the key lock, whoever made it needless. */
#include "src/core/behind.h"

#include <string.h>

#include "src/core/bans.h"

/* Life -------------------------------------------------------------------------------------------------------------- */

static int nearest_is_memory(const struct root *root)
{
    return slot_instant(&root->layers[0]) && !(root->layers[0].flags & STRATA_LAYER_SHARED);
}

static int has_slower(const struct root *root) { return root->instant_count < root->layer_count; }

static int is_strict(const struct root *root) { return root->options.write_policy == STRATA_WRITE_STRICT; }

static void run_queue(struct task *task);

static void init(struct behind *b, struct root *root)
{
    key_mutex_init(&b->lock);
    b->root = root;
    list_init(&b->queue);
    list_init(&b->ready);
    list_init(&b->lost);
    b->timer_ms = INT64_MAX;
    b->task.run = run_queue; /* here alone: a worker looks at it under no lock of ours */
}

int strata__behind_new(struct root *root, strata_error *err)
{
    if (!has_slower(root) || !nearest_is_memory(root) || is_strict(root))
        return STRATA_OK;
    struct behind *b = strata__alloc_zero(root->mem, sizeof *b);
    if (b == NULL)
        return strata__fail(err, STRATA_ENOMEM, "open", "no memory for the queue of what is written behind: free some");
    init(b, root);
    root->behind = b;
    return STRATA_OK;
}

void strata__behind_free(struct root *root)
{
    strata__free(root->mem, root->behind);
    root->behind = NULL;
}

void strata__behind_forget(struct root *root)
{
    struct behind *b = root->behind;
    if (b == NULL)
        return;
    memset(b, 0, sizeof *b);
    init(b, root);
}

int strata__behind_check(const struct root *root, const strata_policy *resolved, strata_error *err)
{
    if (resolved->write_behind_ms <= 0 || root->behind != NULL || !has_slower(root))
        return STRATA_OK;
    if (is_strict(root))
        return strata__fail(
            err, STRATA_EINVAL, "write_behind_ms",
            "with write_policy=strict a set that a layer fails is taken back and fails, which can't be said "
            "before that layer was asked: switch write_behind_ms off, or use best-effort");
    return strata__fail(err, STRATA_EINVAL, "write_behind_ms",
                        "what is written behind is held in memory until then: put a memory layer first, or switch "
                        "write_behind_ms off");
}

/* What is known of the store ------------------------------------------------------------------------------------- */

void strata__behind_saw_version(struct root *root, uint64_t version, uint32_t life)
{
    struct behind *b = root->behind;
    const uint32_t now = b != NULL ? atomic_load(&b->life) : 0;
    if (b == NULL || (life != 0 && now != 0 && life != now)) /* another life's says nothing of this one's clock */
        return;
    uint64_t seen = atomic_load_explicit(&b->seen, memory_order_relaxed);
    while (version > seen && !atomic_compare_exchange_weak(&b->seen, &seen, version))
        ;
}

void strata__behind_host_clock(strata_layer_host *host, int64_t store_us, uint32_t life)
{
    struct root *root = (struct root *)(void *)((char *)host - offsetof(struct root, host));
    struct behind *b = root->behind;
    if (b == NULL)
        return;
    uint32_t turn = atomic_load(&b->clock_turn);
    if ((turn & 1) != 0 || !atomic_compare_exchange_strong(&b->clock_turn, &turn, turn + 1))
        return; /* somebody tells it just now */
    if (atomic_exchange(&b->life, life) != life)
        atomic_store(&b->seen, 0);
    atomic_store(&b->clock_store_us, store_us);
    atomic_store(&b->clock_at_us, ex_now_ns(root->ex) / 1000 + 1);
    atomic_store(&b->clock_turn, turn + 2);
}

/* While it is being written nothing is known: a new life goes with no version of the one before. */
uint64_t strata__behind_base_now(struct root *root, uint32_t *out_life)
{
    struct behind *b = root->behind;
    uint32_t turn = atomic_load(&b->clock_turn);
    const struct behind_clock clock = { atomic_load(&b->clock_store_us), atomic_load(&b->clock_at_us) };
    const uint64_t seen = atomic_load(&b->seen);
    *out_life = atomic_load(&b->life);
    if ((turn & 1) != 0 || atomic_load(&b->clock_turn) != turn)
        return 0;
    return strata__behind_base(clock, ex_now_ns(root->ex) / 1000, seen);
}

/* Notes ----------------------------------------------------------------------------------------------------------- */

static struct behind_note *note_of_strand(struct strand *s)
{
    return (struct behind_note *)(void *)((char *)s - offsetof(struct behind_note, write.strand));
}

static void ref_note(struct strand *s) { atomic_fetch_add_explicit(&note_of_strand(s)->refs, 1, memory_order_relaxed); }

static void unref_note(struct strand *s) { strata__behind_note_unref(note_of_strand(s)); }

void strata__behind_note_unref(struct behind_note *n)
{
    if (atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) == 1)
        strata__free(n->write.root->mem, n);
}

/* Under the key lock that waits until it is free: an object's codec may call the cache. */
static void drop(strata_value *value)
{
    if (value != NULL)
        value_unref_later(value);
}

static void drop_values(struct write *w)
{
    drop(w->value);
    drop(w->tags);
    drop(w->encoded);
    w->value = w->tags = w->encoded = NULL;
}

static void tell_lost(struct write *w, int status, const char *why)
{
    if (!event_wanted(w->root, STRATA_EVENT_BEHIND_LOST))
        return;
    strata_event e = { .size = sizeof e,
                       .kind = STRATA_EVENT_BEHIND_LOST,
                       .cache = w->handle,
                       .key = w->key.plain,
                       .status = status,
                       .message = why };
    strata__event_fire(w->handle, &e);
}

/* The key was this node's last word, and the store has not got it. */
static void count_end(struct behind_note *n)
{
    struct write *w = &n->write;
    int failed = w->status < 0 || w->pending;
    if (w->unchanged) {
        count_up(w->handle, COUNT_BEHIND_REFUSED);
        tell_lost(w, STRATA_ECONFLICT,
                  "the store holds something newer: another node wrote or deleted the key, or a delete of "
                  "this one came late");
    } else if (failed) {
        count_up(w->handle, COUNT_BEHIND_FAILED);
        tell_lost(w, w->status < 0 ? w->status : STRATA_ELAYER,
                  w->status < 0 ? w->err.message : "a layer can't be reached; it is told to forget the key");
    } else {
        count_up(w->handle, w->kind == STRATA_OP_REMOVE ? COUNT_BEHIND_DROPPED : COUNT_BEHIND_WRITTEN);
    }
    if (w->status < 0 && !w->told)
        strata__event_error(w->handle, w->key.plain, w->err.where, w->status, w->err.message);
}

static void post_locked(struct behind *b)
{
    if (b->posted)
        return;
    b->posted = 1;
    root_hold(b->root);
    ex_post_always(b->root->ex, &b->task);
}

static void uncount_locked(struct behind *b, const struct behind_note *n, int ran)
{
    b->load.count--;
    b->load.bytes -= n->cost;
    b->running -= (uint32_t)ran;
    atomic_store_explicit(&b->count, (uint32_t)b->load.count, memory_order_relaxed);
}

static void note_over(struct write *w)
{
    struct behind_note *n = note_of(w);
    struct root *root = w->root;
    struct behind *b = root->behind;
    count_end(n);
    drop_values(w);
    key_mutex_lock(&b->lock);
    uncount_locked(b, n, 1);
    if (!list_empty(&b->ready) && b->running <= BEHIND_AT_ONCE / 2)
        post_locked(b);
    key_mutex_unlock(&b->lock);
    strata__behind_note_unref(n);
    root_leave(root);
}

struct behind_note *strata__behind_note_new(const struct write *from, strata_slice key)
{
    struct root *root = from->root;
    strata *handle = from->handle;
    size_t size = root->plain_keys ? key.size : strata__storage_size(handle, key);
    struct behind_note *n = strata__alloc(root->mem, sizeof *n + size);
    if (n == NULL)
        return NULL;
    memset(n, 0, sizeof *n);
    struct write *w = &n->write;
    strata__write_begin(w, handle, STRATA_OP_PUT);
    w->behind = 1;
    w->over = note_over;
    w->meta = from->meta;
    w->admit = from->admit;
    w->resident = from->resident;
    memcpy(w->layer_ttls, from->layer_ttls, sizeof w->layer_ttls);
    strata__strand_init(&w->strand, root->ex, strata__write_run, ref_note, unref_note);
    atomic_init(&n->refs, 1);
    if (root->plain_keys)
        memcpy(n->bytes, key.data, key.size);
    else
        strata__storage_write(handle, key, n->bytes);
    w->key.plain = strata_bytes(n->bytes + (size - key.size), key.size);
    if (!root->plain_keys)
        w->key.storage = strata_bytes(n->bytes, size);
    w->key.hash = handle_hash(handle, key);
    w->value = from->value->kind == STRATA__VALUE_LENT
                   ? strata__value_copy(root->mem, from->value->data, from->value->size)
                   : strata_value_ref(from->value);
    w->tags = from->tags != NULL ? strata_value_ref(from->tags) : NULL;
    if (w->value == NULL) {
        strata_value_unref(w->tags);
        strata__free(root->mem, n);
        return NULL;
    }
    n->cost = sizeof *n + size + strata__value_cost(w->value) + strata_value_size(w->tags);
    return n;
}

/* The queue ------------------------------------------------------------------------------------------------------- */

static struct behind_load most_of(const struct behind *b)
{
    const strata_options *o = &b->root->options;
    return (struct behind_load){ o->write_behind_max_entries, o->write_behind_max_bytes };
}

static void timer_fires(struct timer *timer)
{
    struct behind *b = (struct behind *)(void *)((char *)timer - offsetof(struct behind, timer));
    key_mutex_lock(&b->lock);
    b->timer_ms = INT64_MAX;
    post_locked(b);
    key_mutex_unlock(&b->lock);
    root_leave(b->root); /* the timer's; the task has one of its own */
}

/* No later than that. */
static void arm_locked(struct behind *b, int64_t due_ms)
{
    if (due_ms >= b->timer_ms)
        return;
    if (b->timer_ms != INT64_MAX && !ex_cancel(b->root->ex, &b->timer))
        return; /* it fires just now */
    if (b->timer_ms == INT64_MAX)
        root_hold(b->root);
    b->timer.fire = timer_fires;
    b->timer_ms = due_ms;
    ex_at(b->root->ex, &b->timer, due_ms);
}

int strata__behind_reserve(struct behind *b, const struct behind_note *n)
{
    key_mutex_lock(&b->lock);
    int fits = strata__behind_fits(b->load, most_of(b), n->cost);
    if (fits) {
        b->load.count++;
        b->load.bytes += n->cost;
        atomic_store_explicit(&b->count, (uint32_t)b->load.count, memory_order_relaxed);
    } else {
        post_locked(b);
    }
    key_mutex_unlock(&b->lock);
    return fits;
}

void strata__behind_unreserve(struct behind *b, const struct behind_note *n)
{
    key_mutex_lock(&b->lock);
    uncount_locked(b, n, 0);
    key_mutex_unlock(&b->lock);
}

void strata__behind_enqueue(struct behind *b, struct behind_note *n, int64_t delay_ms)
{
    key_mutex_lock(&b->lock);
    n->since_ms = ex_now_ms(b->root->ex);
    n->due_ms = n->since_ms + delay_ms;
    list_push_back(&b->queue, &n->link);
    if (strata__behind_presses(b->load, most_of(b)))
        post_locked(b);
    else
        arm_locked(b, n->due_ms);
    key_mutex_unlock(&b->lock);
}

void strata__behind_replaced(struct behind *b, struct behind_note *n, size_t cost, int64_t delay_ms)
{
    key_mutex_lock(&b->lock);
    int64_t due_ms = ex_now_ms(b->root->ex) + delay_ms;
    b->load.bytes = b->load.bytes - n->cost + cost;
    n->cost = cost;
    if (due_ms < n->due_ms) {
        n->due_ms = due_ms;
        arm_locked(b, due_ms);
    }
    key_mutex_unlock(&b->lock);
}

/* Delayed no more.  Key lock. */
static void unqueue(struct behind *b, struct behind_note *n, int runs)
{
    n->write.busy.delayed = 0;
    key_mutex_lock(&b->lock);
    if (list_linked(&n->link))
        list_remove(&n->link);
    b->running += (uint32_t)runs;
    key_mutex_unlock(&b->lock);
}

void strata__behind_end_locked(struct behind_note *n, struct stripe *s, int status, const char *why)
{
    struct root *root = n->write.root;
    struct behind *b = root->behind;
    unqueue(b, n, 0);
    strata__busy_leave_locked(s, &n->write.busy);
    drop_values(&n->write);
    count_up(n->write.handle, COUNT_BEHIND_DROPPED);
    int tells = why != NULL && event_wanted(root, STRATA_EVENT_BEHIND_LOST);
    key_mutex_lock(&b->lock);
    uncount_locked(b, n, 0);
    if (tells) {
        n->why = why;
        n->write.status = status;
        list_push_back(&b->lost, &n->link);
        post_locked(b);
    }
    key_mutex_unlock(&b->lock);
    if (tells)
        return;
    strata__behind_note_unref(n);
    root_leave(root);
}

int strata__behind_banned(const struct write *w)
{
    return cleared_since(w->handle, w->meta.position) ||
           strata__banned_since(w->handle, w->key.plain, w->meta.position, w->meta.tag_count, w->tags);
}

int strata__behind_begin_locked(struct behind_note *n, struct stripe *s)
{
    struct write *w = &n->write;
    if (!w->busy.delayed)
        return 0;
    if (cleared_since(w->handle, w->meta.position)) {
        strata__behind_end_locked(n, s, STRATA_OK, NULL);
        return 0;
    }
    /* What it was to replace below need not have the tags that this one is banned by, and is not to be seen again. */
    if (strata__behind_banned(w))
        w->kind = STRATA_OP_REMOVE;
    unqueue(w->root->behind, n, 1);
    return !w->busy.waiting; /* else what it waits for wakes it */
}

/* Writing what is due ----------------------------------------------------------------------------------------------- */

/* Ripe ones become ready; the timer is set for the next one. */
static void choose_locked(struct behind *b)
{
    int64_t now = ex_now_ms(b->root->ex), next = INT64_MAX;
    int all = b->all || strata__behind_presses(b->load, most_of(b));
    LIST_EACH(node, &b->queue)
    {
        struct behind_note *n = list_entry(node, struct behind_note, link);
        if (all || strata__behind_ripe(n->since_ms, n->due_ms, now)) {
            list_remove(node);
            list_push_back(&b->ready, node);
        } else if (n->due_ms < next) {
            next = n->due_ms;
        }
    }
    b->all = 0;
    if (next != INT64_MAX)
        arm_locked(b, next);
}

static struct behind_note *take_ready(struct behind *b)
{
    struct behind_note *n = NULL;
    key_mutex_lock(&b->lock);
    struct list_node *node = b->running < BEHIND_AT_ONCE ? list_pop_front(&b->ready) : NULL;
    if (node != NULL) {
        n = list_entry(node, struct behind_note, link);
        ref_note(&n->write.strand);
    }
    key_mutex_unlock(&b->lock);
    return n;
}

static struct behind_note *take_lost(struct behind *b)
{
    key_mutex_lock(&b->lock);
    struct list_node *node = list_pop_front(&b->lost);
    key_mutex_unlock(&b->lock);
    return node != NULL ? list_entry(node, struct behind_note, link) : NULL;
}

static void begin(struct behind_note *n)
{
    struct frame frame;
    struct stripe *s = stripe_lock(n->write.root, n->write.key.hash, &frame);
    int runs = strata__behind_begin_locked(n, s);
    stripe_unlock(s, &frame);
    if (runs)
        strata__write_run(&n->write.strand);
    strata__behind_note_unref(n);
}

static void run_queue(struct task *task)
{
    struct behind *b = (struct behind *)(void *)((char *)task - offsetof(struct behind, task));
    struct root *root = b->root;
    struct behind_note *n;
    key_mutex_lock(&b->lock);
    b->posted = 0;
    choose_locked(b);
    key_mutex_unlock(&b->lock);
    while ((n = take_lost(b)) != NULL) {
        tell_lost(&n->write, n->write.status, n->why);
        strata__behind_note_unref(n);
        root_leave(root);
    }
    while ((n = take_ready(b)) != NULL)
        begin(n);
    root_leave(root);
}

int strata__behind_flush(struct root *root)
{
    struct behind *b = root->behind;
    if (b == NULL)
        return 0;
    key_mutex_lock(&b->lock);
    b->all = 1;
    if (b->timer_ms != INT64_MAX && ex_cancel(root->ex, &b->timer)) {
        b->timer_ms = INT64_MAX;
        root_leave(root);
    }
    if (!list_empty(&b->queue))
        post_locked(b);
    int waits = b->load.count != 0;
    key_mutex_unlock(&b->lock);
    return waits;
}

void strata__behind_look(struct root *root, uint64_t *out_count, uint64_t *out_bytes, int64_t *out_since_ms)
{
    struct behind *b = root->behind;
    *out_count = *out_bytes = 0;
    *out_since_ms = 0;
    if (b == NULL)
        return;
    key_mutex_lock(&b->lock);
    *out_count = b->load.count;
    *out_bytes = b->load.bytes;
    struct list_node *oldest = !list_empty(&b->ready) ? b->ready.next : b->queue.next;
    if (oldest != &b->queue)
        *out_since_ms = ex_now_ms(root->ex) - list_entry(oldest, struct behind_note, link)->since_ms;
    key_mutex_unlock(&b->lock);
}
