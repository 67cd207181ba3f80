/* cache_impl.h - what the files of the middleware share.
 *
 * A load may outlive the request that began it: a refresh behind a stale answer does.  So loaders get no request but a ticket, which
 * stays where it is until the cache is closed: a loader that finds it still held for its key copies the request from it, and one
 * that doesn't asks with what the stored response says that it was asked with. */
#ifndef CACHE_IMPL_H
#define CACHE_IMPL_H
#include "cache_middleware.h"
#include "http_record.h"
#include <pthread.h>

struct ticket {
    struct http_cache *cache;
    struct ticket *next;
    /* Below: under the cache's lock. */
    uint64_t serial;  /* of its holder */
    int held, loaded; /* loaded: the handler ran for the holder */
    const struct http_request *request;
    strata_slice key;
    struct http_response *response; /* for the holder alone */
};

struct http_cache {
    struct http_cache_options options;
    strata *space, *reloads;
    pthread_mutex_t lock;
    struct ticket *idle;
    uint64_t serials;
};

struct ticket *http__ticket_take(struct http_cache *cache, const struct http_request *request);
/* The key that its holder asks for next. */
void http__ticket_key(struct ticket *ticket, strata_slice key);
struct http_response *http__ticket_give_back(struct ticket *ticket, int *loaded);

/* Keys in the namespace: of a target ("P" and the key), and of its variants by the fields that `vary` names. */
void http__primary_key(const void *key, size_t size, struct http_text *out);
void http__variant_key(strata_slice primary, const struct http_record *vary, const struct http_request *request,
                       struct http_text *out);

/* Runs the handler; NULL where that failed. */
struct http_response *http__ask(struct http_cache *cache, const struct http_request *request);
int64_t http__now_us(void);

/* Loaders, for namespace `space` and `reloads`; ctx is a ticket. */
int http__load(strata_load *load, strata_slice key, void *ctx);
int http__reload(strata_load *load, strata_slice key, void *ctx);

#endif /* CACHE_IMPL_H */
