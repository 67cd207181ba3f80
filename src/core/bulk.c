/* bulk.c - reading many keys at once.
 *
 * A bulk read enters a flight for each key that the nearest layer does not answer.  Keys that others load already are
 * joined; the new flights form a batch, whose strand asks each layer once for all of them, and then calls the bulk loader
 * once for all that are missing.  From there each flight goes on by itself: as soon as its own load is completed. */
#include <string.h>

#include "src/core/async_impl.h"
#include "src/core/direct.h"
#include "src/core/flight.h"
#include "src/core/write.h"

struct batch {
    struct strand strand;
    _Atomic(uint32_t) refs;
    struct root *root;
    struct read read;
    size_t room;
    struct flight **loading; /* of missed(): what the bulk loader is called for */
    strata_load **loads;
    strata_slice *keys;
    enum { BATCH_READS, BATCH_ASKS, BATCH_ADMITS, BATCH_UNLEASED } stage; /* what the strand waits for */
    size_t failed,
        waiting;   /* how its flights stand: first those whose lease could not be asked for, then those to wait for,
                               then those to load */
    size_t admits; /* from here on its flights are to be admitted, */
    void (*admitted)(struct batch *b); /* and then */
    void *memory;                      /* the arrays */
};

/* The batch ---------------------------------------------------------------------------------------------------- */

static struct batch *batch_of(struct strand *s)
{
    return (struct batch *)(void *)((char *)s - offsetof(struct batch, strand));
}

static void ref_batch(struct strand *s) { atomic_fetch_add_explicit(&batch_of(s)->refs, 1, memory_order_relaxed); }

static void unref_batch(struct strand *s)
{
    struct batch *b = batch_of(s);
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct root *root = b->root;
    strata__free(root->mem, b->memory);
    strata__free(root->mem, b);
    strata__root_unref(root);
}

static void leases_answered(struct batch *b);
static void load_unleased(struct batch *b);
static void go_on_admitted(struct batch *b);

static void run_batch(struct strand *s)
{
    struct batch *b = batch_of(s);
    switch (b->stage) {
    case BATCH_READS: strata__read_run(&b->read); return;
    case BATCH_ASKS: leases_answered(b); return;
    case BATCH_ADMITS: go_on_admitted(b); return;
    case BATCH_UNLEASED: load_unleased(b); return;
    }
}

/* The strand's own reference ends with its work. */
static void batch_over(struct read *read)
{
    strata__strand_detach(read->strand);
    unref_batch(read->strand);
}

/* One call for all that have the loader of the first one. */
static void load_together(struct batch *b, size_t count)
{
    struct flight *first = b->loading[0];
    struct frame frame;
    frame_push(&frame, b->root, FRAME_LOADER);
    frame.flights = b->loading;
    frame.flight_count = count;
    for (size_t i = 0; i < count; i++) {
        strata__load_note_start(b->loading[i]);
        b->loads[i] = &b->loading[i]->load;
        b->keys[i] = b->loading[i]->key.plain;
    }
    int rc = root_usable(b->root) ? first->bulk(b->loads, b->keys, count, first->loader_ctx) : STRATA_OK;
    frame.kind = FRAME_STRAND;
    for (size_t i = 0; i < count; i++) {
        struct flight *f = flight_ref(b->loading[i]);
        frame.flights = b->loading + i; /* those before have ended, or go on elsewhere */
        frame.flight_count = count - i;
        if (strata__load_returned(f, rc))
            strata__flight_loaded(f);
        strata__flight_unref(f);
    }
    frame_end(&frame);
}

/* Which of the flights are to be loaded?  They stand last then; how many.  Until it has looked at a flight, and where that
 * one is to be loaded, this thread is what keeps it from ending: the frame says so to listeners. */
static size_t choose_loads(struct root *root, struct flight **flights, size_t count)
{
    size_t chosen = 0;
    struct frame frame;
    frame_push(&frame, root, FRAME_STRAND);
    for (size_t i = 0; i < count; i++) {
        struct flight *f = flight_ref(flights[i]);
        frame.flights = flights + i - chosen;
        frame.flight_count = count - i + chosen;
        if (strata__flight_needs_load(f, chosen != 0 ? flights[i - chosen] : NULL)) {
            chosen++;
        } else {
            flights[i] = flights[i - chosen];
            flights[i - chosen] = f;
        }
        strata__flight_unref(f);
    }
    frame_end(&frame);
    return chosen;
}

/* Those that have another loader: a single caller may have brought its own to a flight of a bulk get. */
static void load_alone(struct root *root, struct flight **flights, size_t count)
{
    struct frame frame;
    frame_push(&frame, root, FRAME_STRAND);
    for (size_t i = 0; i < count; i++) {
        struct flight *f = flight_ref(flights[i]);
        frame.flights = flights + i;
        frame.flight_count = count - i;
        strata__load_run(f);
        strata__flight_unref(f);
    }
    frame_end(&frame);
}

/* Those that all layers have missed, and whose leases were asked for, where there are any. */
static void load_missed(struct batch *b, struct flight **flights, size_t count)
{
    size_t together = 0, alone = 0;
    for (size_t i = count - choose_loads(b->root, flights, count); i < count; i++) {
        struct flight *f = flights[i];
        if (f->bulk != NULL &&
            (together == 0 || (f->bulk == b->loading[0]->bulk && f->loader_ctx == b->loading[0]->loader_ctx)))
            b->loading[together++] = f;
        else
            flights[alone++] = f;
    }
    struct frame frame;
    frame_push(&frame, b->root, FRAME_STRAND);
    frame.flights = flights;
    frame.flight_count = alone;
    if (together != 0)
        load_together(b, together);
    frame_end(&frame);
    load_alone(b->root, flights, alone);
}

/* Others load them: each waits for itself, now that nobody waits for a load of ours any more that could have been begun. */
static void wait_for_leases(struct root *root, struct flight **flights, size_t count)
{
    struct frame frame;
    frame_push(&frame, root, FRAME_STRAND);
    for (size_t i = 0; i < count; i++) {
        struct flight *f = flight_ref(flights[i]);
        frame.flights = flights + i;
        frame.flight_count = count - i;
        strata__flight_let_go(f);
        strata__lease_run(f);
        strata__flight_unref(f);
    }
    frame_end(&frame);
}

static void move_forward(struct batch *b, size_t i)
{
    struct flight **flights = b->read.flights, *f = flights[i];
    size_t at = b->failed + b->waiting;
    flights[i] = flights[at];
    flights[at] = f;
    if (f->lease_state != LEASE_FAILED) {
        b->waiting++;
        return;
    }
    flights[at] = flights[b->failed];
    flights[b->failed++] = f;
}

/* Let those go on that have an answer; sort the others. */
static void sort_answers(struct batch *b)
{
    struct read *read = &b->read;
    size_t left = read->count;
    struct frame frame;
    frame_push(&frame, b->root, FRAME_STRAND);
    frame.flights = read->flights;
    for (size_t i = 0; i < left;) {
        struct flight *f = read->flights[i];
        frame.flight_count = left;
        enum lease_answer answer = f->asks != NULL ? strata__lease_judge(f) : LEASE_LOAD;
        if (answer == LEASE_HIT) {
            read->flights[i] = read->flights[--left];
            read->flights[left] = flight_ref(f);
            strata__flight_let_go(f);
            strata__flight_store(f);
            strata__flight_unref(f);
            continue;
        }
        if (answer != LEASE_LOAD || f->lease_state == LEASE_FAILED)
            move_forward(b, i);
        i++;
    }
    frame_end(&frame);
    read->count = left;
}

static void load_unleased(struct batch *b)
{
    load_missed(b, b->read.flights, b->read.count);
    batch_over(&b->read);
}

/* Breakers and limits, before a loader is called for the flights from `from` on. */
static void admit(struct batch *b, size_t from, void (*admitted)(struct batch *b))
{
    size_t count = b->read.count - from;
    b->stage = BATCH_ADMITS;
    b->admits = from;
    b->admitted = admitted;
    count = strata__admit_singly(b->root, b->read.flights + from, count);
    b->read.count = from + count;
    if (!strata__admit_together(b->read.flights + from, &count, &b->strand))
        return;
    b->read.count = from + count;
    admitted(b);
}

static void go_on_admitted(struct batch *b)
{
    size_t count = b->read.count - b->admits;
    strata__admitted_many(b->read.flights + b->admits, &count);
    b->read.count = b->admits + count;
    b->admitted(b);
}

/* Those whose lease could not be asked for. */
static void enter_unleased(struct batch *b)
{
    struct read *read = &b->read;
    b->stage = BATCH_UNLEASED;
    if (read->count == 0)
        batch_over(read);
    else if (strata__unleased_enter(b->root, &read->flights[0]->place, &b->strand))
        load_unleased(b);
}

/* What is ours is loaded before anything is waited for: two that want the same keys in another order end, both of them. */
static void load_ours(struct batch *b)
{
    struct read *read = &b->read;
    size_t others = b->failed + b->waiting;
    struct frame frame;
    frame_push(&frame, b->root, FRAME_STRAND);
    frame.flights = read->flights;
    frame.flight_count = others;
    load_missed(b, read->flights + others, read->count - others);
    frame.flight_count = b->failed;
    wait_for_leases(b->root, read->flights + b->failed, b->waiting);
    frame_end(&frame);
    read->count = b->failed;
    admit(b, 0, enter_unleased);
}

static void leases_answered(struct batch *b)
{
    sort_answers(b);
    admit(b, b->failed + b->waiting, load_ours);
}

/* How many leases are to be asked for; the operations stand in read->ops. */
static uint32_t prepare_leases(struct batch *b)
{
    struct read *read = &b->read;
    uint32_t n = 0;
    struct frame frame;
    frame_push(&frame, b->root, FRAME_STRAND);
    frame.flights = read->flights;
    for (size_t i = read->count; i-- > 0;) {
        struct flight *f = flight_ref(read->flights[i]);
        frame.flight_count = read->count;
        if (strata__flight_ends_unloaded(f))
            read->flights[i] = read->flights[--read->count];
        strata__flight_unref(f);
    }
    frame.flight_count = read->count;
    for (size_t i = 0; i < read->count; i++) {
        strata_op *op = strata__lease_prepare(read->flights[i], read->strand, STRATA_OP_NOWAIT);
        if (op != NULL)
            read->ops[n++] = op;
    }
    frame_end(&frame);
    return n;
}

static void batch_missed(struct read *read)
{
    struct batch *b = batch_of(read->strand);
    if (!root_leases(b->root)) {
        admit(b, 0, load_ours);
        return;
    }
    b->stage = BATCH_ASKS;
    uint32_t n = prepare_leases(b);
    if (n == 0 || strata__leases_submit(b->root, read->strand, read->ops, n))
        leases_answered(b);
}

static struct batch *new_batch(struct root *root, size_t room)
{
    struct batch *b = strata__alloc_zero(root->mem, sizeof *b);
    size_t each = sizeof(strata_slice) + 2 * sizeof(struct flight *) + sizeof(strata_op *) + sizeof(strata_load *);
    void *memory = b != NULL ? strata__alloc_array(root->mem, room, each) : NULL;
    if (memory == NULL) {
        strata__free(root->mem, b);
        return NULL;
    }
    strata__strand_init(&b->strand, root->ex, run_batch, ref_batch, unref_batch);
    atomic_init(&b->refs, 1);
    strata__root_ref(root);
    b->root = root;
    b->room = room;
    b->memory = memory;
    b->keys = memory;
    b->loading = (struct flight **)(void *)(b->keys + room);
    b->loads = (strata_load **)(void *)(b->loading + room);
    b->read = (struct read){ .strand = &b->strand, .root = root, .over = batch_over, .missed = batch_missed };
    b->read.flights = (struct flight **)(void *)(b->loads + room);
    b->read.ops = (strata_op **)(void *)(b->read.flights + room);
    return b;
}

/* A bulk read ---------------------------------------------------------------------------------------------------- */

struct bulk {
    struct want want;
    strata_item *items;
    size_t count;
    unsigned char *hits;    /* which ones a layer had; NULL: nobody asks */
    struct waiter *waiters; /* one an item */
    strata_error *words;    /* of an error that this thread found */
    strata_error *told;     /* of an error that a flight told; the driver's lock */
    struct batch *batch;
    struct driver driver;
    struct wait_note note;
};

/* Answer what the nearest layer can; how many are left. */
static size_t look_first(struct bulk *k, int *worst, strata_error *err)
{
    strata *cache = k->want.handle;
    size_t left = 0;
    for (size_t i = 0; i < k->count; i++) {
        strata_item *item = &k->items[i];
        strata_error *words = *worst >= 0 ? err : NULL;
        uint64_t hash;
        item->value = NULL;
        item->status = check_key(cache, item->key, words);
        if (item->status == STRATA_OK &&
            !strata__read_first(&k->want, item->key, &hash, &item->value, &item->status, words)) {
            item->status = STRATA_PENDING;
            left++;
        }
        if (k->hits != NULL)
            k->hits[i] = item->status != STRATA_PENDING;
        *worst = first_error(*worst, item->status);
    }
    return left;
}

static void enter_one(struct bulk *k, struct waiter *w, strata_item *item)
{
    strata *cache = k->want.handle;
    struct flight *f;
    struct batch *b = k->batch;
    *w = (struct waiter){ .handle = cache,
                          .wants_load = (unsigned char)want_loads(&k->want),
                          .err = k->told,
                          .soft_at = INT64_MAX,
                          .hard_at = INT64_MAX,
                          .driver = &k->driver };
    if (want_loads(&k->want))
        strata__waiter_times(w, k->want.policy, ex_now_ms(cache->root->ex));
    key_mutex_lock(&k->driver.lock);
    k->driver.left++; /* before anybody can answer it */
    key_mutex_unlock(&k->driver.lock);
    enum entered e = strata__flight_enter(&k->want, item->key, handle_hash(cache, item->key), w, &f, NULL);
    if (e == ENTERED_ANSWERED || e == ENTERED_FAILED) {
        if (e == ENTERED_ANSWERED) {
            struct answer a = { .status = w->status, .is_hit = w->status != STRATA_MISS, .layer = 0 };
            strata__answer_counted(cache, item->key, &a);
        }
        key_mutex_lock(&k->driver.lock);
        k->driver.left--;
        w->done = 1;
        key_mutex_unlock(&k->driver.lock);
    } else if (e == ENTERED_STARTED) {
        b->read.flights[b->read.count++] = f;
    } else if (e == ENTERED_QUEUED) {
        strata__queued_help(&k->want, w, &k->driver);
    }
    if (w->joined)
        strata__join_counted(cache, item->key);
}

/* The batch begins: on a worker where the policy wants that, else here. */
static void start_batch(struct bulk *k)
{
    struct batch *b = k->batch;
    if (b->read.count == 0)
        return;
    ref_batch(&b->strand);
    if (want_posts(&k->want) && strata__strand_start(&b->strand) == STRATA_OK)
        return;
    strata__strand_help(&b->strand, &k->driver);
    for (size_t i = 0; i < b->read.count; i++)
        strata__strand_help(&b->read.flights[i]->strand, &k->driver);
    strata__read_run(&b->read);
}

/* Is it safe to wait for the flights of others? */
static void note_waits(struct bulk *k)
{
    struct root *root = k->want.handle->root;
    for (size_t i = 0; i < k->count; i++) {
        struct waiter *w = &k->waiters[i];
        if (w->flight == NULL)
            continue;
        int rc = strata__wait_begin(root, &k->note, w, k->items[i].key, k->words);
        if (rc != STRATA_OK && strata__waiter_withdraw(w)) {
            w->status = rc;
            w->done = 1;
            key_mutex_lock(&k->driver.lock);
            k->driver.left--;
            key_mutex_unlock(&k->driver.lock);
        } else if (w->joined) {
            strata__waiter_help(w, &k->driver);
        }
    }
}

static int64_t next_deadline(struct bulk *k)
{
    int64_t next = INT64_MAX;
    key_mutex_lock(&k->driver.lock);
    for (size_t i = 0; i < k->count; i++) {
        const struct waiter *w = &k->waiters[i];
        if (w->flight == NULL || w->done)
            continue;
        next = w->soft_at < next ? w->soft_at : next;
        next = w->hard_at < next ? w->hard_at : next;
    }
    key_mutex_unlock(&k->driver.lock);
    return next;
}

static void expire_some(struct bulk *k)
{
    int64_t now = ex_now_ms(k->driver.ex);
    for (size_t i = 0; i < k->count; i++) {
        struct waiter *w = &k->waiters[i];
        int status;
        strata_value *value = NULL;
        key_mutex_lock(&k->driver.lock);
        int open = w->flight != NULL && !w->done;
        key_mutex_unlock(&k->driver.lock);
        if (!open || (now < w->soft_at && now < w->hard_at) ||
            !strata__waiter_expired(w, now, &status, &value, k->words))
            continue;
        w->status = status;
        w->value = value;
        w->soft_at = w->hard_at = INT64_MAX;
        strata__wait_left(k->want.handle->root, w);
        key_mutex_lock(&k->driver.lock);
        w->done = 1;
        k->driver.left--;
        key_mutex_unlock(&k->driver.lock);
    }
}

static void sleep_for_all(struct bulk *k)
{
    for (;;) {
        key_mutex_lock(&k->driver.lock);
        size_t left = k->driver.left;
        key_mutex_unlock(&k->driver.lock);
        if (left == 0)
            return;
        if (strata__driver_step(&k->driver, next_deadline(k)))
            expire_some(k);
    }
}

static int finish_items(struct bulk *k, int worst)
{
    for (size_t i = 0; i < k->count; i++) {
        struct waiter *w = &k->waiters[i];
        strata_item *item = &k->items[i];
        strata__waiter_leave(w, &k->driver);
        if (item->status != STRATA_PENDING)
            continue;
        item->status = w->status;
        item->value = w->value;
        if (k->hits != NULL)
            k->hits[i] = w->was_hit;
        worst = first_error(worst, item->status);
    }
    return worst;
}

static int fail_pending(struct bulk *k, strata_error *err)
{
    for (size_t i = 0; i < k->count; i++)
        if (k->items[i].status == STRATA_PENDING)
            k->items[i].status = STRATA_ENOMEM;
    return strata__fail(err, STRATA_ENOMEM, "bulk", "no memory for %zu keys at once: ask for fewer", k->count);
}

static int read_rest(struct bulk *k, size_t left, int worst, strata_error *err)
{
    struct root *root = k->want.handle->root;
    strata_error words = STRATA_ERROR_INIT, told = STRATA_ERROR_INIT;
    strata__driver_init(&k->driver, root->ex, want_loads(&k->want));
    k->waiters = strata__alloc_array(root->mem, k->count, sizeof *k->waiters);
    k->batch = k->waiters != NULL ? new_batch(root, left) : NULL;
    if (k->batch == NULL) {
        strata__free(root->mem, k->waiters);
        strata__driver_deinit(&k->driver);
        return fail_pending(k, err);
    }
    k->words = &words;
    k->told = &told;
    k->want.lead = &k->batch->strand;
    for (size_t i = 0; i < k->count; i++)
        if (k->items[i].status == STRATA_PENDING)
            enter_one(k, &k->waiters[i], &k->items[i]);
    k->note = (struct wait_note){ .waiters = k->waiters, .count = k->count };
    note_waits(k); /* before this thread calls a loader, which may wait itself */
    start_batch(k);
    sleep_for_all(k);
    strata__wait_over(root, &k->note);
    int so_far = worst;
    worst = finish_items(k, worst);
    if (so_far >= 0 && worst < 0) {
        if ((told.status == worst || words.status == worst) && err != NULL)
            *err = told.status == worst ? told : words;
        else
            strata__fail(err, worst, "bulk", "a key of this call failed: %s; each item has its own status",
                         strata_status_text(worst));
    }
    strata__strand_leave(&k->batch->strand, &k->driver);
    unref_batch(&k->batch->strand);
    strata__free(root->mem, k->waiters);
    strata__driver_deinit(&k->driver);
    return worst;
}

static int read_many(struct bulk *k, strata_error *err)
{
    struct root *root = k->want.handle->root;
    int worst = root_enter(root, err);
    if (worst != STRATA_OK)
        return worst;
    size_t left = look_first(k, &worst, err);
    if (left != 0)
        worst = read_rest(k, left, worst, err);
    root_leave(root);
    return worst;
}

int strata_get_many(strata *cache, strata_item *items, size_t count, strata_error *err)
{
    if (cache == NULL || (items == NULL && count != 0))
        return strata__no_argument(err, "strata_get_many() needs a cache and items");
    struct bulk k = { .want = { .handle = cache, .policy = &cache->policy }, .items = items, .count = count };
    if (cache->get_loads)
        want_own_loader(&k.want, 1);
    int rc = cache->direct && !cache->get_loads ? strata__get_many_direct(cache, items, count, err) : NOT_DIRECT;
    return rc != NOT_DIRECT ? rc : read_many(&k, err);
}

int strata__load_many(strata *cache, strata_item *items, size_t count, strata_bulk_loader loader, void *loader_ctx,
                      const strata_policy *policy, unsigned char *hits, strata_error *err)
{
    if (cache == NULL || (items == NULL && count != 0))
        return strata__no_argument(err, "strata_get_or_load_many() needs a cache and items");
    int rc = loader != NULL || namespace_has_loader(cache) ? strata__policy_check(policy, err) : strata__no_loader(err);
    if (rc != STRATA_OK)
        return rc;
    strata_policy resolved;
    strata__policy_resolve(&resolved, policy, &cache->policy);
    const struct want want = { .handle = cache, .bulk = loader, .loader_ctx = loader_ctx, .policy = &resolved };
    struct bulk k = { .want = want, .items = items, .count = count, .hits = hits };
    if (loader == NULL)
        want_own_loader(&k.want, 1);
    return read_many(&k, err);
}

int strata_get_or_load_many(strata *cache, strata_item *items, size_t count, strata_bulk_loader loader,
                            void *loader_ctx, const strata_policy *policy, strata_error *err)
{
    return strata__load_many(cache, items, count, loader, loader_ctx, policy, NULL, err);
}
