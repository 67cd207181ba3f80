/* coherence_follow.c - a bus that is told of those keys alone that this cache has read in its store (STRATA_BUS_FOLLOWS).
 *
 * The bus has the shared layer's connections followed, through here: neither knows the other.  What is held without having been read in the
 * store (a value that was loaded or set here, or that a message brought) nobody would tell of.  So it is read there once it is held,
 * as what was changed is (coherence_echo.c): from then on the store tells, and what somebody has written in between is seen at once. */
#include "src/base/err.h"
#include "src/core/coherence_impl.h"

/* Of two stores one would be read, and the other tell of its keys: what comes from the nearer one was not read in the other. */
static int is_one_store(const struct root *root)
{
    int stores = 0;
    for (size_t i = 0; i < root->layer_count; i++)
        stores += (root->layers[i].flags & STRATA_LAYER_SHARED) != 0;
    return stores < 2;
}

static int can_follow(const strata_layer *layer)
{
    const strata_layer_ops *ops = layer->ops;
    return ops->size >= offsetof(strata_layer_ops, follow) + sizeof ops->follow && ops->follow != NULL;
}

static strata_layer *follower_of(struct root *root)
{
    struct layer_slot *store = strata__store_of(root);
    return store != NULL && can_follow(store->layer) ? store->layer : NULL;
}

static void followed(strata_follow *how, int status, const strata_error *why)
{
    struct bus_slot *b = how->owner;
    struct root *root = b->c->root;
    strata_follow *asked = b->asked_follow;
    asked->done(asked, status, why); /* it may ask again */
    root_leave(root);
}

/* Of keys that it is told of whoever reads them: are they those of a store of this cache?  Another kind of store says nothing of that. */
static int ask_all(const struct root *root, strata_follow *how, strata_error *err)
{
    int rc = STRATA_OK;
    for (size_t i = 0; i < root->layer_count; i++) {
        strata_layer *layer = root->layers[i].layer;
        if (!(root->layers[i].flags & STRATA_LAYER_SHARED) || !can_follow(layer))
            continue;
        rc = layer->ops->follow(layer, how, err);
        if (rc >= 0)
            return rc;
    }
    return rc;
}

/* The root is held until it is done: a bus is closed only then. */
int strata__bus_follow(struct bus_slot *b, strata_follow *how, strata_error *err)
{
    struct root *root = b->c->root;
    strata_layer *layer = follower_of(root);
    if (how->all)
        return ask_all(root, how, err);
    if (layer == NULL)
        return strata__fail(err, STRATA_EUNSUPPORTED, b->bus->name,
                            "it is told of what is read in a store, and no shared layer of this cache has one that "
                            "remembers: put a Redis layer into the stack, or leave per_key out");
    if (!is_one_store(root))
        return strata__fail(err, STRATA_EUNSUPPORTED, b->bus->name,
                            "it is told of what is read in one store, and this cache has several shared layers: leave "
                            "per_key out");
    if (how->server.size == 0)
        return layer->ops->follow(layer, how, err);
    b->asked_follow = how;
    b->follow = *how;
    b->follow.done = followed;
    b->follow.owner = b;
    root_hold(root);
    int rc = layer->ops->follow(layer, &b->follow, err);
    if (rc < 0)
        root_leave(root);
    return rc;
}

void strata__read_back(struct root *root, strata_slice storage)
{
    struct coherence *c = root->coherence;
    for (size_t i = 0; i < c->count; i++)
        if (c->buses[i].flags & STRATA_BUS_FOLLOWS)
            strata__say_key(&c->buses[i], storage);
}
