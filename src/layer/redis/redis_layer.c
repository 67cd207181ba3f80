/* redis_layer.c - the Redis layer as a layer: options, start, ping, counters, end. */
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/guard.h"
#include "src/layer/pack.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/layer/value_impl.h"
#include "src/policy/options.h"

enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 2000, BYTES_A_DELETE = 512 };
#define DEFAULT_PREFIX "strata:"

static struct redis_layer *downcast(strata_layer *layer) { return (struct redis_layer *)(void *)layer; }

static struct pack_options pack_options(const strata_redis_options *o)
{
    return (struct pack_options){ o->compression, o->compression_level, o->compress_above_bytes, o->dictionary,
                                  o->dictionaries };
}

struct redis_link_options strata__redis_link_options(const struct redis_layer *r)
{
    const strata_redis_options *o = &r->options;
    return (struct redis_link_options){ .name = r->base.name,
                                        .topology = r->url.topology,
                                        .hosts = r->url.hosts,
                                        .host_count = r->url.host_count,
                                        .master_name = r->url.master_name,
                                        .sentinel_user = o->sentinel_user,
                                        .sentinel_password = o->sentinel_password,
                                        .host = r->url.host,
                                        .socket_path = r->url.socket_path,
                                        .port = r->url.port,
                                        .user = r->url.user,
                                        .password = r->url.password,
                                        .tls = r->tls,
                                        .database = r->url.database,
                                        .connections = o->connections,
                                        .connect_timeout_ms = o->connect_timeout_ms,
                                        .backoff_min_ms = BACKOFF_MIN_MS,
                                        .backoff_max_ms = BACKOFF_MAX_MS,
                                        .max_pending = o->max_pending,
                                        .mem = r->mem };
}

/* What the layer asks with, over TLS where the URL says so. */
static int open_link(struct redis_layer *r, strata_error *err)
{
    int rc = strata__redis_secure_open(r, err);
    if (rc < 0)
        return rc;
    struct redis_link_options options = strata__redis_link_options(r);
    options.hello = strata__redis_hello;
    options.greeted = strata__redis_hello_answered;
    options.ctx = r;
    rc = strata__redis_open(&r->link, &options, err);
    if (rc < 0) {
        strata__redis_tls_free(r->tls);
        r->tls = NULL;
    }
    return rc;
}

static struct protect_options protect_options(const strata_redis_options *o)
{
    return (struct protect_options){ o->protection, o->key_file, o->old_key_file };
}

static int redis_start(strata_layer *layer, strata_layer_host *host, strata_error *err)
{
    struct redis_layer *r = downcast(layer);
    const struct pack_options packs = pack_options(&r->options);
    const struct protect_options protects = protect_options(&r->options);
    int rc = strata__protect_start(&r->protector, &protects, r->base.name, err);
    if (rc == STRATA_OK)
        rc = strata__pack_start(&r->compressor, &packs, r->base.name, host->mem, err);
    if (rc < 0)
        return rc;
    r->mem = host->mem;
    r->host = host;
    strata__redis_life_init(r);
    strata__redis_leases_init(r);
    rc = open_link(r, err);
    if (rc < 0) {
        r->host = NULL;
        strata__compressor_deinit(&r->compressor);
    }
    return rc;
}

/* The options that are the layer's own copies; url is cut up, and name stands in the base. */
static const size_t texts[] = {
    offsetof(strata_redis_options, prefix),        offsetof(strata_redis_options, dictionary),
    offsetof(strata_redis_options, sentinel_user), offsetof(strata_redis_options, sentinel_password),
    offsetof(strata_redis_options, dictionaries),  offsetof(strata_redis_options, tls_ca_file),
    offsetof(strata_redis_options, tls_ca_dir),    offsetof(strata_redis_options, tls_cert_file),
    offsetof(strata_redis_options, tls_key_file),  offsetof(strata_redis_options, tls_server_name),
    offsetof(strata_redis_options, key_file),      offsetof(strata_redis_options, old_key_file)
};
enum { TEXTS = sizeof texts / sizeof texts[0] };

static const char **text_at(strata_redis_options *o, size_t i) { return (const char **)(void *)((char *)o + texts[i]); }

static void free_texts(struct redis_layer *r)
{
    strata__protect_stop(&r->protector);
    strata__free(NULL, r->url_text);
    for (size_t i = 0; i < TEXTS; i++)
        strata__free(NULL, (void *)(uintptr_t)*text_at(&r->options, i));
}

static void redis_close(strata_layer *layer)
{
    struct redis_layer *r = downcast(layer);
    if (r->host != NULL) {
        strata__redis_channel_close(r);
        strata__redis_close(r->link);
        strata__redis_tls_free(r->tls);
        strata__redis_leases_deinit(r);
        strata__redis_life_deinit(r);
        strata__compressor_deinit(&r->compressor);
        strata__redis_bans_deinit(&r->bans, r->mem);
        strata__redis_list_deinit(r);
        strata__redis_sweep_deinit(r);
    }
    strata__free(NULL, r->names);
    free_texts(r);
    strata__free(NULL, r);
}

/* In a child after fork: whoever held a lock does not exist here.  The cache's life is another one's, and the leases are the
 * parent's: what stands in tables is void, and given back where nobody was just changing it. */
static int redis_reopen(strata_layer *layer, strata_layer_host *host, strata_error *err)
{
    struct redis_layer *r = downcast(layer);
    if (r->host != NULL) {
        strata__redis_abandon(r->leases.subscriber);
        strata__redis_abandon(r->link);
        if (os_lock_try(&r->leases.lock))
            strata__redis_leases_deinit(r);
        if (os_lock_try(&r->life.lock))
            strata__redis_life_deinit(r);
        strata__compressor_deinit(&r->compressor);
        if (os_lock_try(&r->bans.lock))
            strata__redis_bans_deinit(&r->bans, r->mem);
        memset(&r->bans, 0, sizeof r->bans);
        if (os_lock_try(&r->list.lock))
            strata__redis_list_deinit(r);
        memset(&r->list, 0, sizeof r->list);
        memset(&r->sweep, 0, sizeof r->sweep); /* a walk of the parent's, which it may be just changing */
    }
    r->link = NULL;
    r->tls = NULL; /* left as it is: a thread of the parent may have held a lock of OpenSSL's */
    r->host = NULL;
    atomic_store(&r->void_version, 0);
    atomic_store(&r->rejections, 0);
    atomic_store(&r->foreign, 0);
    return redis_start(layer, host, err);
}

/* Small things -------------------------------------------------------------------------------------------------- */

struct ping {
    struct redis_request request; /* first */
    const struct redis_layer *r;
    strata_error *err;
    int rc;
};

static void pong(struct redis_request *request)
{
    struct ping *p = (struct ping *)(void *)request;
    p->rc = request->status;
    if (p->rc == STRATA_OK && strata__redis_kind(request->reply) != REDIS_IS_STATUS)
        p->rc = strata__redis_no_answer(p->r, "PING", request->reply, p->err);
}

static int redis_ping(strata_layer *layer, strata_error *err)
{
    struct redis_layer *r = downcast(layer);
    const strata_slice word = strata_str("PING");
    struct ping p = { .request = { .args = &word, .arg_count = 1, .timeout_ms = r->options.timeout_ms, .done = pong },
                      .r = r,
                      .err = err };
    if (r->host == NULL)
        return strata__fail(err, STRATA_EIO, r->base.name, "the layer is not open: open the cache again");
    strata__redis_call(r->link, &p.request);
    if (p.request.status != STRATA_OK && err != NULL)
        *err = p.request.err;
    return p.rc;
}

static void redis_rouse(strata_layer *layer)
{
    struct redis_layer *r = downcast(layer);
    if (r->host != NULL)
        strata__redis_rouse(r->link);
}

/* How many entries there are only the server could say, and what of its memory is ours not even it. */
static void redis_stats(strata_layer *layer, strata_layer_stats *out)
{
    struct redis_layer *r = downcast(layer);
    out->rejections = atomic_load_explicit(&r->rejections, memory_order_relaxed);
    out->leases = atomic_load_explicit(&r->leases.granted, memory_order_relaxed);
    out->leases_awaited = atomic_load_explicit(&r->leases.waited, memory_order_relaxed);
    out->leases_lost = atomic_load_explicit(&r->leases.lost, memory_order_relaxed);
    out->lives = atomic_load_explicit(&r->life.lives, memory_order_relaxed);
    out->unleased = atomic_load_explicit(&r->life.scripts, memory_order_relaxed) == SCRIPTS_OFF;
    out->foreign = atomic_load_explicit(&r->foreign, memory_order_relaxed);
    out->swept = atomic_load_explicit(&r->sweep.swept, memory_order_relaxed);
    out->queued_deletes = strata__redis_list_owed(r);
    os_lock_take(&r->life.lock);
    memcpy(out->server, r->life.server, sizeof out->server);
    os_lock_give(&r->life.lock);
}

static const strata_layer_ops redis_ops = {
    .size = sizeof(strata_layer_ops),
    .kind = "redis",
    .start = redis_start,
    .submit = strata__redis_layer_submit,
    .clear = strata__redis_layer_clear,
    .keys = strata__redis_layer_keys,
    .ping = redis_ping,
    .stats = redis_stats,
    .reopen = redis_reopen,
    .close = redis_close,
    .hurry = strata__redis_leases_hurry,
    .ban = strata__redis_layer_ban,
    .heard = strata__redis_layer_heard,
    .follow = strata__redis_layer_follow,
    .rouse = redis_rouse,
    .settle = strata__redis_list_settle,
};

/* The constructor --------------------------------------------------------------------------------------------- */

/* They were the caller's so far. */
static int copy_texts(struct redis_layer *r, strata_error *err)
{
    strata_redis_options *o = &r->options;
    r->url_text = strata__strdup(NULL, o->url != NULL ? o->url : REDIS_URL_DEFAULT);
    int copied = r->url_text != NULL;
    o->url = NULL;
    if (o->prefix == NULL)
        o->prefix = DEFAULT_PREFIX;
    for (size_t i = 0; i < TEXTS; i++) {
        const char **text = text_at(o, i);
        if (*text == NULL)
            continue;
        *text = strata__strdup(NULL, *text);
        copied = copied && *text != NULL;
    }
    if (!copied)
        return strata__fail(err, STRATA_ENOMEM, "url", "no memory for url, prefix and paths: free some");
    r->prefix = strata_str(o->prefix);
    if (!strata__redis_life_names(r))
        return strata__fail(err, STRATA_ENOMEM, "prefix", "no memory for the names of keys: free some");
    int rc = strata__redis_url_parse(r->url_text, &r->url, err);
    if (rc == STRATA_OK && o->cluster == STRATA_ON)
        rc = strata__redis_url_cluster(&r->url, err);
    if (rc == STRATA_OK && o->sentinel_user != NULL && o->sentinel_password == NULL)
        rc = strata__fail(err, STRATA_EINVAL, "sentinel_user", "a user without a password: set sentinel_password, too");
    if (rc == STRATA_OK && o->sentinel_password != NULL && r->url.topology != REDIS_SENTINEL)
        rc = strata__fail(err, STRATA_EINVAL, "sentinel_password",
                          "there are no Sentinels: write \"redis+sentinel://a:26379,b:26379/master\" into url");
    return rc == STRATA_OK ? strata__redis_secure_check(r, err) : rc;
}

static int check(struct redis_layer *r, const strata_redis_options *given, strata_error *err)
{
    static const strata_redis_options defaults = STRATA_REDIS_OPTIONS_INIT;
    strata_redis_options *o = &r->options;
    if (given == NULL)
        given = &defaults;
    int rc = strata__options_check(&strata__redis_rows, given, given->size, o, sizeof *o, err);
    if (rc < 0) {
        memset(o, 0, sizeof *o); /* nothing of the caller's is kept */
        return rc;
    }
    strata__options_fill(&strata__redis_rows, o);
    struct pack_options packs = pack_options(o);
    rc = copy_texts(r, err);
    if (rc == STRATA_OK) {
        const struct protect_options protects = protect_options(o);
        rc = strata__protect_check(&protects, err);
    }
    if (rc == STRATA_OK)
        rc = strata__pack_fill(&packs, 1, err);
    o->compression = packs.compression;
    o->compress_above_bytes = packs.compress_above_bytes;
    return rc;
}

strata_layer *strata__redis_make(const strata_redis_options *options)
{
    struct redis_layer *r = strata__alloc_zero(NULL, sizeof *r);
    if (r == NULL)
        return strata__layer_out_of_memory();
    r->base.size = sizeof r->base;
    r->base.ops = &redis_ops;
    r->base.flags = STRATA_LAYER_SHARED | STRATA_LAYER_DURABLE | STRATA_LAYER_LENDS | STRATA__LAYER_COPIES |
                    STRATA__LAYER_UNCOUNTED;
    snprintf(r->base.name, sizeof r->base.name, "redis");
    if (check(r, options, &r->base.failed) == STRATA_OK && r->options.name != NULL)
        snprintf(r->base.name, sizeof r->base.name, "%s", r->options.name);
    if (r->options.protection > STRATA_PROTECT_NONE)
        r->base.flags |= STRATA__LAYER_SEALS;
    if (r->options.lease_ms != STRATA_OFF)
        r->base.flags |= STRATA_LAYER_LEASES;
    r->options.name = r->base.name;
    r->base.max_ttl_ms = r->options.max_ttl_ms;
    return &r->base;
}

strata_layer *strata__redis_layer(const strata_redis_options *options)
{
    strata_layer *layer = strata__redis_make(options);
    if (layer->failed.status < 0)
        return layer;
    const strata_redis_options *o = &downcast(layer)->options;
    const struct guard_options guard = { .breaker_failures = o->breaker_failures,
                                         .breaker_open_ms = o->breaker_open_ms,
                                         .probe_ms = o->connect_timeout_ms + 2 * o->timeout_ms,
                                         .max_queued_deletes = o->max_queued_deletes,
                                         .max_queued_bytes = o->max_queued_deletes * BYTES_A_DELETE };
    return strata__guard_layer(layer, &guard);
}
