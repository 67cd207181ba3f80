/* ban.c - issuing bans: here, in the layers that keep a list of them, and to other nodes.
 *
 * A ban holds in this process once it stands in the tables of bans.c; from then on nothing that could fail undoes it.  Layers
 * that keep bans (a disk, for its next opening; a shared store, for other nodes) are told after, and then whoever publishes. */
#include "src/core/async_impl.h"
#include "src/core/bans.h"
#include "src/policy/pattern.h"

int strata__tags_value(const strata_allocator *mem, const strata_slice *tags, size_t count, strata_value **out,
                       strata_error *err)
{
    void *bytes;
    *out = NULL;
    if (tags == NULL)
        return strata__fail(err, STRATA_EINVAL, "tags", "tags is NULL, and %zu are said to be there: give them, or 0",
                            count);
    if (count > STRATA_TAGS_MAX)
        return strata__fail(
            err, STRATA_EINVAL, "tags",
            "%zu tags: there may be %d (STRATA_TAGS_MAX): make one of those that are always banned together", count,
            STRATA_TAGS_MAX);
    for (size_t i = 0; i < count; i++)
        if (tags[i].size == 0 || tags[i].data == NULL)
            return strata__fail(err, STRATA_EINVAL, "tags", "tag %zu is empty: give it a byte, or leave it out", i);
    *out = strata__value_new(mem, count * sizeof(uint64_t), &bytes);
    if (*out == NULL)
        return strata__fail(err, STRATA_ENOMEM, "tags", "no memory for %zu tags: free some", count);
    for (size_t i = 0; i < count; i++)
        ((uint64_t *)bytes)[i] = strata__tag_id(tags[i]);
    return STRATA_OK;
}

static int keeps_bans(const strata_layer_ops *ops)
{
    return ops->size >= offsetof(strata_layer_ops, ban) + sizeof ops->ban && ops->ban != NULL;
}

static struct ban read_op(const strata_ban_op *op)
{
    return (struct ban){ .kind = op->kind,
                         .soft = op->soft != 0,
                         .path = op->prefix,
                         .text = op->text,
                         .tags = op->tags,
                         .tag_count = op->tag_count,
                         .life = op->life,
                         .position = op->position,
                         .wall_ms = op->wall_ms,
                         .store_position = op->store_position };
}

static void restore(const strata_ban_op *op, void *ctx)
{
    struct ban ban = read_op(op);
    if (strata__ban_apply(ctx, &ban) == STRATA_OK) /* without memory all that is older is banned */
        return;
    /* A newer release's: whatever it says, no more than all of its namespace is meant. */
    ban.kind = BAN_ALL;
    ban.soft = 0;
    (void)strata__ban_apply(ctx, &ban);
}

/* It holds from now on, whenever it was issued; and what this cache has entered up to then, the store knows now. */
void strata__host_ban(strata_layer_host *host, const strata_ban_op *op)
{
    struct root *root = (struct root *)(void *)((char *)host - offsetof(struct root, host));
    strata_ban_op now = *op;
    now.life = 0;
    now.position = 0;
    restore(&now, root);
    struct ban own = read_op(op);
    if (own.life == root->life)
        strata__ban_placed(root, &own);
}

int strata__bans_restore(struct root *root, strata_error *err)
{
    for (size_t i = 0; i < root->layer_count; i++) {
        strata_layer *layer = root->layers[i].layer;
        const strata_layer_ops *ops = layer->ops;
        if (ops->size < offsetof(strata_layer_ops, bans) + sizeof ops->bans || ops->bans == NULL)
            continue;
        int rc = ops->bans(layer, restore, root, err);
        if (rc < 0)
            return strata__fail_plain(err, rc, layer->name);
    }
    return STRATA_OK;
}

/* The furthest first: a store that counts positions gives the ban its own. */
static int tell_layers(strata *cache, struct ban *ban, strata_error *err)
{
    struct root *root = cache->root;
    int worst = STRATA_OK;
    for (size_t i = root->layer_count; i-- > 0;) {
        struct layer_slot *slot = &root->layers[i];
        strata_error words = STRATA_ERROR_INIT;
        if (!keeps_bans(slot->layer->ops))
            continue;
        strata_ban_op op = { .size = sizeof op,
                             .kind = ban->kind,
                             .soft = (uint32_t)ban->soft,
                             .prefix = ban->path,
                             .text = ban->text,
                             .tags = ban->tags,
                             .tag_count = ban->tag_count,
                             .position = ban->position,
                             .life = ban->life,
                             .wall_ms = ban->wall_ms,
                             .store_position = ban->store_position };
        int rc = slot->layer->ops->ban(slot->layer, &op, &words);
        if (rc >= 0) {
            if (op.store_position != ban->store_position) {
                ban->store_position = op.store_position;
                strata__ban_placed(root, ban);
            }
            worst = worst == STRATA_OK ? rc : worst;
            continue;
        }
        const char *why = words.message[0] != 0 ? words.message : strata_status_text(rc);
        atomic_fetch_add_explicit(&slot->errors, 1, memory_order_relaxed);
        count_up(cache, COUNT_ERRORS);
        strata__event_error(cache, strata_bytes(NULL, 0), slot->layer->name, rc, why);
        worst = strata__fail(err, STRATA_ELAYER, slot->layer->name, "layer \"%s\" could not note the ban: %s",
                             slot->layer->name, why);
    }
    return worst;
}

/* Also what a shared store has given a position: its list may be gone, or away, when the cache is opened anew and trusts its disk. */
int strata__ban_keep(struct root *root, const struct ban *ban)
{
    strata_ban_op op = { .size = sizeof op,
                         .kind = ban->kind,
                         .soft = (uint32_t)ban->soft,
                         .prefix = ban->path,
                         .text = ban->text,
                         .tags = ban->tags,
                         .tag_count = ban->tag_count,
                         .position = atomic_load(&root->position), /* no lower than the one it was given here */
                         .life = root->life,
                         .wall_ms = ex_wall_ms(root->ex) };
    int worst = STRATA_OK;
    for (size_t i = 0; i < root->layer_count; i++) {
        strata_layer *layer = root->layers[i].layer;
        strata_error words = STRATA_ERROR_INIT;
        if ((root->layers[i].flags & STRATA_LAYER_SHARED) || !keeps_bans(layer->ops))
            continue;
        int rc = layer->ops->ban(layer, &op, &words);
        if (rc < 0)
            strata__event_error(root->handle, strata_bytes(NULL, 0), layer->name, rc, words.message);
        worst = rc < 0 ? rc : worst;
    }
    return worst;
}

static int issue_entered(strata *cache, struct ban *ban, strata_error *err)
{
    struct root *root = cache->root;
    uint32_t position;
    ban->path = ban_path(cache);
    ban->wall_ms = ex_wall_ms(root->ex);
    int rc = strata__ban_enter(root, ban, &position);
    if (rc != STRATA_OK)
        return strata__fail(err, rc, "ban", "no memory for a ban: free some, or clear the namespace");
    ban->life = root->life;
    ban->position = position;
    rc = tell_layers(cache, ban, err);
    if (root->publish_ban != NULL) {
        int told = root->publish_ban(root, ban, rc != STRATA_OK, rc >= 0 ? err : NULL);
        rc = rc < 0 || told == STRATA_OK ? rc : told;
    }
    return rc;
}

int strata__ban_issue(strata *cache, struct ban *ban, uint32_t how, strata_error *err)
{
    if (how & ~(uint32_t)(STRATA_BAN_SOFT | STRATA_BAN_ALL_TAGS))
        return strata__fail(err, STRATA_EINVAL, "ban",
                            "how has other bits than STRATA_BAN_ flags: give STRATA_BAN_HARD or STRATA_BAN_SOFT");
    ban->soft = (how & STRATA_BAN_SOFT) != 0;
    int rc = root_enter(cache->root, err);
    if (rc != STRATA_OK)
        return rc;
    rc = issue_entered(cache, ban, err);
    root_leave(cache->root);
    return rc;
}

/* Tags --------------------------------------------------------------------------------------------------------- */

static int tags_kind(size_t count, uint32_t how, strata_error *err)
{
    if (count == 0)
        return strata__fail(err, STRATA_EINVAL, "tags", "a ban of tags needs one at least");
    if ((how & STRATA_BAN_ALL_TAGS) && count > BAN_TAGS_ALL_MOST)
        return strata__fail(err, STRATA_EINVAL, "tags", "a ban of what has all of its tags names up to %d, not %zu",
                            (int)BAN_TAGS_ALL_MOST, count);
    /* What has all of one has any of it. */
    return (how & STRATA_BAN_ALL_TAGS) && count > 1 ? BAN_TAGS_ALL : BAN_TAGS_ANY;
}

static int ban_ids(strata *cache, const uint64_t *ids, size_t count, uint32_t how, strata_error *err)
{
    int kind = tags_kind(count, how, err);
    if (kind < 0)
        return kind;
    struct ban ban = { .kind = (uint32_t)kind, .tags = ids, .tag_count = (uint32_t)count };
    return strata__ban_issue(cache, &ban, how, err);
}

int strata_ban_tags(strata *cache, const strata_slice *tags, size_t count, uint32_t how, strata_error *err)
{
    strata_value *ids = NULL;
    if (cache == NULL)
        return strata__no_argument(err, "strata_ban_tags() needs a cache");
    int rc = tags_kind(count, how, err);
    if (rc > 0)
        rc = strata__tags_value(cache->root->mem, tags, count, &ids, err);
    if (rc == STRATA_OK)
        rc = ban_ids(cache, ids->data, count, how, err);
    strata_value_unref(ids);
    return rc;
}

int strata_ban_tag(strata *cache, const char *tag, uint32_t how, strata_error *err)
{
    if (cache == NULL || tag == NULL || *tag == 0)
        return strata__no_argument(err, "strata_ban_tag() needs a cache, and a tag that is not empty");
    uint64_t id = strata__tag_id(strata_str(tag));
    return ban_ids(cache, &id, 1, how & ~(uint32_t)STRATA_BAN_ALL_TAGS, err);
}

/* Keys --------------------------------------------------------------------------------------------------------- */

static int ban_text(strata *cache, uint32_t kind, strata_slice text, uint32_t how, strata_error *err)
{
    if (cache == NULL || (text.data == NULL && text.size != 0))
        return strata__no_argument(err, "a ban of keys needs a cache and a prefix or pattern");
    if (text.size > cache->max_key)
        return strata__fail(err, STRATA_EINVAL, kind == BAN_PATTERN ? "pattern" : "prefix",
                            "it has %zu bytes, and no key more than %u (max_key_bytes): shorten it", text.size,
                            (unsigned)cache->max_key);
    if (kind == BAN_PATTERN && !strata__pattern_valid(text))
        return strata__fail(err, STRATA_EINVAL, "pattern", "it ends in a \\ that escapes nothing: write \\\\");
    struct ban ban = { .kind = kind, .text = text };
    return strata__ban_issue(cache, &ban, how & ~(uint32_t)STRATA_BAN_ALL_TAGS, err);
}

int strata_ban_prefix(strata *cache, strata_slice prefix, uint32_t how, strata_error *err)
{
    return ban_text(cache, BAN_PREFIX, prefix, how, err);
}

int strata_ban_pattern(strata *cache, strata_slice pattern, uint32_t how, strata_error *err)
{
    return ban_text(cache, BAN_PATTERN, pattern, how, err);
}

/* Asynchronous twins --------------------------------------------------------------------------------------------- */

static int call_ids(struct async *a, strata_error *err)
{
    return ban_ids(a->cache, (const uint64_t *)a->key.data, a->key.size / sizeof(uint64_t), (uint32_t)a->count, err);
}
static int call_prefix(struct async *a, strata_error *err)
{
    return strata_ban_prefix(a->cache, a->key, (uint32_t)a->count, err);
}
static int call_pattern(struct async *a, strata_error *err)
{
    return strata_ban_pattern(a->cache, a->key, (uint32_t)a->count, err);
}

int strata_ban_tags_async(strata *cache, const strata_slice *tags, size_t count, uint32_t how, strata_queue *queue,
                          strata_done done, void *ctx, strata_error *err)
{
    strata_value *ids = NULL;
    if (cache == NULL)
        return strata__no_argument(err, "strata_ban_tags_async() needs a cache");
    int rc = tags_kind(count, how, err);
    if (rc > 0)
        rc = strata__tags_value(cache->root->mem, tags, count, &ids, err);
    if (rc == STRATA_OK)
        rc = strata__text_call(cache, strata_bytes(ids->data, ids->size), how, call_ids, queue, done, ctx, err);
    strata_value_unref(ids);
    return rc;
}

int strata_ban_tag_async(strata *cache, const char *tag, uint32_t how, strata_queue *queue, strata_done done, void *ctx,
                         strata_error *err)
{
    strata_slice only = { tag, tag != NULL ? strlen(tag) : 0 };
    return strata_ban_tags_async(cache, &only, 1, how & ~(uint32_t)STRATA_BAN_ALL_TAGS, queue, done, ctx, err);
}

int strata_ban_prefix_async(strata *cache, strata_slice prefix, uint32_t how, strata_queue *queue, strata_done done,
                            void *ctx, strata_error *err)
{
    return strata__text_call(cache, prefix, how, call_prefix, queue, done, ctx, err);
}

int strata_ban_pattern_async(strata *cache, strata_slice pattern, uint32_t how, strata_queue *queue, strata_done done,
                             void *ctx, strata_error *err)
{
    return strata__text_call(cache, pattern, how, call_pattern, queue, done, ctx, err);
}
