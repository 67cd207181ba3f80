/* redis_page.c - see redis_page.h.
 *
 * The server is never kept busy for long, and what was there from beginning to end of a walk is surely seen, perhaps twice.
 * A page is copied out of its reply, which lasts no longer than the link's callback.  What is the layer's own is not in it. */
#include "src/layer/redis/redis_page.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/redis/redis_call.h"

int strata__redis_page_memory(const struct redis_layer *r, strata_error *err)
{
    return strata__fail(err, STRATA_ENOMEM, r->base.name,
                        "no memory for a page of keys: free some, or lower scan_count");
}

static int copy_keys(struct redis_page *c, const struct redisReply *list)
{
    size_t count = strata__redis_count(list), bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += strata__redis_text(strata__redis_at(list, i)).size;
    c->page = strata__alloc(c->r->mem, (PAGE_BEFORE + count + PAGE_BEHIND) * sizeof *c->page + bytes);
    if (c->page == NULL)
        return strata__redis_page_memory(c->r, c->err);
    c->keys = c->page + PAGE_BEFORE;
    char *at = (char *)(c->keys + count + PAGE_BEHIND);
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
    return strata__redis_text(strata__redis_at(reply, 0)).size < sizeof((struct redis_page *)0)->cursor;
}

static void page_came(struct redis_request *request)
{
    struct redis_page *c = (struct redis_page *)(void *)request;
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

int strata__redis_page_call(struct redis_page *c, const strata_slice *args, size_t count,
                            void (*done)(struct redis_request *))
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

int strata__redis_page_scan(struct redis_page *c, strata_slice pattern, uint32_t at_once)
{
    char number[16];
    int digits = snprintf(number, sizeof number, "%" PRIu32, at_once);
    const strata_slice args[] = { strata_str("SCAN"),  strata_str(c->cursor),
                                  strata_str("MATCH"), pattern,
                                  strata_str("COUNT"), strata_bytes(number, (size_t)digits) };
    c->command = "SCAN";
    c->page = c->keys = NULL;
    c->count = 0;
    return strata__redis_page_call(c, args, sizeof args / sizeof args[0], page_came);
}

static void script_came(struct redis_request *request)
{
    static const char unknown[] = "NOSCRIPT";
    struct redis_page *c = (struct redis_page *)(void *)request;
    struct redis_told told = { 0 };
    strata_slice text = { "", 0 };
    c->rc = request->status;
    c->forgotten = 0;
    if (c->rc != STRATA_OK)
        return;
    if (strata__redis_told_read(request->reply, &told)) {
        c->number = told.version;
        return;
    }
    if (strata__redis_kind(request->reply) == REDIS_IS_ERROR)
        text = strata__redis_text(request->reply);
    c->forgotten = text.size >= sizeof unknown - 1 && memcmp(text.data, unknown, sizeof unknown - 1) == 0;
    c->rc = strata__redis_no_answer(c->r, c->command, request->reply, c->err);
}

int strata__redis_page_script(struct redis_page *c, size_t more_keys, const strata_slice *words, size_t count)
{
    char number[16];
    int digits = snprintf(number, sizeof number, "%zu", c->count + more_keys);
    strata_slice *first = c->keys - PAGE_BEFORE;
    first[0] = strata_str("EVALSHA");
    first[1] = strata_bytes(c->r->sha, REDIS_SHA - 1);
    first[2] = strata_bytes(number, (size_t)digits);
    memcpy(c->keys + c->count, words, count * sizeof *words);
    int rc = strata__redis_page_call(c, first, PAGE_BEFORE + c->count + count, script_came);
    if (rc >= 0 || !c->forgotten)
        return rc;
    first[0] = strata_str("EVAL");
    first[1] = strata__redis_script();
    return strata__redis_page_call(c, first, PAGE_BEFORE + c->count + count, script_came);
}
