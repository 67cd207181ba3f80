/* redis_scan.c - what walks over all keys under the prefix: clear and keys.
 *
 * Page by page with SCAN: the server is never kept busy for long, and what was there from beginning to end is surely seen,
 * perhaps twice.  A page is copied out of its reply, which lasts no longer than the link's callback. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/layer/redis/redis_words.h"

/* One request that is waited for. */
struct call {
    struct redis_request request; /* first */
    struct redis_layer *r;
    const char *command;
    int rc;
    strata_error *err;
    uint32_t node;      /* SCAN: whom to ask */
    char cursor[24];    /* SCAN: of the next page; "0": there is none */
    strata_slice *keys; /* SCAN: one block with their bytes, a free place before the first; strata__free() */
    size_t count;
};

static int fail_memory(const struct redis_layer *r, strata_error *err)
{
    return strata__fail(err, STRATA_ENOMEM, r->base.name,
                        "no memory for a page of keys: free some, or lower scan_count");
}

static int copy_keys(struct call *c, const struct redisReply *list)
{
    size_t count = strata__redis_count(list), bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += strata__redis_text(strata__redis_at(list, i)).size;
    c->keys = strata__alloc(c->r->mem, (count + 1) * sizeof *c->keys + bytes);
    if (c->keys == NULL)
        return fail_memory(c->r, c->err);
    char *at = (char *)(c->keys + count + 1);
    c->count = count;
    for (size_t i = 0; i < count; i++) {
        strata_slice key = strata__redis_text(strata__redis_at(list, i));
        if (key.size != 0)
            memcpy(at, key.data, key.size);
        c->keys[i + 1] = strata_bytes(at, key.size);
        at += key.size;
    }
    return STRATA_OK;
}

static int is_page(const struct redisReply *reply)
{
    if (strata__redis_kind(reply) != REDIS_IS_ARRAY || strata__redis_count(reply) != 2 ||
        strata__redis_kind(strata__redis_at(reply, 0)) != REDIS_IS_TEXT)
        return 0;
    const struct redisReply *list = strata__redis_at(reply, 1);
    if (strata__redis_kind(list) != REDIS_IS_ARRAY)
        return 0;
    for (size_t i = 0; i < strata__redis_count(list); i++)
        if (strata__redis_kind(strata__redis_at(list, i)) != REDIS_IS_TEXT)
            return 0;
    return strata__redis_text(strata__redis_at(reply, 0)).size < sizeof((struct call *)0)->cursor;
}

static void page_came(struct redis_request *request)
{
    struct call *c = (struct call *)(void *)request;
    c->rc = request->status;
    if (c->rc != STRATA_OK)
        return;
    if (!is_page(request->reply)) {
        c->rc = strata__redis_no_answer(c->r, c->command, request->reply, c->err);
        return;
    }
    strata_slice cursor = strata__redis_text(strata__redis_at(request->reply, 0));
    memcpy(c->cursor, cursor.data, cursor.size);
    c->cursor[cursor.size] = '\0';
    c->rc = copy_keys(c, strata__redis_at(request->reply, 1));
}

static void removal_came(struct redis_request *request)
{
    struct call *c = (struct call *)(void *)request;
    c->rc = request->status;
    if (c->rc == STRATA_OK && strata__redis_kind(request->reply) != REDIS_IS_INTEGER)
        c->rc = strata__redis_no_answer(c->r, c->command, request->reply, c->err);
}

static int run_call(struct call *c, const strata_slice *args, size_t count, void (*done)(struct redis_request *))
{
    memset(&c->request, 0, sizeof c->request);
    c->request.args = args;
    c->request.arg_count = count;
    c->request.timeout_ms = c->r->options.timeout_ms;
    c->request.done = done;
    c->request.node = c->node;
    c->rc = STRATA_EIO;
    strata__redis_call(c->r->link, &c->request);
    if (c->request.status != STRATA_OK && c->err != NULL)
        *c->err = c->request.err;
    return c->rc;
}

/* The next page: c->keys, until strata__free(). */
static int scan(struct call *c, strata_slice pattern)
{
    char number[16];
    int digits = snprintf(number, sizeof number, "%" PRIu32, c->r->options.scan_count);
    const strata_slice args[] = { strata_str("SCAN"),  strata_str(c->cursor),
                                  strata_str("MATCH"), pattern,
                                  strata_str("COUNT"), strata_bytes(number, (size_t)digits) };
    c->command = "SCAN";
    c->keys = NULL;
    c->count = 0;
    return run_call(c, args, sizeof args / sizeof args[0], page_came);
}

static int remove_page(struct call *c)
{
    c->command = c->r->options.use_del == STRATA_ON ? "DEL" : "UNLINK";
    if (c->count == 0)
        return STRATA_OK;
    if (!strata__redis_gathers(c->r->link))
        return strata__redis_spread_remove(c->r, c->command, c->keys + 1, c->count, c->err);
    c->keys[0] = strata_str(c->command);
    return run_call(c, c->keys, c->count + 1, removal_came);
}

/* options.prefix and what follows it, as a pattern. */
static char *make_pattern(struct redis_layer *r, strata_slice more, strata_slice *out)
{
    char *pattern = strata__alloc(r->mem, 2 * (r->prefix.size + more.size) + 1);
    if (pattern == NULL)
        return NULL;
    size_t used = strata__redis_glob_prefix(r->prefix, pattern) - 1; /* over its star */
    used += strata__redis_glob_prefix(more, pattern + used);
    *out = strata_bytes(pattern, used);
    return pattern;
}

static int clear_node(struct redis_layer *r, uint32_t node, strata_slice pattern, strata_error *err)
{
    struct call c = { .r = r, .err = err, .node = node, .cursor = "0" };
    int rc;
    do {
        rc = scan(&c, pattern);
        if (rc == STRATA_OK)
            rc = remove_page(&c);
        strata__free(r->mem, c.keys);
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

int strata__redis_layer_clear(strata_layer *layer, const strata_clear_op *what, strata_error *err)
{
    struct redis_layer *r = (struct redis_layer *)(void *)layer;
    strata_slice pattern;
    if (r->host == NULL)
        return STRATA_OK;
    if (what->all && r->prefix.size == 0 && r->options.allow_clear_all != STRATA_ON)
        return strata__fail(
            err, STRATA_EUNSUPPORTED, r->base.name,
            "without a prefix a clear would empty the whole database, other programs' keys too: set prefix, "
            "or allow_clear_all");
    strata__redis_ban(&r->bans, r->mem, what);
    /* A put on another connection that nobody waits for any more must not be carried out behind all this. */
    int rc = strata__redis_settle(r->link, r->options.timeout_ms, err);
    if (rc != STRATA_OK)
        return rc;
    char *bytes = make_pattern(r, what->all ? strata_bytes("", 0) : what->prefix, &pattern);
    if (bytes == NULL)
        return fail_memory(r, err);
    rc = clear_nodes(r, pattern, err);
    strata__free(r->mem, bytes);
    return rc;
}

struct listing {
    int (*each)(uint32_t space, strata_slice key, void *ctx);
    void *ctx;
    int stop;
};

static int list_node(struct redis_layer *r, uint32_t node, strata_slice pattern, struct listing *l, strata_error *err)
{
    struct call c = { .r = r, .err = err, .node = node, .cursor = "0" };
    int rc;
    do {
        rc = scan(&c, pattern);
        for (size_t i = 0; rc == STRATA_OK && i < c.count && !l->stop; i++)
            if (c.keys[i + 1].size >= r->prefix.size)
                l->stop = l->each(0,
                                  strata_bytes((const char *)c.keys[i + 1].data + r->prefix.size,
                                               c.keys[i + 1].size - r->prefix.size),
                                  l->ctx);
        strata__free(r->mem, c.keys);
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
    char *bytes = make_pattern(r, strata_bytes("", 0), &pattern);
    if (bytes == NULL)
        return fail_memory(r, err);
    int rc = strata__redis_nodes(r->link, r->options.timeout_ms, spread.nodes, REDIS_SPREAD_MOST, &spread.count, err);
    for (size_t i = 0; rc == STRATA_OK && i < spread.count && i < REDIS_SPREAD_MOST && !l.stop; i++)
        rc = list_node(r, spread.nodes[i], pattern, &l, err);
    strata__free(r->mem, bytes);
    return rc;
}
