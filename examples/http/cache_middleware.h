/* cache_middleware.h - a shared HTTP cache (RFC 9111) around a handler, on strata.  To be lifted into programs of your own: these
 * files know no server; http_server.c shows what joins them to one.
 *
 *   struct http_cache_options options = { .cache = cache, .handler = answer, .handler_ctx = db };
 *   http_cache_open(&http, &options, &err);
 *   ...
 *   struct http_answer answer;
 *   http_cache_handle(http, &request, &answer);      any thread; blocks while the handler runs, for this or another caller
 *   ... send answer ...
 *   http_answer_free(&answer);
 *
 * What it does:
 * - GET and HEAD are answered from the cache, and the handler runs once for all who ask for a cold target at the same time.  It is
 *   asked with GET, without Range and If-... fields: what is stored is whole.
 * - A response is stored as long as it says (s-maxage, max-age, Expires; default_ttl_s where it says nothing), and not where it
 *   says no-store, private, no-cache, Vary: * or Set-Cookie.  Errors of 500 and above never are.  A response that is not
 *   stored is for who asked alone: who has waited for it asks the handler himself.
 * - stale-while-revalidate and stale-if-error are kept, unless must-revalidate or proxy-revalidate forbid it.
 * - Vary: variants are stored side by side, by the fields that it names.
 * - Requests with no-store, Authorization, Cookie, Range or a body, and those whose query has a name like "token" or "api_key", go
 *   to the handler and back.  no-cache, max-age and min-fresh are heeded (a new response is stored for others, too),
 *   only-if-cached as well (504).
 * - If-None-Match and If-Modified-Since are answered with 304 from what is stored.
 * - After a POST, PUT, PATCH or DELETE that did not fail, what is stored of its target is out of date, in all layers and on all nodes.
 * - Cache-Status (RFC 9211), x-cache (HIT, MISS, STALE, BYPASS), Age.
 * A background refresh asks with the target and the fields that Vary named, and nothing else. */
#ifndef CACHE_MIDDLEWARE_H
#define CACHE_MIDDLEWARE_H
#include "http_message.h"
#include <strata/strata.h>

/* Write the key of a request into `out`; requests with one key get one response.  0, or -1: not to be cached. */
typedef int (*http_key)(const struct http_request *request, struct http_text *out, void *ctx);

struct http_cache_options {
    strata *cache;        /* borrowed: see http_cache_close() */
    const char *space;    /* its namespace there; NULL: "http" */
    const char *name;     /* in Cache-Status, a token; NULL: "strata" */
    http_handler handler; /* any thread, several at once */
    void *handler_ctx;
    http_key key; /* NULL: http_key_default() */
    void *key_ctx;
    int64_t default_ttl_s; /* 0: what says nothing of its freshness is not stored */
    int64_t timeout_ms; /* nobody waits longer for the handler: 504, or what is stored, where stale-if-error says so.  The handler goes on,
                              and what it says may still be stored.  0: as long as it takes */
    int ignore_reloads; /* 1: no-cache and max-age of requests are not heeded: nobody outside can make the handler run */
};
struct http_cache;

/* STRATA_OK, or what strata_namespace() answers. */
int http_cache_open(struct http_cache **out, const struct http_cache_options *options, strata_error *err);
/* At the end stop the server, close the strata, and then this: handlers may run behind answers that were given, and the strata's
 * close waits for them.  NULL is a no-op. */
void http_cache_close(struct http_cache *cache);

/* Host, path, and the query with its parameters in order of their names: "GET example.org /users?a=1&b=2". */
int http_key_default(const struct http_request *request, struct http_text *out, void *ctx);

/* What to send.  A body may be empty; that of an answer to HEAD is there, and not to be sent, but for its length. */
struct http_answer {
    int status;
    const char *fields; /* a block: borrowed from the answer, as all of it */
    size_t fields_size;
    const void *body;
    size_t body_size;
    struct http_text extra;         /* a block: what the cache has to say */
    strata_value *value;            /* where fields and body are from; or */
    struct http_response *response; /* this */
};
/* Always gives an answer: 502 where the handler failed, 504 where it took too long. */
void http_cache_handle(struct http_cache *cache, const struct http_request *request, struct http_answer *out);
void http_answer_free(struct http_answer *answer);

#endif /* CACHE_MIDDLEWARE_H */
