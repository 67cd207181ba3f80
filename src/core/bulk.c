/* bulk.c - reading many keys at once.
 *
 * A bulk read enters a flight for each key that the nearest layer does not answer.  Keys that others load already are
 * joined; the new flights form a batch (bulk_batch.c), and the caller sleeps until all of them have an answer. */
#include <string.h>

#include "src/core/adaptive.h"
#include "src/core/async_impl.h"
#include "src/core/bulk_batch.h"
#include "src/core/bulk_quick.h"
#include "src/core/direct.h"

struct bulk {
    struct want want;
    strata_item *items;
    size_t count;
    const strata_item_loader *loaders; /* one an item; NULL: `want` has the loader of all */
    unsigned char *hits;               /* which ones a layer had; NULL: nobody asks */
    struct waiter *waiters;            /* one an item */
    strata_error *words;               /* of an error that this thread found */
    strata_error *told;                /* of an error that a flight told; the driver's lock */
    struct batch *batch;
    struct driver driver;
    struct wait_note note;
};

/* `want` is the item's, from here on. */
static void want_item(struct bulk *k, size_t i)
{
    if (k->loaders == NULL)
        return;
    k->want.loader = k->loaders[i].loader;
    k->want.bulk = NULL;
    k->want.loader_ctx = k->loaders[i].ctx;
    if (k->want.loader == NULL)
        want_own_loader(&k->want, 0);
}

/* What the nearest layer says to one key; g->count != 0: it is the n-th of that group, which has not found it.  1: it takes a flight. */
static int look_for_one(struct bulk *k, size_t i, const struct quick_group *g, size_t n, int *worst, strata_error *err)
{
    strata *cache = k->want.handle;
    strata_item *item = &k->items[i];
    strata_error *words = *worst >= 0 ? err : NULL;
    strata_value *said = item->value;
    uint64_t hash;
    int answered = 1;
    item->value = NULL;
    want_item(k, i);
    if (g->count != 0)
        answered = strata__read_said(&k->want, item->key, g->hashes[n], g->now_ms, said, &item->value, &item->status);
    else if ((item->status = check_key(cache, item->key, words)) == STRATA_OK)
        answered = strata__read_first(&k->want, item->key, &hash, &item->value, &item->status, words);
    if (!answered)
        item->status = STRATA_PENDING;
    if (k->hits != NULL)
        k->hits[i] = (unsigned char)answered;
    *worst = first_error(*worst, item->status);
    return !answered;
}

/* It was closed, or forked, before the first item that takes more than a look: the first `count` are as quick_many() left them. */
static void refuse_all(struct bulk *k, size_t count, const struct quick_group *g, int rc)
{
    strata *cache = k->want.handle;
    for (size_t i = 0; i < k->count; i++) {
        if (i < count && quick_found(k->items[i].value))
            strata_value_unref(k->items[i].value);
        k->items[i].value = NULL;
        k->items[i].status = rc;
    }
    if (g->count != 0)
        counter_add(cache->cells, counter_index(), HOT_SLOW, g->count - g->found);
}

/* Answer what the nearest layer can, from items[done] on, where `g` is; how many are left. */
static size_t look_first(struct bulk *k, size_t done, struct quick_group *g, int *worst, strata_error *err)
{
    size_t left = 0;
    if (k->hits != NULL)
        memset(k->hits, 1, k->count); /* unless look_for_one() says otherwise */
    while (done < k->count) {
        size_t n = g->count != 0 ? g->count : 1;
        for (size_t j = 0; j < n; j++)
            if (g->count == 0 || !quick_found(k->items[done + j].value))
                left += (size_t)look_for_one(k, done + j, g, j, worst, err);
        done += n;
        done += strata__quick_run(k->want.handle, k->items + done, k->count - done, g);
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
        w->answered = e == ENTERED_ANSWERED;
        key_mutex_lock(&k->driver.lock);
        k->driver.left--;
        w->done = 1;
        key_mutex_unlock(&k->driver.lock);
    } else if (e == ENTERED_STARTED) {
        b->read.flights[b->read.count++] = f;
    } else if (e == ENTERED_QUEUED) {
        strata__queued_help(&k->want, w, &k->driver);
    }
}

/* What entering came to.  Not before the batch has begun: a listener may ask for what is in it, or for what is loaded by a thread that
 * waits for some of it. */
static void tell_entered(struct bulk *k)
{
    strata *cache = k->want.handle;
    for (size_t i = 0; i < k->count; i++) {
        const struct waiter *w = &k->waiters[i];
        if (w->answered) {
            struct answer a = { .status = w->status, .is_hit = w->status != STRATA_MISS, .layer = 0 };
            strata__answer_counted(cache, k->items[i].key, &a);
        }
        if (w->joined)
            strata__join_counted(cache, k->items[i].key);
    }
}

/* The batch begins: on a worker where the policy wants that, else here. */
static void start_batch(struct bulk *k)
{
    struct batch *b = k->batch;
    if (b->read.count == 0)
        return;
    b->strand.ref(&b->strand);
    b->spreads = k->loaders != NULL && want_posts(&k->want);
    if (want_posts(&k->want) && strata__strand_start_awaited(&b->strand) == STRATA_OK)
        return;
    b->spreads = 0;
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
        strata__waiter_hurry(&k->want, w);
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
    k->batch = k->waiters != NULL ? strata__batch_new(root, left) : NULL;
    if (k->batch == NULL) {
        strata__free(root->mem, k->waiters);
        strata__driver_deinit(&k->driver);
        return fail_pending(k, err);
    }
    k->words = &words;
    k->told = &told;
    k->want.lead = &k->batch->strand;
    for (size_t i = 0; i < k->count; i++) {
        if (k->items[i].status != STRATA_PENDING)
            continue;
        want_item(k, i);
        enter_one(k, &k->waiters[i], &k->items[i]);
    }
    k->note = (struct wait_note){ .waiters = k->waiters, .count = k->count };
    note_waits(k); /* before this thread calls a loader, which may wait itself */
    start_batch(k);
    tell_entered(k);
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
    k->batch->strand.unref(&k->batch->strand);
    strata__free(root->mem, k->waiters);
    strata__driver_deinit(&k->driver);
    return worst;
}

/* From items[done] on, where `g` is: those before are answered. */
static int read_on(struct bulk *k, size_t done, struct quick_group *g, strata_error *err)
{
    struct root *root = k->want.handle->root;
    int worst = root_enter(root, err);
    if (worst != STRATA_OK) {
        refuse_all(k, done + g->count, g, worst);
        return worst;
    }
    size_t left = look_first(k, done, g, &worst, err);
    if (left != 0)
        worst = read_rest(k, left, worst, err);
    root_leave(root);
    return worst;
}

/* A get that is no row of plain hits.  Behind a call: struct bulk is more stores than a processor holds back for a hit. */
static __attribute__((noinline)) int get_rest(strata *cache, strata_item *items, size_t count, size_t done,
                                              struct quick_group *g, strata_error *err)
{
    struct bulk k = { .want = { .handle = cache, .policy = &cache->policy }, .items = items, .count = count };
    if (cache->get_loads)
        want_own_loader(&k.want, 1);
    int rc = cache->direct && !cache->get_loads ? strata__get_many_direct(cache, items, count, err) : NOT_DIRECT;
    return rc != NOT_DIRECT ? rc : read_on(&k, done, g, err);
}

static inline int get_one(strata *cache, strata_item *item, strata_error *err)
{
    item->status = strata_get(cache, item->key, &item->value, err);
    return first_error(STRATA_OK, item->status);
}

int strata_get_many(strata *cache, strata_item *items, size_t count, strata_error *err)
{
    struct quick_group g;
    if (cache == NULL || (items == NULL && count != 0))
        return strata__no_argument(err, "strata_get_many() needs a cache and items");
    if (count == 1 && !cache->get_loads) /* a group of one has nobody to share its costs with */
        return get_one(cache, items, err);
    size_t done = strata__quick_run(cache, items, count, &g);
    if (done == count && count != 0)
        return STRATA_OK;
    return get_rest(cache, items, count, done, &g, err);
}

/* As it was called, and checked. */
struct load_call {
    strata *cache;
    strata_item *items;
    size_t count;
    strata_bulk_loader loader; /* for all; NULL: the namespace's own, or `loaders` */
    void *loader_ctx;
    const strata_item_loader *loaders;
    const strata_policy *policy;
    unsigned char *hits;
};

/* As get_rest(): where all is in memory nobody asks for the policy. */
static __attribute__((noinline)) int load_rest(const struct load_call *c, size_t done, struct quick_group *g,
                                               strata_error *err)
{
    strata_policy resolved;
    strata__policy_resolve(&resolved, c->policy, &c->cache->policy);
    struct bulk k = {
        .want = { .handle = c->cache, .bulk = c->loader, .loader_ctx = c->loader_ctx, .policy = &resolved },
        .items = c->items,
        .count = c->count,
        .loaders = c->loaders,
        .hits = c->hits
    };
    if (c->loader == NULL && c->loaders == NULL)
        want_own_loader(&k.want, 1);
    return read_on(&k, done, g, err);
}

static int load_many(const struct load_call *c, strata_error *err)
{
    struct quick_group g;
    size_t done = strata__quick_run(c->cache, c->items, c->count, &g);
    if (done != c->count || done == 0)
        return load_rest(c, done, &g, err);
    if (c->hits != NULL)
        memset(c->hits, 1, c->count);
    return STRATA_OK;
}

int strata__load_many(strata *cache, strata_item *items, size_t count, strata_bulk_loader loader, void *loader_ctx,
                      const strata_policy *policy, unsigned char *hits, strata_error *err)
{
    if (cache == NULL || (items == NULL && count != 0))
        return strata__no_argument(err, "strata_get_or_load_many() needs a cache and items");
    int rc = loader != NULL || namespace_has_loader(cache) ? strata__call_policy_check(cache, policy, err)
                                                           : strata__no_loader(err);
    if (rc != STRATA_OK)
        return rc;
    const struct load_call call = { cache, items, count, loader, loader_ctx, NULL, policy, hits };
    return load_many(&call, err);
}

int strata_get_or_load_many(strata *cache, strata_item *items, size_t count, strata_bulk_loader loader,
                            void *loader_ctx, const strata_policy *policy, strata_error *err)
{
    return strata__load_many(cache, items, count, loader, loader_ctx, policy, NULL, err);
}

int strata__each_check(const strata *cache, const strata_item *items, const strata_item_loader *loaders, size_t count,
                       const strata_policy *policy, strata_error *err)
{
    if (cache == NULL || ((items == NULL || loaders == NULL) && count != 0))
        return strata__no_argument(err, "strata_get_or_load_each() needs a cache, items, and a loader for each");
    for (size_t i = 0; i < count && !namespace_has_loader(cache); i++)
        if (loaders[i].loader == NULL)
            return strata__no_loader(err);
    return strata__call_policy_check(cache, policy, err);
}

int strata_get_or_load_each(strata *cache, strata_item *items, const strata_item_loader *loaders, size_t count,
                            const strata_policy *policy, strata_error *err)
{
    int rc = strata__each_check(cache, items, loaders, count, policy, err);
    if (rc != STRATA_OK)
        return rc;
    const struct load_call call = { cache, items, count, NULL, NULL, loaders, policy, NULL };
    return load_many(&call, err);
}
