/* redis_scan.c - what walks over all keys under the prefix: clear and keys.
 *
 * A tombstone and a lease around nothing are no keys, and a clear leaves tombstones alone; a lease it takes away, whose load
 * began before it.  The life's key neither sees.
 *
 * Page by page with SCAN: the server is never kept busy for long, and what was there from beginning to end is surely seen,
 * perhaps twice.  A page is copied out of its reply, which lasts no longer than the link's callback. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/redis/redis_call.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/layer/redis/redis_words.h"
#include "src/os/os_futex.h"

enum { PLACES_BEFORE = 3, PLACES_BEHIND = 4 }; /* for the words of a script */

/* One request that is waited for. */
struct call {
    struct redis_request request; /* first */
    struct redis_layer *r;
    const char *command;
    int rc;
    strata_error *err;
    uint32_t node;      /* SCAN: whom to ask */
    char cursor[24];    /* SCAN: of the next page; "0": there is none */
    strata_slice *page; /* SCAN: one block with keys and their bytes, free places around the keys; strata__free() */
    strata_slice *keys; /* in it */
    size_t count;
    int forgotten; /* the server does not know the script */
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
    c->page = strata__alloc(c->r->mem, (PLACES_BEFORE + count + PLACES_BEHIND) * sizeof *c->page + bytes);
    if (c->page == NULL)
        return fail_memory(c->r, c->err);
    c->keys = c->page + PLACES_BEFORE;
    char *at = (char *)(c->keys + count + PLACES_BEHIND);
    for (size_t i = 0; i < count; i++) {
        strata_slice key = strata__redis_text(strata__redis_at(list, i));
        if (strata__redis_is_life_key(c->r, key))
            continue;
        if (key.size != 0)
            memcpy(at, key.data, key.size);
        c->keys[c->count++] = strata_bytes(at, key.size);
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
    if (c->rc != STRATA_OK || strata__redis_kind(request->reply) == REDIS_IS_INTEGER)
        return;
    struct redis_told told = { 0 };
    strata_slice text = { "", 0 };
    if (strata__redis_kind(request->reply) == REDIS_IS_ERROR)
        text = strata__redis_text(request->reply);
    c->forgotten = text.size >= 8 && memcmp(text.data, "NOSCRIPT", 8) == 0;
    if (!strata__redis_told_read(request->reply, &told))
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
    c->page = c->keys = NULL;
    c->count = 0;
    return run_call(c, args, sizeof args / sizeof args[0], page_came);
}

static int remove_page(struct call *c)
{
    struct redis_layer *r = c->r;
    const char *command = r->options.use_del == STRATA_ON ? "DEL" : "UNLINK";
    char number[16];
    c->command = command;
    if (c->count == 0)
        return STRATA_OK;
    if (!strata__redis_gathers(r->link))
        return strata__redis_spread_remove(r, c->command, c->keys, c->count, c->err);
    if (atomic_load(&r->life.scripts) != SCRIPTS_ON) {
        c->keys[-1] = strata_str(command);
        return run_call(c, c->keys - 1, c->count + 1, removal_came);
    }
    int digits = snprintf(number, sizeof number, "%zu", c->count);
    c->keys[-3] = strata_str("EVALSHA");
    c->keys[-2] = strata_bytes(r->sha, REDIS_SHA - 1);
    c->keys[-1] = strata_bytes(number, (size_t)digits);
    c->keys[c->count] = strata_str("clear");
    c->keys[c->count + 1] = strata_str("");
    c->keys[c->count + 2] = strata_str(command);
    c->keys[c->count + 3] = r->channel;
    size_t words = PLACES_BEFORE + c->count + PLACES_BEHIND;
    int rc = run_call(c, c->keys - PLACES_BEFORE, words, removal_came);
    if (rc >= 0 || !c->forgotten)
        return rc;
    c->keys[-3] = strata_str("EVAL");
    c->keys[-2] = strata__redis_script();
    return run_call(c, c->keys - PLACES_BEFORE, words, removal_came);
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

static int answer_looks(struct call *c, struct look *looks)
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
static int keep_entries(struct call *c)
{
    struct looks all;
    if (c->count == 0)
        return STRATA_OK;
    struct look *looks = strata__alloc_array(c->r->mem, c->count, sizeof *looks);
    struct redis_request **list = strata__alloc_array(c->r->mem, c->count, sizeof *list);
    int rc = STRATA_OK;
    if (looks == NULL || list == NULL)
        rc = fail_memory(c->r, c->err);
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
    struct call *c = (struct call *)(void *)request;
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
    struct call c = { .r = r, .err = &err };
    struct redis_spread spread;
    const strata_slice word = strata_str("TIME");
    int rc = strata__redis_nodes(r->link, r->options.timeout_ms, spread.nodes, REDIS_SPREAD_MOST, &spread.count, &err);
    for (size_t i = 0; rc == STRATA_OK && i < spread.count && i < REDIS_SPREAD_MOST; i++) {
        c.node = spread.nodes[i];
        rc = run_call(&c, &word, 1, time_came);
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
    char *bytes = make_pattern(r, what->all ? strata_bytes("", 0) : what->prefix, &pattern);
    if (bytes == NULL)
        return fail_memory(r, err);
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
    struct call c = { .r = r, .err = err, .node = node, .cursor = "0" };
    int rc;
    do {
        rc = scan(&c, pattern);
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
    char *bytes = make_pattern(r, strata_bytes("", 0), &pattern);
    if (bytes == NULL)
        return fail_memory(r, err);
    int rc = strata__redis_nodes(r->link, r->options.timeout_ms, spread.nodes, REDIS_SPREAD_MOST, &spread.count, err);
    for (size_t i = 0; rc == STRATA_OK && i < spread.count && i < REDIS_SPREAD_MOST && !l.stop; i++)
        rc = list_node(r, spread.nodes[i], pattern, &l, err);
    strata__free(r->mem, bytes);
    return rc;
}
