/* lease_store.c - see lease_store.h.  One mutex; nothing is called while it is held: answers are gathered, and given after. */
#include "src/layer/layer_host.h"
#include "tests/support/lease_store.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_AT_US INT64_C(1700000000000000)

enum { BUCKETS = 64, KINDS = STRATA_OP_RELEASE + 1 };

/* An operation on its way. */
struct work {
    struct work *next;
    struct layer *layer;
    strata_op *op;
    int status;
};

struct record {
    struct record *next;
    uint64_t version, token;     /* token: the lease's, 0 none */
    uint32_t life;               /* whose version it is */
    int present, negative, dead; /* dead: a tombstone */
    strata_meta meta;
    unsigned char *data;
    size_t size;
    void *tags; /* as they came; NULL: unknown ones, if there are any */
    size_t tag_bytes;
    struct work *waiters; /* oldest first */
    size_t key_size;
    unsigned char key[];
};

struct lease_store {
    uint32_t life;
    pthread_mutex_t mutex;
    int64_t most_ms, wait_ms;
    struct record *buckets[BUCKETS];
    uint64_t tokens, versions, chance;
    int fails[KINDS];
    int no_leases, keeps_time;
    uint32_t before_kind;
    void (*before)(void *ctx);
    void *before_ctx;
    struct lease_store_counts counts;
};

struct layer {
    strata_layer base;
    struct lease_store *store;
    strata_layer_host *host;
    struct work *first, **last; /* not carried out yet */
    int hurried, owns;
};

static struct layer *downcast(strata_layer *layer) { return (struct layer *)(void *)layer; }

static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

static struct record *find(struct lease_store *s, strata_slice key)
{
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < key.size; i++)
        h = (h ^ ((const unsigned char *)key.data)[i]) * 1099511628211u;
    struct record **at = &s->buckets[h % BUCKETS];
    while (*at != NULL && ((*at)->key_size != key.size || memcmp((*at)->key, key.data, key.size) != 0))
        at = &(*at)->next;
    if (*at == NULL) {
        *at = must(calloc(1, sizeof **at + key.size));
        (*at)->key_size = key.size;
        memcpy((*at)->key, key.data, key.size);
    }
    return *at;
}

/* Carrying out ---------------------------------------------------------------------------------------------------- */

static void answer(struct work **done, struct work *w, int status)
{
    w->status = status;
    w->next = *done;
    *done = w;
}

static int read_entry(struct record *r, strata_op *op)
{
    strata_meta meta = r->meta;
    meta.version = r->version;
    meta.store_life = r->life;
    int rc = strata_op_found(op, r->size != 0 ? (const void *)r->data : "", r->size, &meta);
    if (rc == STRATA_OK)
        strata_op_notes(op, r->tags, r->tag_bytes);
    return rc;
}

static void clear_entry(struct record *r)
{
    free(r->data);
    free(r->tags);
    r->data = NULL;
    r->tags = NULL;
    r->size = r->tag_bytes = 0;
    r->present = 0;
}

static void lease_to(struct lease_store *s, struct record *r, strata_op *op)
{
    r->token = ++s->tokens;
    op->lease = r->token;
    s->counts.granted++;
}

static int is_newer(const struct record *r, const strata_op *op)
{
    return r->present && (!(op->flags & STRATA_OP_REFRESH) || r->version > op->meta.version);
}

/* An entry came, or a lease went: who waits gets it, or the first of them the lease. */
static void wake(struct lease_store *s, struct record *r, struct work **done)
{
    struct work **at = &r->waiters;
    while (*at != NULL) {
        struct work *w = *at;
        int newer = is_newer(r, w->op);
        if (!newer && r->token != 0) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        s->counts.waiting--;
        if (!newer)
            lease_to(s, r, w->op);
        answer(done, w, newer ? read_entry(r, w->op) : STRATA_MISS);
    }
}

static int holds(const struct record *r, uint64_t token) { return r->token != 0 && r->token == token; }

/* Does something else stand there than the writer says? */
static int stands_other(const struct record *r, const strata_op *op, uint32_t life)
{
    if (op->flags & STRATA_OP_UNLESS_NEWER)
        return r->version > op->meta.version || (op->meta.store_life != 0 && op->meta.store_life != life);
    if (op->flags & STRATA_OP_NONE)
        return r->present;
    return (op->flags & STRATA_OP_SAME) != 0 &&
           (!r->present || r->version != op->meta.version || r->life != op->meta.store_life);
}

static int put(struct lease_store *s, struct record *r, strata_op *op)
{
    if (op->lease != 0) {
        s->counts.ended++;
        if (!holds(r, op->lease)) {
            s->counts.lost++;
            op->flags |= STRATA_OP_LOST;
            return STRATA_AGAIN;
        }
    } else if (op->flags & STRATA_OP_BACKFILL) {
        s->counts.backfills++;
        if (r->present || r->token != 0 || r->dead) {
            s->counts.refused_backfills++;
            return STRATA_AGAIN;
        }
    }
    if (stands_other(r, op, s->life)) {
        op->flags |= STRATA_OP_LOST;
        return STRATA_AGAIN;
    }
    clear_entry(r);
    r->token = 0;
    r->dead = 0;
    r->present = 1;
    r->meta = op->meta;
    r->meta.cost_us = 0; /* a store may not keep that */
    op->meta.version = r->version = ++s->versions;
    op->meta.store_life = r->life = s->life;
    r->size = strata_value_size(op->value);
    if (r->size != 0)
        memcpy(r->data = must(malloc(r->size)), strata_value_data(op->value), r->size);
    size_t tags = r->tag_bytes = strata_value_size(op->tags);
    if (tags != 0)
        memcpy(r->tags = must(malloc(tags)), strata_value_data(op->tags), tags);
    return STRATA_OK;
}

static int lease(struct layer *l, struct record *r, struct work *w)
{
    struct lease_store *s = l->store;
    strata_op *op = w->op;
    s->counts.refreshes += (op->flags & STRATA_OP_REFRESH) != 0;
    if (is_newer(r, op))
        return read_entry(r, op);
    op->lease = 0;
    if (s->no_leases)
        return STRATA_MISS;
    if (r->token == 0) {
        lease_to(s, r, op);
        return STRATA_MISS;
    }
    if ((op->flags & STRATA_OP_NOWAIT) || l->hurried)
        return STRATA_PENDING;
    struct work **at = &r->waiters;
    while (*at != NULL)
        at = &(*at)->next;
    w->next = NULL;
    *at = w;
    s->counts.waiting++;
    return INT32_MIN; /* later */
}

static int carry_out(struct layer *l, struct work *w, struct work **done)
{
    struct lease_store *s = l->store;
    strata_op *op = w->op;
    struct record *r = find(s, op->key);
    if (op->kind < STRATA_OP_RELEASE && s->fails[op->kind] < 0) {
        s->counts.ended += op->kind == STRATA_OP_PUT && op->lease != 0;
        if (op->kind == STRATA_OP_PUT && holds(r, op->lease))
            r->token = 0;
        return s->fails[op->kind];
    }
    switch (op->kind) {
    case STRATA_OP_GET: return r->present ? read_entry(r, op) : STRATA_MISS;
    case STRATA_OP_LEASE: return lease(l, r, w);
    case STRATA_OP_PUT: {
        int rc = put(s, r, op);
        wake(s, r, done);
        return rc;
    }
    case STRATA_OP_REMOVE:
        if (stands_other(r, op, s->life)) {
            op->flags |= STRATA_OP_LOST;
            return STRATA_AGAIN;
        }
        clear_entry(r);
        r->token = 0;
        r->dead = 1;
        op->meta.version = r->version = ++s->versions;
        op->meta.store_life = r->life = s->life;
        wake(s, r, done);
        return STRATA_OK;
    case STRATA_OP_RELEASE:
        s->counts.ended++;
        s->counts.released++;
        if (holds(r, op->lease))
            r->token = 0;
        wake(s, r, done);
        return STRATA_OK;
    default: return STRATA_EUNSUPPORTED;
    }
}

static void count(struct lease_store *s, uint32_t kind)
{
    s->counts.gets += kind == STRATA_OP_GET;
    s->counts.puts += kind == STRATA_OP_PUT;
    s->counts.removes += kind == STRATA_OP_REMOVE;
    s->counts.leases += kind == STRATA_OP_LEASE;
}

/* When ------------------------------------------------------------------------------------------------------------- */

static int64_t some_time(struct lease_store *s)
{
    s->chance = s->chance * 6364136223846793005u + 1442695040888963407u;
    return s->most_ms != 0 ? (int64_t)((s->chance >> 33) % (uint64_t)(s->most_ms + 1)) : 0;
}

static void finish(void *ctx)
{
    struct work *w = ctx;
    strata_op *op = w->op;
    int status = w->status;
    free(w);
    strata_op_done(op, status);
}

static void give(struct lease_store *s, struct work *done)
{
    while (done != NULL) {
        struct work *w = done;
        done = w->next;
        pthread_mutex_lock(&s->mutex);
        int64_t delay = some_time(s);
        pthread_mutex_unlock(&s->mutex);
        if (s->most_ms == 0 || strata_host_after(w->layer->host, delay, finish, w) < 0)
            finish(w);
    }
}

/* A waiter's time is over; it may have been answered long ago. */
struct alarm {
    struct lease_store *store;
    strata_op *op;
    uint64_t number; /* in op->layer_data while that operation lasts */
};

static void out_of_time(void *ctx)
{
    struct alarm *a = ctx;
    struct lease_store *s = a->store;
    struct work *done = NULL;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct record *r = s->buckets[i]; r != NULL; r = r->next)
            for (struct work **at = &r->waiters; *at != NULL;) {
                struct work *w = *at;
                if (w->op != a->op || (uintptr_t)w->op->layer_data != a->number) {
                    at = &w->next;
                    continue;
                }
                *at = w->next;
                s->counts.waiting--;
                answer(&done, w, STRATA_PENDING);
            }
    pthread_mutex_unlock(&s->mutex);
    give(s, done);
    free(a);
}

static void run_before(struct layer *l)
{
    struct lease_store *s = l->store;
    void (*call)(void *ctx) = NULL;
    pthread_mutex_lock(&s->mutex);
    if (s->before != NULL && l->first->op->kind == s->before_kind) {
        call = s->before;
        s->before = NULL;
    }
    pthread_mutex_unlock(&s->mutex);
    if (call != NULL)
        call(s->before_ctx);
}

static void do_next(void *ctx)
{
    struct layer *l = ctx;
    struct lease_store *s = l->store;
    struct work *done = NULL;
    struct alarm *alarm = NULL;
    run_before(l);
    pthread_mutex_lock(&s->mutex);
    int64_t now_us = s->keeps_time ? CLOCK_AT_US + strata_host_now_ms(l->host) * 1000 : 0;
    s->versions = s->versions < (uint64_t)now_us ? (uint64_t)now_us : s->versions;
    struct work *w = l->first;
    l->first = w->next;
    if (l->first == NULL)
        l->last = &l->first;
    count(s, w->op->kind);
    int status = carry_out(l, w, &done);
    if (status != INT32_MIN) {
        answer(&done, w, status);
    } else {
        alarm = must(malloc(sizeof *alarm));
        *alarm = (struct alarm){ s, w->op, ++s->tokens };
        w->op->layer_data = (void *)(uintptr_t)alarm->number;
    }
    pthread_mutex_unlock(&s->mutex);
    if (s->keeps_time && l->host->store_clock != NULL)
        l->host->store_clock(l->host, now_us, s->life);
    if (alarm != NULL && strata_host_after(l->host, s->wait_ms, out_of_time, alarm) < 0)
        out_of_time(alarm);
    give(s, done);
}

static void submit(strata_layer *layer, strata_op *const *ops, size_t n)
{
    struct layer *l = downcast(layer);
    struct lease_store *s = l->store;
    for (size_t i = 0; i < n; i++) {
        struct work *w = must(calloc(1, sizeof *w));
        *w = (struct work){ .layer = l, .op = ops[i] };
        pthread_mutex_lock(&s->mutex);
        *l->last = w;
        l->last = &w->next;
        if (ops[i]->kind == STRATA_OP_LEASE) {
            s->counts.asked_ms = ops[i]->asked_ms;
            s->counts.used_ms = ops[i]->now_ms - ops[i]->asked_ms;
        }
        int64_t delay = some_time(s);
        pthread_mutex_unlock(&s->mutex);
        /* The last operation's end may be the list's: nothing of it is read after. */
        int last = i + 1 == n;
        if (s->most_ms == 0 || strata_host_after(l->host, delay, do_next, l) < 0)
            do_next(l);
        if (last)
            return;
    }
}

/* The rest of a layer ---------------------------------------------------------------------------------------------- */

static int start(strata_layer *layer, strata_layer_host *host, strata_error *err)
{
    (void)err;
    downcast(layer)->host = host;
    return STRATA_OK;
}

static int clear(strata_layer *layer, const strata_clear_op *what, strata_error *err)
{
    struct lease_store *s = downcast(layer)->store;
    struct work *done = NULL;
    (void)err;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct record *r = s->buckets[i]; r != NULL; r = r->next) {
            if (!what->all &&
                (r->key_size < what->prefix.size || memcmp(r->key, what->prefix.data, what->prefix.size) != 0))
                continue;
            clear_entry(r);
            r->token = 0;
            r->dead = 1;
            r->version = ++s->versions;
            wake(s, r, &done);
        }
    pthread_mutex_unlock(&s->mutex);
    give(s, done);
    return STRATA_OK;
}

static void hurry(strata_layer *layer)
{
    struct layer *l = downcast(layer);
    struct lease_store *s = l->store;
    struct work *done = NULL;
    pthread_mutex_lock(&s->mutex);
    l->hurried = 1;
    s->counts.hurries++;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct record *r = s->buckets[i]; r != NULL; r = r->next)
            for (struct work **at = &r->waiters; *at != NULL;) {
                struct work *w = *at;
                if (w->layer != l) {
                    at = &w->next;
                    continue;
                }
                *at = w->next;
                s->counts.waiting--;
                answer(&done, w, STRATA_PENDING);
            }
    pthread_mutex_unlock(&s->mutex);
    give(s, done);
}

static void close_layer(strata_layer *layer)
{
    struct layer *l = downcast(layer);
    if (l->owns)
        (void)lease_store_free(l->store);
    free(l);
}

static int keys(strata_layer *layer, int (*each)(uint32_t, strata_slice, void *), void *ctx, strata_error *err)
{
    struct lease_store *s = downcast(layer)->store;
    int stop = 0;
    (void)err;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < BUCKETS && !stop; i++)
        for (struct record *r = s->buckets[i]; r != NULL && !stop; r = r->next)
            if (r->present)
                stop = each(0, strata_bytes(r->key, r->key_size), ctx);
    pthread_mutex_unlock(&s->mutex);
    return STRATA_OK;
}

static const strata_layer_ops ops = { .size = sizeof ops,
                                      .kind = "leases",
                                      .start = start,
                                      .submit = submit,
                                      .clear = clear,
                                      .keys = keys,
                                      .close = close_layer,
                                      .hurry = hurry };

strata_layer *lease_store_layer(struct lease_store *store)
{
    struct layer *l = must(calloc(1, sizeof *l));
    l->base.size = sizeof l->base;
    l->base.ops = &ops;
    l->base.flags = STRATA_LAYER_SHARED | STRATA_LAYER_LEASES;
    memcpy(l->base.name, "leases", 7);
    l->store = store;
    l->last = &l->first;
    return &l->base;
}

void lease_store_own(strata_layer *layer) { downcast(layer)->owns = 1; }

/* The store -------------------------------------------------------------------------------------------------------- */

struct lease_store *lease_store_new(int64_t most_ms, int64_t wait_ms)
{
    struct lease_store *s = must(calloc(1, sizeof *s));
    pthread_mutex_init(&s->mutex, NULL);
    s->most_ms = most_ms;
    s->wait_ms = wait_ms;
    s->chance = 42;
    s->life = 1;
    return s;
}

size_t lease_store_free(struct lease_store *s)
{
    size_t left = s->counts.granted - s->counts.ended;
    for (size_t i = 0; i < BUCKETS; i++)
        while (s->buckets[i] != NULL) {
            struct record *r = s->buckets[i];
            s->buckets[i] = r->next;
            if (r->waiters != NULL)
                abort();
            clear_entry(r);
            free(r);
        }
    pthread_mutex_destroy(&s->mutex);
    free(s);
    return left;
}

void lease_store_fail(struct lease_store *s, uint32_t kind, int status)
{
    pthread_mutex_lock(&s->mutex);
    s->fails[kind] = status;
    pthread_mutex_unlock(&s->mutex);
}

void lease_store_before(struct lease_store *s, uint32_t kind, void (*call)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&s->mutex);
    s->before = call;
    s->before_kind = kind;
    s->before_ctx = ctx;
    pthread_mutex_unlock(&s->mutex);
}

void lease_store_keep_time(struct lease_store *s) { s->keeps_time = 1; }

void lease_store_no_leases(struct lease_store *s)
{
    pthread_mutex_lock(&s->mutex);
    s->no_leases = 1;
    pthread_mutex_unlock(&s->mutex);
}

static void drop_all(struct lease_store *s, int entries)
{
    struct work *done = NULL;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct record *r = s->buckets[i]; r != NULL; r = r->next) {
            if (entries)
                clear_entry(r);
            r->dead &= !entries;
            r->token = 0;
            wake(s, r, &done);
        }
    pthread_mutex_unlock(&s->mutex);
    give(s, done);
}

void lease_store_kill_leases(struct lease_store *s) { drop_all(s, 0); }
void lease_store_flush(struct lease_store *s) { drop_all(s, 1); }

void lease_store_new_life(struct lease_store *s, uint64_t versions)
{
    s->life++;
    s->versions = versions;
}

void lease_store_counts(struct lease_store *s, struct lease_store_counts *out)
{
    pthread_mutex_lock(&s->mutex);
    *out = s->counts;
    pthread_mutex_unlock(&s->mutex);
}

size_t lease_store_value(struct lease_store *s, strata_slice key, void *out, size_t room, strata_meta *meta)
{
    pthread_mutex_lock(&s->mutex);
    struct record *r = find(s, key);
    size_t size = r->present ? r->size : SIZE_MAX;
    if (r->present) {
        *meta = r->meta;
        meta->version = r->version;
    }
    if (r->present && r->size != 0)
        memcpy(out, r->data, r->size < room ? r->size : room);
    pthread_mutex_unlock(&s->mutex);
    return size;
}
