/* write_object.c - setting decoded objects: in a cache with a codec, one at a time, now or later.
 *
 * An object is taken whatever the call answers: it becomes a value, whose last reference frees it, or is freed at once. */
#include "src/core/async_impl.h"

/* What is set, from the moment that the object is a value: takes over the reference. */
typedef int set_value(strata *cache, strata_slice key, strata_value *value, const struct strata_tags *tags,
                      struct write *prepared, const struct async_end *end, strata_error *err);

static strata_value *take_object(strata *cache, void *object, int *rc, strata_error *err)
{
    struct root *root = cache->root;
    const strata_codec *codec = root->codec;
    strata_value *value = NULL;
    *rc = strata__value_fits(root, codec->cost(object, codec->ctx), err);
    if (*rc == STRATA_OK && (value = strata__value_object(root->mem, object, codec)) == NULL)
        *rc = strata__fail_plain(err, STRATA_ENOMEM, "value");
    if (value == NULL)
        codec->free(object, codec->ctx);
    return value;
}

static int set_now(strata *cache, strata_slice key, strata_value *value, const struct strata_tags *tags,
                   struct write *w, const struct async_end *end, strata_error *err)
{
    (void)cache, (void)end;
    int rc = strata__write_tag(w, tags, err);
    w->value = value;
    if (rc == STRATA_OK)
        rc = strata__write_blocking(w, key, err);
    strata_value_unref(w->tags);
    strata_value_unref(value);
    return rc;
}

static int set_later(strata *cache, strata_slice key, strata_value *value, const struct strata_tags *tags,
                     struct write *w, const struct async_end *end, strata_error *err)
{
    return strata__write_async(cache, key, value, tags, w, end, err);
}

static int set_object(strata *cache, strata_slice key, void *object, const struct strata_tags *tags,
                      const strata_policy *policy, set_value *set, const struct async_end *end, strata_error *err)
{
    if (cache == NULL || cache->root->codec == NULL)
        return strata__fail(err, STRATA_EINVAL, "codec", "setting an object needs a cache that was opened with a codec");
    if (object == NULL)
        return strata__no_argument(err, "there is no object to set");
    struct root *root = cache->root;
    struct write w = { .status = STRATA_OK };
    int rc;
    strata_value *value = take_object(cache, object, &rc, err);
    if (value == NULL)
        return rc;
    rc = check_key(cache, key, err);
    if (rc == STRATA_OK)
        rc = root_enter(root, err);
    if (rc != STRATA_OK) {
        strata_value_unref(value);
        return rc;
    }
    rc = strata__write_prepare_set(&w, cache, key, policy, err);
    w.meta.codec = root->codec->id;
    if (rc == STRATA_OK)
        rc = set(cache, key, value, tags, &w, end, err);
    else
        strata_value_unref(value);
    root_leave(root);
    return rc;
}

int strata_set_object(strata *cache, strata_slice key, void *object, const strata_policy *policy, strata_error *err)
{
    return set_object(cache, key, object, NULL, policy, set_now, NULL, err);
}

int strata_set_object_tagged(strata *cache, strata_slice key, void *object, const strata_slice *tags, size_t tag_count,
                             const strata_policy *policy, strata_error *err)
{
    struct strata_tags given = { tags, tag_count };
    return set_object(cache, key, object, &given, policy, set_now, NULL, err);
}

int strata_set_object_async(strata *cache, strata_slice key, void *object, const strata_policy *policy,
                            strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    struct async_end end = { queue, done, ctx };
    return set_object(cache, key, object, NULL, policy, set_later, &end, err);
}

int strata_set_object_tagged_async(strata *cache, strata_slice key, void *object, const strata_slice *tags,
                                   size_t tag_count, const strata_policy *policy, strata_queue *queue, strata_done done,
                                   void *ctx, strata_error *err)
{
    struct strata_tags given = { tags, tag_count };
    struct async_end end = { queue, done, ctx };
    return set_object(cache, key, object, &given, policy, set_later, &end, err);
}

/* In bulk ---------------------------------------------------------------------------------------------------------- */

int strata__item_value(strata *cache, strata_item *item, strata_value **out, strata_error *err)
{
    struct root *root = cache->root;
    int rc = STRATA_OK;
    *out = NULL;
    if (item->object != NULL && root->codec == NULL)
        return strata__fail(err, STRATA_EINVAL, "codec", "setting an object needs a cache that was opened with a codec");
    if (item->object != NULL) {
        *out = take_object(cache, item->object, &rc, err);
        item->object = NULL;
        return rc;
    }
    rc = strata__value_fits(root, item->set.size, err);
    if (rc == STRATA_OK && (*out = strata__value_copy(root->mem, item->set.data, item->set.size)) == NULL)
        rc = strata__fail_plain(err, STRATA_ENOMEM, "value");
    return rc;
}

void strata__item_objects_drop(const strata *cache, strata_item *items, size_t count)
{
    const strata_codec *codec = cache != NULL ? cache->root->codec : NULL;
    for (size_t i = 0; codec != NULL && items != NULL && i < count; i++) {
        if (items[i].object != NULL)
            codec->free(items[i].object, codec->ctx);
        items[i].object = NULL;
    }
}
