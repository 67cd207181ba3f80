/* bulk_write.c - setting and deleting many keys at once: side by side in slow layers, so that these work on all of them. */
#include "src/core/behind.h"
#include "src/core/flight.h"
#include "src/core/write.h"

enum { WRITES_AT_ONCE = 512 }; /* more go in several trips: each takes memory for its operation */

/* Up to WRITES_AT_ONCE of them side by side, so that slow layers work on all at once. */
static int write_some(struct write *writes, strata_item *items, size_t count, int so_far, strata_error *err)
{
    struct root *root = writes[0].root;
    strata__writes_drive(root, writes, count);
    for (size_t i = 0; i < count; i++) {
        struct write *w = &writes[i];
        /* What never began is not counted. */
        items[i].status = w->driver != NULL || w->queued ? strata__write_result(w) : w->status;
        if (so_far >= 0 && items[i].status < 0 && err != NULL)
            *err = w->err;
        so_far = first_error(so_far, items[i].status);
        strata_value_unref(w->encoded);
        strata_value_unref(w->value);
        strata_value_unref(w->tags);
        strata__free(root->mem, w->storage);
    }
    return so_far;
}

/* `resolved`: of sets.  `behind`: it may be written behind. */
static int prepare_one(struct write *w, strata *cache, strata_item *item, const struct write *pattern,
                       const strata_policy *resolved, int behind)
{
    *w = *pattern;
    int rc = check_key(cache, item->key, &w->err);
    if (rc == STRATA_OK)
        rc = strata__forms_make(cache, item->key, &w->key, &w->storage);
    if (rc == STRATA_OK && pattern->told_as == STRATA_OP_PUT) {
        struct strata_tags tags = { item->tags, item->tag_count };
        strata__write_draw(w, resolved, item->key);
        rc = strata__item_value(cache, item, &w->value, &w->err);
        if (rc == STRATA_OK && w->value->object != NULL)
            w->meta.codec = cache->root->codec->id;
        if (rc == STRATA_OK)
            rc = strata__write_tag(w, &tags, &w->err);
    }
    if (rc < 0)
        w->status = strata__fail_plain(&w->err, rc, "bulk");
    else if (behind)
        (void)strata__behind_set(w, item->key);
    return rc;
}

static int write_slow_many(strata *cache, strata_item *items, size_t count, const struct write *pattern,
                           const strata_policy *resolved, strata_error *err)
{
    struct root *root = cache->root;
    size_t room = count < WRITES_AT_ONCE ? count : WRITES_AT_ONCE;
    struct write *writes = strata__alloc_array(root->mem, room, sizeof *writes);
    int worst = STRATA_OK;
    if (writes == NULL) {
        for (size_t i = 0; i < count; i++)
            items[i].status = STRATA_ENOMEM;
        return strata__fail_plain(err, STRATA_ENOMEM, "bulk");
    }
    for (size_t at = 0; at < count; at += room) {
        size_t n = count - at < room ? count - at : room;
        /* After one that goes through at once, which is begun later, all do: a key may come twice. */
        int behind = pattern->behind_ms > 0;
        for (size_t i = 0; i < n; i++)
            if (prepare_one(&writes[i], cache, &items[at + i], pattern, resolved, behind) == STRATA_OK)
                behind = behind && writes[i].queued;
        worst = write_some(writes, items + at, n, worst, err);
    }
    strata__free(root->mem, writes);
    return worst;
}

static int set_one(strata *cache, strata_item *item, const strata_policy *policy, strata_error *err)
{
    void *object = item->object;
    item->object = NULL;
    if (object != NULL && cache->root->codec != NULL)
        return strata_set_object_tagged(cache, item->key, object, item->tags, item->tag_count, policy, err);
    if (object != NULL)
        return strata__fail(err, STRATA_EINVAL, "codec", "item.object needs a cache that was opened with a codec");
    if (item->tag_count == 0)
        return strata_set(cache, item->key, item->set, policy, err);
    return strata_set_tagged(cache, item->key, item->set, item->tags, item->tag_count, policy, err);
}

static int set_many(strata *cache, strata_item *items, size_t count, const strata_policy *policy, strata_error *err)
{
    struct write pattern = { .status = STRATA_OK };
    strata_policy resolved;
    int rc = root_enter(cache->root, err); /* a closed cache has no clock */
    if (rc != STRATA_OK)
        return rc;
    rc = strata__write_prepare_sets(&pattern, cache, policy, &resolved, err);
    if (rc != STRATA_OK || count == 0) {
        root_leave(cache->root);
        return rc;
    }
    if (all_layers_instant(cache->root)) {
        for (size_t i = 0; i < count; i++) {
            items[i].status = set_one(cache, &items[i], policy, rc >= 0 ? err : NULL);
            rc = first_error(rc, items[i].status);
        }
    } else {
        rc = write_slow_many(cache, items, count, &pattern, &resolved, err);
    }
    root_leave(cache->root);
    return rc;
}

int strata_set_many(strata *cache, strata_item *items, size_t count, const strata_policy *policy, strata_error *err)
{
    if (cache == NULL || (items == NULL && count != 0))
        return strata__no_argument(err, "strata_set_many() needs a cache and items");
    int rc = set_many(cache, items, count, policy, err);
    strata__item_objects_drop(cache, items, count); /* where it failed as a whole */
    return rc;
}

int strata_delete_many(strata *cache, strata_item *items, size_t count, strata_error *err)
{
    if (cache == NULL || (items == NULL && count != 0))
        return strata__no_argument(err, "strata_delete_many() needs a cache and items");
    int rc = root_enter(cache->root, err);
    if (rc != STRATA_OK)
        return rc;
    if (all_layers_instant(cache->root) || count == 0) {
        for (size_t i = 0; i < count; i++) {
            items[i].status = strata_delete(cache, items[i].key, rc >= 0 ? err : NULL);
            rc = first_error(rc, items[i].status);
        }
    } else {
        struct write pattern = { .status = STRATA_OK };
        strata__write_begin(&pattern, cache, STRATA_OP_REMOVE);
        rc = write_slow_many(cache, items, count, &pattern, NULL, err);
    }
    root_leave(cache->root);
    return rc;
}
