/* test_memory_model.c - the memory layer against a model, with random operations: what is found is what was put last,
 * what was removed or has expired is not found, the budget holds, and the layer's structures agree with each other
 * (index, queues, blocks, bytes).  Where the order is exact (one shard, bounded by count), so is who leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "src/layer/memory/memory_aside.h"
#include "src/layer/memory/memory_impl.h"
#include "src/layer/memory/memory_queue.h"
#include "tests/support/memory_fixture.h"

enum { KEYS = 3000, PINS = 60, MOST_BYTES = 120000 };

static uint64_t seed, random_state;

static uint64_t draw(uint64_t below)
{
    random_state += 0x9e3779b97f4a7c15u;
    return strata__mix64(random_state) % below;
}

/* Consistency ------------------------------------------------------------------------------------------------- */

static uint32_t word_of(const struct entry *e)
{
    return atomic_load_explicit(&((struct entry *)(uintptr_t)e)->block, memory_order_relaxed);
}

static unsigned queue_in(const struct entry *e) { return (word_of(e) & BLOCK_QUEUE) >> BLOCK_QUEUE_SHIFT; }

static void check_index(struct shard *s, uint64_t *heap)
{
    struct index_table *t = atomic_load(&s->table);
    uint64_t n = 0;
    for (uint64_t i = 0; i < t->slot_count; i++) {
        uint64_t slot = atomic_load(&t->slots[i]);
        if (slot == 0)
            continue;
        struct entry *e = entry_at(s, (uint32_t)slot);
        uint64_t hash = strata__entry_hash(s->layer, e);
        assert_int_equal(slot >> 32, index_tag(hash));
        for (uint64_t at = index_home(slot >> 32, t->slot_count); at != i - i % BUCKET_SLOTS;) {
            assert_int_equal(bucket_empty(&t->slots[at]), 0); /* or a search would end before it */
            at = at + BUCKET_SLOTS == t->slot_count ? 0 : at + BUCKET_SLOTS;
        }
        assert_ptr_equal(strata__index_find(s, hash, e->space, entry_key(e), e->key_size), e);
        assert_int_not_equal(queue_in(e), QUEUE_NONE);
        assert_int_equal((e->kind & KIND_NEGATIVE) != 0, queue_in(e) == QUEUE_NEGATIVE);
        if (e->kind & KIND_HEAP)
            *heap += entry_heap(e)->cost;
        n++;
    }
    assert_int_equal(n, s->entries);
}

static uint64_t costs[2]; /* of the entries that count for a share */

static void check_residents(struct shard *s)
{
    const struct queue *q = &s->queues[QUEUE_RESIDENT];
    uint64_t bytes = 0;
    for (uint32_t ref = q->head; ref != 0; ref = entry_at(s, ref)->next) {
        const struct entry *e = entry_at(s, ref);
        bytes += entry_bytes(e);
    }
    assert_int_equal(s->resident_bytes, bytes);
    assert_true(bytes <= s->limit_bytes / 2);
    assert_true(s->limit_entries == UINT64_MAX || q->count <= s->limit_entries / 2);
}

static unsigned queues_of(const struct shard *s)
{
    return s->weighing != NULL ? QUEUE_COUNT + MORE_QUEUES : QUEUE_COUNT;
}

/* How many stand in it. */
static uint64_t check_queue(struct shard *s, const struct queue *queue, unsigned q)
{
    uint64_t count = 0, weight = 0;
    uint32_t newer = 0;
    for (uint32_t ref = queue->head; ref != 0; ref = entry_at(s, ref)->next) {
        struct entry *e = entry_at(s, ref);
        assert_int_equal(queue_in(e), q);
        assert_int_equal(e->prev, newer);
        newer = ref;
        count++;
        weight += strata__entry_weight(s, e);
        if (s->shares != NULL && (e->kind & KIND_NEGATIVE) == 0 && s->by_space[e->space] != 0)
            costs[s->by_space[e->space] - 1] += entry_bytes(e) + 32;
    }
    assert_int_equal(queue->tail, newer);
    assert_int_equal(queue->count, count);
    assert_int_equal(queue->weight, weight);
    return count;
}

static void check_queues(struct shard *s)
{
    uint64_t all = 0, held = 0, weighed = 0, ordered = 0;
    memset(costs, 0, sizeof costs);
    for (unsigned q = 1; q < queues_of(s); q++)
        all += check_queue(s, queue_at(s, q), q);
    for (unsigned class = 0; s->weighing != NULL && class < WEIGH_CLASSES; class ++)
        weighed += s->weighing->weigh.count[class];
    for (unsigned q = QUEUE_FIRST; q < queues_of(s); q++)
        ordered += q < QUEUE_OWN_END || q >= QUEUE_COUNT ? queue_at(s, q)->count : 0;
    assert_int_equal(weighed, s->weighing != NULL ? ordered : 0);
    for (uint32_t i = 0; i < s->share_count; i++)
        held += check_queue(s, &s->shares[i].held, QUEUE_HELD);
    for (uint32_t i = 0; i < s->share_count; i++)
        assert_int_equal(s->shares[i].used, costs[i]);
    assert_int_equal(all + held, s->entries);
    assert_int_equal(s->aside, held + s->queues[QUEUE_RESIDENT].count);
    if (s->hand != 0)
        assert_int_equal(queue_in(entry_at(s, s->hand)), QUEUE_FIRST);
    check_residents(s);
}

struct blocks {
    uint64_t standing, free_units, waiting, chunks; /* waiting: retired or in a quick list */
};

static void check_chunk(struct shard *s, char *chunk, struct blocks *sum)
{
    struct entry *b = (struct entry *)(void *)chunk;
    char *end = chunk + strata__slab_max(s->layer);
    int was_free = 0;
    while ((char *)b < end) {
        uint32_t w = word_of(b), units = w & BLOCK_UNITS;
        assert_true(units >= BLOCK_MIN_UNITS);
        assert_int_equal((w & BLOCK_PREV_FREE) != 0, was_free);
        if (w & BLOCK_FREE) {
            assert_false(was_free); /* neighbours are merged */
            sum->free_units += units;
        } else if (queue_in(b) != QUEUE_NONE) {
            sum->standing++;
        } else {
            sum->waiting++;
        }
        was_free = (w & BLOCK_FREE) != 0;
        b = (struct entry *)(void *)((char *)b + (size_t)units * UNIT);
    }
    assert_ptr_equal(b, end);
    assert_int_equal((word_of(b) & BLOCK_PREV_FREE) != 0, was_free);
    sum->chunks++;
}

static int is_spare(struct shard *s, char *chunk)
{
    for (uint32_t ref = s->spare_chunks; ref != 0; ref = entry_at(s, ref)->next)
        if ((char *)entry_at(s, ref) == chunk)
            return 1;
    return 0;
}

/* Only where all chunks are one shard's. */
static void check_blocks(struct shard *s)
{
    struct memory *m = s->layer;
    struct blocks sum = { 0 };
    for (size_t at = (size_t)64 << m->shift; at < m->range_used; at += m->chunk_bytes)
        if (!is_spare(s, m->range + at))
            check_chunk(s, m->range + at, &sum);
    uint64_t waiting = s->retired_count;
    for (int i = 0; i < QUICK_LISTS; i++)
        for (uint32_t ref = s->quick[i].head; ref != 0; ref = entry_at(s, ref)->next)
            waiting++;
    assert_int_equal(sum.chunks * m->chunk_bytes, s->slab_bytes);
    assert_int_equal(sum.standing, s->entries);
    assert_int_equal(sum.free_units, s->free_units);
    assert_int_equal(sum.waiting, waiting);
}

static void check_bytes(struct shard *s, uint64_t heap)
{
    struct index_table *t = atomic_load(&s->table);
    for (uint32_t ref = s->retired; ref != 0; ref = entry_at(s, ref)->next)
        if (entry_at(s, ref)->kind & KIND_HEAP)
            heap += entry_heap(entry_at(s, ref))->cost;
    assert_int_equal(heap, s->heap_bytes);
    uint64_t bytes = sizeof *s + s->slab_bytes + heap;
    bytes += strata__table_counts(sizeof *t + t->slot_count * sizeof(uint64_t));
    if (s->ghost.fits != 0)
        bytes += strata__table_counts(s->ghost.sets * 128ull + s->ghost.window / 64 * 12ull);
    bytes += s->share_count * sizeof *s->shares;
    if (s->sketch.words != NULL)
        bytes += (s->sketch.mask + 1) * 8;
    if (s->weighing != NULL)
        bytes += sizeof *s->weighing;
    assert_int_equal(bytes, s->bytes);
    assert_true(s->bytes <= s->limit_bytes);
    assert_true(s->entries <= s->limit_entries);
}

static void check_layer(struct memory_fixture *f)
{
    struct memory *m = (struct memory *)(void *)f->layer;
    for (size_t i = 0; i < m->shard_count; i++) {
        uint64_t heap = 0;
        check_index(&m->shards[i], &heap);
        check_queues(&m->shards[i]);
        check_bytes(&m->shards[i], heap);
        if (m->shard_count == 1)
            check_blocks(&m->shards[i]);
    }
}

/* The model --------------------------------------------------------------------------------------------------- */

struct known {
    int there, negative, resident;
    unsigned char fill;
    size_t size;
    int64_t gone;
};

struct held {
    strata_value *value;
    unsigned char fill;
    size_t size;
};

struct model {
    struct memory_fixture f;
    struct known keys[KEYS];
    struct held pins[PINS];
    uint64_t hits;
    size_t most;   /* the largest value that is put */
    int residents; /* some are to be resident */
    int shares;    /* keys are in four namespaces, of which some have shares */
};

static unsigned char room[MOST_BYTES];

static strata_slice model_key(char text[600], uint64_t n)
{
    size_t size = (size_t)snprintf(text, 600, "%llu", (unsigned long long)n);
    size_t want = n % 17 == 0 ? n % 500 : n % 40; /* most are short, some long */
    while (size < want)
        text[size++] = '.';
    return strata_bytes(text, size);
}

static size_t draw_size(struct model *m)
{
    static const size_t most[] = { 1, 40, 300, 300, 300, 2000, 2000, 17000, MOST_BYTES };
    size_t size = draw(most[draw(9)]);
    return size <= m->most ? size : size % 500;
}

static uint32_t space_of(const struct model *m, uint64_t n) { return m->shares ? (uint32_t)(n % 4) : 0; }

static uint64_t unkept(struct model *m)
{
    struct memory *layer = (struct memory *)(void *)m->f.layer;
    uint64_t sum = 0;
    for (size_t i = 0; i < layer->shard_count; i++)
        sum += layer->shards[i].unkept;
    return sum;
}

static int stands_resident(struct model *m, uint64_t n)
{
    char text[600];
    struct memory *layer = (struct memory *)(void *)m->f.layer;
    strata_slice key = model_key(text, n);
    uint32_t space = space_of(m, n);
    uint64_t hash = strata__key_hash(m->f.host.hash_seed, space, key);
    struct entry *e = strata__index_find(&layer->shards[hash & layer->shard_mask], hash, space, key.data, key.size);
    return e != NULL && queue_in(e) == QUEUE_RESIDENT;
}

static uint32_t draw_residence(const struct model *m)
{
    static const uint32_t flags[] = { STRATA_OP_RESIDENT, STRATA_OP_EVICTABLE, 0, 0 };
    return m->residents ? flags[draw(4)] : 0;
}

/* It is resident where it was to be, or what it has replaced was, unless that was too much. */
static void check_residence(struct model *m, uint64_t n, uint32_t flags, int was, uint64_t before)
{
    int is = stands_resident(m, n), refused = unkept(m) != before;
    const struct known *k = &m->keys[n];
    if (k->negative || !k->there || flags == STRATA_OP_EVICTABLE)
        assert_false(is || refused);
    else if (flags == STRATA_OP_RESIDENT)
        assert_int_equal(is, !refused);
    else
        assert_int_equal(is, was && !refused);
    m->keys[n].resident = is;
}

/* What shares have. */
struct part {
    uint64_t count, used, breaks;
};

static const struct shard *look_at_shares(struct model *m, strata_slice key, uint64_t n, struct part parts[2])
{
    struct memory *layer = (struct memory *)(void *)m->f.layer;
    uint64_t hash = strata__key_hash(m->f.host.hash_seed, space_of(m, n), key);
    const struct shard *s = &layer->shards[hash & layer->shard_mask];
    for (uint32_t i = 0; i < s->share_count; i++)
        parts[i] = (struct part){ s->shares[i].count, s->shares[i].used, s->share_breaks };
    return s;
}

/* A put of another namespace has taken nothing of what is within a share. */
static void check_shares(const struct shard *s, uint64_t n, const struct part before[2], const struct part after[2])
{
    static const int share_of_space[] = { -1, 0, 1, 1 };
    for (int i = 0; i < (int)s->share_count; i++) {
        if (i == share_of_space[n % 4] || after[i].breaks != before[i].breaks || after[i].used >= before[i].used)
            continue;
        uint64_t ppm = s->shares[i].ppm;
        assert_true(after[i].used * WHOLE_PPM >= s->limit_bytes * ppm ||
                    (s->limit_entries != UINT64_MAX && after[i].count * WHOLE_PPM >= s->limit_entries * ppm));
    }
}

static void model_put(struct model *m, uint64_t n)
{
    struct part before_parts[2], after_parts[2];
    char text[600];
    struct known *k = &m->keys[n];
    uint32_t flags = draw_residence(m);
    int was = stands_resident(m, n);
    uint64_t before = unkept(m);
    strata_meta meta = fixture_meta(&m->f, draw(4) == 0 ? STRATA_FOREVER : (int64_t)draw(3000));
    struct known now = { 1, draw(12) == 0, 0, (unsigned char)draw(256), draw_size(m), INT64_MAX };
    if (meta.fresh_ms != STRATA_FOREVER) {
        meta.stale_ms = draw(3) == 0 ? (int64_t)draw(500) : 0;
        now.gone = m->f.now_ms + meta.fresh_ms + meta.stale_ms;
    }
    meta.negative = (uint32_t)now.negative;
    meta.cost_us = n % 3 == 0 ? 0 : (uint32_t)1 << (n + m->hits) % 32; /* of one key, too, they differ */
    memset(room, now.fill, now.size);
    strata_value *v = now.negative ? NULL : strata__value_copy(&strata__malloc, room, now.size);
    strata_op op = fixture_op(&m->f, STRATA_OP_PUT, space_of(m, n), model_key(text, n));
    op.value = v;
    op.meta = meta;
    op.flags = flags;
    (void)look_at_shares(m, op.key, n, before_parts);
    int rc = fixture_submit(&m->f, &op);
    check_shares(look_at_shares(m, op.key, n, after_parts), n, before_parts, after_parts);
    strata_value_unref(v);
    assert_true(rc == STRATA_OK || rc == STRATA_AGAIN);
    now.there = rc == STRATA_OK;
    *k = now;
    check_residence(m, n, flags, was, before);
}

static void model_get(struct model *m, uint64_t n)
{
    char text[600];
    struct known *k = &m->keys[n];
    strata_op op = fixture_op(&m->f, STRATA_OP_GET, space_of(m, n), model_key(text, n));
    int rc = draw(2) != 0 ? m->f.layer->ops->lookup(m->f.layer, &op) : fixture_submit(&m->f, &op);
    if (rc == STRATA_MISS) {
        assert_null(op.found);
        assert_false(k->there && k->resident && k->gone > m->f.now_ms);
        if (k->gone > m->f.now_ms)
            k->there = 0; /* it was evicted: it must not come back */
        return;
    }
    assert_true(k->there);
    assert_true(k->gone > m->f.now_ms);
    m->hits++;
    if (k->negative) {
        assert_null(op.found);
        assert_int_equal(op.meta.negative, 1);
        return;
    }
    assert_int_equal(strata_value_size(op.found), k->size);
    memset(room, k->fill, k->size);
    if (k->size != 0)
        assert_memory_equal(strata_value_data(op.found), room, k->size);
    if (draw(8) != 0) {
        strata_value_unref(op.found);
        return;
    }
    struct held *h = &m->pins[draw(PINS)];
    if (h->value != NULL) { /* whatever happened since, it is as it was */
        memset(room, h->fill, h->size);
        if (h->size != 0)
            assert_memory_equal(strata_value_data(h->value), room, h->size);
        strata_value_unref(h->value);
    }
    *h = (struct held){ op.found, k->fill, k->size };
}

static void model_remove(struct model *m, uint64_t n)
{
    char text[600];
    strata_op op = fixture_op(&m->f, STRATA_OP_REMOVE, space_of(m, n), model_key(text, n));
    int rc = fixture_submit(&m->f, &op);
    assert_true(rc == STRATA_MISS || m->keys[n].there);
    m->keys[n].there = 0;
}

static void model_step(struct model *m)
{
    uint64_t n = draw(2) != 0 ? draw(KEYS) : draw(KEYS / 10);
    uint64_t what = draw(1000);
    if (what < 400) {
        model_put(m, n);
    } else if (what < 900) {
        model_get(m, n);
    } else if (what < 970) {
        model_remove(m, n);
    } else if (what < 998) {
        m->f.now_ms += (int64_t)draw(60);
        m->f.layer->ops->maintain(m->f.layer, m->f.now_ms, draw(200));
    } else {
        strata_error err;
        if (draw(10) != 0)
            return;
        assert_int_equal(clear_layer(m->f.layer, 0, strata_str(""), 1, &err), STRATA_OK);
        memset(m->keys, 0, sizeof m->keys);
    }
}

/* What has expired by now leaves, all of it. */
static void check_expiry(struct model *m)
{
    for (int i = 0; i < 3; i++)
        m->f.layer->ops->maintain(m->f.layer, m->f.now_ms, 10000000);
    struct memory *layer = (struct memory *)(void *)m->f.layer;
    for (size_t i = 0; i < layer->shard_count; i++) {
        struct shard *s = &layer->shards[i];
        for (unsigned q = 1; q < queues_of(s); q++)
            for (uint32_t ref = queue_at(s, q)->head; ref != 0; ref = entry_at(s, ref)->next)
                assert_true(strata__entry_gone_at(layer, entry_at(s, ref)) > m->f.now_ms);
    }
}

static const strata_share all_shares[] = { { .space = 1, .of = 1, .percent = 20 },
                                           { .space = 2, .of = 2, .percent = 30 },
                                           { .space = 3, .of = 2 } };

static void run_model(const strata_memory_options *o, size_t most, int steps, int residents, int shares)
{
    static struct model m;
    strata_error err;
    memset(&m, 0, sizeof m);
    m.most = most;
    m.residents = residents;
    m.shares = shares;
    assert_int_equal(fixture_open(&m.f, o, NULL), STRATA_OK);
    for (size_t i = 0; shares && i < sizeof all_shares / sizeof all_shares[0]; i++)
        assert_int_equal(m.f.layer->ops->share(m.f.layer, &all_shares[i], &err), STRATA_OK);
    for (int i = 1; i <= steps; i++) {
        model_step(&m);
        if (i % 1000 == 0)
            check_layer(&m.f);
    }
    check_expiry(&m);
    check_layer(&m.f);
    assert_true(m.hits > 0);
    fixture_close(&m.f);
    for (int i = 0; i < PINS; i++)
        strata_value_unref(m.pins[i].value);
}

static void random_operations(int residents, int shares)
{
    static const uint64_t budgets[] = { 64 << 10, 300 << 10, 1 << 20, 5 << 20 };
    for (int policy = STRATA_EVICT_S3FIFO; policy <= STRATA_EVICT_COST; policy++)
        for (int b = 0; b < 4; b++)
            for (int counted = 0; counted < 2; counted++) {
                strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = budgets[b],
                                            .policy = policy, .max_entries = counted ? 1 + draw(2000) : 0,
                                            .shards = b < 3 ? 1 : 0 };
                run_model(&o, draw(3) == 0 ? 600 : MOST_BYTES, 12000, residents, shares);
            }
}

static void test_random_operations(void **state)
{
    (void)state;
    random_operations(0, 0);
}

/* Who is resident stays, whatever else comes. */
static void test_random_operations_with_residents(void **state)
{
    (void)state;
    random_operations(1, 0);
}

/* No namespace takes another one's share. */
static void test_random_operations_with_shares(void **state)
{
    (void)state;
    random_operations(0, 1);
    random_operations(1, 1);
}

/* Exact order ------------------------------------------------------------------------------------------------- */

/* One shard, bounded by count: an array from the newest to the oldest says who is in. */
static void run_exact(int32_t policy, uint64_t limit)
{
    uint64_t order[64], n = 0;
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_entries = limit, .shards = 1,
                                .policy = policy };
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
    for (int i = 0; i < 4000; i++) {
        uint64_t key = draw(limit * 2), at = 0;
        int put = draw(3) == 0, there;
        while (at < n && order[at] != key)
            at++;
        there = at < n;
        if (!put && draw(20) == 0) {
            char text[32];
            strata_op op = fixture_op(&f, STRATA_OP_REMOVE, 0, fixture_key(text, key));
            assert_int_equal(fixture_submit(&f, &op), there ? STRATA_OK : STRATA_MISS);
            if (there)
                memmove(&order[at], &order[at + 1], (--n - at) * sizeof order[0]);
            continue;
        }
        assert_int_equal(put ? 0 : fixture_has_number(&f, key), put ? 0 : there);
        if (put)
            assert_int_equal(fixture_put_number(&f, key, draw(100)), STRATA_OK);
        if (!there && !put)
            continue;
        if (there && policy == STRATA_EVICT_FIFO)
            continue; /* neither a hit nor a new value moves it */
        if (!there)
            at = n < limit ? n++ : n - 1;
        memmove(&order[1], &order[0], at * sizeof order[0]);
        order[0] = key;
    }
    for (uint64_t key = 0; key < limit * 2; key++) {
        int there = 0;
        for (uint64_t at = 0; at < n; at++)
            there |= order[at] == key;
        assert_int_equal(fixture_has_number(&f, key), there);
    }
    check_layer(&f);
    fixture_close(&f);
}

static void test_order_is_exact(void **state)
{
    (void)state;
    static const uint64_t limits[] = { 1, 2, 3, 7, 20, 60 };
    for (int i = 0; i < 6; i++) {
        run_exact(STRATA_EVICT_LRU, limits[i]);
        run_exact(STRATA_EVICT_FIFO, limits[i]);
    }
}

int main(void)
{
    const char *given = getenv("STRATA_SEED");
    seed = given != NULL ? strtoull(given, NULL, 0) : 20240607;
    random_state = seed;
    print_message("STRATA_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_random_operations_with_residents),
        cmocka_unit_test(test_random_operations_with_shares),
        cmocka_unit_test(test_order_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
