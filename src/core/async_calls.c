/* async_calls.c - the asynchronous twins of has, ttl, inspect, size, clear and the bulk calls: the blocking twin on a
 * worker. */
#include <string.h>

#include "src/core/adaptive.h"
#include "src/core/async_impl.h"

static void run_call(struct task *task)
{
    struct async *a = async_of_task(task);
    int status = a->call(a, &a->completion.err);
    if (a->queue == NULL) {
        strata__async_complete_here((a->completion.status = status, task)); /* this is a worker */
        return;
    }
    strata__async_complete(a, status, a->completion.value, &a->completion.err);
}

static int start_call(struct async *a, int (*call)(struct async *, strata_error *), strata_error *err)
{
    a->call = call;
    a->task.run = run_call;
    int rc = ex_post(a->root->ex, &a->task);
    return rc == STRATA_OK ? STRATA_PENDING : strata__async_refuse(a, strata__async_busy(rc, err));
}

static int call_has(struct async *a, strata_error *err) { return strata_has(a->cache, a->key, err); }
static int call_ttl(struct async *a, strata_error *err) { return strata_ttl(a->cache, a->key, a->out, err); }
static int call_inspect(struct async *a, strata_error *err) { return strata_inspect(a->cache, a->key, a->out, err); }
static int call_size(struct async *a, strata_error *err) { return strata_size(a->cache, a->out, err); }
static int call_clear(struct async *a, strata_error *err) { return strata_clear(a->cache, err); }
static int call_get_many(struct async *a, strata_error *err)
{
    return strata_get_many(a->cache, a->items, a->count, err);
}
static int call_load_many(struct async *a, strata_error *err)
{
    return strata_get_or_load_many(a->cache, a->items, a->count, a->bulk, a->loader_ctx, a->given_policy, err);
}
static int call_load_each(struct async *a, strata_error *err)
{
    return strata_get_or_load_each(a->cache, a->items, a->loaders, a->count, a->given_policy, err);
}
static int call_set_many(struct async *a, strata_error *err)
{
    return strata_set_many(a->cache, a->items, a->count, a->given_policy, err);
}
static int call_delete_many(struct async *a, strata_error *err)
{
    return strata_delete_many(a->cache, a->items, a->count, err);
}

int strata__key_call(strata *cache, strata_slice key, void *out, int (*call)(struct async *, strata_error *),
                     strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    int rc = cache != NULL ? check_key(cache, key, err) : STRATA_OK;
    if (rc != STRATA_OK)
        return rc;
    struct async *a = strata__async_new(cache, key, queue, done, ctx, &rc, err);
    if (a == NULL)
        return rc;
    a->out = out;
    return start_call(a, call, err);
}

int strata_has_async(strata *cache, strata_slice key, strata_queue *queue, strata_done done, void *ctx,
                     strata_error *err)
{
    return strata__key_call(cache, key, NULL, call_has, queue, done, ctx, err);
}

int strata_ttl_async(strata *cache, strata_slice key, int64_t *out_ms, strata_queue *queue, strata_done done, void *ctx,
                     strata_error *err)
{
    return strata__key_call(cache, key, out_ms, call_ttl, queue, done, ctx, err);
}

int strata_inspect_async(strata *cache, strata_slice key, strata_inspection *out, strata_queue *queue, strata_done done,
                         void *ctx, strata_error *err)
{
    return strata__key_call(cache, key, out, call_inspect, queue, done, ctx, err);
}

static int plain_call(strata *cache, void *out, int (*call)(struct async *, strata_error *), strata_queue *queue,
                      strata_done done, void *ctx, strata_error *err)
{
    int rc;
    struct async *a = strata__async_new(cache, strata_bytes(NULL, 0), queue, done, ctx, &rc, err);
    if (a == NULL)
        return rc;
    a->out = out;
    return start_call(a, call, err);
}

int strata_size_async(strata *cache, uint64_t *out, strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    return plain_call(cache, out, call_size, queue, done, ctx, err);
}

int strata_clear_async(strata *cache, strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    return plain_call(cache, NULL, call_clear, queue, done, ctx, err);
}

int strata__text_call(strata *cache, strata_slice text, uint32_t how, int (*call)(struct async *, strata_error *),
                      strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    int rc = STRATA_OK;
    struct async *a = strata__async_new(cache, text, queue, done, ctx, &rc, err);
    if (a == NULL)
        return rc;
    a->count = how;
    return start_call(a, call, err);
}

/* What loads the keys of a bulk call: one for all, or one for each. */
struct many_loaders {
    strata_bulk_loader bulk;
    void *ctx;
    const strata_item_loader *each;
};

static int many_call(strata *cache, strata_item *items, size_t count, const strata_policy *policy,
                     const struct many_loaders *loaders, int (*call)(struct async *, strata_error *),
                     strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    int rc = strata__call_policy_check(cache, policy, err);
    if (rc == STRATA_OK && items == NULL && count != 0)
        rc = strata__no_argument(err, "a bulk call needs items");
    if (rc != STRATA_OK)
        return rc;
    struct async *a = strata__async_new(cache, strata_bytes(NULL, 0), queue, done, ctx, &rc, err);
    if (a == NULL)
        return rc;
    a->items = items;
    a->count = count;
    a->bulk = loaders->bulk;
    a->loader_ctx = loaders->ctx;
    a->loaders = loaders->each;
    if (policy != NULL) {
        memcpy(&a->policy, policy, policy->size < sizeof a->policy ? policy->size : sizeof a->policy);
        a->policy.size = sizeof a->policy;
        a->given_policy = &a->policy;
    }
    return start_call(a, call, err);
}

int strata_get_many_async(strata *cache, strata_item *items, size_t count, strata_queue *queue, strata_done done,
                          void *ctx, strata_error *err)
{
    return many_call(cache, items, count, NULL, &(struct many_loaders){ 0 }, call_get_many, queue, done, ctx, err);
}

int strata_get_or_load_many_async(strata *cache, strata_item *items, size_t count, strata_bulk_loader loader,
                                  void *loader_ctx, const strata_policy *policy, strata_queue *queue, strata_done done,
                                  void *ctx, strata_error *err)
{
    if (loader == NULL && cache != NULL && !namespace_has_loader(cache))
        return strata__no_loader(err);
    const struct many_loaders loaders = { .bulk = loader, .ctx = loader_ctx };
    return many_call(cache, items, count, policy, &loaders, call_load_many, queue, done, ctx, err);
}

int strata_get_or_load_each_async(strata *cache, strata_item *items, const strata_item_loader *loaders, size_t count,
                                  const strata_policy *policy, strata_queue *queue, strata_done done, void *ctx,
                                  strata_error *err)
{
    int rc = strata__each_check(cache, items, loaders, count, policy, err);
    if (rc != STRATA_OK)
        return rc;
    const struct many_loaders from = { .each = loaders };
    return many_call(cache, items, count, policy, &from, call_load_each, queue, done, ctx, err);
}

int strata_set_many_async(strata *cache, strata_item *items, size_t count, const strata_policy *policy,
                          strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    int rc = many_call(cache, items, count, policy, &(struct many_loaders){ 0 }, call_set_many, queue, done, ctx, err);
    if (rc < 0) /* refused: nobody else frees its objects */
        strata__item_objects_drop(cache, items, count);
    return rc;
}

int strata_delete_many_async(strata *cache, strata_item *items, size_t count, strata_queue *queue, strata_done done,
                             void *ctx, strata_error *err)
{
    return many_call(cache, items, count, NULL, &(struct many_loaders){ 0 }, call_delete_many, queue, done, ctx, err);
}
