/* http_world.h - the HTTP cache of examples/http, without a server: a handler that says what it is told to, and requests. */
#ifndef STRATA_TESTS_HTTP_WORLD_H
#define STRATA_TESTS_HTTP_WORLD_H
#include "cache_middleware.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/cmocka_all.h"

enum { FIELDS = 6 };

/* What the handler says, to everybody. */
struct origin {
    const char *fields[FIELDS * 2 + 1]; /* pairs, then NULL */
    int status, fails;
    long pause_ms;
    atomic_int asked;
    atomic_int held; /* 1: no answer until it is 0 again */
};

struct world {
    struct origin origin;
    strata *cache;
    struct http_cache *http;
};

static inline int answer(const struct http_request *request, struct http_response *response, void *ctx)
{
    struct origin *origin = ctx;
    char body[64];
    const char *language = http_request_field(request, "accept-language");
    int number = atomic_fetch_add(&origin->asked, 1) + 1;
    struct timespec pause = { .tv_nsec = origin->pause_ms * 1000000 };
    if (origin->pause_ms > 0)
        nanosleep(&pause, NULL);
    while (atomic_load(&origin->held))
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    response->status = origin->status;
    for (size_t i = 0; origin->fields[i] != NULL; i += 2)
        http_response_field(response, origin->fields[i], origin->fields[i + 1]);
    http_text_add(&response->body, body,
                  (size_t)snprintf(body, sizeof body, "%d %s", number, language != NULL ? language : "-"));
    return origin->fails ? -1 : 0;
}

static inline void open_with(struct world *w, const struct http_cache_options *more)
{
    struct http_cache_options options = more != NULL ? *more : (struct http_cache_options){ 0 };
    *w = (struct world){ .origin = { .status = 200 } };
    assert_int_equal(strata_open_url(&w->cache, "memory:?max_bytes=16mb", NULL, NULL), STRATA_OK);
    options.cache = w->cache;
    options.handler = answer;
    options.handler_ctx = &w->origin;
    assert_int_equal(http_cache_open(&w->http, &options, NULL), STRATA_OK);
}

static inline void close_world(struct world *w)
{
    strata_close(w->cache);
    http_cache_close(w->http);
}

#define SAYS(w, ...) \
    memcpy((w)->origin.fields, (const char *[]){ __VA_ARGS__, NULL }, sizeof((const char *[]){ __VA_ARGS__, NULL }))

/* Requests ------------------------------------------------------------------------------------------------------ */

static inline void each(const struct http_request *request, http_visit visit, void *ctx)
{
    const char *const *fields = request->fields;
    for (; fields != NULL && *fields != NULL; fields += 2)
        if (visit(fields[0], fields[1], ctx) != 0)
            return;
}

/* What came back, in texts that stay. */
struct reply {
    int status;
    char x_cache[16], said[128], body[128], age[16];
    int fields_vary, set_cookie;
};

static inline void copy(char *out, size_t room, const char *text)
{
    snprintf(out, room, "%s", text != NULL ? text : "");
}

static inline struct reply send_request(struct world *w, const char *method, const char *target,
                                        const char *const *fields)
{
    const struct http_request request = { method, target, NULL, 0, each, fields };
    struct http_answer a;
    struct reply reply = { 0 };
    http_cache_handle(w->http, &request, &a);
    reply.status = a.status;
    copy(reply.x_cache, sizeof reply.x_cache, http_block_find(a.extra.data, a.extra.size, "x-cache"));
    copy(reply.said, sizeof reply.said, http_block_find(a.extra.data, a.extra.size, "cache-status"));
    copy(reply.age, sizeof reply.age, http_block_find(a.extra.data, a.extra.size, "age"));
    reply.set_cookie = http_block_find(a.fields, a.fields_size, "set-cookie") != NULL;
    snprintf(reply.body, sizeof reply.body, "%.*s", (int)a.body_size, a.body != NULL ? (const char *)a.body : "");
    http_answer_free(&a);
    return reply;
}

/* GET(world, target, name, value...) */
#define GET(...) GET_WITH(__VA_ARGS__, NULL)
#define GET_WITH(w, target, ...) send_request(w, "GET", target, (const char *[]){ __VA_ARGS__ })

static inline void expect(const struct reply *reply, const char *x_cache, const char *body)
{
    assert_string_equal(reply->x_cache, x_cache);
    if (body != NULL)
        assert_string_equal(reply->body, body);
}

#endif /* STRATA_TESTS_HTTP_WORLD_H */
