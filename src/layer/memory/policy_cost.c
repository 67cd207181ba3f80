/* policy_cost.c - eviction by what it would cost to load an entry again, for the room it takes.
 *
 * A queue for each class of worth (src/policy/weigh.h), and nothing in an entry but which one it stands in.  A hit raises the counter
 * in its head, as with s3-fifo, and no more: the oldest of the class that is to lose one is looked at, and if it was read it goes to
 * the front of its class, or of the next one.  Keys whose entries have left are remembered as s3-fifo remembers them: who comes
 * back begins one class higher. */
#include "src/base/mem.h"
#include "src/layer/memory/memory_impl.h"
#include "src/layer/memory/memory_queue.h"

enum { MOST_HITS = 3, MOST_LOOKS = 4, OWN_QUEUES = QUEUE_OWN_END - QUEUE_FIRST };
static_assert(WEIGH_CLASSES <= OWN_QUEUES + MORE_QUEUES, "a queue for each class");

/* Where entries are counted, each takes as much room as this. */
enum { COUNTED_BYTES = 512 };

int strata__cost_init(struct shard *s)
{
    s->weighing = strata__alloc_zero(s->layer->mem, sizeof *s->weighing);
    if (s->weighing == NULL)
        return -1;
    s->bytes += sizeof *s->weighing;
    return 0;
}

static unsigned queue_of(unsigned class)
{
    return class < OWN_QUEUES ? QUEUE_FIRST + class : QUEUE_COUNT + class - OWN_QUEUES;
}

static unsigned class_of(const struct entry *e)
{
    unsigned queue = queue_number(e);
    return queue < QUEUE_COUNT ? queue - QUEUE_FIRST : queue - QUEUE_COUNT + OWN_QUEUES;
}

static struct entry *oldest_of(struct shard *s, unsigned class)
{
    return entry_at(s, queue_at(s, queue_of(class))->tail);
}

static unsigned worth(const struct shard *s, const struct entry *e)
{
    uint64_t bytes = COUNTED_BYTES;
    if (s->limit_entries == UINT64_MAX)
        bytes = strata__entry_weight(s, e) * UNIT;
    return strata__weigh_class(s->weighing->cost_us, bytes);
}

static void take(struct shard *s, struct entry *e)
{
    weigh_drop(&s->weighing->weigh, class_of(e));
    strata__queue_unlink(s, queue_number(e), e);
}

static void put(struct shard *s, struct entry *e, unsigned class)
{
    weigh_add(&s->weighing->weigh, class);
    strata__queue_push_head(s, queue_of(class), e);
}

static void missed(struct shard *s, uint64_t hash)
{
    s->ghost_hit = strata__ghost_take(&s->ghost, ghost_fingerprint(hash));
}

static void insert(struct shard *s, struct entry *e, uint64_t hash)
{
    (void)hash;
    unsigned class = worth(s, e) + (s->ghost_hit != 0);
    put(s, e, class < WEIGH_CLASSES ? class : WEIGH_CLASSES - 1);
    s->ghost_hit = 0;
    s->weighing->cost_us = 0; /* that was about this one */
}

/* It stands in the queue of the one before.  Who says nothing of its cost leaves that as it was. */
static void replaced(struct shard *s, struct entry *e)
{
    unsigned class = class_of(e);
    take(s, e);
    put(s, e, s->weighing->cost_us != 0 ? strata__weigh_again(class, worth(s, e)) : class);
    s->weighing->cost_us = 0;
}

/* Of some classes, taken in turn, the oldest, if it has expired: in a dear class it would stay for long. */
static struct entry *expired(struct shard *s)
{
    struct weighing *w = s->weighing;
    int looks = 0;
    for (unsigned n = 0; n < WEIGH_CLASSES && looks < MOST_LOOKS; n++) {
        unsigned class = w->turn++ % WEIGH_CLASSES;
        if (w->weigh.count[class] == 0)
            continue;
        struct entry *e = oldest_of(s, class);
        if (strata__entry_gone_at(s->layer, e) <= w->now_ms)
            return e;
        looks++;
    }
    return NULL;
}

static struct entry *victim(struct shard *s)
{
    struct weighing *w = s->weighing;
    if (w->weigh.all == 0)
        return NULL;
    struct entry *e = s->next_expiry <= w->now_ms ? expired(s) : NULL;
    /* Readers count on while we take their counts away: bounded all the same. */
    for (uint64_t most = (uint64_t)w->weigh.all * 2; e == NULL; most--) {
        unsigned class = strata__weigh_choose(&w->weigh);
        struct entry *oldest = oldest_of(s, class);
        int to = strata__weigh_keep(class, atomic_load_explicit(&oldest->hits, memory_order_relaxed));
        if (to < 0 || most == 0) {
            e = oldest;
            continue;
        }
        atomic_store_explicit(&oldest->hits, 0, memory_order_relaxed);
        take(s, oldest);
        put(s, oldest, (unsigned)to);
    }
    take(s, e);
    return e;
}

static void evicted(struct shard *s, uint64_t hash)
{
    uint64_t entries = s->limit_entries != UINT64_MAX ? shard_fits(s) : s->entries + 1;
    strata__ghost_add(s, ghost_fingerprint(hash), entries * 9 / 10);
}

const struct eviction_ops strata__evict_cost = {
    .name = "cost",
    .max_hits = MOST_HITS,
    .insert = insert,
    .replaced = replaced,
    .missed = missed,
    .victim = victim,
    .evicted = evicted,
    .removed = take,
};
