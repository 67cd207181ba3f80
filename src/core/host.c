/* host.c - what a cache offers its layers (src/layer/layer_host.h), and the regular call of their maintain(). */
#include <string.h>

#include "src/core/bans.h"
#include "src/core/behind.h"
#include "src/core/coherence.h"
#include "src/core/demote.h"
#include "src/format/bus_message.h"

enum { MAINTAIN_EVERY_MS = 250, MAINTAIN_BUDGET_US = 2000 };

struct posted {
    struct task task;
    struct timer timer;
    struct list_node link; /* root->delayed; delay lock */
    struct root *root;
    void (*fn)(void *ctx);
    void *ctx;
};

static struct root *root_of(strata_layer_host *host)
{
    return (struct root *)(void *)((char *)host - offsetof(struct root, host));
}

static int64_t host_now(strata_layer_host *host) { return ex_now_ms(root_of(host)->ex); }

static int64_t host_wall(strata_layer_host *host) { return ex_wall_ms(root_of(host)->ex); }

static void run_posted(struct task *task)
{
    struct posted *p = (struct posted *)(void *)task;
    struct root *root = p->root;
    p->fn(p->ctx);
    strata__free(root->mem, p);
    root_leave(root);
}

static struct posted *new_posted(struct root *root, void (*fn)(void *), void *ctx)
{
    struct posted *p = strata__alloc_zero(root->mem, sizeof *p);
    if (p != NULL) {
        p->task.run = run_posted;
        p->root = root;
        p->fn = fn;
        p->ctx = ctx;
        root_hold(root);
    }
    return p;
}

static int host_post(strata_layer_host *host, void (*fn)(void *ctx), void *ctx)
{
    struct root *root = root_of(host);
    struct posted *p = new_posted(root, fn, ctx);
    if (p == NULL)
        return STRATA_ENOMEM;
    /* Not bounded, and before new work: a call that was accepted waits for what its layer does here. */
    ex_post_always(root->ex, &p->task);
    return STRATA_OK;
}

static void delay_over(struct timer *timer)
{
    struct posted *p = (struct posted *)(void *)((char *)timer - offsetof(struct posted, timer));
    struct root *root = p->root;
    key_mutex_lock(&root->delay_lock);
    int mine = list_linked(&p->link);
    if (mine)
        list_remove(&p->link);
    key_mutex_unlock(&root->delay_lock);
    if (mine)
        ex_post_always(root->ex, &p->task);
}

static int host_after(strata_layer_host *host, int64_t delay_ms, void (*fn)(void *ctx), void *ctx)
{
    struct root *root = root_of(host);
    if (delay_ms <= 0)
        return host_post(host, fn, ctx);
    struct posted *p = new_posted(root, fn, ctx);
    if (p == NULL)
        return STRATA_ENOMEM;
    p->timer.fire = delay_over;
    key_mutex_lock(&root->delay_lock);
    /* As layers see it: who looks, and comes again until then, would come without a pause. */
    if (atomic_load(&root->host.closing)) {
        ex_post_always(root->ex, &p->task);
    } else {
        list_push_back(&root->delayed, &p->link);
        ex_at(root->ex, &p->timer, ex_now_ms(root->ex) + delay_ms);
    }
    key_mutex_unlock(&root->delay_lock);
    return STRATA_OK;
}

void strata__host_closing(struct root *root)
{
    key_mutex_lock(&root->delay_lock);
    atomic_store(&root->host.closing, 1);
    LIST_EACH(node, &root->delayed)
    {
        struct posted *p = list_entry(node, struct posted, link);
        if (!ex_cancel(root->ex, &p->timer))
            continue; /* it fires just now, and finds itself in the list */
        list_remove(&p->link);
        ex_post_always(root->ex, &p->task);
    }
    key_mutex_unlock(&root->delay_lock);
}

static void host_evicted(strata_layer_host *host, strata_layer *layer, uint32_t space, strata_slice key)
{
    struct root *root = root_of(host);
    struct frame *f = strata__frames;
    if (f == NULL || f->root != root || !frame_notes(f)) {
        strata__event_evicted(root, layer->name, space, key);
        return;
    }
    /* A put of ours, under a key lock or while its key is busy: remember it until that is over.  Out of memory: nobody hears
     * of it. */
    struct evicted_note *n = strata__alloc(root->mem, sizeof *n + key.size);
    if (n == NULL)
        return;
    n->layer = layer->name;
    n->space = space;
    n->key_size = key.size;
    memcpy(n->key, key.data, key.size);
    strata__frame_note(f, n, n);
}

static void host_tell(strata_layer_host *host, strata_layer *layer, uint32_t kind, int status, const char *message)
{
    strata__event_layer(root_of(host), kind, layer->name, status, message);
}

/* Peers were told when it was asked for, and dropped what they held; but the store had it still, and they may have read it up again. */
static void host_caught_up(strata_layer_host *host, strata_slice key, uint64_t version, const strata_clear_op *clear)
{
    struct root *root = root_of(host);
    struct bus_item item = { .kind = clear != NULL ? BUS_ITEM_CLEAR : BUS_ITEM_DELETE, .version = version, .key = key };
    char *path = NULL;
    if (root->coherence == NULL)
        return;
    if (clear != NULL) {
        item.all = 1;
        size_t size = clear->all ? 0 : clear->prefix.size;
        path = size != 0 ? strata__alloc(root->mem, size + 1) : NULL;
        if (path != NULL) { /* as messages have it, with the 0x00 that ends it; without memory: everything */
            memcpy(path, clear->prefix.data, size);
            path[size] = '\0';
            item.key = strata_bytes(path, size + 1);
        }
    }
    strata__publish_late(root, &item);
    strata__free(root->mem, path);
}

void strata__host_init(struct root *root)
{
    root->host.mem = root->mem;
    root->host.hash_seed = root->seed;
    root->host.now_ms = host_now;
    root->host.wall_ms = host_wall;
    root->host.post = host_post;
    root->host.after = host_after;
    root->host.evicted = host_evicted;
    root->host.tell = host_tell;
    root->host.demote = strata__host_demote;
    root->host.ban = strata__host_ban;
    root->host.caught_up = host_caught_up;
    root->host.store_clock = strata__behind_host_clock;
}

/* Maintenance ------------------------------------------------------------------------------------------------- */

static void maintain(struct task *task)
{
    struct root *root = (struct root *)(void *)((char *)task - offsetof(struct root, maintain_task));
    for (size_t i = 0; i < root->layer_count && root_usable(root); i++) {
        strata_layer *layer = root->layers[i].layer;
        if (layer->ops->maintain != NULL)
            layer->ops->maintain(layer, ex_now_ms(root->ex), MAINTAIN_BUDGET_US);
    }
    if (root_usable(root))
        strata__lurk(root);
    strata__maintain_start(root);
    root_leave(root);
}

static void maintain_due(struct timer *timer)
{
    struct root *root = (struct root *)(void *)((char *)timer - offsetof(struct root, maintain_timer));
    ex_post_always(root->ex, &root->maintain_task);
}

void strata__maintain_start(struct root *root)
{
    if (!root->has_maintain)
        return;
    root->maintain_timer.fire = maintain_due;
    root->maintain_task.run = maintain;
    key_mutex_lock(&root->delay_lock);
    if (atomic_load(&root->state) == ROOT_OPEN) {
        root_hold(root); /* the timer's */
        ex_at(root->ex, &root->maintain_timer, ex_now_ms(root->ex) + MAINTAIN_EVERY_MS);
    }
    key_mutex_unlock(&root->delay_lock);
}

void strata__maintain_stop(struct root *root)
{
    key_mutex_lock(&root->delay_lock);
    int stopped = root->has_maintain && ex_cancel(root->ex, &root->maintain_timer);
    key_mutex_unlock(&root->delay_lock);
    if (stopped)
        root_leave(root);
}
