/* async_impl.h - an asynchronous call: what all kinds of them share.
 *
 * It is entered when it is made, and counted as active until its completion is out of our hands: so close waits for it. */
#ifndef STRATA_CORE_ASYNC_IMPL_H
#define STRATA_CORE_ASYNC_IMPL_H
#include "src/core/flight.h"
#include "src/core/write.h"

struct async {
    struct completion completion;
    struct task task; /* the completion on a worker; before that: the call itself */
    struct task expire_task;
    struct timer timer;
    unsigned char timer_set; /* key lock */
    _Atomic(uint32_t) refs;
    struct root *root;   /* counted; also in `active` until the completion is out of our hands */
    strata *cache;       /* counted */
    strata_queue *queue; /* counted; NULL: done on a worker */
    strata_done done;
    void *ctx;
    struct waiter waiter;
    struct write *write;
    _Atomic(unsigned char) parts; /* of a write that ends before its call returns: it, and a worker's readiness */
    int *out_hit;                 /* strata__load_reporting() */
    int (*call)(struct async *a, strata_error *err); /* the blocking twin */
    strata_slice key;                                /* a copy, behind this struct */
    void *out;
    strata_item *items;
    size_t count;
    strata_bulk_loader bulk;
    const strata_item_loader *loaders;
    void *loader_ctx;
    strata_policy policy;
    const strata_policy *given_policy;
};

static inline struct async *async_of_task(struct task *t)
{
    return (struct async *)(void *)((char *)t - offsetof(struct async, task));
}

/* A call that is entered.  NULL: *rc says why not. */
struct async *strata__async_new(strata *cache, strata_slice key, strata_queue *queue, strata_done done, void *ctx,
                                int *rc, strata_error *err);
/* The call is refused: `done` will not be called. */
int strata__async_refuse(struct async *a, int rc);
/* The words for a refusal by the executor. */
int strata__async_busy(int rc, strata_error *err);
/* The answer: exactly once, and the last touch.  Takes over `value`. */
void strata__async_complete(struct async *a, int status, strata_value *value, const strata_error *err);
/* The same on a worker, for a call without a queue whose answer stands in its completion.  A task's run(). */
void strata__async_complete_here(struct task *task);

/* Who is told of a call's end, and how. */
struct async_end {
    strata_queue *queue; /* NULL: a worker */
    strata_done done;
    void *ctx;
};

/* A write, which was prepared as `pattern` is.  Takes over the reference to `value`, whatever it answers; NULL with what stores nothing. */
int strata__write_async(strata *cache, strata_slice key, strata_value *value, const struct strata_tags *tags,
                        const struct write *pattern, const struct async_end *end, strata_error *err);

/* strata_get_or_load_async() without a queue, which also says whether a layer had it. */
int strata__load_reporting(strata *cache, strata_slice key, strata_loader loader, void *loader_ctx,
                           const strata_policy *policy, int *out_hit, strata_done done, void *ctx, strata_error *err);
/* strata_get_or_load_many(), which also says of which ones a layer had them (bulk.c). */
int strata__load_many(strata *cache, strata_item *items, size_t count, strata_bulk_loader loader, void *loader_ctx,
                      const strata_policy *policy, unsigned char *hits, strata_error *err);

/* Can strata_get_or_load_each() be called so? (bulk.c) */
int strata__each_check(const strata *cache, const strata_item *items, const strata_item_loader *loaders, size_t count,
                       const strata_policy *policy, strata_error *err);

/* A set of bytes, which are copied; the cache is not NULL. */
int strata__set_later(strata *cache, strata_slice key, strata_slice value, const struct strata_tags *tags,
                      const struct set_only *only, const strata_policy *policy, const struct async_end *end,
                      strata_error *err);

/* A blocking call of a key, with what it gives besides a value in *out; on a worker. */
int strata__key_call(strata *cache, strata_slice key, void *out, int (*call)(struct async *, strata_error *),
                     strata_queue *queue, strata_done done, void *ctx, strata_error *err);

/* A blocking call of a text, which is copied to a->key, and flags, in a->count; on a worker. */
int strata__text_call(strata *cache, strata_slice text, uint32_t how, int (*call)(struct async *, strata_error *),
                      strata_queue *queue, strata_done done, void *ctx, strata_error *err);

#endif /* STRATA_CORE_ASYNC_IMPL_H */
