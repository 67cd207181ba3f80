/* policy_wtinylfu.c - W-TinyLFU: Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache admission policy", 2017.
 *
 * A window of 1 % (LRU) takes new entries; who leaves it contests with the victim of the main space (a segmented LRU, 80 %
 * protected), and whoever the sketch has seen less often leaves.  The sketch is a count-min of 4-bit counters, 16 for
 * each entry, halved after ten times as many additions as there are entries. */
#include <string.h>

#include "src/base/mem.h"
#include "src/layer/memory/memory_impl.h"
#include "src/layer/memory/memory_queue.h"

enum { WINDOW = QUEUE_FIRST, PROBATION = QUEUE_FIRST + 1, PROTECTED = QUEUE_FIRST + 2 };
enum { ROWS = 4, SURELY_WANTED = 6 };

static uint64_t capacity(const struct shard *s) { return s->limit_entries != UINT64_MAX ? shard_fits(s) : s->entries; }

/* Twice as large: both halves carry the counts of before, as each index names one of two places now. */
static void sketch_grow(struct shard *s, uint64_t words)
{
    struct sketch *k = &s->sketch;
    uint64_t before = k->words != NULL ? k->mask + 1 : 0;
    if (s->bytes + (words - before) * sizeof *k->words > s->limit_bytes)
        return; /* a coarser sketch is still a sketch */
    uint64_t *fresh = strata__alloc_array(s->layer->mem, words, sizeof *fresh);
    if (fresh == NULL)
        return;
    if (k->words != NULL)
        for (uint64_t i = 0; i < words; i++)
            fresh[i] = k->words[i & k->mask];
    s->bytes += (words - before) * sizeof *fresh;
    strata__free(s->layer->mem, k->words);
    k->words = fresh;
    k->mask = words - 1;
}

static void sketch_fit(struct shard *s)
{
    uint64_t words = s->sketch.words != NULL ? s->sketch.mask + 1 : 16;
    /* The bytes may run out long before the count: no sketch is made for entries that never come. */
    uint64_t want = capacity(s) < 2 * s->entries ? capacity(s) : 2 * s->entries;
    if (s->limit_entries == UINT64_MAX)
        want = s->entries;
    while (words < want)
        words *= 2;
    if (s->sketch.words == NULL || words != s->sketch.mask + 1)
        sketch_grow(s, words);
}

static uint64_t row_hash(uint64_t hash, unsigned row) { return strata__mix64(hash + (row + 1) * 0x9e3779b97f4a7c15u); }

static unsigned estimate(const struct sketch *k, uint64_t hash)
{
    unsigned least = 15;
    if (k->words == NULL)
        return 0;
    for (unsigned row = 0; row < ROWS; row++) {
        uint64_t h = row_hash(hash, row);
        unsigned count = (unsigned)(k->words[h & k->mask] >> (h >> 60) * 4) & 15;
        if (count < least)
            least = count;
    }
    return least;
}

static void halve(struct sketch *k)
{
    for (uint64_t i = 0; i <= k->mask; i++)
        k->words[i] = k->words[i] >> 1 & 0x7777777777777777u;
    k->additions /= 2;
}

static void count(struct shard *s, uint64_t hash)
{
    struct sketch *k = &s->sketch;
    if (k->words == NULL)
        return;
    for (unsigned row = 0; row < ROWS; row++) {
        uint64_t h = row_hash(hash, row);
        unsigned at = (unsigned)(h >> 60) * 4;
        uint64_t *word = &k->words[h & k->mask];
        if ((*word >> at & 15) < 15)
            *word += (uint64_t)1 << at;
    }
    if (++k->additions >= 10 * capacity(s))
        halve(k);
}

static unsigned queue_of(const struct entry *e)
{
    return (atomic_load_explicit(&e->block, memory_order_relaxed) & BLOCK_QUEUE) >> BLOCK_QUEUE_SHIFT;
}

static uint64_t total(const struct shard *s)
{
    if (s->limit_entries != UINT64_MAX)
        return shard_fits(s);
    return s->queues[WINDOW].weight + s->queues[PROBATION].weight + s->queues[PROTECTED].weight;
}

static uint64_t window_share(const struct shard *s)
{
    uint64_t share = total(s) / 100;
    return share != 0 ? share : 1;
}

static void move(struct shard *s, struct entry *e, unsigned to)
{
    strata__queue_unlink(s, queue_of(e), e);
    strata__queue_push_head(s, to, e);
}

static void missed(struct shard *s, uint64_t hash)
{
    sketch_fit(s);
    count(s, hash);
}

static void insert(struct shard *s, struct entry *e, uint64_t hash)
{
    (void)hash;
    strata__queue_push_head(s, WINDOW, e);
    /* While there is room, what the window can't hold goes on without a contest. */
    while (s->queues[WINDOW].weight > window_share(s) && s->queues[WINDOW].count > 1)
        move(s, entry_at(s, s->queues[WINDOW].tail), PROBATION);
}

static void touch(struct shard *s, struct entry *e, uint64_t hash)
{
    count(s, hash);
    unsigned q = queue_of(e);
    move(s, e, q == WINDOW ? WINDOW : PROTECTED);
    uint64_t share = (total(s) - window_share(s)) / 10 * 8;
    if (s->limit_entries != UINT64_MAX)
        share = (total(s) - window_share(s)) * 8 / 10;
    while (s->queues[PROTECTED].weight > share && s->queues[PROTECTED].count > 1)
        move(s, entry_at(s, s->queues[PROTECTED].tail), PROBATION);
}

static struct entry *take(struct shard *s, unsigned queue)
{
    struct entry *e = entry_at(s, s->queues[queue].tail);
    strata__queue_unlink(s, queue, e);
    return e;
}

/* The contest.  Room is made for an entry that is not in yet: a full window gives up its oldest, the candidate. */
static struct entry *victim(struct shard *s)
{
    unsigned main = s->queues[PROBATION].tail != 0 ? PROBATION : PROTECTED;
    int window_full = s->queues[WINDOW].tail != 0 && s->queues[WINDOW].weight >= window_share(s);
    if (s->queues[main].tail == 0)
        return s->queues[WINDOW].tail != 0 ? take(s, WINDOW) : NULL;
    if (!window_full)
        return take(s, main);
    struct entry *candidate = entry_at(s, s->queues[WINDOW].tail);
    struct entry *loser = entry_at(s, s->queues[main].tail);
    unsigned fresh = estimate(&s->sketch, strata__entry_hash(s->layer, candidate));
    unsigned held = estimate(&s->sketch, strata__entry_hash(s->layer, loser));
    s->random = strata__mix64(s->random + 0x9e3779b97f4a7c15u);
    /* Now and then a wanted loser wins: keys chosen to collide in the sketch with held ones must not lock it up. */
    if (fresh > held || (fresh >= SURELY_WANTED && (s->random & 127) == 0)) {
        strata__queue_unlink(s, main, loser);
        move(s, candidate, PROBATION);
        return loser;
    }
    strata__queue_unlink(s, WINDOW, candidate);
    return candidate;
}

static void removed(struct shard *s, struct entry *e) { strata__queue_unlink(s, queue_of(e), e); }

const struct eviction_ops strata__evict_wtinylfu = {
    .name = "w-tinylfu",
    .wants_touches = 1,
    .insert = insert,
    .touch = touch,
    .missed = missed,
    .victim = victim,
    .removed = removed,
};
