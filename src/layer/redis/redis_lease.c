/* redis_lease.c - see redis_lease.h.
 *
 * An asked or awaited lease is in its bucket, an awaited one in the heap besides; who takes it out of the heap, under the
 * lock, is the one who goes on with it.  Operations are answered, and calls sent, without the lock. */
#include "src/layer/redis/redis_lease.h"

#include <string.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/format/le.h"
#include "src/layer/redis/redis_call.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/os/os_random.h"

enum { AT_ONCE = 32, CUT_LEAST_MS = 25 };

struct lease_timer {
    struct redis_layer *r;
    int64_t due_ms, delay_ms;
};

static struct redis_lease *of_heap(const struct heap_node *node) { return list_entry(node, struct redis_lease, timed); }

static struct redis_lease *of_list(struct list_node *node) { return list_entry(node, struct redis_lease, link); }

static int sooner(const struct heap_node *a, const struct heap_node *b)
{
    return of_heap(a)->due_ms < of_heap(b)->due_ms;
}

void strata__redis_leases_init(struct redis_layer *r)
{
    struct redis_leases *l = &r->leases;
    memset(l, 0, sizeof *l);
    for (size_t i = 0; i < LEASE_BUCKETS; i++)
        list_init(&l->buckets[i]);
    list_init(&l->held);
    strata__heap_init(&l->awaited, sooner);
    l->armed_ms = INT64_MAX;
}

void strata__redis_leases_deinit(struct redis_layer *r)
{
    struct redis_leases *l = &r->leases;
    for (uint32_t i = 0; i < l->room; i++)
        strata__free(r->mem, l->table[i]);
    strata__free(r->mem, l->table);
    l->table = NULL;
    l->room = 0;
}

/* Timers ------------------------------------------------------------------------------------------------------- */

static void tick(void *ctx);

/* See to it that a timer fires then.  0: there can be none. */
static int arm(struct redis_layer *r, int64_t due_ms, int64_t now)
{
    struct redis_leases *l = &r->leases;
    os_lock_take(&l->lock);
    int64_t before = l->armed_ms;
    if (due_ms < before)
        l->armed_ms = due_ms;
    os_lock_give(&l->lock);
    if (due_ms >= before)
        return 1;
    struct lease_timer *timer = strata__alloc(r->mem, sizeof *timer);
    if (timer != NULL) {
        int64_t delay = due_ms > now ? due_ms - now : 1;
        *timer = (struct lease_timer){ r, due_ms, delay };
        if (strata_host_after(r->host, delay, tick, timer) == STRATA_OK)
            return 1;
        strata__free(r->mem, timer);
    }
    os_lock_take(&l->lock);
    if (l->armed_ms == due_ms)
        l->armed_ms = before;
    os_lock_give(&l->lock);
    return 0;
}

/* The end of an asking -------------------------------------------------------------------------------------------- */

static void answer(struct redis_layer *r, struct redis_lease *lease, int status)
{
    struct redis_leases *l = &r->leases;
    strata_op *op = lease->op;
    os_lock_take(&l->lock);
    list_remove(&lease->link);
    os_lock_give(&l->lock);
    strata__free(r->mem, lease);
    if (status >= 0)
        strata__redis_say(r, op);
    strata_op_done(op, status);
}

static void answer_unleased(struct redis_layer *r, struct redis_lease *lease)
{
    lease->op->lease = 0;
    answer(r, lease, STRATA_MISS);
}

/* A place in the table; 0: no memory. */
static int place_locked(struct redis_layer *r, struct redis_lease *lease)
{
    struct redis_leases *l = &r->leases;
    if (l->count * 2 >= l->room) {
        uint32_t room = l->room != 0 ? l->room * 2 : 16;
        struct redis_lease **table = strata__realloc_array(r->mem, l->table, room, sizeof *table);
        if (table == NULL)
            return 0;
        memset(table + l->room, 0, (room - l->room) * sizeof *table);
        l->table = table;
        l->room = room;
    }
    uint32_t at = ++l->generation % l->room;
    while (l->table[at] != NULL)
        at = (at + 1) % l->room;
    l->table[at] = lease;
    l->count++;
    lease->index = at;
    lease->generation = l->generation;
    return 1;
}

static uint64_t number_of(const struct redis_lease *lease)
{
    return (uint64_t)lease->generation << 32 | (lease->index + 1);
}

static int64_t renew_every(const struct redis_layer *r) { return r->options.lease_ms / 3 + 1; }

/* Or it is over by itself in a while. */
static void released(struct redis_call *call, const struct redis_told *told)
{
    (void)told;
    if (call->owner != NULL)
        strata_op_done(call->owner, STRATA_OK);
}

static struct redis_call *release_call(struct redis_layer *r, strata_slice key, const unsigned char token[REDIS_TOKEN],
                                       strata_op *op)
{
    struct redis_call *call = strata__redis_call_new(r, "release", key, released, op);
    if (call == NULL)
        return NULL;
    memcpy(call->token, token, REDIS_TOKEN);
    strata__redis_call_add_number(call, r->options.tombstone_ms);
    strata__redis_call_add(call, strata_bytes(call->token, REDIS_TOKEN));
    return call;
}

void strata__redis_lease_release_token(struct redis_layer *r, strata_slice key, const unsigned char token[REDIS_TOKEN])
{
    struct redis_call *call = release_call(r, key, token, NULL);
    if (call != NULL)
        strata__redis_call_send(call);
}

static void release(struct redis_layer *r, const struct redis_lease *lease)
{
    strata__redis_lease_release_token(r, strata_bytes(lease->key, lease->key_size), lease->token);
}

/* It is ours. */
static void hold(struct redis_layer *r, struct redis_lease *lease)
{
    struct redis_leases *l = &r->leases;
    strata_op *op = lease->op;
    int64_t now = strata_host_now_ms(r->host);
    os_lock_take(&l->lock);
    int placed = place_locked(r, lease);
    if (placed) {
        list_remove(&lease->link);
        lease->state = LEASE_HELD;
        lease->op = NULL;
        lease->due_ms = now + renew_every(r);
        list_push_back(&l->held, &lease->link);
        op->lease = number_of(lease);
    }
    int64_t due_ms = lease->due_ms;
    os_lock_give(&l->lock);
    if (!placed) {
        release(r, lease);
        answer(r, lease, strata__fail_plain(op->err, STRATA_ENOMEM, r->base.name));
        return;
    }
    redis_count(&l->granted);
    (void)arm(r, due_ms, now); /* without a timer it is ours for lease_ms, and then perhaps another's */
    strata__redis_say(r, op);
    strata_op_done(op, STRATA_MISS);
}

/* Asking ------------------------------------------------------------------------------------------------------- */

static void asked(struct redis_call *call, const struct redis_told *told);

static struct redis_call *ask_call(struct redis_layer *r, struct redis_lease *lease)
{
    struct redis_leases *l = &r->leases;
    struct redis_call *call = strata__redis_call_new(r, "lease", strata_bytes(lease->key, lease->key_size), asked,
                                                     lease);
    if (call == NULL)
        return NULL;
    os_lock_take(&l->lock);
    lease->announced = l->channel == CHANNEL_UP && (lease->op->flags & STRATA_OP_NOWAIT) == 0;
    lease->woken = 0;
    os_lock_give(&l->lock);
    if (lease->until_ms != 0) {
        int64_t left_ms = lease->until_ms - strata_host_now_ms(r->host);
        call->until_ms = lease->until_ms;
        call->request.timeout_ms = left_ms > 0 ? left_ms : 1;
    }
    strata__redis_call_add_number(call, r->options.lease_ms);
    strata__redis_call_add(call, strata_bytes(lease->token, REDIS_TOKEN));
    strata__redis_call_add_number(call, lease->refresh);
    strata__redis_call_add(call, strata_str(lease->announced ? "1" : "0"));
    return call;
}

void strata__redis_lease_ask_again(struct redis_layer *r, struct redis_lease *lease)
{
    struct redis_call *call = ask_call(r, lease);
    if (call != NULL)
        strata__redis_call_send(call);
    else
        answer(r, lease, strata__fail_plain(lease->op->err, STRATA_ENOMEM, r->base.name));
}

/* When to ask again; under the lock. */
static int64_t next_locked(struct redis_layer *r, struct redis_lease *lease, int64_t held_ms, int64_t now)
{
    int64_t wait = held_ms < SAFETY_MS ? held_ms + 1 : SAFETY_MS;
    if (r->leases.channel == CHANNEL_FORBIDDEN) {
        int64_t pause = lease->pause_ms == 0 ? POLL_LEAST_MS : 2 * lease->pause_ms;
        lease->pause_ms = pause < POLL_MOST_MS ? pause : POLL_MOST_MS;
        wait = lease->pause_ms < wait ? lease->pause_ms : wait;
    }
    return now + wait < lease->deadline_ms ? now + wait : lease->deadline_ms;
}

/* Another has it, for so long. */
static void await(struct redis_layer *r, struct redis_lease *lease, int64_t held_ms)
{
    struct redis_leases *l = &r->leases;
    int64_t now = strata_host_now_ms(r->host);
    int up = strata__redis_channel_open(r), again = 0, over;
    lease->until_ms = 0; /* from here on it is lease_wait_ms that counts */
    os_lock_take(&l->lock);
    over = l->hurried || (lease->op->flags & STRATA_OP_NOWAIT) != 0 || now >= lease->deadline_ms;
    again = !over && (lease->woken || (up && !lease->announced));
    if (lease->due_ms == 0 && !over)
        redis_count(&l->waited);
    int64_t due_ms = lease->due_ms = next_locked(r, lease, held_ms, now);
    if (!over && !again) {
        lease->state = LEASE_AWAITED;
        strata__heap_insert(&l->awaited, &lease->timed);
    }
    os_lock_give(&l->lock);
    if (over)
        answer(r, lease, STRATA_PENDING);
    else if (again)
        strata__redis_lease_ask_again(r, lease);
    else if (!arm(r, due_ms, now))
        strata__redis_leases_give_up(r); /* nobody would ever wake them */
}

static void found(struct redis_layer *r, struct redis_lease *lease, const struct redis_told *told)
{
    int rc = strata__redis_value_decode(r, lease->op, told->entry, told->mark, redis_told_at(told));
    if (rc != STRATA_MISS) {
        answer(r, lease, rc);
        return;
    }
    /* Nobody can read it: it is to be replaced. */
    if (lease->refresh >= (int64_t)told->version) {
        answer_unleased(r, lease);
        return;
    }
    lease->refresh = (int64_t)told->version;
    if (lease->until_ms != 0 && strata_host_now_ms(r->host) >= lease->until_ms)
        answer(r, lease, strata__redis_too_late(r, lease->op->err));
    else
        strata__redis_lease_ask_again(r, lease);
}

static void asked(struct redis_call *call, const struct redis_told *told)
{
    struct redis_layer *r = call->r;
    struct redis_lease *lease = call->owner;
    if (told->status == STRATA_EUNSUPPORTED) {
        answer_unleased(r, lease);
        return;
    }
    if (told->status != STRATA_OK) {
        if (told->status == STRATA_ETIMEDOUT || told->status == STRATA_EIO)
            release(
                r, lease); /* perhaps it was given, and nobody heard: it would stand in everybody's way until its end */
        *lease->op->err = *told->err;
        answer(r, lease, told->status);
        return;
    }
    switch (told->code) {
    case SCRIPT_DONE: hold(r, lease); return;
    case SCRIPT_ENTRY: found(r, lease, told); return;
    case SCRIPT_HELD:
        if (lease->op->flags & STRATA_OP_NOWAIT)
            answer(r, lease, STRATA_PENDING);
        else
            await(r, lease, told->held_ms);
        return;
    default: /* not ours: what is loaded does not replace it, as nobody could tell whether a delete came between */
        redis_count(&r->foreign);
        answer(r, lease, STRATA_PENDING);
    }
}

struct redis_request *strata__redis_lease_ask(struct redis_layer *r, strata_op *op)
{
    struct redis_leases *l = &r->leases;
    int64_t refresh = op->flags & STRATA_OP_REFRESH ? (int64_t)op->meta.version : -1;
    op->lease = 0;
    redis_value_expect(r, op);
    if (atomic_load(&r->life.scripts) == SCRIPTS_OFF || r->options.lease_ms == STRATA_OFF) {
        strata__redis_say(r, op);
        strata_op_done(op, STRATA_MISS);
        return NULL;
    }
    int64_t now = strata_host_now_ms(r->host);
    int64_t left_ms = redis_left_ms(r->options.soft_timeout_ms, op->asked_ms, now);
    if (left_ms == 0) {
        strata_op_done(op, strata__redis_too_late(r, op->err));
        return NULL;
    }
    struct redis_lease *lease = strata__alloc_zero(r->mem, sizeof *lease + op->key.size);
    if (lease == NULL) {
        strata_op_done(op, strata__fail_plain(op->err, STRATA_ENOMEM, r->base.name));
        return NULL;
    }
    lease->op = op;
    lease->refresh = refresh;
    lease->deadline_ms = now + r->options.lease_wait_ms;
    lease->until_ms = now + left_ms;
    lease->hash = strata__hash(op->key.data, op->key.size, 0);
    lease->key_size = op->key.size;
    strata__le64_put(lease->token, strata__os_random());
    strata__le64_put(lease->token + 8, strata__os_random());
    if (op->key.size != 0)
        memcpy(lease->key, op->key.data, op->key.size);
    os_lock_take(&l->lock);
    list_push_back(&l->buckets[lease->hash % LEASE_BUCKETS], &lease->link);
    os_lock_give(&l->lock);
    struct redis_call *call = ask_call(r, lease);
    if (call != NULL)
        return &call->request;
    answer(r, lease, strata__fail_plain(op->err, STRATA_ENOMEM, r->base.name));
    return NULL;
}

/* News --------------------------------------------------------------------------------------------------------- */

static int is_of(const struct redis_lease *lease, strata_slice key)
{
    return key.data == NULL ||
           (lease->key_size == key.size && (key.size == 0 || memcmp(lease->key, key.data, key.size) == 0));
}

/* Those of a bucket that wait for this key, taken out of the heap; whose question is under way is told to ask again. */
static size_t gather_locked(struct redis_leases *l, struct list_node *bucket, strata_slice key, struct redis_lease **out)
{
    size_t count = 0;
    LIST_EACH(node, bucket)
    {
        struct redis_lease *lease = of_list(node);
        if (!is_of(lease, key))
            continue;
        if (lease->state == LEASE_ASKED) {
            lease->woken = 1;
        } else if (count < AT_ONCE) {
            strata__heap_remove(&l->awaited, &lease->timed);
            lease->state = LEASE_ASKED;
            out[count++] = lease;
        }
    }
    return count;
}

static void wake_bucket(struct redis_layer *r, struct list_node *bucket, strata_slice key)
{
    struct redis_lease *list[AT_ONCE];
    size_t count;
    do {
        os_lock_take(&r->leases.lock);
        count = gather_locked(&r->leases, bucket, key, list);
        os_lock_give(&r->leases.lock);
        for (size_t i = 0; i < count; i++)
            strata__redis_lease_ask_again(r, list[i]);
    } while (count == AT_ONCE);
}

void strata__redis_leases_wake(struct redis_layer *r, strata_slice key)
{
    struct redis_leases *l = &r->leases;
    if (key.data != NULL) {
        wake_bucket(r, &l->buckets[strata__hash(key.data, key.size, 0) % LEASE_BUCKETS], key);
        return;
    }
    for (size_t i = 0; i < LEASE_BUCKETS; i++)
        wake_bucket(r, &l->buckets[i], key);
}

void strata__redis_leases_give_up(struct redis_layer *r)
{
    struct redis_leases *l = &r->leases;
    struct heap_node *node;
    do {
        os_lock_take(&l->lock);
        node = strata__heap_pop(&l->awaited);
        if (node != NULL)
            of_heap(node)->state = LEASE_ASKED;
        os_lock_give(&l->lock);
        if (node != NULL)
            answer(r, of_heap(node), STRATA_PENDING);
    } while (node != NULL);
}

void strata__redis_leases_hurry(strata_layer *layer)
{
    struct redis_layer *r = (struct redis_layer *)(void *)layer;
    os_lock_take(&r->leases.lock);
    r->leases.hurried = 1;
    os_lock_give(&r->leases.lock);
    if (r->host != NULL)
        strata__redis_leases_give_up(r);
}

/* Renewing ------------------------------------------------------------------------------------------------------- */

static struct redis_lease *find_locked(struct redis_leases *l, uint64_t number)
{
    uint64_t index = (number & UINT32_MAX) - 1;
    struct redis_lease *lease = number != 0 && index < l->room ? l->table[index] : NULL;
    return lease != NULL && lease->generation == number >> 32 ? lease : NULL;
}

/* One that was lost is not renewed any more; its put will hear of it. */
static void renewed(struct redis_call *call, const struct redis_told *told)
{
    struct redis_leases *l = &call->r->leases;
    if (told->status != STRATA_OK || told->code == SCRIPT_DONE)
        return;
    os_lock_take(&l->lock);
    struct redis_lease *lease = find_locked(l, call->number);
    if (lease != NULL && list_linked(&lease->link))
        list_remove(&lease->link);
    os_lock_give(&l->lock);
}

static struct redis_call *renewal(struct redis_layer *r, const struct redis_lease *lease)
{
    struct redis_call *call = strata__redis_call_new(r, "renew", strata_bytes(lease->key, lease->key_size), renewed,
                                                     NULL);
    if (call == NULL)
        return NULL;
    call->number = number_of(lease);
    memcpy(call->token, lease->token, REDIS_TOKEN);
    strata__redis_call_add_number(call, r->options.lease_ms);
    strata__redis_call_add(call, strata_bytes(call->token, REDIS_TOKEN));
    return call;
}

/* Renew what is due before `until`; as it may be released meanwhile, the calls are made under the lock. */
static void renew_due(struct redis_layer *r, int64_t until, int64_t now)
{
    struct redis_leases *l = &r->leases;
    struct redis_call *calls[AT_ONCE];
    size_t count, seen;
    do {
        count = seen = 0;
        os_lock_take(&l->lock);
        while (seen < AT_ONCE && !list_empty(&l->held)) {
            struct redis_lease *lease = of_list(l->held.next);
            if (lease->due_ms > until)
                break;
            list_remove(&lease->link);
            lease->due_ms = now + renew_every(r);
            list_push_back(&l->held, &lease->link);
            calls[count] = renewal(r, lease);
            count += calls[count] != NULL;
            seen++;
        }
        os_lock_give(&l->lock);
        for (size_t i = 0; i < count; i++)
            strata__redis_call_send(calls[i]);
    } while (seen == AT_ONCE);
}

/* Whose time to ask again has come; whose patience is over is answered. */
static void ask_due(struct redis_layer *r, int64_t now)
{
    struct redis_leases *l = &r->leases;
    for (;;) {
        struct redis_lease *lease = NULL;
        os_lock_take(&l->lock);
        if (heap_peek(&l->awaited) != NULL && of_heap(heap_peek(&l->awaited))->due_ms <= now) {
            lease = of_heap(strata__heap_pop(&l->awaited));
            lease->state = LEASE_ASKED;
        }
        os_lock_give(&l->lock);
        if (lease == NULL)
            return;
        if (now >= lease->deadline_ms)
            answer(r, lease, STRATA_PENDING);
        else
            strata__redis_lease_ask_again(r, lease);
    }
}

/* A timer that fires long before its time was cut short: the cache is closing, and there is no later. */
static void tick(void *ctx)
{
    struct lease_timer *timer = ctx;
    struct redis_layer *r = timer->r;
    struct redis_leases *l = &r->leases;
    int64_t now = strata_host_now_ms(r->host), early = timer->due_ms - now, next = INT64_MAX;
    int cut = early > CUT_LEAST_MS && early > timer->delay_ms / 2;
    if (early > 0 && !cut)
        now = timer->due_ms;
    os_lock_take(&l->lock);
    if (l->armed_ms == timer->due_ms)
        l->armed_ms = INT64_MAX;
    os_lock_give(&l->lock);
    strata__free(r->mem, timer);
    if (cut) {
        renew_due(r, now + renew_every(r) - 1, now); /* what is loaded yet has so long */
        strata__redis_leases_give_up(r);
        return;
    }
    renew_due(r, now, now);
    ask_due(r, now);
    os_lock_take(&l->lock);
    if (heap_peek(&l->awaited) != NULL)
        next = of_heap(heap_peek(&l->awaited))->due_ms;
    if (!list_empty(&l->held) && of_list(l->held.next)->due_ms < next)
        next = of_list(l->held.next)->due_ms;
    os_lock_give(&l->lock);
    if (next != INT64_MAX && !arm(r, next, now))
        strata__redis_leases_give_up(r);
}

/* The end of a lease ----------------------------------------------------------------------------------------------- */

static struct redis_lease *take(struct redis_layer *r, uint64_t number)
{
    struct redis_leases *l = &r->leases;
    os_lock_take(&l->lock);
    struct redis_lease *lease = find_locked(l, number);
    if (lease != NULL) {
        l->table[lease->index] = NULL;
        l->count--;
        if (list_linked(&lease->link))
            list_remove(&lease->link);
    }
    os_lock_give(&l->lock);
    return lease;
}

int strata__redis_lease_take(struct redis_layer *r, uint64_t number, unsigned char token[REDIS_TOKEN])
{
    struct redis_lease *lease = take(r, number);
    if (lease == NULL)
        return 0;
    memcpy(token, lease->token, REDIS_TOKEN);
    strata__free(r->mem, lease);
    return 1;
}

void strata__redis_lease_give_up(struct redis_layer *r, uint64_t number)
{
    struct redis_lease *lease = take(r, number);
    if (lease == NULL)
        return;
    release(r, lease);
    strata__free(r->mem, lease);
}

struct redis_request *strata__redis_lease_release(struct redis_layer *r, strata_op *op)
{
    struct redis_lease *lease = take(r, op->lease);
    strata_op *waits = op->flags & STRATA_OP_NOWAIT ? NULL : op;
    struct redis_call *call = lease != NULL
                                  ? release_call(r, strata_bytes(lease->key, lease->key_size), lease->token, waits)
                                  : NULL;
    strata__free(r->mem, lease);
    if (waits == NULL || call == NULL)
        strata_op_done(op, STRATA_OK);
    return call != NULL ? &call->request : NULL;
}
