/* redis_scan.c - what walks over all keys under the prefix: clear and keys.
 *
 * A tombstone and a lease around nothing are no keys, and a clear leaves tombstones alone; a lease it takes away, whose load
 * began before it.  The life's key neither sees.
 *
 * Page by page (redis_page.h). */
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/redis/redis_call.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/layer/redis/redis_page.h"
#include "src/layer/redis/redis_words.h"
#include "src/os/os_futex.h"

static void removal_came(struct redis_request *request)
{
    struct redis_page *c = (struct redis_page *)(void *)request;
    c->rc = request->status;
    if (c->rc == STRATA_OK && strata__redis_kind(request->reply) != REDIS_IS_INTEGER)
        c->rc = strata__redis_no_answer(c->r, c->command, request->reply, c->err);
}

static int remove_page(struct redis_page *c)
{
    struct redis_layer *r = c->r;
    const char *command = r->options.use_del == STRATA_ON ? "DEL" : "UNLINK";
    const strata_slice words[] = { strata_str("clear"), strata_str(""), strata_str(command), r->channel };
    const size_t count = sizeof words / sizeof words[0];
    const int scripts = atomic_load(&r->life.scripts) == SCRIPTS_ON;
    c->command = command;
    if (c->count == 0)
        return STRATA_OK;
    if (!strata__redis_gathers(r->link))
        return strata__redis_spread_remove(r, command, words, scripts ? count : 0, c->keys, c->count, NULL, c->err);
    if (scripts)
        return strata__redis_page_script(c, 0, words, count);
    c->keys[-1] = strata_str(command);
    return strata__redis_page_call(c, c->keys - 1, c->count + 1, removal_came);
}

/* Which of them are entries ---------------------------------------------------------------------------------------- */

struct look {
    struct redis_request request; /* first */
    struct looks *all;
    strata_slice args[4];
    int status, nothing;
};

struct looks {
    _Atomic(size_t) left;
    _Atomic(uint32_t) over;
};

static void looked(struct redis_request *request)
{
    struct look *look = (struct look *)(void *)request;
    struct looks *all = look->all;
    look->status = request->status;
    if (look->status == STRATA_OK && strata__redis_kind(request->reply) == REDIS_IS_TEXT) {
        strata_slice text = strata__redis_text(request->reply);
        const unsigned char *at = text.data;
        look->nothing = text.size >= 2 && at[1] == 1 &&
                        ((at[0] == REDIS_IS_LEASE && text.size <= REDIS_LEASE_HEAD) || at[0] == REDIS_IS_TOMBSTONE);
    }
    if (atomic_fetch_sub(&all->left, 1) == 1)
        strata__os_unpark(&all->over);
}

static int answer_looks(struct redis_page *c, struct look *looks)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (looks[i].status != STRATA_OK) {
            if (c->err != NULL)
                *c->err = looks[i].request.err;
            return looks[i].status;
        }
        if (!looks[i].nothing)
            c->keys[kept++] = c->keys[i];
    }
    c->count = kept;
    return STRATA_OK;
}

/* Leaves entries, and what is not ours, in the page. */
static int keep_entries(struct redis_page *c)
{
    struct looks all;
    if (c->count == 0)
        return STRATA_OK;
    struct look *looks = strata__alloc_array(c->r->mem, c->count, sizeof *looks);
    struct redis_request **list = strata__alloc_array(c->r->mem, c->count, sizeof *list);
    int rc = STRATA_OK;
    if (looks == NULL || list == NULL)
        rc = strata__redis_page_memory(c->r, c->err);
    atomic_init(&all.left, c->count);
    atomic_init(&all.over, 0);
    for (size_t i = 0; rc == STRATA_OK && i < c->count; i++) {
        struct look *look = &looks[i];
        look->all = &all;
        look->args[0] = strata_str("GETRANGE");
        look->args[1] = c->keys[i];
        look->args[2] = strata_str("0");
        look->args[3] = strata_str("43"); /* a byte more than a lease around nothing has */
        look->request = (struct redis_request){
            .args = look->args, .arg_count = 4, .key_at = 1, .timeout_ms = c->r->options.timeout_ms, .done = looked
        };
        list[i] = &look->request;
    }
    if (rc == STRATA_OK) {
        strata__redis_submit(c->r->link, list, c->count);
        (void)strata__os_park(&all.over, INT64_MAX);
        rc = answer_looks(c, looks);
    }
    strata__free(c->r->mem, looks);
    strata__free(c->r->mem, list);
    return rc;
}

char *strata__redis_scan_pattern(struct redis_layer *r, strata_slice first, strata_slice then, strata_slice *out)
{
    char *pattern = strata__alloc(r->mem, 2 * (r->prefix.size + first.size + then.size) + 2);
    if (pattern == NULL)
        return NULL;
    size_t used = strata__redis_glob_prefix(r->prefix, pattern) - 1; /* over its star */
    used += strata__redis_glob_prefix(first, pattern + used);
    if (then.size != 0)
        used += strata__redis_glob_prefix(then, pattern + used);
    *out = strata_bytes(pattern, used);
    return pattern;
}

static int clear_node(struct redis_layer *r, uint32_t node, strata_slice pattern, strata_error *err)
{
    struct redis_page c = { .r = r, .err = err, .node = node, .cursor = "0" };
    int rc;
    do {
        rc = strata__redis_page_scan(&c, pattern, r->options.scan_count);
        if (rc == STRATA_OK)
            rc = remove_page(&c);
        strata__free(r->mem, c.page);
    } while (rc == STRATA_OK && strcmp(c.cursor, "0") != 0);
    return rc;
}

/* A key that another node hands over while this walks may be missed: it was not there yet, and is not there any more.  A second
 * walk finds it where it is now. */
static int clear_nodes(struct redis_layer *r, strata_slice pattern, strata_error *err)
{
    struct redis_spread before, after;
    int rc = strata__redis_spread_look(r, &before, err);
    for (int walk = 0; rc == STRATA_OK && walk < 2; walk++) {
        for (size_t i = 0; rc == STRATA_OK && i < before.count; i++)
            rc = clear_node(r, before.nodes[i], pattern, err);
        if (rc == STRATA_OK)
            rc = strata__redis_spread_look(r, &after, err);
        if (rc != STRATA_OK || (!before.moving && !after.moving && before.print == after.print))
            return rc;
        before = after;
    }
    return rc;
}

static void time_came(struct redis_request *request)
{
    struct redis_page *c = (struct redis_page *)(void *)request;
    int64_t us = 0;
    c->rc = request->status;
    if (c->rc != STRATA_OK)
        return;
    c->rc = strata__redis_time(request->reply, &us) ? STRATA_OK
                                                    : strata__redis_no_answer(c->r, "TIME", request->reply, c->err);
    if (c->rc == STRATA_OK && (uint64_t)us > atomic_load(&c->r->void_version)) /* a Cluster's nodes have clocks */
        atomic_store(&c->r->void_version, (uint64_t)us);
}

/* Nothing may be removed; but what stands there is not for this cache any more: what was stored up to now. */
static void leave_all(struct redis_layer *r, uint32_t position)
{
    strata_error err = STRATA_ERROR_INIT;
    struct redis_page c = { .r = r, .err = &err };
    struct redis_spread spread;
    const strata_slice word = strata_str("TIME");
    int rc = strata__redis_nodes(r->link, r->options.timeout_ms, spread.nodes, REDIS_SPREAD_MOST, &spread.count, &err);
    for (size_t i = 0; rc == STRATA_OK && i < spread.count && i < REDIS_SPREAD_MOST; i++) {
        c.node = spread.nodes[i];
        rc = strata__redis_page_call(&c, &word, 1, time_came);
    }
    if (rc == STRATA_OK)
        strata__redis_bans_raise(&r->bans, position);
}

static int sweep(struct redis_layer *r, const strata_clear_op *what, strata_error *err)
{
    strata_slice pattern;
    /* A put on another connection that nobody waits for any more must not be carried out behind all this. */
    int rc = strata__redis_settle(r->link, r->options.timeout_ms, err);
    if (rc != STRATA_OK)
        return rc;
    char *bytes = strata__redis_scan_pattern(r, what->all ? strata_bytes("", 0) : what->prefix, strata_bytes("", 0),
                                             &pattern);
    if (bytes == NULL)
        return strata__redis_page_memory(r, err);
    rc = clear_nodes(r, pattern, err);
    strata__free(r->mem, bytes);
    return rc;
}

int strata__redis_layer_clear(strata_layer *layer, const strata_clear_op *what, strata_error *err)
{
    struct redis_layer *r = (struct redis_layer *)(void *)layer;
    if (r->host == NULL)
        return STRATA_OK;
    if (what->all && r->prefix.size == 0 && r->options.allow_clear_all != STRATA_ON) {
        leave_all(r, what->position);
        return strata__fail(
            err, STRATA_EUNSUPPORTED, r->base.name,
            "without a prefix a clear would empty the whole database, other programs' keys too: set prefix, "
            "or allow_clear_all");
    }
    strata__redis_ban(&r->bans, r->mem, what);
    int rc = sweep(r, what, err);
    strata__redis_bans_swept(&r->bans, what->position);
    return rc;
}

struct listing {
    int (*each)(uint32_t space, strata_slice key, void *ctx);
    void *ctx;
    int stop;
};

static int list_node(struct redis_layer *r, uint32_t node, strata_slice pattern, struct listing *l, strata_error *err)
{
    struct redis_page c = { .r = r, .err = err, .node = node, .cursor = "0" };
    int rc;
    do {
        rc = strata__redis_page_scan(&c, pattern, r->options.scan_count);
        if (rc == STRATA_OK)
            rc = keep_entries(&c);
        for (size_t i = 0; rc == STRATA_OK && i < c.count && !l->stop; i++)
            if (c.keys[i].size >= r->prefix.size)
                l->stop = l->each(
                    0, strata_bytes((const char *)c.keys[i].data + r->prefix.size, c.keys[i].size - r->prefix.size),
                    l->ctx);
        strata__free(r->mem, c.page);
    } while (rc == STRATA_OK && !l->stop && strcmp(c.cursor, "0") != 0);
    return rc;
}

int strata__redis_layer_keys(strata_layer *layer, int (*each)(uint32_t space, strata_slice key, void *ctx), void *ctx,
                             strata_error *err)
{
    struct redis_layer *r = (struct redis_layer *)(void *)layer;
    struct listing l = { .each = each, .ctx = ctx };
    struct redis_spread spread;
    strata_slice pattern;
    if (r->host == NULL)
        return STRATA_OK;
    char *bytes = strata__redis_scan_pattern(r, strata_bytes("", 0), strata_bytes("", 0), &pattern);
    if (bytes == NULL)
        return strata__redis_page_memory(r, err);
    int rc = strata__redis_nodes(r->link, r->options.timeout_ms, spread.nodes, REDIS_SPREAD_MOST, &spread.count, err);
    for (size_t i = 0; rc == STRATA_OK && i < spread.count && i < REDIS_SPREAD_MOST && !l.stop; i++)
        rc = list_node(r, spread.nodes[i], pattern, &l, err);
    strata__free(r->mem, bytes);
    return rc;
}
