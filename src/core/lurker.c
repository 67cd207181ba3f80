/* lurker.c - what bans took leaves memory though nobody asks for it, and bans that have nothing left to take are forgotten.
 *
 * A walk is for the bans that stood when it began.  It goes through all that instant layers hold, a piece with each round of
 * maintenance.  What a ban took is freed; what none of them takes is moved up, and is served without a second thought from then on.
 * So is what none of them could concern.  So at its end nothing that is held is older than these bans, but for
 *   - loads that were under way when it began, which may be stored behind its back: their births count;
 *   - entries that a soft ban has expired, whose stale windows still apply: they stay where they are, and keep it alive;
 *   - entries that are as suspect as they were born, and may not be moved out of their epoch (coherence_trust.c).
 * The least of their positions is the floor: bans up to there are forgotten.
 *
 * Whatever comes in late all the same, born below the floor and below its line, counts as banned (bans.c): so nothing depends on this
 * walk having met everything, but how much is kept.
 *
 * A stack with a layer that can't be walked, a disk or a store that others share, forgets no ban here: what is in there may be as old
 * as the cache.  Its bans are bounded by being put together (bans.h), and memory is swept all the same. */
#include "src/core/bans.h"
#include "src/core/flight.h"

enum { PLACES_A_ROUND = 20480, TAGS_A_ROUND = 16384, TAGS_A_HOLD = 1024, PAUSE_MS = 1000, PAUSE_MOST_MS = 60000 };

static int lurks(const strata_layer_ops *ops)
{
    return ops->size >= offsetof(strata_layer_ops, lurk) + sizeof ops->lurk && ops->lurk != NULL;
}

/* Is there nowhere else that something older could come from? */
static int may_retire(const struct root *root)
{
    for (size_t i = 0; i < root->layer_count; i++)
        if (!lurks(root->layers[i].layer->ops))
            return 0;
    return 1;
}

/* Handles stay while the cache is open, but the list of them may move. */
static int list_lines(struct root *root, struct lurker *l)
{
    int listed = 1;
    key_mutex_lock(&root->tree_lock);
    if (root->space_count > l->line_room) {
        uint32_t room = root->space_count * 2;
        const strata_lines **more = strata__realloc_array(root->mem, l->lines, room, sizeof *more);
        listed = more != NULL;
        if (listed) {
            l->lines = more;
            l->line_room = room;
        }
    }
    for (uint32_t i = 0; listed && i < root->space_count; i++)
        l->lines[i] = &root->spaces[i]->lines;
    if (listed)
        l->line_count = root->space_count;
    key_mutex_unlock(&root->tree_lock);
    return listed;
}

static int begin(struct root *root)
{
    struct bans *b = root->bans;
    struct lurker *l = &b->lurker;
    if (atomic_load_explicit(&b->newest, memory_order_relaxed) <= l->done || ex_now_ms(root->ex) < l->not_before)
        return 0;
    l->state = LURK_WALKS;
    /* Bans first, then who was born before them: who is born from here on is younger. */
    l->position = atomic_load_explicit(&root->position, memory_order_acquire);
    l->held = strata__flights_oldest(root, l->position);
    l->layer = 0;
    l->at = 0;
    if (list_lines(root, l))
        return 1;
    l->state = LURK_RESTS;
    return 0;
}

struct walk {
    strata_lurk lurk;
    struct root *root;
    const struct layer_slot *slot;
};

static strata *handle_of(const struct lurker *l, uint32_t space)
{
    return (strata *)(uintptr_t)((const char *)l->lines[space] - offsetof(strata, lines));
}

/* Under a lock of the layer. */
static int judge(strata_lurk *lurk, uint32_t space, strata_slice key, const strata_meta *meta, const uint64_t *tags,
                 uint32_t *position)
{
    const struct walk *w = (const struct walk *)(const void *)lurk;
    struct root *root = w->root;
    const struct lurker *l = &root->bans->lurker;
    strata *handle = handle_of(l, space);
    if (meta->life == root->life && cleared_since(handle, meta->position))
        return 1;
    enum ban_verdict verdict = strata__bans_judge_ids(handle, w->slot, meta, key, tags);
    if (verdict == BAN_HARD)
        return 1;
    if (verdict == BAN_SOFT) {
        strata_meta expired = *meta;
        return strata__meta_expire(&expired, ex_now_ms(root->ex)) != STRATA_OP_PUT;
    }
    *position = 0;
    if (meta->life == root->life)
        *position = strata__suspect_cap(root, meta->position, l->position);
    return 0;
}

/* 1: all layers were walked. */
static int walk(struct root *root)
{
    struct lurker *l = &root->bans->lurker;
    while (l->layer < root->layer_count && !lurks(root->layers[l->layer].layer->ops))
        l->layer++;
    if (l->layer == root->layer_count)
        return 1;
    const struct layer_slot *slot = &root->layers[l->layer];
    struct walk w = { .lurk = { .size = sizeof w.lurk,
                                .at = l->at,
                                .most = PLACES_A_ROUND,
                                .space_count = l->line_count,
                                .lines = l->lines,
                                .position = l->position,
                                .asked = strata__suspect_begin(root),
                                .oldest = l->held,
                                .judge = judge },
                      .root = root,
                      .slot = slot };
    int over = slot->layer->ops->lurk(slot->layer, &w.lurk);
    l->held = w.lurk.oldest;
    l->at = over ? 0 : w.lurk.at;
    l->layer += (uint32_t)over;
    atomic_fetch_add_explicit(&l->freed, w.lurk.freed, memory_order_relaxed);
    return over && l->layer == root->layer_count;
}

/* What the next walk waits for.  `gained`: it forgot something, or nothing is to be gained by another one for the same bans. */
static void rest(struct root *root, uint32_t done, int gained)
{
    struct lurker *l = &root->bans->lurker;
    l->state = LURK_RESTS;
    l->done = done;
    l->pause_ms = gained || l->pause_ms == 0 ? PAUSE_MS : l->pause_ms * 2;
    if (l->pause_ms > PAUSE_MOST_MS)
        l->pause_ms = PAUSE_MOST_MS;
    l->not_before = ex_now_ms(root->ex) + l->pause_ms;
}

/* First what was born too early counts as banned, then bans go that would have said so. */
static void begin_retiring(struct root *root)
{
    struct bans *b = root->bans;
    struct lurker *l = &b->lurker;
    if (!may_retire(root)) {
        rest(root, l->position, 1);
        return;
    }
    if (l->held <= b->floor) {
        rest(root, l->done, 0);
        return;
    }
    key_mutex_lock(&b->lock);
    b->floor = l->held;
    key_mutex_unlock(&b->lock);
    l->retire_at = 0;
    l->state = LURK_RETIRES;
}

static void retire(struct root *root)
{
    struct bans *b = root->bans;
    struct lurker *l = &b->lurker;
    int over = 0;
    for (int i = 0; i < TAGS_A_ROUND / TAGS_A_HOLD && !over; i++) {
        key_mutex_lock(&b->lock);
        over = strata__bans_retire_locked(root, &l->retire_at, TAGS_A_HOLD);
        key_mutex_unlock(&b->lock);
    }
    if (over)
        rest(root, b->floor, 1);
}

void strata__lurk(struct root *root)
{
    const struct lurker *l = &root->bans->lurker;
    if (l->state == LURK_RESTS && !begin(root))
        return;
    if (l->state == LURK_WALKS) {
        if (walk(root))
            begin_retiring(root);
        return;
    }
    retire(root);
}
