/* adaptive_hits.c - see adaptive.h. */
#include "src/core/adaptive.h"

#include "src/policy/adaptive.h"

/* Halved with each load, what is counted is still enough by the next. */
enum { SPARE = 2 };

int strata__adaptive_open_locked(strata *handle, strata_error *err)
{
    struct root *root = handle->root;
    uint32_t enough = strata__adaptive_enough(&handle->policy), count = root->options.adaptive_profiles;
    if (enough != 0 && root->profiles == NULL) {
        root->profiles = strata__alloc_lines(root->mem, strata__profiles_size(count), &root->profiles_block);
        if (root->profiles == NULL)
            return strata__fail(err, STRATA_ENOMEM, "adaptive",
                                "no memory to count the hits of %u keys in: free some, or lower adaptive_profiles",
                                count);
        strata__profiles_init(root->profiles, count);
    }
    handle->adaptive_most = enough * SPARE;
    return STRATA_OK;
}

void strata__adaptive_free(struct root *root)
{
    strata__free(root->mem, root->profiles_block);
    root->profiles_block = NULL;
    root->profiles = NULL;
}

void strata__adaptive_hit(strata *handle, uint64_t hash)
{
    strata__profile_hit(handle->root->profiles, hash, handle->adaptive_most);
}

static strata *handle_of_lines(const strata_lines *lines)
{
    return (strata *)(uintptr_t)((const char *)lines - offsetof(strata, lines));
}

static strata_value *counting_quick(const void *where, const void *key, size_t key_size, uint64_t hash,
                                    const strata_lines *lines, int64_t now_ms)
{
    strata *h = handle_of_lines(lines);
    strata_value *said = h->layer->ops->quick(where, key, key_size, hash, lines, now_ms);
    if ((uintptr_t)said > (uintptr_t)STRATA_NOT_HERE)
        strata__adaptive_hit(h, hash);
    return said;
}

static int counting_lookup(strata_layer *layer, strata_op *op)
{
    int rc = layer->ops->lookup(layer, op);
    if (rc == STRATA_OK && op->lines != NULL)
        strata__adaptive_hit(handle_of_lines(op->lines), op->hash);
    return rc;
}

void strata__adaptive_wire(strata *h)
{
    if (h->adaptive_most == 0)
        return;
    if (slot_instant(&h->root->layers[0])) {
        h->lookup = counting_lookup;
        h->quick = h->quick == h->layer->ops->quick ? counting_quick : h->quick;
        h->get = h->general->get; /* which asks that */
        h->load = h->general->load;
    }
    h->direct = h->direct_async = 0; /* those count nothing */
    h->quick_many = NULL;
}

void strata__adaptive_load(strata *handle, uint64_t hash, strata_policy *policy)
{
    if (handle->adaptive_most != 0 && policy->adaptive == STRATA_ON)
        policy->ttl_ms = strata__adaptive_ttl(policy, strata__profile_take(handle->root->profiles, hash));
}

int strata__call_policy_check(const strata *cache, const strata_policy *policy, strata_error *err)
{
    int rc = strata__policy_check(policy, err);
    if (rc != STRATA_OK || policy == NULL ||
        policy->size < offsetof(strata_policy, adaptive) + sizeof policy->adaptive || policy->adaptive != STRATA_ON ||
        cache->adaptive_most != 0)
        return rc;
    return strata__fail(err, STRATA_EINVAL, "adaptive",
                        "hits are counted for a cache or a namespace, not for a call: switch adaptive on in the policy "
                        "of one of those; a call may switch it off");
}
