/* generation.c - see generation.h.
 *
 * The number of a generation is the moment of its last bump, in microseconds.  Over a store with a list of bans it is the bump's
 * position there, the same for all nodes once they have heard of it; elsewhere it is this node's own, by its clock, made to grow. */
#include "src/core/generation.h"

#include "src/base/hash.h"
#include "src/core/async_impl.h"

enum { GENERATION_SEED = 0x6e67, GENERATION_DEPTH = 64, NAME_MOST = 255 };

static uint64_t id_of(const char *name) { return strata__hash(name, strlen(name), GENERATION_SEED); }

static int has(const struct generation *g, uint64_t id)
{
    for (; g != NULL; g = g->above)
        if (g->id == id)
            return 1;
    return 0;
}

static void raise_to(_Atomic(uint64_t) *number, uint64_t to)
{
    uint64_t now = atomic_load(number);
    while (to > now && !atomic_compare_exchange_weak(number, &now, to))
        ;
}

/* Making ------------------------------------------------------------------------------------------------------- */

static struct generation *new_generation(struct root *root, uint64_t id, struct generation *above)
{
    void *bytes;
    uint32_t count = above != NULL ? above->count + 1 : 1;
    struct generation *g = strata__alloc_zero(root->mem, sizeof *g);
    strata_value *ids = g != NULL ? strata__value_new(root->mem, count * sizeof(uint64_t), &bytes) : NULL;
    if (ids == NULL) {
        strata__free(root->mem, g);
        return NULL;
    }
    g->id = id;
    g->above = above;
    g->ids = ids;
    atomic_init(&g->refs, 1);
    if (above != NULL)
        atomic_fetch_add(&above->refs, 1);
    for (const struct generation *at = g; at != NULL; at = at->above)
        ((uint64_t *)bytes)[g->count++] = at->id;
    return g;
}

/* What was heard of it before. */
static void find_number(struct root *root, struct generation *g)
{
    uint64_t placed;
    int64_t wall_ms;
    strata__ban_tag_known(root, g->id, &placed, &wall_ms);
    raise_to(&g->placed, placed);
    raise_to(&g->local, placed == 0 && wall_ms > 0 ? (uint64_t)wall_ms * 1000 : 0);
    LIST_EACH(node, &root->bans->generations)
    {
        struct generation *other = list_entry(node, struct generation, link);
        if (other->id != g->id)
            continue;
        raise_to(&g->placed, atomic_load(&other->placed));
        raise_to(&g->local, atomic_load(&other->local));
    }
}

int strata__generation_give_locked(strata *h, const char *name, strata_error *err)
{
    struct root *root = h->root;
    struct generation *above = h->parent != NULL ? h->parent->generation : NULL;
    size_t size = name != NULL ? strlen(name) : 0;
    h->generation = above;
    if (above != NULL)
        atomic_fetch_add(&above->refs, 1);
    if (name == NULL)
        return STRATA_OK;
    int rc = STRATA_OK;
    if (size == 0 || size > NAME_MOST)
        rc = strata__fail(err, STRATA_EINVAL, "generation", "a generation's name has 1 to %d bytes, this one %zu",
                          (int)NAME_MOST, size);
    else if (above != NULL && above->count >= GENERATION_DEPTH)
        rc = strata__fail(err, STRATA_EINVAL, "generation", "%d namespaces above have one each, the most there may be",
                          (int)GENERATION_DEPTH);
    else if (!has(above, id_of(name))) {
        struct generation *g = new_generation(root, id_of(name), above);
        rc = g != NULL ? STRATA_OK : strata__fail_plain(err, STRATA_ENOMEM, "generation");
        if (g != NULL) {
            find_number(root, g);
            list_push_back(&root->bans->generations, &g->link);
            strata__generation_free(h);
            h->generation = g;
        }
    }
    h->own_generation = rc == STRATA_OK ? id_of(name) : 0;
    if (rc != STRATA_OK)
        strata__generation_free(h);
    return rc;
}

/* Those that are in the list stay there until the cache is closed, as their handles do: nobody walks over it after. */
void strata__generation_free(strata *h)
{
    struct generation *g = h->generation;
    h->generation = NULL;
    while (g != NULL && atomic_fetch_sub(&g->refs, 1) == 1) {
        struct generation *above = g->above;
        strata_value_unref(g->ids);
        strata__free(h->root->mem, g);
        g = above;
    }
}

int strata__generation_is(const strata *h, const char *name)
{
    return h->own_generation == (name != NULL ? id_of(name) : 0);
}

/* Hearing ------------------------------------------------------------------------------------------------------ */

static int takes(const struct ban *ban, uint64_t id)
{
    if (ban->kind == BAN_ALL)
        return 1;
    for (uint32_t i = 0; ban->kind == BAN_TAGS_ANY && i < ban->tag_count; i++)
        if (ban->tags[i] == id)
            return 1;
    return 0;
}

static void begin(struct root *root, struct generation *g, const struct ban *ban)
{
    uint64_t us = (uint64_t)(ban->wall_ms > 0 ? ban->wall_ms : ex_wall_ms(root->ex)) * 1000;
    uint64_t last = atomic_load(&g->local);
    if (ban->store_position != 0)
        raise_to(&g->placed, ban->store_position);
    else if (atomic_load(&root->host.store_position) == 0) /* else the store will give it one */
        atomic_store(&g->local, us > last || ban->life != 0 ? (us > last ? us : last) : last + 1);
}

void strata__generation_heard_locked(struct root *root, const struct ban *ban)
{
    if (list_empty(&root->bans->generations) || ban->path.size != 0)
        return;
    LIST_EACH(node, &root->bans->generations)
    {
        struct generation *g = list_entry(node, struct generation, link);
        if (takes(ban, g->id))
            begin(root, g, ban);
    }
}

/* Entries -------------------------------------------------------------------------------------------------------- */

static int holds(const uint64_t *ids, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return 1;
    return 0;
}

void strata__generation_tag(const strata *h, strata_value **tags, uint32_t *count)
{
    const struct generation *g = h->generation;
    void *bytes = NULL;
    if (g == NULL || (*tags == NULL && *count != 0))
        return;
    if (*tags == NULL) {
        *tags = strata_value_ref(g->ids);
        *count = g->count;
        return;
    }
    const uint64_t *own = strata_value_data(*tags), *more = strata_value_data(g->ids);
    uint32_t missing = 0;
    for (uint32_t i = 0; i < g->count; i++)
        missing += !holds(own, *count, more[i]);
    if (missing == 0)
        return;
    size_t rest = (*tags)->size - (size_t)*count * sizeof *own; /* a validator */
    size_t size = ((size_t)*count + missing) * sizeof(uint64_t) + rest;
    strata_value *all = *count <= STRATA_TAGS_MAX - missing ? strata__value_new(h->root->mem, size, &bytes) : NULL;
    if (all != NULL) {
        uint64_t *at = (uint64_t *)bytes + *count;
        memcpy(bytes, own, *count * sizeof *own);
        for (uint32_t i = 0; i < g->count; i++)
            if (!holds(own, *count, more[i]))
                *at++ = more[i];
        if (rest != 0)
            memcpy(at, own + *count, rest);
        *count += missing;
    }
    strata_value_unref(*tags);
    *tags = all;
    if (all == NULL && *count == 0) { /* rather without its validator than of no generation */
        *tags = strata_value_ref(g->ids);
        *count = g->count;
    }
}

/* Calls ---------------------------------------------------------------------------------------------------------- */

static int no_generation(strata_error *err)
{
    return strata__fail(err, STRATA_EINVAL, "generation",
                        "neither this namespace nor one above has a generation: set that option when it is opened");
}

static uint64_t number_of(const struct generation *g)
{
    uint64_t placed = atomic_load(&((struct generation *)(uintptr_t)g)->placed);
    return placed != 0 ? placed : atomic_load(&((struct generation *)(uintptr_t)g)->local);
}

int strata_generation_get(strata *cache, uint64_t *out, strata_error *err)
{
    if (cache == NULL || out == NULL)
        return strata__no_argument(err, "strata_generation_get() needs a cache, and where to put the number");
    int rc = root_enter(cache->root, err);
    if (rc != STRATA_OK)
        return rc;
    if (cache->generation != NULL)
        *out = number_of(cache->generation);
    else
        rc = no_generation(err);
    root_leave(cache->root);
    return rc;
}

int strata_generation_bump(strata *cache, uint32_t how, uint64_t *out, strata_error *err)
{
    if (cache == NULL)
        return strata__no_argument(err, "strata_generation_bump() needs a cache");
    int rc = root_enter(cache->root, err);
    if (rc != STRATA_OK)
        return rc;
    const struct generation *g = cache->generation;
    if (g != NULL) {
        struct ban ban = { .kind = BAN_TAGS_ANY, .tags = &g->id, .tag_count = 1 };
        rc = strata__ban_issue(cache->root->handle, &ban, how & ~(uint32_t)STRATA_BAN_ALL_TAGS, err);
    } else {
        rc = no_generation(err);
    }
    if (rc >= 0 && out != NULL)
        *out = number_of(g);
    root_leave(cache->root);
    return rc;
}

static int call_bump(struct async *a, strata_error *err)
{
    return strata_generation_bump(a->cache, (uint32_t)a->count, NULL, err);
}

int strata_generation_bump_async(strata *cache, uint32_t how, strata_queue *queue, strata_done done, void *ctx,
                                 strata_error *err)
{
    return strata__text_call(cache, strata_bytes(NULL, 0), how, call_bump, queue, done, ctx, err);
}
