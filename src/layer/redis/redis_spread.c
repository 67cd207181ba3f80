/* redis_spread.c - what a walk over all keys needs where they are spread over the nodes of a Cluster.
 *
 * Slots move while it walks.  Each node says with CLUSTER NODES which slots it has, and which of them it is just handing over or
 * taking ("[5-<-..."): the same before and after, and none of those, and no key has moved.
 *
 * A page of keys is spread over as many slots, and one command must not name keys of two; nor of one that is being moved, where
 * the server may know some of them and not the others (TRYAGAIN).  So each key has a command, and all travel at once. */
#include <string.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/layer/redis/redis_call.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/os/os_futex.h"

struct look {
    struct redis_request request; /* first */
    struct redis_layer *r;
    struct redis_spread *spread;
    strata_error *err;
    int rc;
};

static const char *find(const char *at, const char *end, const char *word)
{
    size_t size = strlen(word);
    for (; (size_t)(end - at) >= size; at++)
        if (memcmp(at, word, size) == 0)
            return at;
    return NULL;
}

/* The line of "myself": its last field but for the slots is "connected". */
static void came(struct redis_request *request)
{
    struct look *l = (struct look *)(void *)request;
    l->rc = request->status;
    if (l->rc != STRATA_OK)
        return;
    if (strata__redis_kind(request->reply) != REDIS_IS_TEXT) {
        l->rc = strata__redis_no_answer(l->r, "CLUSTER NODES", request->reply, l->err);
        return;
    }
    strata_slice text = strata__redis_text(request->reply);
    const char *end = (const char *)text.data + text.size, *line = find(text.data, end, "myself");
    const char *stop = line != NULL ? memchr(line, '\n', (size_t)(end - line)) : NULL;
    const char *slots = stop != NULL ? find(line, stop, " connected") : NULL;
    if (slots == NULL) {
        l->rc = strata__fail(l->err, STRATA_EIO, l->r->base.name,
                             "CLUSTER NODES was answered with what it is never answered with: is it a Redis server?");
        return;
    }
    l->spread->print = strata__hash(slots, (size_t)(stop - slots), l->spread->print);
    l->spread->moving = l->spread->moving || memchr(slots, '[', (size_t)(stop - slots)) != NULL;
}

static int look_at(struct redis_layer *r, struct redis_spread *out, uint32_t node, strata_error *err)
{
    const strata_slice words[] = { strata_str("CLUSTER"), strata_str("NODES") };
    struct look l = {
        .request = { .args = words, .arg_count = 2, .timeout_ms = r->options.timeout_ms, .done = came, .node = node },
        .r = r,
        .spread = out,
        .err = err
    };
    strata__redis_call(r->link, &l.request);
    if (l.request.status != STRATA_OK && err != NULL)
        *err = l.request.err;
    return l.rc;
}

int strata__redis_spread_look(struct redis_layer *r, struct redis_spread *out, strata_error *err)
{
    out->moving = 0;
    out->print = 0;
    int rc = strata__redis_nodes(r->link, r->options.timeout_ms, out->nodes, REDIS_SPREAD_MOST, &out->count, err);
    if (rc != STRATA_OK || strata__redis_gathers(r->link))
        return rc;
    if (out->count > REDIS_SPREAD_MOST)
        return strata__fail(err, STRATA_EUNSUPPORTED, r->base.name, "a Cluster of more than %d masters",
                            REDIS_SPREAD_MOST);
    for (size_t i = 0; rc == STRATA_OK && i < out->count; i++)
        rc = look_at(r, out, out->nodes[i], err);
    return rc;
}

/* Removing ---------------------------------------------------------------------------------------------------------- */

struct removal {
    struct redis_request request; /* first */
    strata_slice args[4 + SPREAD_WORDS];
    struct removals *all;
    int forgotten; /* the node does not know the script */
};

struct removals {
    struct redis_layer *r;
    const char *command;
    const strata_slice *words; /* of the script, behind the key */
    size_t word_count;         /* 0: the plain command */
    strata_error *err;
    _Atomic(uint64_t) number;
    _Atomic(size_t) left;
    _Atomic(uint32_t) word, failed; /* who sets `failed` writes rc and *err */
    int rc;
    struct redis_request **list;
    struct removal each[];
};

static int is_forgotten(const struct redisReply *reply)
{
    static const char word[] = "NOSCRIPT";
    if (strata__redis_kind(reply) != REDIS_IS_ERROR)
        return 0;
    strata_slice text = strata__redis_text(reply);
    return text.size >= sizeof word - 1 && memcmp(text.data, word, sizeof word - 1) == 0;
}

static void removed(struct redis_request *request)
{
    struct removal *one = (struct removal *)(void *)request;
    struct removals *all = one->all;
    struct redis_told told = { 0 };
    int good = request->status == STRATA_OK && (strata__redis_kind(request->reply) == REDIS_IS_INTEGER ||
                                                strata__redis_told_read(request->reply, &told));
    if (good)
        atomic_fetch_add(&all->number, told.version);
    if (!good && !one->forgotten && request->status == STRATA_OK && is_forgotten(request->reply)) {
        one->forgotten = 1;
    } else {
        one->forgotten = 0;
        if (!good && atomic_exchange(&all->failed, 1) == 0) {
            all->rc = request->status;
            if (all->rc == STRATA_OK)
                all->rc = strata__redis_no_answer(all->r, all->command, request->reply, all->err);
            else if (all->err != NULL)
                *all->err = request->err;
        }
    }
    if (atomic_fetch_sub(&all->left, 1) == 1)
        strata__os_unpark(&all->word);
}

/* What makes one key go: the script, or the plain command. */
static void say(struct removal *one, strata_slice key)
{
    const struct removals *all = one->all;
    const strata_slice script[] = { strata_str("EVALSHA"), strata_bytes(all->r->sha, REDIS_SHA - 1), strata_str("1"),
                                    key };
    const strata_slice plain[] = { strata_str(all->command), key };
    const int scripts = all->word_count != 0;
    memcpy(one->args, scripts ? script : plain, scripts ? sizeof script : sizeof plain);
    if (scripts)
        memcpy(one->args + 4, all->words, all->word_count * sizeof *all->words);
    one->request.args = one->args;
    one->request.arg_count = scripts ? 4 + all->word_count : 2;
    one->request.key_at = scripts ? 3 : 1;
}

static void send_and_wait(struct removals *all, size_t count)
{
    atomic_init(&all->left, count);
    atomic_init(&all->word, 0);
    strata__redis_submit(all->r->link, all->list, count);
    (void)strata__os_park(&all->word, INT64_MAX);
}

/* After a SCRIPT FLUSH, with the text. */
static void send_forgotten(struct removals *all, size_t count)
{
    size_t again = 0;
    for (size_t i = 0; i < count; i++) {
        struct removal *one = &all->each[i];
        if (!one->forgotten)
            continue;
        one->args[0] = strata_str("EVAL");
        one->args[1] = strata__redis_script();
        all->list[again++] = &one->request;
    }
    if (again != 0)
        send_and_wait(all, again);
}

int strata__redis_spread_remove(struct redis_layer *r, const char *command, const strata_slice *words,
                                size_t word_count, const strata_slice *keys, size_t count, uint64_t *out_number,
                                strata_error *err)
{
    struct removals *all = strata__alloc(r->mem, sizeof *all + count * (sizeof all->each[0] + sizeof all->list[0]));
    if (all == NULL)
        return strata__fail(err, STRATA_ENOMEM, r->base.name,
                            "no memory for a page of keys: free some, or lower scan_count");
    memset(all, 0, sizeof *all);
    all->r = r;
    all->command = command;
    all->words = words;
    all->word_count = word_count;
    all->err = err;
    all->list = (struct redis_request **)(void *)(all->each + count);
    for (size_t i = 0; i < count; i++) {
        struct removal *one = &all->each[i];
        size_t prefix = r->prefix.size < keys[i].size ? r->prefix.size : keys[i].size;
        *one = (struct removal){ .all = all };
        say(one, keys[i]);
        one->request.affinity = strata__hash((const char *)keys[i].data + prefix, keys[i].size - prefix, 0);
        one->request.timeout_ms = r->options.timeout_ms;
        one->request.done = removed;
        all->list[i] = &one->request;
    }
    send_and_wait(all, count);
    send_forgotten(all, count);
    int rc = all->rc;
    if (out_number != NULL)
        *out_number = atomic_load(&all->number);
    strata__free(r->mem, all);
    return rc;
}
