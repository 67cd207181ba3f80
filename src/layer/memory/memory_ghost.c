/* memory_ghost.c - the ghost of S3-FIFO: fingerprints of what left the small queue, oldest forgotten first.
 *
 * Every put asks it for the key that comes and tells it of the one that leaves, and where these stand has long left the caches: so
 * both places must be known from the hash alone, that they can be fetched ahead (ghost_fetch()), and there is one wait for each.
 * A fingerprint stands anywhere in its set of 16, with the number that it got when it came.  Numbers below the oldest are
 * forgotten: forgetting is one addition, and whoever wants a place in the set takes that of a forgotten one.  Taking one out (a
 * ghost hit) leaves a number that nobody has: the capacity counts live fingerprints only.  A bit for each number says whether it is
 * alive.  When the numbers are used up, holes and all, they are given anew, which costs as much as the takes that made the holes.
 *
 * A set with more than 16 live ones forgets its oldest before its turn.  With hashes spread evenly (Poisson), and at most 9.6 to a
 * set on average, that befalls 1 in 250. */
#include <string.h>

#include "src/layer/memory/memory_impl.h"

enum { WORD = 64, SPARE_WAYS = 96 }; /* spare: what few fingerprints have more, so that their order is exact */

static uint64_t *alive_word(const struct ghost *g, uint32_t number)
{
    return &g->alive[(number & (g->window - 1)) / WORD];
}

static uint64_t alive_bit(uint32_t number) { return (uint64_t)1 << number % WORD; }

static int is_alive(const struct ghost *g, uint32_t number)
{
    return number - g->oldest < g->next - g->oldest && (*alive_word(g, number) & alive_bit(number)) != 0;
}

static _Atomic(uint64_t) *set_of(const struct ghost *g, uint32_t fingerprint)
{
    return g->slots + ghost_place(fingerprint, g->sets) / sizeof(uint64_t);
}

static uint64_t get(const _Atomic(uint64_t) *slot) { return atomic_load_explicit(slot, memory_order_relaxed); }

static void set(_Atomic(uint64_t) *slot, uint32_t fingerprint, uint32_t number)
{
    atomic_store_explicit(slot, (uint64_t)fingerprint << 32 | number, memory_order_relaxed);
}

/* NULL: it is not there. */
static inline _Atomic(uint64_t) *find(const struct ghost *g, uint32_t fingerprint)
{
    if (g->live == 0)
        return NULL;
    _Atomic(uint64_t) *ways = set_of(g, fingerprint);
    unsigned mask = bucket_tagged(ways, fingerprint) | bucket_tagged(ways + BUCKET_SLOTS, fingerprint) << BUCKET_SLOTS;
    for (; mask != 0; mask &= mask - 1) {
        _Atomic(uint64_t) *slot = ways + (unsigned)__builtin_ctz(mask);
        if (is_alive(g, (uint32_t)get(slot)))
            return slot;
    }
    return NULL;
}

/* The oldest number is somebody's, where anybody is left. */
static void forget(struct ghost *g, uint32_t number)
{
    *alive_word(g, number) &= ~alive_bit(number);
    g->live--;
    while (g->oldest != g->next && (*alive_word(g, g->oldest) & alive_bit(g->oldest)) == 0)
        g->oldest++;
}

static void take_out(struct ghost *g, _Atomic(uint64_t) *slot)
{
    uint32_t number = (uint32_t)get(slot);
    set(slot, 0, 0);
    forget(g, number);
}

int strata__ghost_take(struct ghost *g, uint32_t fingerprint)
{
    _Atomic(uint64_t) *slot = find(g, fingerprint);
    if (slot == NULL)
        return 0;
    take_out(g, slot);
    return 1;
}

/* The way whose number came first. */
static unsigned oldest_way(const struct ghost *g, const _Atomic(uint64_t) *ways)
{
    unsigned found = 0;
    uint32_t least = UINT32_MAX;
    for (unsigned i = 0; i < GHOST_WAYS; i++) {
        uint32_t age = (uint32_t)get(&ways[i]) - g->oldest;
        if (age < least) {
            least = age;
            found = i;
        }
    }
    return found;
}

/* No way of the set is free: the oldest gives way.  GHOST_WAYS: that would be the number itself. */
static __attribute__((noinline)) unsigned way_of_oldest(struct ghost *g, const _Atomic(uint64_t) *ways, uint32_t number)
{
    unsigned way = oldest_way(g, ways);
    uint32_t other = (uint32_t)get(&ways[way]);
    if (number - g->oldest < other - g->oldest)
        return GHOST_WAYS;
    if (is_alive(g, other))
        forget(g, other);
    return way;
}

/* The number is alive; if the set is full of younger ones, no longer.  Halves take turns, so that both are full alike, and the first
 * look is usually enough. */
static void place(struct ghost *g, uint32_t fingerprint, uint32_t number)
{
    _Atomic(uint64_t) *ways = set_of(g, fingerprint);
    uint32_t span = g->next - g->oldest;
    unsigned half = number % 2 * BUCKET_SLOTS, dead = bucket_outside(ways + half, g->oldest, span);
    if (__builtin_expect(dead == 0, 0)) {
        half ^= BUCKET_SLOTS;
        dead = bucket_outside(ways + half, g->oldest, span);
    }
    unsigned way = dead != 0 ? half + (unsigned)__builtin_ctz(dead) : way_of_oldest(g, ways, number);
    if (__builtin_expect(way == GHOST_WAYS, 0))
        forget(g, number);
    else
        set(&ways[way], fingerprint, number);
}

/* There is a number left. */
static void push(struct ghost *g, uint32_t fingerprint)
{
    uint32_t number = g->next++;
    *alive_word(g, number) |= alive_bit(number);
    g->live++;
    place(g, fingerprint, number);
}

/* Of what those who are alive will be numbered: where each word begins.  The window never uses its last word, so that none holds both
 * its end and its beginning. */
static void count_alive(const struct ghost *g)
{
    uint32_t words = g->window / WORD, w = (g->oldest & (g->window - 1)) / WORD, sum = 0;
    for (uint32_t i = 0; i < words; i++, w = (w + 1) % words) {
        g->before[w] = sum;
        sum += (uint32_t)__builtin_popcountll(g->alive[w]);
    }
}

/* Among those who are alive, after count_alive(). */
static uint32_t rank(const struct ghost *g, uint32_t number)
{
    uint64_t below = *alive_word(g, number) & (alive_bit(number) - 1);
    return g->before[(number & (g->window - 1)) / WORD] + (uint32_t)__builtin_popcountll(below);
}

/* So many are alive, numbered from the oldest on. */
static void renumber(struct ghost *g, uint32_t live)
{
    g->oldest = WORD; /* a number that an empty slot has not */
    g->next = WORD + live;
    g->live = live;
    memset(g->alive, 0, g->window / 8);
    for (uint32_t n = g->oldest; n != g->next; n++)
        *alive_word(g, n) |= alive_bit(n);
}

/* Numbers without holes. */
static void pack(struct ghost *g)
{
    count_alive(g);
    for (size_t i = 0; i < (size_t)g->sets * GHOST_WAYS; i++) {
        uint64_t slot = get(&g->slots[i]);
        int alive = slot >> 32 != 0 && is_alive(g, (uint32_t)slot);
        set(&g->slots[i], alive ? (uint32_t)(slot >> 32) : 0, alive ? WORD + rank(g, (uint32_t)slot) : 0);
    }
    renumber(g, g->live);
}

/* Three fifths full: with that many ways, few sets are too small. */
static uint32_t sets_for(uint32_t fits) { return (uint32_t)(((uint64_t)fits * 5 / 3 + SPARE_WAYS) / GHOST_WAYS + 1); }

/* Twice what fits, and a word that is not used. */
static uint32_t window_for(uint32_t fits)
{
    uint32_t window = 2 * WORD;
    while (window - WORD < 2 * fits)
        window *= 2;
    return window;
}

static size_t ghost_bytes(uint32_t fits)
{
    size_t words = window_for(fits) / WORD;
    return (size_t)sets_for(fits) * GHOST_SET_BYTES + words * (sizeof(uint64_t) + sizeof(uint32_t));
}

static int create(struct ghost *g, struct memory *m, uint32_t fits)
{
    *g = (struct ghost){ .fits = fits, .sets = sets_for(fits), .window = window_for(fits) };
    if (strata__table_take(m, ghost_bytes(fits), &g->room) != 0)
        return -1;
    g->slots = g->room.at;
    g->alive = (uint64_t *)(void *)((char *)g->room.at + (size_t)g->sets * GHOST_SET_BYTES);
    g->before = (uint32_t *)(void *)(g->alive + g->window / WORD);
    renumber(g, 0);
    return 0;
}

static void publish_hint(struct shard *s)
{
    atomic_store_explicit(&s->hint_ghost, (uintptr_t)s->ghost.slots, memory_order_relaxed);
    atomic_store_explicit(&s->hint_ghost_sets, s->ghost.sets, memory_order_relaxed);
}

/* The live ones into room for `fits`, which are no fewer.  0, -1 no room for it. */
static int resize(struct shard *s, uint32_t fits)
{
    struct ghost old = s->ghost, fresh;
    uint64_t takes = strata__table_counts(ghost_bytes(fits)), had = old.room.bytes;
    if (takes > had && s->bytes + takes > s->limit_bytes + had)
        return -1;
    if (create(&fresh, s->layer, fits) != 0)
        return -1;
    if (old.live != 0) {
        count_alive(&old);
        renumber(&fresh, old.live);
    }
    for (size_t i = 0; i < (size_t)old.sets * GHOST_WAYS; i++) {
        uint64_t slot = get(&old.slots[i]);
        if (slot >> 32 != 0 && is_alive(&old, (uint32_t)slot))
            place(&fresh, (uint32_t)(slot >> 32), WORD + rank(&old, (uint32_t)slot));
    }
    s->bytes += takes - had;
    strata__table_give(s->layer, &old.room);
    s->ghost = fresh;
    publish_hint(s);
    return 0;
}

/* More than that, so that it is not made anew for every entry more. */
static uint32_t fits_for(uint64_t capacity) { return (uint32_t)(capacity + capacity / 16 + 16); }

/* Nothing is left of room or numbers: more of them, or numbers without holes, or else one who is forgotten.  1: there is room now. */
static int make_room(struct shard *s, uint64_t capacity)
{
    struct ghost *g = &s->ghost;
    if (g->live < g->fits) {
        pack(g);
        return 1;
    }
    uint64_t want = fits_for(capacity), step = (uint64_t)g->fits * 3 / 2 + 64;
    if (want > g->fits && resize(s, (uint32_t)(want < step ? want : step)) == 0)
        return 1;
    if (g->live != 0)
        forget(g, g->oldest);
    return g->fits != 0;
}

void strata__ghost_add(struct shard *s, uint32_t fingerprint, uint64_t capacity)
{
    struct ghost *g = &s->ghost;
    if (capacity == 0 || capacity > UINT32_MAX / 8)
        return;
    _Atomic(uint64_t) *again = find(g, fingerprint);
    if (__builtin_expect(again != NULL, 0))
        take_out(g, again); /* two keys with one fingerprint: the newer place counts */
    while (g->live >= capacity)
        forget(g, g->oldest);
    if ((g->live == g->fits || g->next - g->oldest == g->window - WORD) && !make_room(s, capacity))
        return;
    push(g, fingerprint);
}

void strata__ghost_fit(struct shard *s, uint64_t capacity)
{
    struct ghost *g = &s->ghost;
    while (g->live > capacity)
        forget(g, g->oldest);
    if (g->fits / 3 > fits_for(capacity))
        (void)resize(s, fits_for(capacity));
}

void strata__ghost_deinit(struct shard *s)
{
    struct ghost *g = &s->ghost;
    s->bytes -= g->room.bytes;
    strata__table_give(s->layer, &g->room);
    *g = (struct ghost){ 0 };
    publish_hint(s);
}
