/* test_host.c - see test_host.h. */
#include "tests/support/test_host.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"

struct host_item {
    struct host_item *next;
    int64_t order; /* its delay; where delays are kept, when it is due */
    void (*fn)(void *ctx);
    void *ctx;
};

static struct test_host *self(strata_layer_host *host) { return (struct test_host *)(void *)host; }

static int64_t now_ms(strata_layer_host *host) { return atomic_load(&self(host)->now_ms); }

static int64_t wall_ms(strata_layer_host *host) { return now_ms(host) + TEST_HOST_WALL_MS; }

static int after(strata_layer_host *host, int64_t delay_ms, void (*fn)(void *ctx), void *ctx)
{
    struct test_host *h = self(host);
    struct host_item *item = strata__alloc(host->mem, sizeof *item);
    if (item == NULL)
        return STRATA_ENOMEM;
    *item = (struct host_item){ NULL, delay_ms, fn, ctx };
    pthread_mutex_lock(&h->mutex);
    if (h->keeps_delays)
        item->order += atomic_load(&h->now_ms);
    struct host_item **at = &h->items;
    while (*at != NULL && (*at)->order <= item->order)
        at = &(*at)->next;
    item->next = *at;
    *at = item;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->mutex);
    return STRATA_OK;
}

static int post(strata_layer_host *host, void (*fn)(void *ctx), void *ctx) { return after(host, 0, fn, ctx); }

static void evicted(strata_layer_host *host, strata_layer *layer, uint32_t space, strata_slice key)
{
    (void)layer;
    (void)space;
    (void)key;
    atomic_fetch_add(&self(host)->evicted, 1);
}

static struct host_item *first_due(struct test_host *h)
{
    struct host_item *item = h->items;
    return item == NULL || !h->keeps_delays || item->order <= atomic_load(&h->now_ms) ? item : NULL;
}

static void *run(void *ctx)
{
    struct test_host *h = ctx;
    pthread_mutex_lock(&h->mutex);
    for (;;) {
        struct host_item *item = first_due(h);
        if (item == NULL && h->stopping)
            break;
        if (item == NULL) {
            pthread_cond_wait(&h->changed, &h->mutex);
            continue;
        }
        h->items = item->next;
        h->running = 1;
        pthread_mutex_unlock(&h->mutex);
        item->fn(item->ctx);
        strata__free(h->host.mem, item);
        pthread_mutex_lock(&h->mutex);
        h->running = 0;
        pthread_cond_broadcast(&h->changed);
    }
    pthread_mutex_unlock(&h->mutex);
    return NULL;
}

void test_host_start(struct test_host *h, const strata_allocator *mem)
{
    memset(h, 0, sizeof *h);
    h->host.mem = mem != NULL ? mem : &strata__malloc;
    h->host.hash_seed = 0x5eed;
    h->host.now_ms = now_ms;
    h->host.wall_ms = wall_ms;
    h->host.post = post;
    h->host.after = after;
    h->host.evicted = evicted;
    atomic_store(&h->host.eviction_listeners, 1);
    atomic_store(&h->now_ms, 1000000);
    pthread_mutex_init(&h->mutex, NULL);
    pthread_cond_init(&h->changed, NULL);
    if (pthread_create(&h->thread, NULL, run, h) != 0)
        abort();
}

void test_host_drain(struct test_host *h)
{
    pthread_mutex_lock(&h->mutex);
    while (first_due(h) != NULL || h->running)
        pthread_cond_wait(&h->changed, &h->mutex);
    pthread_mutex_unlock(&h->mutex);
}

void test_host_keep_delays(struct test_host *h)
{
    pthread_mutex_lock(&h->mutex);
    h->keeps_delays = 1;
    pthread_mutex_unlock(&h->mutex);
}

void test_host_advance(struct test_host *h, int64_t ms)
{
    pthread_mutex_lock(&h->mutex);
    atomic_fetch_add(&h->now_ms, ms);
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->mutex);
    test_host_drain(h);
}

void test_host_cut(struct test_host *h)
{
    pthread_mutex_lock(&h->mutex);
    h->keeps_delays = 0;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->mutex);
    test_host_drain(h);
}

void test_host_stop(struct test_host *h)
{
    if (h->stopping) /* a test has closed what its teardown closes, too */
        return;
    pthread_mutex_lock(&h->mutex);
    h->stopping = 1;
    h->keeps_delays = 0;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->mutex);
    pthread_join(h->thread, NULL);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->mutex);
}
