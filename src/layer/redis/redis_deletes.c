/* redis_deletes.c - this node's last deletes, which a new life of the store has to hear of: redis_life.h.
 *
 * Each has a place in a ring from when it begins.  Who meets a life has all of them sent once more, with the life in which each was
 * carried out last: there it does nothing.  What fails is owed, and sent again until it is through or too old. */
#include <string.h>

#include "src/base/mem.h"
#include "src/format/le.h"
#include "src/layer/redis/redis_call.h"
#include "src/layer/redis/redis_layer_impl.h"

static void forget(struct redis_layer *r, struct redis_deleted *d)
{
    r->life.deleted_bytes -= d->size;
    strata__free(r->mem, d->key);
    *d = (struct redis_deleted){ 0 };
}

void strata__redis_life_deinit(struct redis_layer *r)
{
    for (size_t i = 0; i < DELETES_KEPT; i++)
        if (r->life.deleted[i].key != NULL)
            forget(r, &r->life.deleted[i]);
}

static void repeat_owed(void *ctx);
static void repeat_place(struct redis_layer *r, struct redis_deleted *place, int only_owed);

static struct redis_deleted *place_of(struct redis_life *l, uint64_t serial)
{
    return &l->deleted[serial % DELETES_KEPT];
}

static struct redis_deleted *find_deleted_locked(struct redis_life *l, uint64_t serial)
{
    struct redis_deleted *d = place_of(l, serial);
    return serial != 0 && d->serial == serial ? d : NULL;
}

void strata__redis_life_deleted_in(struct redis_layer *r, uint64_t serial, uint64_t life)
{
    struct redis_life *l = &r->life;
    int64_t now = strata_host_now_ms(r->host);
    os_lock_take(&l->lock);
    struct redis_deleted *d = find_deleted_locked(l, serial);
    int again = d != NULL && d->again;
    if (d != NULL) {
        d->life = life;
        d->at_ms = now; /* it was carried out at no time later than this, and may have been just now */
        d->owed |= again;
        d->open = d->again = 0;
    }
    os_lock_give(&l->lock);
    if (again)
        repeat_place(r, place_of(l, serial), 1);
}

/* Where it went to, no later life has to hear of it again unless that is another one. */
static void note_repeated(struct redis_life *l, uint64_t serial, uint64_t life)
{
    os_lock_take(&l->lock);
    struct redis_deleted *d = find_deleted_locked(l, serial);
    if (d != NULL)
        d->life = life;
    os_lock_give(&l->lock);
}

/* Its connection may have been the old life's, which nobody had noticed yet; in a Cluster it may not be known yet who has the key
 * now. */
static void repeated(struct redis_call *call, const struct redis_told *told)
{
    struct redis_layer *r = call->r;
    struct redis_life *l = &r->life;
    if (told->status == STRATA_OK)
        note_repeated(l, call->number, told->life);
    if (told->status >= 0 || told->status == STRATA_ECLOSED || told->status == STRATA_EUNSUPPORTED)
        return;
    int64_t now = strata_host_now_ms(r->host);
    os_lock_take(&l->lock);
    struct redis_deleted *d = find_deleted_locked(l, call->number);
    if (d != NULL)
        d->owed = 1;
    int mine = l->repeat_ms == 0;
    if (mine)
        l->repeat_ms = now + REPEAT_PAUSE_MS;
    os_lock_give(&l->lock);
    if (!mine || strata_host_after(r->host, REPEAT_PAUSE_MS, repeat_owed, r) == STRATA_OK)
        return;
    os_lock_take(&l->lock);
    l->repeat_ms = 0;
    os_lock_give(&l->lock);
}

static void repeat(struct redis_layer *r, const struct redis_deleted *d)
{
    struct redis_call *call = strata__redis_call_new(r, "delete", strata_bytes(d->key, d->size), repeated, NULL);
    if (call == NULL)
        return;
    call->number = d->serial;
    strata__redis_call_add_number(call, r->options.tombstone_ms);
    if (d->life != 0) { /* not where it was carried out: what stands there now came behind it */
        strata__le64_put((uint8_t *)call->over, d->life);
        strata__redis_call_add(call, strata_bytes(call->over, REDIS_LIFE));
    }
    strata__redis_call_send(call);
}

static int is_recent(struct redis_layer *r, const struct redis_deleted *d)
{
    return strata_host_now_ms(r->host) - d->at_ms <= DELETES_KEPT_MS;
}

/* Out of its place while it is sent: 1.  One that is still on its way waits for its answer: repeated blindly, it would come behind
 * what was leased or set after it. */
static int take_out(struct redis_life *l, struct redis_deleted *place, int only_owed, struct redis_deleted *out)
{
    int taken = 0;
    os_lock_take(&l->lock);
    if (place->open) {
        place->again |= !only_owed;
    } else if (place->key != NULL && (place->owed || !only_owed)) {
        *out = *place;
        *place = (struct redis_deleted){ .serial = out->serial, .life = out->life, .open = 1 };
        taken = 1;
    }
    os_lock_give(&l->lock);
    return taken;
}

/* 1: another life was met while it was sent, which has to hear of it, too. */
static int put_back(struct redis_layer *r, struct redis_deleted *place, struct redis_deleted *d, int keep)
{
    struct redis_life *l = &r->life;
    os_lock_take(&l->lock);
    int is_its = place->key == NULL && place->serial == d->serial, again = is_its && keep && place->again;
    if (is_its)
        place->open = place->again = 0;
    if (is_its && keep) { /* it may have failed already, or been carried out */
        place->key = d->key;
        place->size = d->size;
        place->at_ms = d->at_ms;
        place->owed |= again;
        d->key = NULL;
    } else {
        l->deleted_bytes -= d->size;
    }
    os_lock_give(&l->lock);
    strata__free(r->mem, d->key);
    return again;
}

static void repeat_place(struct redis_layer *r, struct redis_deleted *place, int only_owed)
{
    struct redis_deleted d;
    for (int more = 1; more && take_out(&r->life, place, only_owed, &d); only_owed = 1) {
        int recent = is_recent(r, &d);
        if (recent)
            repeat(r, &d);
        more = put_back(r, place, &d, recent);
    }
}

static void repeat_all(struct redis_layer *r, int only_owed)
{
    for (size_t i = 0; i < DELETES_KEPT; i++)
        repeat_place(r, &r->life.deleted[i], only_owed);
}

/* A timer that fires long before its time: the cache is closing. */
static void repeat_owed(void *ctx)
{
    struct redis_layer *r = ctx;
    int64_t now = strata_host_now_ms(r->host);
    os_lock_take(&r->life.lock);
    int cut = r->life.repeat_ms - now > REPEAT_PAUSE_MS / 2;
    r->life.repeat_ms = 0;
    os_lock_give(&r->life.lock);
    if (!cut)
        repeat_all(r, 1);
}

void strata__redis_deletes_repeat(struct redis_layer *r) { repeat_all(r, 0); }

uint64_t strata__redis_life_deleted(struct redis_layer *r, strata_slice key)
{
    struct redis_life *l = &r->life;
    char *copy = strata__alloc(r->mem, key.size + 1);
    if (copy == NULL)
        return 0;
    if (key.size != 0)
        memcpy(copy, key.data, key.size);
    os_lock_take(&l->lock);
    const uint64_t serial = ++l->delete_count;
    struct redis_deleted *d = place_of(l, serial);
    struct redis_deleted old = *d;
    l->deleted_bytes -= d->size;
    *d = (struct redis_deleted){ 0 };
    if (l->deleted_bytes + key.size <= DELETES_KEPT_BYTES) {
        *d = (struct redis_deleted){
            .key = copy, .size = key.size, .at_ms = strata_host_now_ms(r->host), .serial = serial, .open = 1
        };
        l->deleted_bytes += key.size;
        copy = NULL;
    }
    os_lock_give(&l->lock);
    if (old.key != NULL && (old.again || old.owed) &&
        is_recent(r, &old)) /* its last chance, with its answer or without */
        repeat(r, &old);
    strata__free(r->mem, old.key);
    strata__free(r->mem, copy);
    return serial;
}
