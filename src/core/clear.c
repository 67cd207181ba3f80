/* clear.c - forget everything in a namespace and below it.
 *
 * What makes entries invalid is the position: one number of the whole cache, raised here and written into the handles as
 * the lowest valid one.  Entries and fills born before are banned from that moment, wherever they are; that the layers
 * then forget them physically is housekeeping, but for entries of other lives, which know nothing of our positions, and
 * for other lives to come, which know nothing of it: a put that is on its way to a slow layer may arrive after the clear
 * there, so who sent it removes it again (cleared_since() in store.c and write.c). */
#include "src/core/bans.h"
#include "src/core/coherence.h"

/* `own` 0: a peer's, who has cleared what is shared before it told us: what is found there since is right. */
static void raise_locked(strata *h, uint32_t position, int64_t wall_ms, int own)
{
    /* The time first: who sees the position also sees it. */
    atomic_store_explicit(&h->cleared_wall_ms, wall_ms, memory_order_release);
    if (own)
        atomic_store_explicit(&h->min_shared, position, memory_order_release);
    atomic_store_explicit(&h->min_position, position, memory_order_release);
    /* What answers at once looks at these alone, and not every clear empties it. */
    __atomic_store_n(&h->lines.plain, position, __ATOMIC_RELEASE);
    __atomic_store_n(&h->lines.tagged, position, __ATOMIC_RELEASE);
    LIST_EACH(node, &h->children)
    raise_locked(list_entry(node, strata, sibling), position, wall_ms, own);
}

/* Its position is published last: see bans.h. */
static uint32_t clear_here_locked(strata *cache, int own)
{
    struct root *root = cache->root;
    uint32_t position = next_position(root);
    raise_locked(cache, position, ex_wall_ms(root->ex), own);
    publish_position(root, position);
    return position;
}

/* A namespace that is not open has nowhere to note it: then it is everything, since layers may hold what is in it. */
void strata__clear_here(struct root *root, strata_slice path)
{
    uint64_t path_hash = strata__path_hash(path);
    key_mutex_lock(&root->tree_lock);
    strata *cleared = root->handle;
    for (uint32_t i = 0; i < root->space_count; i++)
        if (root->spaces[i]->path_hash == path_hash)
            cleared = root->spaces[i];
    (void)clear_here_locked(cleared, 1);
    key_mutex_unlock(&root->tree_lock);
}

struct spaces {
    strata **list;
    size_t count;
};

/* The open namespaces that are cleared, for layers that tell them apart by number: a list made under the tree lock, so that
 * layers are called without it.  Handles stay while the cache is open. */
static int list_spaces(strata *cache, struct spaces *out)
{
    struct root *root = cache->root;
    key_mutex_lock(&root->tree_lock);
    out->list = strata__alloc_array(root->mem, root->space_count, sizeof(strata *));
    out->count = 0;
    for (uint32_t i = 0; out->list != NULL && i < root->space_count; i++)
        if (handle_within(root->spaces[i], cache))
            out->list[out->count++] = root->spaces[i];
    key_mutex_unlock(&root->tree_lock);
    return out->list != NULL ? STRATA_OK : STRATA_ENOMEM;
}

static int clear_layer(strata *cache, strata_layer *layer, const struct spaces *spaces, strata_clear_op *what,
                       strata_error *err)
{
    if (layer->ops->clear == NULL)
        return STRATA_OK;
    if (what->all)
        return layer->ops->clear(layer, what, err);
    if (!(layer->flags & STRATA_LAYER_SPACES)) {
        /* Without the 0x00 that ends the path: those below it as well, whether they are open or not. */
        what->space = cache->space;
        what->prefix = strata_bytes(cache->prefix, cache->prefix_size - 1);
        return layer->ops->clear(layer, what, err);
    }
    int worst = STRATA_OK;
    what->prefix = strata_bytes("", 0);
    for (size_t i = 0; i < spaces->count; i++) {
        what->space = spaces->list[i]->space;
        int rc = layer->ops->clear(layer, what, err);
        if (rc < 0 || (rc == STRATA_PENDING && worst == STRATA_OK))
            worst = rc;
    }
    return worst;
}

static int clear_layers(strata *cache, uint32_t position, strata_error *err)
{
    struct root *root = cache->root;
    struct spaces spaces = { 0 };
    strata_error failed = STRATA_ERROR_INIT;
    int worst = STRATA_OK, cleared = 0, pending = 0;
    const int32_t policy = root->options.write_policy;
    strata_clear_op what = { .size = sizeof what,
                             .all = cache->parent == NULL,
                             .prefix = strata_bytes("", 0),
                             .life = root->life,
                             .position = position };
    /* What takes its entries by number is of this process alone, and knows by the position what is invalid. */
    if (!what.all && list_spaces(cache, &spaces) != STRATA_OK)
        worst = strata__fail(&failed, STRATA_ENOMEM, "clear",
                             "no memory to list the namespaces: their entries are invalid, but "
                             "take room until they leave by themselves");
    for (size_t i = root->layer_count; i-- > 0;) {
        struct layer_slot *slot = &root->layers[i];
        strata_error words = STRATA_ERROR_INIT;
        int rc = clear_layer(cache, slot->layer, &spaces, &what, &words);
        if (rc == STRATA_PENDING && policy == STRATA_WRITE_STRICT)
            worst = strata__pending_fails(slot->layer->name, &failed);
        pending |= rc == STRATA_PENDING;
        cleared |= rc >= 0;
        if (rc >= 0)
            continue;
        atomic_fetch_add_explicit(&slot->errors, 1, memory_order_relaxed);
        count_up(cache, COUNT_ERRORS);
        const char *why = words.message[0] != 0 ? words.message : strata_status_text(rc);
        strata__event_error(cache, strata_bytes(NULL, 0), slot->layer->name, rc, why);
        worst = strata__fail(&failed, STRATA_ELAYER, slot->layer->name, "layer \"%s\" could not be cleared: %s",
                             slot->layer->name, why);
    }
    strata__free(root->mem, spaces.list);
    if (worst == STRATA_ELAYER && policy == STRATA_WRITE_BEST_EFFORT && cleared)
        worst = STRATA_OK;
    if (worst < 0 && err != NULL)
        *err = failed;
    return worst == STRATA_OK && pending ? STRATA_PENDING : worst;
}

/* Of a peer's: the layers of this node alone.  A namespace that is not open here holds nothing where spaces are numbers. */
static int clear_local(strata *cache, strata_slice prefix, uint32_t position, struct root *root)
{
    struct spaces spaces = { 0 };
    strata_error words = STRATA_ERROR_INIT;
    int worst = STRATA_OK;
    strata_clear_op what = {
        .size = sizeof what, .all = prefix.size == 0, .prefix = prefix, .life = root->life, .position = position
    };
    if (cache != NULL && !what.all && list_spaces(cache, &spaces) != STRATA_OK)
        worst = STRATA_ENOMEM;
    for (size_t i = root->layer_count; worst >= 0 && i-- > 0;) {
        struct layer_slot *slot = &root->layers[i];
        int rc = STRATA_OK;
        if (slot->flags & STRATA_LAYER_SHARED)
            continue;
        if (cache != NULL)
            rc = clear_layer(cache, slot->layer, &spaces, &what, &words);
        else if (slot->layer->ops->clear != NULL && !(slot->flags & STRATA_LAYER_SPACES))
            rc = slot->layer->ops->clear(slot->layer, &what, &words);
        worst = rc < 0 ? rc : worst;
    }
    strata__free(root->mem, spaces.list);
    return worst;
}

int strata__clear_apply(struct root *root, strata_slice prefix)
{
    strata_slice rest;
    key_mutex_lock(&root->tree_lock);
    strata *cache = strata__handle_of_storage_locked(root, prefix, &rest);
    uint32_t position = cache != NULL ? clear_here_locked(cache, 0) : next_position(root);
    key_mutex_unlock(&root->tree_lock);
    if (prefix.size != 0) /* without the 0x00 that ends the path: those below it as well */
        prefix.size--;
    return clear_local(cache, prefix, position, root);
}

static int publish_clear(strata *cache, int rc, strata_error *err)
{
    struct root *root = cache->root;
    struct bus_item item = { .kind = BUS_ITEM_CLEAR, .all = 1, .key = strata_bytes(cache->prefix, cache->prefix_size) };
    if (root->coherence == NULL || strata__publish_blocking(root, &item, rc != STRATA_OK) == STRATA_OK || rc < 0)
        return rc;
    return root->options.write_policy == STRATA_WRITE_STRICT ? strata__unpublished_fails(root, err) : STRATA_PENDING;
}

int strata_clear(strata *cache, strata_error *err)
{
    if (cache == NULL)
        return strata__no_argument(err, "strata_clear() needs a cache");
    struct root *root = cache->root;
    int rc = root_enter(root, err);
    if (rc != STRATA_OK)
        return rc;
    key_mutex_lock(&root->tree_lock);
    uint32_t position = clear_here_locked(cache, 1);
    key_mutex_unlock(&root->tree_lock);
    rc = clear_layers(cache, position, err);
    rc = publish_clear(cache, rc, err);
    count_up(cache, COUNT_CLEARS);
    event_fire(cache, STRATA_EVENT_CLEAR, strata_bytes(NULL, 0), NULL);
    root_leave(root);
    return rc;
}
