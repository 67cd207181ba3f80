/* namespace.c - handles: the root and its namespaces, a tree of names.
 *
 * A namespace, once made, stays in the tree until the cache is closed: its number is part of its keys' identity, and its
 * first options hold.  What users hold are counted references to that one object.
 *
 * Storage keys, for layers that don't know spaces, must differ for different (namespace, key):
 *
 *   root, key not beginning with 0x00    the key itself
 *   all others                           0x00 path 0x00 key
 *   path                                 for each name from the root: its size in one byte, its bytes; the root's is empty
 *
 * No name is empty, so the second 0x00 ends the path.  Without it, the prefix of a namespace is that of all below it, and of
 * nothing else: what clear() hands to a layer, which may hold namespaces that this process has not opened. */
#include <stdio.h>
#include <string.h>

#include "src/core/adaptive.h"
#include "src/core/bans.h"
#include "src/core/behind.h"
#include "src/core/generation.h"
#include "src/policy/options.h"

size_t strata__storage_size(const strata *handle, strata_slice key)
{
    if (handle->parent != NULL)
        return handle->prefix_size + key.size;
    return key.size + (*(const unsigned char *)key.data == 0 ? 2 : 0);
}

void strata__storage_write(const strata *handle, strata_slice key, unsigned char *out)
{
    if (handle->parent != NULL) {
        memcpy(out, handle->prefix, handle->prefix_size);
        out += handle->prefix_size;
    } else if (*(const unsigned char *)key.data == 0) {
        *out++ = 0;
        *out++ = 0;
    }
    memcpy(out, key.data, key.size);
}

int strata__forms_make_in(unsigned char room[KEY_ROOM], strata *cache, strata_slice key, struct key_forms *forms,
                          unsigned char **storage)
{
    *forms = (struct key_forms){ .plain = key, .hash = handle_hash(cache, key) };
    *storage = NULL;
    if (cache->root->plain_keys)
        return STRATA_OK;
    size_t size = strata__storage_size(cache, key);
    unsigned char *bytes = room;
    if (room == NULL || size > KEY_ROOM) {
        bytes = *storage = strata__alloc(cache->root->mem, size);
        if (bytes == NULL)
            return STRATA_ENOMEM;
    }
    strata__storage_write(cache, key, bytes);
    forms->storage = strata_bytes(bytes, size);
    return STRATA_OK;
}

int strata__forms_make(strata *cache, strata_slice key, struct key_forms *forms, unsigned char **storage)
{
    return strata__forms_make_in(NULL, cache, key, forms, storage);
}

static int build_prefix(struct root *root, strata *h)
{
    size_t name_size = strlen(h->name);
    size_t above = h->parent->parent != NULL ? h->parent->prefix_size - 1 : 1;
    h->prefix = strata__alloc(root->mem, above + 1 + name_size + 1);
    if (h->prefix == NULL)
        return STRATA_ENOMEM;
    h->prefix_size = above + 1 + name_size + 1;
    unsigned char *at = h->prefix;
    if (h->parent->parent != NULL)
        memcpy(at, h->parent->prefix, above);
    else
        *at = 0;
    at += above;
    *at++ = (unsigned char)name_size;
    memcpy(at, h->name, name_size);
    at[name_size] = 0;
    return STRATA_OK;
}

/* Names hang in chains by parent and name.  `mask` is one less than the number of chains, a power of two. */
static strata **chain(strata **names, uint32_t mask, const strata *parent, const char *name)
{
    return &names[(uint32_t)strata__hash(name, strlen(name), parent->secret.seed) & mask];
}

static int room_for_one(struct root *root)
{
    if (root->space_count < root->space_room)
        return STRATA_OK;
    uint32_t room = root->space_room != 0 ? root->space_room * 2 : 8;
    strata **names = strata__alloc_array(root->mem, room, sizeof *names);
    strata **more = names != NULL ? strata__realloc_array(root->mem, root->spaces, room, sizeof *more) : NULL;
    if (more == NULL) {
        strata__free(root->mem, names);
        return STRATA_ENOMEM;
    }
    for (uint32_t i = 1; i < root->space_count; i++) {
        strata **at = chain(names, room - 1, more[i]->parent, more[i]->name);
        more[i]->next_name = *at;
        *at = more[i];
    }
    strata__free(root->mem, root->names);
    root->names = names;
    root->spaces = more;
    root->space_room = room;
    return STRATA_OK;
}

/* A namespace that is held keeps the cache's handle, so that closing that again is no error. */
static void free_handle(strata *h)
{
    struct root *root = h->root;
    strata__generation_free(h);
    strata__free(root->mem, h->prefix);
    strata__free(root->mem, atomic_load(&h->load_latency));
    int has_parent = h->parent != NULL;
    strata__free(root->mem, h->block);
    if (has_parent)
        strata__handle_unref(root->handle);
    strata__root_unref(root);
}

void strata__handle_unref(strata *h)
{
    if (atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) == 1)
        free_handle(h);
}

static void fill_handle(struct root *root, strata *h, strata *parent, const strata_namespace_options *options)
{
    h->root = root;
    h->parent = parent;
    atomic_init(&h->refs, 2); /* the caller's and the tree's */
    h->space = root->space_count;
    h->secret = strata__key_secret(root->seed, h->space);
    h->max_key = root->options.max_key_bytes;
    atomic_init(&h->gate, GATE_SHUT);
    atomic_init(&h->min_position, parent != NULL ? atomic_load(&parent->min_position) : 0);
    atomic_init(&h->min_shared, parent != NULL ? atomic_load(&parent->min_shared) : 0);
    atomic_init(&h->cleared_wall_ms, parent != NULL ? atomic_load(&parent->cleared_wall_ms) : 0);
    h->path_hash = strata__path_hash(strata_bytes(NULL, 0));
    h->lines = (strata_lines){ .space = h->space,
                               .plain = atomic_load(&root->position),
                               .tagged = atomic_load(&root->position),
                               .tag_mask = TAG_FOLDS - 1,
                               .tag_lines = root->bans->lines };
    trust_set_locked(h);
    list_init(&h->children);
    strata__policy_resolve(&h->policy, options->policy, parent != NULL ? &parent->policy : NULL);
    if (options->policy != NULL)
        memcpy(&h->own_policy, options->policy,
               options->policy->size < sizeof h->own_policy ? options->policy->size : sizeof h->own_policy);
    h->own_policy.size = sizeof h->own_policy;
    h->own_loader = options->loader;
    h->own_bulk_loader = options->bulk_loader;
    h->own_loader_ctx = options->loader_ctx;
    h->own_get_loads = options->get_loads;
    int inherits = options->loader == NULL && options->bulk_loader == NULL && parent != NULL;
    h->loader = inherits ? parent->loader : options->loader;
    h->bulk_loader = inherits ? parent->bulk_loader : options->bulk_loader;
    h->loader_ctx = inherits ? parent->loader_ctx : options->loader_ctx;
    h->get_loads = options->get_loads != 0 ? options->get_loads == STRATA_ON : parent != NULL && parent->get_loads;
}

static int tell_layers(struct root *root, const strata_share *share, strata_error *err)
{
    uint32_t told = 0;
    for (size_t i = 0; i < root->layer_count; i++) {
        strata_layer *layer = root->layers[i].layer;
        if (layer->ops->share == NULL)
            continue;
        int rc = layer->ops->share(layer, share, err);
        if (rc == STRATA_OK) {
            told++;
            continue;
        }
        const strata_share none = { .size = sizeof none, .space = share->space };
        while (i-- > 0)
            if (root->layers[i].layer->ops->share != NULL)
                (void)root->layers[i].layer->ops->share(root->layers[i].layer, &none, NULL);
        return rc;
    }
    if (told == 0)
        return strata__fail(err, STRATA_EUNSUPPORTED, "memory_share_percent",
                            "no layer of this stack can keep a share for a namespace: a memory layer can; leave "
                            "memory_share_percent and memory_share_bytes out");
    return STRATA_OK;
}

/* Its share of memory, or the one above that it is in.  The last that can fail: its number may be another's otherwise. */
static int take_share(strata *h, const strata_namespace_options *options, strata_error *err)
{
    h->own_share_percent = options->memory_share_percent;
    h->own_share_bytes = options->memory_share_bytes;
    int own = options->memory_share_percent > 0 || options->memory_share_bytes != 0;
    h->share_space = own ? h->space : h->parent != NULL ? h->parent->share_space : 0;
    if (h->share_space == 0)
        return STRATA_OK;
    const strata_share share = { .size = sizeof share,
                                 .space = h->space,
                                 .of = h->share_space,
                                 .bytes = options->memory_share_bytes,
                                 .percent = (uint32_t)options->memory_share_percent };
    int rc = tell_layers(h->root, &share, err);
    if (rc != STRATA_OK)
        strata__generation_free(h);
    return rc;
}

int strata__handle_new_locked(struct root *root, strata *parent, const char *name,
                              const strata_namespace_options *options, strata **out, strata_error *err)
{
    void *block;
    if (root->space_count > SPACES_MAX)
        return strata__fail(err, STRATA_EBUSY, "namespace",
                            "there are %d namespaces already, the most a cache can have", (int)SPACES_MAX);
    strata *h = strata__alloc_lines(root->mem, sizeof *h, &block);
    if (h == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, "namespace");
    h->block = block;
    if (room_for_one(root) != STRATA_OK) {
        strata__free(root->mem, block);
        return strata__fail_plain(err, STRATA_ENOMEM, "namespace");
    }
    fill_handle(root, h, parent, options);
    snprintf(h->name, sizeof h->name, "%s", name);
    int rc = parent == NULL || build_prefix(root, h) == STRATA_OK ? strata__adaptive_open_locked(h, err)
                                                                  : strata__fail_plain(err, STRATA_ENOMEM, "namespace");
    if (rc == STRATA_OK)
        rc = strata__generation_give_locked(h, options->generation, err);
    if (rc == STRATA_OK)
        rc = take_share(h, options, err);
    if (rc != STRATA_OK) {
        strata__free(root->mem, h->prefix);
        strata__free(root->mem, block);
        return rc;
    }
    if (parent != NULL) {
        h->path_hash = strata__path_hash(ban_path(h));
        atomic_fetch_add_explicit(&root->handle->refs, 1, memory_order_relaxed);
        list_push_back(&parent->children, &h->sibling);
        strata **at = chain(root->names, root->space_room - 1, parent, name);
        h->next_name = *at;
        *at = h;
    }
    strata__root_ref(root);
    root->spaces[root->space_count++] = h;
    strata__handle_rewire_locked(h);
    strata__gate_set_locked(h);
    *out = h;
    return STRATA_OK;
}

static strata *find_child_locked(strata *parent, const char *name)
{
    struct root *root = parent->root;
    strata *h = *chain(root->names, root->space_room - 1, parent, name);
    while (h != NULL && (h->parent != parent || strcmp(h->name, name) != 0))
        h = h->next_name;
    return h;
}

strata *strata__handle_of_storage_locked(struct root *root, strata_slice key, strata_slice *plain)
{
    const unsigned char *p = key.data;
    size_t at = 1;
    strata *h = root->handle;
    char name[256];
    *plain = key;
    if (key.size == 0 || p[0] != 0)
        return h;
    while (h != NULL && at < key.size && p[at] != 0) {
        size_t size = p[at];
        if (size > key.size - at - 1 || memchr(p + at + 1, 0, size) != NULL)
            return NULL;
        memcpy(name, p + at + 1, size);
        name[size] = 0;
        h = root->space_count > 1 ? find_child_locked(h, name) : NULL;
        at += 1 + size;
    }
    if (at >= key.size)
        return NULL;
    *plain = strata_bytes(p + at + 1, key.size - at - 1);
    return h;
}

strata *strata__handle_of_storage(struct root *root, strata_slice key, strata_slice *plain)
{
    *plain = key;
    if (key.size != 0 && *(const unsigned char *)key.data != 0)
        return root->handle;
    key_mutex_lock(&root->tree_lock);
    strata *h = strata__handle_of_storage_locked(root, key, plain);
    key_mutex_unlock(&root->tree_lock);
    return h != NULL && plain->size != 0 ? h : NULL;
}

static int same_options(const strata *h, const strata_namespace_options *options)
{
    strata_policy given = { 0 };
    if (options->policy != NULL)
        memcpy(&given, options->policy, options->policy->size < sizeof given ? options->policy->size : sizeof given);
    given.size = sizeof given;
    return memcmp(&given, &h->own_policy, sizeof given) == 0 && options->loader == h->own_loader &&
           options->bulk_loader == h->own_bulk_loader && options->loader_ctx == h->own_loader_ctx &&
           options->get_loads == h->own_get_loads && options->memory_share_percent == h->own_share_percent &&
           options->memory_share_bytes == h->own_share_bytes && strata__generation_is(h, options->generation);
}

/* A get that loads needs something to load with. */
static int check_loader(const strata *parent, const strata_namespace_options *options, strata_error *err)
{
    if (options->get_loads != STRATA_ON || options->loader != NULL || options->bulk_loader != NULL ||
        namespace_has_loader(parent))
        return STRATA_OK;
    return strata__fail(err, STRATA_EINVAL, "get_loads",
                        "get_loads is on, and there is no loader here nor above: set loader or bulk_loader");
}

static int open_namespace(strata *parent, const char *name, const strata_namespace_options *given,
                          const strata_namespace_options *options, strata **out, strata_error *err)
{
    struct root *root = parent->root;
    int rc = STRATA_OK;
    key_mutex_lock(&root->tree_lock);
    strata *h = find_child_locked(parent, name);
    if (h != NULL && given != NULL && !same_options(h, options)) {
        rc = strata__fail(err, STRATA_EEXIST, "namespace",
                          "namespace \"%s\" exists with other options: give NULL to open "
                          "it as it is",
                          name);
    } else if (h != NULL) {
        atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
        *out = h;
    } else {
        rc = strata__handle_new_locked(root, parent, name, options, out, err);
    }
    key_mutex_unlock(&root->tree_lock);
    return rc;
}

static int check_behind(strata *parent, const strata_policy *given, strata_error *err)
{
    strata_policy resolved;
    strata__policy_resolve(&resolved, given, &parent->policy);
    return strata__behind_check(parent->root, &resolved, err);
}

int strata_namespace(strata *parent, const char *name, const strata_namespace_options *options, strata **out,
                     strata_error *err)
{
    if (out != NULL)
        *out = NULL;
    if (parent == NULL || name == NULL || out == NULL)
        return strata__no_argument(err, "strata_namespace() needs a parent, a name and where to put the result");
    strata_namespace_options known = STRATA_NAMESPACE_OPTIONS_INIT;
    if (options != NULL) {
        int rc = strata__options_check(&strata__namespace_option_rows, options, options->size, &known, sizeof known,
                                       err);
        if (rc != STRATA_OK)
            return rc;
    }
    size_t size = strlen(name);
    if (size == 0 || size > 255)
        return strata__fail(err, STRATA_EINVAL, "name", "a namespace's name has 1 to 255 bytes, this one %zu", size);
    int rc = strata__policy_check(known.policy, err);
    if (rc == STRATA_OK)
        rc = check_behind(parent, known.policy, err);
    if (rc == STRATA_OK)
        rc = check_loader(parent, &known, err);
    if (rc == STRATA_OK)
        rc = root_enter(parent->root, err);
    if (rc != STRATA_OK)
        return rc;
    rc = open_namespace(parent, name, options, &known, out, err);
    root_leave(parent->root);
    return rc;
}

void strata__gate_set_locked(strata *handle)
{
    struct root *root = handle->root;
    int shut = atomic_load(&root->state) != ROOT_OPEN || event_wanted(root, STRATA_EVENT_HIT | STRATA_EVENT_MISS);
    atomic_store(&handle->gate, shut ? GATE_SHUT : atomic_load_explicit(&root->forked, memory_order_relaxed));
}

void strata__gates_set_locked(struct root *root)
{
    for (uint32_t i = 0; i < root->space_count; i++)
        strata__gate_set_locked(root->spaces[i]);
}
