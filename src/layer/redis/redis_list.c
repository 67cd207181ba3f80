/* redis_list.c - see redis_list.h. */
#include "src/layer/redis/redis_list.h"

#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/format/ban_record.h"
#include "src/format/le.h"
#include "src/layer/redis/redis_call.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/os/os_futex.h"

enum { LIST_MAGIC = 0xce, LIST_HEAD = 18, EVERYTHING = 5 };

strata_slice strata__redis_list_known(struct redis_layer *r, unsigned char out[LIST_KNOWN])
{
    strata__le64_put(out, atomic_load(&r->list.known));
    strata__le64_put(out + 8, r->host != NULL ? atomic_load(&r->host->store_heard) : 0);
    return strata_bytes(out, LIST_KNOWN);
}

void strata__redis_list_deinit(struct redis_layer *r)
{
    for (uint32_t i = 0; i < r->list.owed_count; i++)
        strata__free(r->mem, r->list.owed[i].bytes);
    memset(&r->list, 0, sizeof r->list);
}

/* Hearing -------------------------------------------------------------------------------------------------------- */

static void all_before(struct redis_layer *r, uint64_t position)
{
    const strata_ban_op all = { .size = sizeof all, .kind = EVERYTHING, .store_position = position };
    if (r->host->ban != NULL)
        r->host->ban(r->host, &all);
}

static void tell_own(struct redis_layer *r, const strata_ban_op *ban, uint64_t position)
{
    strata_ban_op told = *ban;
    told.wall_ms = 0;
    told.store_position = position;
    if (r->host->ban != NULL)
        r->host->ban(r->host, &told);
}

/* When and where it was issued is its node's affair. */
static void tell(struct redis_layer *r, const strata_ban_op *ban, uint64_t position)
{
    strata_ban_op told = *ban;
    told.life = 0;
    told.position = 0;
    tell_own(r, &told, position);
}

static int is_own(struct redis_layer *r, uint64_t position)
{
    struct redis_list *l = &r->list;
    int own = 0;
    os_lock_take(&l->lock);
    for (uint32_t i = 0; i < LIST_OWN && !own; i++)
        own = l->own[i] == position;
    os_lock_give(&l->lock);
    return own;
}

static void note_own(struct redis_layer *r, uint64_t position)
{
    struct redis_list *l = &r->list;
    os_lock_take(&l->lock);
    l->own[l->own_count++ % LIST_OWN] = position;
    os_lock_give(&l->lock);
}

static void read_bans(struct redis_layer *r, strata_slice bans, uint64_t known, uint64_t last)
{
    const unsigned char *at = bans.data;
    size_t left = bans.size, used;
    uint64_t *tags = strata__alloc_array(r->mem, STRATA_TAGS_MAX, sizeof *tags);
    strata_ban_op ban;
    int verdict = tags != NULL ? FORMAT_OK : FORMAT_CORRUPT;
    while (verdict == FORMAT_OK && left > 8) {
        uint64_t position = strata__le64(at);
        verdict = strata__ban_record_read(&ban, tags, at + 8, left - 8, &used);
        if (verdict != FORMAT_OK)
            break;
        at += 8 + used;
        left -= 8 + used;
        if (position > known && !is_own(r, position))
            tell(r, &ban, position);
    }
    if (verdict != FORMAT_OK || left != 0) /* whatever was not understood */
        all_before(r, last);
    strata__free(r->mem, tags);
}

static void send_owed(struct redis_layer *r);

/* Answers come by several connections, in any order.  That a list is lost the server alone can tell, which has compared it with what the
 * question knew, and has begun another one then.  None, without a byte, is said to a question that knew of none: where one is known by now,
 * another answer has overtaken this one; and the next question says so. */
void strata__redis_list_came(struct redis_layer *r, const struct redis_told *told)
{
    struct redis_list *l = &r->list;
    if (!told->has_list || r->host->ban == NULL)
        return;
    uint64_t known = atomic_load(&l->known), last = 0;
    const unsigned char *head = told->list.data;
    if (told->list.size >= LIST_HEAD && head[0] == LIST_MAGIC && head[1] == 1) {
        uint64_t forgotten = strata__le64(head + 10);
        last = strata__le64(head + 2);
        if (forgotten > known)
            all_before(r, forgotten);
        if (last > known)
            read_bans(r, strata_bytes(head + LIST_HEAD, told->list.size - LIST_HEAD), known, last);
    } else if (known != 0 && told->list.size != 0) {
        last = (uint64_t)told->store_us; /* whatever was not understood */
        all_before(r, last);
    }
    while (last > known && !atomic_compare_exchange_weak(&l->known, &known, last))
        ;
    uint64_t told_up_to = atomic_load(&r->host->store_position);
    while (last > told_up_to && !atomic_compare_exchange_weak(&r->host->store_position, &told_up_to, last))
        ;
    send_owed(r);
}

/* Telling -------------------------------------------------------------------------------------------------------- */

struct ban_wait {
    _Atomic(uint32_t) over;
    int status;
    uint64_t position;
    strata_error err;
};

/* KEYS: the list, the life.  Takes `bytes` over. */
static struct redis_call *new_call(struct redis_layer *r, unsigned char *bytes, size_t size,
                                   void (*answered)(struct redis_call *, const struct redis_told *), void *owner)
{
    struct redis_call *call = strata__redis_list_call(r, answered, owner);
    if (call == NULL)
        return NULL;
    call->bytes = bytes;
    strata__redis_call_add(call, strata_bytes(bytes, size));
    strata__redis_call_add_number(call, LIST_BYTES);
    return call;
}

static void banned(struct redis_call *call, const struct redis_told *told)
{
    struct ban_wait *w = call->owner;
    w->status = told->status;
    if (told->status == STRATA_OK) {
        w->position = told->version;
        note_own(call->r, told->version);
    } else if (told->err != NULL) {
        w->err = *told->err;
    }
    strata__os_unpark(&w->over);
}

static unsigned char *encode(struct redis_layer *r, const strata_ban_op *ban, size_t *out_size)
{
    *out_size = strata__ban_record_size(ban);
    unsigned char *bytes = *out_size <= BAN_RECORD_MOST ? strata__alloc(r->mem, *out_size) : NULL;
    if (bytes != NULL)
        strata__ban_record_write(bytes, ban);
    return bytes;
}

/* It goes with the next look after the life.  Takes `bytes` over; NULL, and past the bound: everything is banned then. */
static void owe(struct redis_layer *r, unsigned char *bytes, size_t size)
{
    struct redis_list *l = &r->list;
    os_lock_take(&l->lock);
    int room = bytes != NULL && l->owed_count < LIST_OWED;
    if (room)
        l->owed[l->owed_count++] = (struct redis_list_note){ bytes, size };
    else
        l->owes_all = 1;
    os_lock_give(&l->lock);
    if (!room)
        strata__free(r->mem, bytes);
}

static void note_out(struct redis_layer *r, int more)
{
    struct redis_list *l = &r->list;
    os_lock_take(&l->lock);
    l->owed_out += more;
    os_lock_give(&l->lock);
}

/* An owed one arrived: it counts from then on. */
static void paid(struct redis_call *call, const struct redis_told *told)
{
    struct redis_layer *r = call->r;
    strata_ban_op ban;
    size_t used, size = call->args[call->first].size;
    if (told->status != STRATA_OK) {
        owe(r, call->bytes, size);
        call->bytes = NULL;
        note_out(r, -1);
        return;
    }
    note_own(r, told->version);
    uint64_t *tags = strata__alloc_array(r->mem, STRATA_TAGS_MAX, sizeof *tags);
    if (tags != NULL && strata__ban_record_read(&ban, tags, call->bytes, size, &used) == FORMAT_OK) {
        tell_own(r, &ban, told->version);
        strata__redis_sweep_add(r, &ban, told->version); /* owed_tick() starts it: this is the link's thread */
    } else
        all_before(r, told->version);
    strata__free(r->mem, tags);
    note_out(r, -1);
}

static void send_owed(struct redis_layer *r)
{
    struct redis_list *l = &r->list;
    struct redis_list_note owed[LIST_OWED + 1];
    const strata_ban_op all = { .size = sizeof all, .kind = EVERYTHING };
    os_lock_take(&l->lock);
    uint32_t count = l->owed_count;
    int owes_all = l->owes_all;
    memcpy(owed, l->owed, count * sizeof owed[0]);
    l->owed_count = 0;
    l->owes_all = 0;
    os_lock_give(&l->lock);
    if (owes_all) {
        owed[count].bytes = encode(r, &all, &owed[count].size);
        if (owed[count].bytes != NULL)
            count++;
        else
            owe(r, NULL, 0);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct redis_call *call = new_call(r, owed[i].bytes, owed[i].size, paid, NULL);
        note_out(r, call != NULL);
        if (call != NULL)
            strata__redis_call_send(call);
        else
            owe(r, owed[i].bytes, owed[i].size);
    }
}

/* `w` NULL: nobody waits. */
static void listed(struct redis_call *call, const struct redis_told *told)
{
    struct ban_wait *w = call->owner;
    if (told->status == STRATA_OK)
        strata__redis_list_came(call->r, told);
    if (w != NULL)
        strata__os_unpark(&w->over);
}

/* What came before it, so that what is loaded from now on is known to be younger.  0: no memory, and nobody is told. */
static int look_again(struct redis_layer *r, struct ban_wait *w)
{
    struct redis_call *call = strata__redis_life_call(r, strata_bytes("", 0), listed, w);
    if (call != NULL)
        strata__redis_call_send(call);
    return call != NULL;
}

/* For who has just banned something, and may set it next: he waits until his ban is known here as the list has it. */
static void look_for(struct redis_layer *r, uint64_t position)
{
    struct ban_wait w = { .status = STRATA_OK };
    if (atomic_load(&r->host->store_position) < position && look_again(r, &w))
        (void)strata__os_park(&w.over, INT64_MAX);
}

/* What is owed goes with a look, and whoever owes something looks until it has arrived. */
static void owed_tick(void *ctx)
{
    struct redis_layer *r = ctx;
    struct redis_list *l = &r->list;
    int closing = atomic_load(&r->host->closing);
    os_lock_take(&l->lock);
    int owes = !closing && (l->owed_count != 0 || l->owes_all || l->owed_out != 0);
    l->ticking = owes;
    os_lock_give(&l->lock);
    if (closing)
        return;
    strata__redis_sweep_start(r);
    if (!owes)
        return;
    (void)look_again(r, NULL);
    if (strata_host_after(r->host, LIST_CHECK_MS, owed_tick, r) == STRATA_OK)
        return;
    os_lock_take(&l->lock);
    l->ticking = 0; /* then it goes with another's look */
    os_lock_give(&l->lock);
}

/* By a thread that holds the cache open. */
static void tick_owed(struct redis_layer *r)
{
    struct redis_list *l = &r->list;
    os_lock_take(&l->lock);
    int start = !l->ticking;
    l->ticking = 1;
    os_lock_give(&l->lock);
    if (!start || strata_host_after(r->host, LIST_CHECK_MS, owed_tick, r) == STRATA_OK)
        return;
    os_lock_take(&l->lock);
    l->ticking = 0;
    os_lock_give(&l->lock);
}

static int ask(struct redis_layer *r, unsigned char *bytes, size_t size, struct ban_wait *w)
{
    struct redis_call *call = new_call(r, bytes, size, banned, w);
    if (call == NULL)
        return 0;
    strata__redis_call_send(call);
    (void)strata__os_park(&w->over, INT64_MAX);
    return 1;
}

int strata__redis_layer_ban(strata_layer *layer, strata_ban_op *what, strata_error *err)
{
    struct redis_layer *r = (struct redis_layer *)(void *)layer;
    struct ban_wait w = { .err = STRATA_ERROR_INIT };
    size_t size;
    if (r->host == NULL)
        return STRATA_OK;
    if (redis_is_cluster(r)) {
        strata__redis_sweep_add(r, what, 0);
        strata__redis_sweep_start(r);
        return STRATA_OK;
    }
    unsigned char *bytes = encode(r, what, &size);
    if (bytes == NULL)
        return strata__fail(err, STRATA_ENOMEM, r->base.name, "no memory to send the ban: free some, and ban again");
    if (what->later) {
        owe(r, bytes, size);
        tick_owed(r);
        return STRATA_PENDING;
    }
    if (!ask(r, bytes, size, &w)) {
        strata__free(r->mem, bytes);
        return strata__fail(err, STRATA_ENOMEM, r->base.name, "no memory to send the ban: free some, and ban again");
    }
    if (w.status == STRATA_OK) {
        what->store_position = w.position;
        look_for(r, w.position);
        strata__redis_sweep_add(r, what, w.position);
        strata__redis_sweep_start(r);
        return STRATA_OK;
    }
    if (w.status == STRATA_EUNSUPPORTED)
        return strata__fail(err, STRATA_EUNSUPPORTED, r->base.name,
                            "scripts are refused, so there is no list of bans: let the user run EVAL and EVALSHA");
    owe(r, encode(r, what, &size), size);
    tick_owed(r);
    return STRATA_PENDING;
}

uint64_t strata__redis_list_owed(struct redis_layer *r)
{
    struct redis_list *l = &r->list;
    os_lock_take(&l->lock);
    uint64_t owed = (uint64_t)l->owed_count + (l->owes_all != 0) + (uint64_t)l->owed_out;
    os_lock_give(&l->lock);
    return owed;
}

int strata__redis_list_settle(strata_layer *layer)
{
    struct redis_layer *r = (struct redis_layer *)(void *)layer;
    struct redis_list *l = &r->list;
    if (!l->settled)
        send_owed(r);
    l->settled = 1;
    os_lock_take(&l->lock);
    int under_way = l->owed_out != 0;
    os_lock_give(&l->lock);
    return under_way;
}

void strata__redis_layer_heard(strata_layer *layer, uint64_t store_position)
{
    struct redis_layer *r = (struct redis_layer *)(void *)layer;
    if (r->host == NULL || redis_is_cluster(r))
        return;
    if (store_position == 0)
        strata__redis_life_look(r, NULL, strata_bytes("", 0));
    else if (store_position > atomic_load(&r->host->store_position))
        (void)look_again(r, NULL);
}
