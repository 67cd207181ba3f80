/* set_if.c - strata_get_version(), strata_set_if(): the calls.  What they do to layers is in write_if.c. */
#include <string.h>

#include "src/core/async_impl.h"

/* Reading with a version ------------------------------------------------------------------------------------------ */

static int has_store(const struct root *root)
{
    return (root->layers[root->set_order[0]].flags & STRATA_LAYER_SHARED) != 0;
}

/* Nobody counts versions: the entry is given one, as a write that changes nothing else. */
static int stamp(strata *cache, strata_slice key, strata_value **out, strata_entry_version *version, strata_error *err)
{
    struct write w = { .status = STRATA_OK };
    strata__write_begin(&w, cache, WRITE_STAMP);
    w.when = WHEN_STAMP;
    int rc = strata__write_blocking(&w, key, err);
    if (rc == STRATA_OK && w.value == NULL)
        rc = STRATA_MISS;
    *version = w.compared;
    *out = w.value;
    strata_value_unref(w.tags);
    return rc;
}

static int look(strata *cache, strata_slice key, strata_value **out, strata_entry_version *version, strata_error *err)
{
    struct key_forms forms;
    unsigned char *storage;
    struct held held;
    if (strata__forms_make(cache, key, &forms, &storage) != STRATA_OK)
        return strata__fail_plain(err, STRATA_ENOMEM, "key");
    int rc = strata__look_version(cache, &forms, &held, err);
    strata__free(cache->root->mem, storage);
    if (!held.there)
        return rc;
    int counted = has_store(cache->root) || rc == STRATA_ABSENT ||
                  (held.meta.version != 0 && held.meta.store_life == strata__stamp_life(cache->root));
    *version = (strata_entry_version){ held.meta.version, held.meta.store_life };
    *out = strata_value_ref(held.value);
    strata__held_drop(&held);
    if (counted)
        return rc;
    strata_value_unref(*out);
    *out = NULL;
    int stamped = stamp(cache, key, out, version, err);
    return stamped == STRATA_OK ? rc : stamped;
}

int strata_get_version(strata *cache, strata_slice key, strata_value **out, strata_entry_version *version,
                       strata_error *err)
{
    strata_value *value = NULL;
    if (out != NULL)
        *out = NULL;
    if (cache == NULL || version == NULL)
        return strata__no_argument(err, "strata_get_version() needs a cache and where to put the version");
    *version = (strata_entry_version){ 0, 0 };
    int rc = check_key(cache, key, err);
    if (rc == STRATA_OK)
        rc = root_enter(cache->root, err);
    if (rc != STRATA_OK)
        return rc;
    rc = look(cache, key, &value, version, err);
    root_leave(cache->root);
    if (out != NULL)
        *out = value;
    else
        strata_value_unref(value);
    return rc;
}

static int call_get_version(struct async *a, strata_error *err)
{
    return strata_get_version(a->cache, a->key, &a->completion.value, a->out, err);
}

int strata_get_version_async(strata *cache, strata_slice key, strata_entry_version *version, strata_queue *queue,
                             strata_done done, void *ctx, strata_error *err)
{
    if (version == NULL)
        return strata__no_argument(err, "strata_get_version_async() needs where to put the version");
    return strata__key_call(cache, key, version, call_get_version, queue, done, ctx, err);
}

/* Setting --------------------------------------------------------------------------------------------------------- */

/* What is known of a struct that may be shorter or longer than ours. */
static int take_condition(const strata_condition *given, strata_condition *out, strata_error *err)
{
    memset(out, 0, sizeof *out);
    if (given == NULL || given->size < offsetof(strata_condition, version))
        return strata__fail(err, STRATA_EINVAL, "only",
                            "strata_set_if() needs a strata_condition: begin with STRATA_CONDITION_INIT");
    memcpy(out, given, given->size < sizeof *out ? given->size : sizeof *out);
    for (size_t i = sizeof *out; i < given->size; i++)
        if (((const unsigned char *)given)[i] != 0)
            return strata__fail(err, STRATA_EINVAL, "only", "this strata_condition says more than this library knows");
    return STRATA_OK;
}

int strata_set_if(strata *cache, strata_slice key, strata_slice value, const strata_condition *only,
                  const strata_policy *policy, strata_entry_version *version, strata_error *err)
{
    strata_condition condition;
    if (cache == NULL || (value.data == NULL && value.size != 0))
        return strata__no_argument(err, "strata_set_if() needs a cache and a value");
    int rc = take_condition(only, &condition, err);
    if (rc == STRATA_OK)
        rc = check_key(cache, key, err);
    if (rc == STRATA_OK)
        rc = root_enter(cache->root, err);
    if (rc != STRATA_OK)
        return rc;
    const struct strata_tags tags = { condition.tags, condition.tag_count };
    const struct set_only given = { &condition, version };
    rc = strata__set_entered(cache, key, value, policy, &tags, &given, err);
    root_leave(cache->root);
    return rc;
}

int strata_set_if_async(strata *cache, strata_slice key, strata_slice value, const strata_condition *only,
                        const strata_policy *policy, strata_entry_version *version, strata_queue *queue,
                        strata_done done, void *ctx, strata_error *err)
{
    strata_condition condition;
    if (cache == NULL || (value.data == NULL && value.size != 0))
        return strata__no_argument(err, "strata_set_if_async() needs a cache and a value");
    int rc = take_condition(only, &condition, err);
    if (rc != STRATA_OK)
        return rc;
    const struct strata_tags tags = { condition.tags, condition.tag_count };
    const struct set_only given = { &condition, version };
    const struct async_end end = { queue, done, ctx };
    return strata__set_later(cache, key, value, &tags, &given, policy, &end, err);
}
