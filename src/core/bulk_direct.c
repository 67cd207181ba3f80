/* bulk_direct.c - the short way of strata_get_many() where the stack is one layer that may be asked on the caller's thread.
 *
 * As get_direct.c, for many keys: one submit for all of them, and one sleep, without a flight for each.  Where a stripe of one of the
 * keys is busy, all take the general way. */
#include "src/core/direct.h"

struct bulk_get {
    strata_op op;
    strata_error words;
};

struct bulk_direct {
    strata *cache;
    strata_item *items;
    struct bulk_get *gets; /* one an item */
    strata_op **ops;       /* of those whose key fits: `asked` */
    size_t asked;
    unsigned char *keys;  /* storage keys that are not the caller's own */
    _Atomic(size_t) left; /* without an answer, and 1 while they are being asked */
    struct driver driver;
    void *memory;
};

static void nothing_to_write(void *ctx) { (void)ctx; }

static void answered(strata_op *op)
{
    struct bulk_direct *b = op->owner;
    /* Release: what the layer wrote is seen by who looks at the answers.  The last one's is the last touch. */
    if (atomic_fetch_sub_explicit(&b->left, 1, memory_order_acq_rel) == 1)
        strata__driver_done(&b->driver, nothing_to_write, NULL);
}

static int any_is_busy(const strata *cache, const strata_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (key_fits(cache, items[i].key) && direct_is_busy(cache->root, handle_hash(cache, items[i].key)))
            return 1;
    return 0;
}

static size_t storage_room(const strata *cache, const strata_item *items, size_t count)
{
    size_t room = 0;
    for (size_t i = 0; i < count && !cache->root->plain_keys; i++)
        if (key_fits(cache, items[i].key))
            room += strata__storage_size(cache, items[i].key);
    return room;
}

static int make_room(struct bulk_direct *b, size_t count)
{
    const size_t each = sizeof *b->gets + sizeof *b->ops, room = storage_room(b->cache, b->items, count);
    if (count > (SIZE_MAX - room) / each)
        return 0;
    b->memory = strata__alloc(b->cache->root->mem, count * each + room);
    b->gets = b->memory;
    b->ops = (strata_op **)(void *)(b->gets + count);
    b->keys = (unsigned char *)(b->ops + count);
    return b->memory != NULL;
}

static struct key_forms forms_of(struct bulk_direct *b, strata_slice key)
{
    struct key_forms forms = { .plain = key, .storage = key, .hash = handle_hash(b->cache, key) };
    size_t size = b->cache->root->plain_keys ? key.size : strata__storage_size(b->cache, key);
    if (size != key.size) {
        strata__storage_write(b->cache, key, b->keys);
        forms.storage = strata_bytes(b->keys, size);
        b->keys += size;
    }
    return forms;
}

static void prepare(struct bulk_direct *b, size_t count, int *worst, strata_error *err)
{
    struct layer_slot *slot = &b->cache->root->layers[0];
    const uint32_t flags = slot->flags & STRATA_LAYER_LENDS ? STRATA_OP_WAITED : 0, cell = counter_index();
    const int64_t now = b->cache->now_ms(b->cache->ex);
    for (size_t i = 0; i < count; i++) {
        strata_item *item = &b->items[i];
        strata_op *op = &b->gets[i].op;
        item->value = NULL;
        item->status = check_key(b->cache, item->key, *worst >= 0 ? err : NULL);
        if (item->status != STRATA_OK) {
            *worst = *worst < 0 ? *worst : item->status;
            continue;
        }
        counter_raise(b->cache->cells, cell, HOT_BEGUN);
        struct key_forms forms = forms_of(b, item->key);
        op_init(op, b->cache, slot, &forms, STRATA_OP_GET, now, &b->gets[i].words);
        op->flags = flags;
        op->done = answered;
        op->owner = b;
        b->ops[b->asked++] = op;
    }
}

static void ask_and_wait(struct bulk_direct *b)
{
    struct root *root = b->cache->root;
    struct layer_slot *slot = &root->layers[0];
    const int64_t before = ex_now_ns(root->ex);
    strata__driver_init(&b->driver, root->ex, 0);
    b->driver.left = 1;
    atomic_init(&b->left, b->asked + 1);
    slot->layer->ops->submit(slot->layer, b->ops, b->asked);
    int all = atomic_fetch_sub_explicit(&b->left, 1, memory_order_acq_rel) == 1;
    while (!all) {
        key_mutex_lock(&b->driver.lock);
        all = b->driver.left == 0;
        key_mutex_unlock(&b->driver.lock);
        if (!all)
            strata__driver_step(&b->driver, INT64_MAX);
    }
    strata__driver_deinit(&b->driver);
    strata__histogram_add(&slot->latency, (uint64_t)(ex_now_ns(root->ex) - before));
}

/* The answers; each call is over with its own. */
static int judge_all(struct bulk_direct *b, size_t count, int worst, strata_error *err)
{
    strata *cache = b->cache;
    struct layer_slot *slot = &cache->root->layers[0];
    const int64_t now = ex_now_ms(cache->root->ex);
    for (size_t i = 0; i < count; i++) {
        strata_item *item = &b->items[i];
        strata_op *op = &b->gets[i].op;
        enum hot_word word = HOT_LOOKED;
        if (item->status != STRATA_OK)
            continue;
        op->now_ms = now;
        direct_count(cache, slot, op);
        if (__builtin_expect(direct_is_plain(cache, op), 1)) {
            item->value = op->found;
        } else {
            item->status = strata__direct_judge(cache, item->key, op, &item->value, worst >= 0 ? err : NULL);
            word = HOT_SLOW;
        }
        worst = worst < 0 ? worst : item->status < 0 ? item->status : worst;
        counter_raise(cache->cells, counter_index(), word);
    }
    return worst;
}

int strata__get_many_direct(strata *cache, strata_item *items, size_t count, strata_error *err)
{
    struct bulk_direct b = { .cache = cache, .items = items };
    int worst = STRATA_OK;
    if (!gate_open(cache) || any_is_busy(cache, items, count) || !make_room(&b, count))
        return NOT_DIRECT;
    prepare(&b, count, &worst, err);
    if (gate_open(cache)) {
        if (b.asked != 0)
            ask_and_wait(&b);
        worst = judge_all(&b, count, worst, err);
    } else { /* it was shut between the two: these were no calls yet */
        for (size_t i = 0; i < b.asked; i++)
            counter_raise(cache->cells, counter_index(), HOT_SLOW);
        count_n(cache, COUNT_REQUESTS, UINT64_MAX - b.asked + 1);
        worst = NOT_DIRECT;
    }
    strata__free(cache->root->mem, b.memory);
    return worst;
}
