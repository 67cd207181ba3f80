/* coherence_out.c - what this node tells others: a bounded queue for each bus, and one message at a time out of it.
 *
 * A message is sent again as it was, with its number, until the bus has taken it; what is written meanwhile waits behind it.  So numbers
 * come in order, and a number that is missing somewhere was lost there.  In the queue the last word on a key wins.  Past the bound, and
 * without memory, what is queued becomes a clear of its namespace or of all: too much goes then, and nothing is forgotten.
 *
 * Who writes waits until the message is taken, for OUT_WAIT_MS at most, and not at all for a bus that takes nothing just now: what is
 * queued stays so, and the write is STRATA_PENDING. */
#include <string.h>

#include "src/core/bans.h"
#include "src/core/coherence_impl.h"

enum { VALUES_MOST = 1000, TABLE = 1024, MESSAGE_MOST = 256 << 10, PAUSE_LEAST_MS = 20, PAUSE_MOST_MS = 1000 };
enum { OUT_WAIT_MS = 1000 };

/* Who waits ------------------------------------------------------------------------------------------------------ */

/* One bus has answered; who has all answers goes to `over`. */
static void answer_locked(struct outgoing_wait *wait, int pending, struct list_node *over)
{
    struct outgoing *o = wait->outgoing;
    list_remove(&wait->link);
    o->pending |= pending;
    if (--o->left != 0)
        return;
    list_remove(&o->link);
    list_push_back(over, &o->link);
}

static void answer_all_locked(struct list_node *waiters, int pending, struct list_node *over)
{
    LIST_EACH(node, waiters)
    answer_locked(list_entry(node, struct outgoing_wait, link), pending, over);
}

static void answer_queue_locked(struct list_node *items, struct list_node *over)
{
    LIST_EACH(node, items)
    answer_all_locked(&list_entry(node, struct out_item, link)->waiters, 1, over);
}

static void say_over(struct list_node *over)
{
    struct list_node *node;
    while ((node = list_pop_front(over)) != NULL) {
        struct outgoing *o = list_entry(node, struct outgoing, link);
        o->over(o);
    }
}

void strata__out_release(struct coherence *c, int64_t since)
{
    struct list_node over;
    list_init(&over);
    key_mutex_lock(&c->lock);
    LIST_EACH(node, &c->waits)
    {
        struct outgoing *o = list_entry(node, struct outgoing, link);
        if (o->since_ms > since)
            continue;
        for (size_t i = 0; i < BUSES_MAX; i++)
            if (list_linked(&o->waits[i].link))
                answer_locked(&o->waits[i], 1, &over);
    }
    key_mutex_unlock(&c->lock);
    say_over(&over);
}

void strata__out_gone(struct bus_slot *b)
{
    struct list_node over;
    list_init(&over);
    key_mutex_lock(&b->c->lock);
    if (!b->up) {
        answer_queue_locked(&b->queue, &over);
        answer_queue_locked(&b->sending, &over);
    }
    key_mutex_unlock(&b->c->lock);
    say_over(&over);
}

/* One timer for all that wait: at the end of the oldest one's time, or before it. */
static void waited(void *ctx)
{
    struct coherence *c = ctx;
    struct root *root = c->root;
    strata__out_release(c, ex_now_ms(root->ex) - OUT_WAIT_MS);
    key_mutex_lock(&c->lock);
    /* A cache that closes cuts every pause short, and releases all by itself. */
    int64_t left = 0;
    if (!list_empty(&c->waits) && !c->stopping && !atomic_load(&root->host.closing))
        left = list_entry(c->waits.next, struct outgoing, link)->since_ms + OUT_WAIT_MS - ex_now_ms(root->ex);
    c->waiting = left > 0;
    key_mutex_unlock(&c->lock);
    if (left > 0)
        strata__out_wait(c, left);
}

void strata__out_wait(struct coherence *c, int64_t delay_ms)
{
    if (c->root->host.after(&c->root->host, delay_ms, waited, c) == STRATA_OK)
        return;
    key_mutex_lock(&c->lock);
    c->waiting = 0; /* no memory: the next write tries again, and heartbeats look, too */
    key_mutex_unlock(&c->lock);
}

/* The queue ------------------------------------------------------------------------------------------------------ */

static int is_key(uint8_t kind)
{
    return kind == BUS_ITEM_DELETE || kind == BUS_ITEM_EXPIRE || kind == BUS_ITEM_SET || kind == BUS_ITEM_VALUE;
}

/* May a later word on this take its place? */
static int same_subject(const struct bus_item *a, const struct bus_item *b)
{
    int kinds = (is_key(a->kind) && is_key(b->kind)) || (a->kind == BUS_ITEM_CLEAR && b->kind == BUS_ITEM_CLEAR);
    return kinds && a->key.size == b->key.size &&
           (a->key.size == 0 || memcmp(a->key.data, b->key.data, a->key.size) == 0);
}

static struct out_item *find_locked(struct bus_slot *b, const struct bus_item *item, uint64_t hash)
{
    LIST_EACH(node, &b->table[hash % TABLE])
    {
        struct out_item *q = list_entry(node, struct out_item, chain);
        if (q->hash == hash && same_subject(&q->item, item))
            return q;
    }
    return NULL;
}

static size_t behind(const struct bus_item *item)
{
    return item->key.size + item->text.size + item->envelope.size + 8 + (size_t)item->tag_count * sizeof(uint64_t);
}

static strata_slice copy_to(unsigned char **at, strata_slice bytes)
{
    strata_slice out = strata_bytes(*at, bytes.size);
    if (bytes.size != 0)
        memcpy(*at, bytes.data, bytes.size);
    *at += bytes.size;
    return out;
}

static struct out_item *new_item(struct bus_slot *b, const struct bus_item *item, uint64_t hash)
{
    struct out_item *q = strata__alloc(b->c->root->mem, sizeof *q + behind(item));
    if (q == NULL)
        return NULL;
    unsigned char *at = q->bytes;
    q->item = *item;
    q->hash = hash;
    q->item.key = copy_to(&at, item->key);
    q->item.text = copy_to(&at, item->text);
    q->item.envelope = copy_to(&at, item->envelope);
    if (item->tag_count != 0) {
        at = (unsigned char *)(((uintptr_t)at + 7) & ~(uintptr_t)7);
        memcpy(at, item->tags, (size_t)item->tag_count * sizeof(uint64_t));
        q->item.tags = (const uint64_t *)(const void *)at;
    }
    list_init(&q->waiters);
    return q;
}

static void unqueue_locked(struct bus_slot *b, struct out_item *q)
{
    list_remove(&q->link);
    list_remove(&q->chain);
    b->queued--;
}

/* The namespace of a storage key, as the part that all below it begin with: empty is the root's, which is all. */
static strata_slice space_of(strata_slice key)
{
    const unsigned char *p = key.data;
    size_t at = 1;
    if (key.size < 2 || p[0] != 0 || p[1] == 0)
        return strata_bytes("", 0);
    while (at < key.size && p[at] != 0)
        at += (size_t)1 + p[at];
    return strata_bytes(p, at < key.size ? at + 1 : 0);
}

/* `space` ends with a 0x00 that those below it have no more. */
static int is_within(strata_slice key, strata_slice space)
{
    return space.size == 0 || (key.size >= space.size && memcmp(key.data, space.data, space.size - 1) == 0);
}

static struct out_item *put_locked(struct bus_slot *b, const struct bus_item *item);

/* What is queued of this namespace becomes its clear, and so does what could not be queued.  NULL: no memory. */
static struct out_item *fold_locked(struct bus_slot *b, strata_slice key)
{
    strata_slice space = space_of(key);
    struct bus_item clear = { .kind = BUS_ITEM_CLEAR, .all = 1, .key = space };
    uint64_t hash = strata__hash(space.data, space.size, BUS_ITEM_CLEAR);
    struct out_item *q = find_locked(b, &clear, hash);
    if (q == NULL) {
        q = new_item(b, &clear, hash);
        if (q == NULL)
            return NULL;
        list_push_back(&b->queue, &q->link);
        list_push_back(&b->table[hash % TABLE], &q->chain);
        b->queued++;
    }
    atomic_fetch_add_explicit(&b->overflows, 1, memory_order_relaxed);
    LIST_EACH(node, &b->queue)
    {
        struct out_item *other = list_entry(node, struct out_item, link);
        if (other == q || !is_within(other->item.key, space))
            continue;
        list_move_all(&q->waiters, &other->waiters);
        unqueue_locked(b, other);
        strata__free(b->c->root->mem, other);
    }
    if (b->queued > b->c->max_queued && space.size != 0) /* that many namespaces: all of them */
        return fold_locked(b, strata_bytes("", 0));
    return q;
}

/* Values travel where nothing is in the way, and they fit. */
static struct bus_item without_value(const struct bus_slot *b, const struct bus_item *item)
{
    struct bus_item out = *item;
    if (item->kind == BUS_ITEM_VALUE && (!b->up || b->failed || b->queued >= VALUES_MOST ||
                                         strata__bus_item_size(item) > b->room - BUS_MESSAGE_FRAME)) {
        out.kind = BUS_ITEM_SET;
        out.envelope = strata_bytes(NULL, 0);
    }
    return out;
}

/* NULL: no memory, and everything is to be cleared. */
static struct out_item *put_locked(struct bus_slot *b, const struct bus_item *given)
{
    const struct bus_item kept = without_value(b, given), *item = &kept;
    uint32_t kind = is_key(item->kind) ? 0 : item->kind;
    uint64_t hash = strata__hash(item->key.data, item->key.size, kind);
    struct out_item *q = find_locked(b, item, hash);
    if (q != NULL) {
        q->item.kind = item->kind == BUS_ITEM_VALUE ? BUS_ITEM_SET : item->kind; /* there is room for no other value */
        q->item.envelope = strata_bytes(NULL, 0);
        q->item.version = item->version;
        q->item.store_life = item->store_life;
        return q;
    }
    if (b->queued >= b->c->max_queued || strata__bus_item_size(item) > b->room - BUS_MESSAGE_FRAME)
        q = fold_locked(b, item->key);
    else if ((q = new_item(b, item, hash)) != NULL) {
        list_push_back(&b->queue, &q->link);
        list_push_back(&b->table[hash % TABLE], &q->chain);
        b->queued++;
    }
    b->all_due |= q == NULL;
    return q;
}

/* Messages ------------------------------------------------------------------------------------------------------- */

static void write_acks_locked(struct bus_slot *b, struct bus_writer *w)
{
    uint32_t i = 0;
    LIST_EACH(node, &b->peers)
    {
        const struct peer *p = list_entry(node, struct peer, link);
        if (i++ < b->acks_at || p->sent_ms == NEVER)
            continue;
        struct bus_item ack = { .kind = BUS_ITEM_ACK, .sent_ms = p->sent_ms, .number = p->highest };
        memcpy(ack.peer, p->id, BUS_NODE_ID);
        if (!strata__bus_write_item(w, &ack)) {
            b->acks_at = i - 1;
            return;
        }
    }
    b->acks_at = UINT32_MAX;
}

static void write_items_locked(struct bus_slot *b, struct bus_writer *w)
{
    LIST_EACH(node, &b->queue)
    {
        struct out_item *q = list_entry(node, struct out_item, link);
        if (!strata__bus_write_item(w, &q->item))
            break;
        unqueue_locked(b, q);
        list_push_back(&b->sending, &q->link);
    }
}

static int anything_due(const struct bus_slot *b)
{
    return b->hello_due || b->heartbeat_due || b->all_due || b->acks_at != UINT32_MAX || b->goodbye_due ||
           !list_empty(&b->queue);
}

static void build_locked(struct bus_slot *b)
{
    struct coherence *c = b->c;
    struct bus_writer w;
    struct bus_message head = { .channel = c->channel };
    memcpy(head.sender, c->id, BUS_NODE_ID);
    strata__bus_write_begin(&w, b->bytes, b->room, &head,
                            strata_bytes(c->secret, c->secret != NULL ? strlen(c->secret) : 0));
    b->heartbeat_sent = NEVER;
    if (b->hello_due)
        b->hello_due = !strata__bus_write_item(&w, &(struct bus_item){ .kind = BUS_ITEM_HELLO });
    if (b->all_due)
        b->all_due = !strata__bus_write_item(&w, &(struct bus_item){ .kind = BUS_ITEM_CLEAR, .all = 1 });
    write_items_locked(b, &w);
    struct bus_item beat = { .kind = BUS_ITEM_HEARTBEAT, .sent_ms = ex_now_ms(c->root->ex) };
    if (b->heartbeat_due && strata__bus_write_item(&w, &beat)) {
        b->heartbeat_due = 0;
        b->heartbeat_sent = beat.sent_ms;
        if (!(b->flags & STRATA_BUS_ORDERED))
            b->acks_at = 0;
    }
    if (b->acks_at != UINT32_MAX)
        write_acks_locked(b, &w);
    if (b->goodbye_due && list_empty(&b->queue) &&
        strata__bus_write_item(&w, &(struct bus_item){ .kind = BUS_ITEM_GOODBYE })) {
        b->goodbye_due = 0;
        b->said_goodbye = 1;
    }
    b->number++;
    b->message.bytes = strata_bytes(b->bytes, strata__bus_write_end(&w, b->number));
}

/* 1: there is a message to be sent. */
static int prepare_locked(struct bus_slot *b)
{
    if (!b->publishes || b->is_out || !b->up || !b->started)
        return 0;
    if (b->failed) {
        if (ex_now_ms(b->c->root->ex) < b->again_at)
            return 0;
    } else if (anything_due(b)) {
        build_locked(b);
    } else {
        return 0;
    }
    b->is_out = 1;
    b->message.err->status = STRATA_OK;
    b->message.err->message[0] = 0;
    return 1;
}

void strata__out_pump(struct bus_slot *b)
{
    struct coherence *c = b->c;
    key_mutex_lock(&c->lock);
    if (b->pumping) {
        b->pump_again = 1; /* whoever is at it sees to that */
        key_mutex_unlock(&c->lock);
        return;
    }
    b->pumping = 1;
    do {
        b->pump_again = 0;
        if (!prepare_locked(b))
            continue;
        key_mutex_unlock(&c->lock);
        b->bus->ops->publish(b->bus, &b->message);
        key_mutex_lock(&c->lock);
    } while (b->pump_again);
    b->pumping = 0;
    key_mutex_unlock(&c->lock);
}

static void pump_later(void *ctx) { strata__out_pump(ctx); }

static void taken_locked(struct bus_slot *b, struct list_node *over, struct list_node *done)
{
    b->failed = 0;
    b->pause_ms = 0;
    b->counted.published++;
    if (!(b->flags & STRATA_BUS_ECHOES) && b->heartbeat_sent > b->lost_ms)
        b->self_ms = b->heartbeat_sent;
    LIST_EACH(node, &b->sending)
    answer_all_locked(&list_entry(node, struct out_item, link)->waiters, 0, over);
    list_move_all(done, &b->sending);
}

/* Perhaps it was published all the same: it goes again as it is, and who gets it twice notices. */
static void failed_locked(struct bus_slot *b, struct list_node *over)
{
    b->failed = 1;
    b->counted.failed++;
    b->pause_ms = b->pause_ms == 0 ? PAUSE_LEAST_MS : b->pause_ms * 2 < PAUSE_MOST_MS ? b->pause_ms * 2 : PAUSE_MOST_MS;
    b->again_at = ex_now_ms(b->c->root->ex) + b->pause_ms;
    answer_queue_locked(&b->sending, over);
    answer_queue_locked(&b->queue, over); /* which wait behind it */
}

static void message_done(strata_publish *message)
{
    struct bus_slot *b = message->owner;
    struct coherence *c = b->c;
    struct list_node over, done, *node;
    list_init(&over);
    list_init(&done);
    key_mutex_lock(&c->lock);
    b->is_out = 0;
    if (message->status == STRATA_OK)
        taken_locked(b, &over, &done);
    else
        failed_locked(b, &over);
    int64_t pause = b->failed && !c->stopping ? b->pause_ms : 0;
    int ordered = (b->flags & STRATA_BUS_ORDERED) != 0;
    key_mutex_unlock(&c->lock);
    while ((node = list_pop_front(&done)) != NULL)
        strata__free(c->root->mem, list_entry(node, struct out_item, link));
    say_over(&over);
    if (pause != 0) {
        (void)c->root->host.after(&c->root->host, pause, pump_later, b); /* no memory: the next heartbeat does it */
        return;
    }
    if (!ordered)
        strata__coherence_work(c); /* alone, that is the proof */
    strata__out_pump(b);
}

int strata__out_init(struct bus_slot *b, strata_error *err)
{
    const strata_allocator *mem = b->c->root->mem;
    b->room = b->bus->max_message_bytes < MESSAGE_MOST ? b->bus->max_message_bytes : MESSAGE_MOST;
    list_init(&b->queue);
    list_init(&b->sending);
    b->table = strata__alloc_array(mem, TABLE, sizeof *b->table);
    b->bytes = strata__alloc(mem, b->room);
    if (b->table == NULL || b->bytes == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, b->bus->name);
    for (size_t i = 0; i < TABLE; i++)
        list_init(&b->table[i]);
    b->message = (strata_publish){ .size = sizeof b->message, .err = &b->message_err, .done = message_done };
    b->message.owner = b;
    b->acks_at = UINT32_MAX;
    b->heartbeat_sent = b->self_ms = b->lost_ms = NEVER;
    return STRATA_OK;
}

static void free_list(struct bus_slot *b, struct list_node *list)
{
    struct list_node *node;
    while (list->next != NULL && (node = list_pop_front(list)) != NULL)
        strata__free(b->c->root->mem, list_entry(node, struct out_item, link));
}

void strata__out_deinit(struct bus_slot *b)
{
    free_list(b, &b->queue);
    free_list(b, &b->sending);
    strata__free(b->c->root->mem, b->table);
    strata__free(b->c->root->mem, b->bytes);
    b->table = NULL;
    b->bytes = NULL;
}

/* For the writes ------------------------------------------------------------------------------------------------- */

/* The store of a write did not answer: neither will its own bus, which is the same server. */
static int is_away(const struct bus_slot *b, int store_away)
{
    return !b->up || b->failed || (store_away && b->bus == b->c->own_bus);
}

static void enqueue_locked(struct bus_slot *b, const struct bus_item *item, int store_away, struct outgoing *o)
{
    struct out_item *q = put_locked(b, item);
    if (q == NULL || is_away(b, store_away)) {
        o->pending = 1;
        return;
    }
    struct outgoing_wait *wait = &o->waits[b->index];
    wait->outgoing = o;
    list_push_back(&q->waiters, &wait->link);
    o->left++;
}

int strata__publish(struct root *root, const struct bus_item *item, int store_away, struct outgoing *o)
{
    struct coherence *c = root->coherence;
    memset(o->waits, 0, sizeof o->waits);
    o->left = 0;
    o->pending = 0;
    o->since_ms = ex_now_ms(root->ex);
    key_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->count; i++) {
        if (!c->buses[i].publishes)
            continue;
        if (c->stopping)
            o->pending = 1;
        else
            enqueue_locked(&c->buses[i], item, store_away, o);
    }
    int waits = o->left != 0;
    if (waits)
        list_push_back(&c->waits, &o->link);
    int watches = waits && !c->waiting; /* from now on, `o` may be over and gone */
    if (watches)
        c->waiting = 1;
    key_mutex_unlock(&c->lock);
    if (watches)
        strata__out_wait(c, OUT_WAIT_MS);
    for (size_t i = 0; i < c->count; i++)
        strata__out_pump(&c->buses[i]);
    return waits;
}

void strata__publish_late(struct root *root, const struct bus_item *item)
{
    struct coherence *c = root->coherence;
    key_mutex_lock(&c->lock);
    int stopping = c->stopping;
    for (size_t i = 0; i < c->count; i++) {
        if (c->buses[i].publishes && stopping)
            c->untold = 1;
        else if (c->buses[i].publishes)
            (void)put_locked(&c->buses[i], item);
    }
    if (!stopping)
        root_hold(root); /* else close might go on before the pump has ended */
    key_mutex_unlock(&c->lock);
    if (stopping)
        return;
    for (size_t i = 0; i < c->count; i++)
        strata__out_pump(&c->buses[i]);
    root_leave(root);
}

int strata__coherence_untold(struct root *root)
{
    struct coherence *c = root->coherence;
    if (c == NULL)
        return 0;
    key_mutex_lock(&c->lock);
    int untold = c->untold;
    key_mutex_unlock(&c->lock);
    return untold;
}

struct sleeper {
    struct outgoing outgoing;
    struct driver driver;
};

static void nothing_to_write(void *ctx) { (void)ctx; }

static void wake(struct outgoing *o)
{
    struct sleeper *s = (struct sleeper *)(void *)((char *)o - offsetof(struct sleeper, outgoing));
    strata__driver_done(&s->driver, nothing_to_write, NULL);
}

int strata__publish_blocking(struct root *root, const struct bus_item *item, int store_away)
{
    struct sleeper s;
    s.outgoing.over = wake;
    strata__driver_init(&s.driver, root->ex, 0);
    s.driver.left = 1;
    int waits = strata__publish(root, item, store_away, &s.outgoing);
    while (waits) {
        key_mutex_lock(&s.driver.lock);
        waits = s.driver.left != 0;
        key_mutex_unlock(&s.driver.lock);
        if (waits)
            strata__driver_step(&s.driver, INT64_MAX);
    }
    strata__driver_deinit(&s.driver);
    return s.outgoing.pending ? STRATA_PENDING : STRATA_OK;
}

/* root->publish_ban. */
int strata__publish_ban(struct root *root, const struct ban *ban, int store_away, strata_error *err)
{
    struct bus_item item = { .kind = BUS_ITEM_BAN,
                             .ban = (uint8_t)ban->kind,
                             .soft = ban->soft != 0,
                             .version = ban->store_position,
                             .key = ban->path,
                             .text = ban->text,
                             .tag_count = ban->tag_count,
                             .tags = ban->tags };
    if (strata__publish_blocking(root, &item, store_away) == STRATA_OK)
        return STRATA_OK;
    return root->options.write_policy == STRATA_WRITE_STRICT ? strata__unpublished_fails(root, err) : STRATA_PENDING;
}
