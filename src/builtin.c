/* builtin.c - the composition root: the one file that names every layer and every bus.
 *
 * A kind of layer is a row: the scheme it has in a stack's URL, the rows of its options struct, and a constructor that
 * gets that struct filled in; a kind of bus is one, too: "bus:" and its name.  strata_open_url() is these tables and strata_open(). */
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/format/bus_message.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/policy/options.h"
#include "src/policy/stack_url.h"
#include "strata/bus_redis.h"
#include "strata/bus_redis_tracking.h"
#include "strata/cache.h"
#include "strata/disk.h"
#include "strata/memory.h"
#include "strata/nats.h"
#include "strata/rabbitmq.h"
#include "strata/redis.h"
#include "strata/version.h"

enum { BUSES = 4 }; /* of one cache, as strata_options.bus_count says */

/* Room for the options struct of any kind. */
union any_options {
    size_t size;
    strata_memory_options memory;
    strata_disk_options disk;
    strata_redis_options redis;
    strata_redis_bus_options redis_bus;
    strata_redis_tracking_options redis_tracking;
    strata_nats_options nats;
    strata_rabbitmq_options rabbitmq;
};

struct layer_kind {
    const char *scheme;
    const struct option_rows *rows;
    const char *no_rest; /* how to write it instead; NULL where the kind takes something between ':' and '?' */
    strata_layer *(*make)(const union any_options *options, const struct url_layer *url);
    int is_hidden;       /* not among those that errors offer */
    const char *rest_is; /* the parameter that what stands there is, too */
};

static strata_layer *make_memory(const union any_options *options, const struct url_layer *url)
{
    (void)url;
    return strata_memory_layer(&options->memory);
}

static strata_layer *make_disk(const union any_options *options, const struct url_layer *url)
{
    strata_disk_options disk = options->disk;
    if (url->rest[0] != '\0')
        disk.path = url->rest;
    return strata_disk_layer(&disk);
}

/* What stands there is a URL in its own right: put together again, and decoded where its parts are told apart. */
static strata_layer *make_redis(const union any_options *options, const struct url_layer *url)
{
    char text[STACK_URL_BYTES + 1];
    strata_redis_options redis = options->redis;
    snprintf(text, sizeof text, "%s:%s", url->scheme, url->raw_rest);
    if (url->rest[0] != '\0' || strcmp(url->scheme, "redis") != 0)
        redis.url = text;
    return strata_redis_layer(&redis);
}

/* Where a layer's options are right, so are those of a bus at the same server, but for one that can't be built. */
static strata_bus *bus_beside(const strata_redis_options *redis)
{
    strata_redis_bus_options bus = STRATA_REDIS_BUS_OPTIONS_INIT;
    bus.url = redis->url;
    bus.prefix = redis->prefix;
    bus.connect_timeout_ms = redis->connect_timeout_ms;
    bus.cluster = redis->cluster;
    bus.tls_verify = redis->tls_verify;
    bus.sentinel_user = redis->sentinel_user;
    bus.sentinel_password = redis->sentinel_password;
    bus.tls_ca_file = redis->tls_ca_file;
    bus.tls_ca_dir = redis->tls_ca_dir;
    bus.tls_cert_file = redis->tls_cert_file;
    bus.tls_key_file = redis->tls_key_file;
    bus.tls_server_name = redis->tls_server_name;
    return strata_redis_stream_bus(&bus);
}

strata_layer *strata_redis_layer(const strata_redis_options *options)
{
    strata_redis_options known = STRATA_REDIS_OPTIONS_INIT;
    strata_layer *layer = strata__redis_layer(options);
    if (layer->failed.status < 0)
        return layer;
    if (options != NULL)
        memcpy(&known, options, options->size < sizeof known ? options->size : sizeof known);
    const char *prefix = known.prefix != NULL ? known.prefix : "strata:";
    layer->identity = strata__bus_channel(strata_str(prefix));
    layer->bus = bus_beside(&known);
    return layer;
}

static const struct layer_kind layer_kinds[] = {
    { "memory", &strata__memory_rows, "memory:?max_bytes=64mb", make_memory, 0, NULL },
    { "disk", &strata__disk_rows, NULL, make_disk, 0, "path" },
    { "redis", &strata__redis_rows, NULL, make_redis, 0, "url" },
    { "unix", &strata__redis_rows, NULL, make_redis, 0, "url" },
    { "redis+cluster", &strata__redis_rows, NULL, make_redis, 0, "url" },
    { "redis+sentinel", &strata__redis_rows, NULL, make_redis, 0, "url" },
    { "rediss", &strata__redis_rows, NULL, make_redis, 0, "url" },
    { "rediss+cluster", &strata__redis_rows, NULL, make_redis, 0, "url" },
    { "rediss+sentinel", &strata__redis_rows, NULL, make_redis, 0, "url" },
};
enum { KIND_COUNT = sizeof layer_kinds / sizeof layer_kinds[0] };

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)

const char *strata_version(void)
{
    return STRINGIFY(STRATA_VERSION_MAJOR) "." STRINGIFY(STRATA_VERSION_MINOR) "." STRINGIFY(STRATA_VERSION_PATCH);
}

const char *strata_features(void) { return STRATA_FEATURES; } /* of the build: cmake/StrataDependencies.cmake */

static int is_bus_name(const char *scheme);

/* NULL: it is not shown. */
static int fail_scheme(const char *scheme, strata_error *err)
{
    char names[128] = "";
    size_t used = 0;
    for (size_t i = 0; i < KIND_COUNT && !layer_kinds[i].is_hidden; i++) {
        int n = snprintf(names + used, sizeof names - used, "%s%s", i != 0 ? ", " : "", layer_kinds[i].scheme);
        if (n > 0 && (size_t)n < sizeof names - used)
            used += (size_t)n;
    }
    if (scheme == NULL)
        return strata__fail(err, STRATA_EINVAL, "url",
                            "what stands before a ':' is no kind of layer, and is not shown, for it may be part of a "
                            "password: a '|' in one is written as %%7C; known: %s",
                            names);
    if (is_bus_name(scheme))
        return strata__fail(err, STRATA_EINVAL, "url",
                            "\"%s\" is a bus, and no layer: write bus: in front of it, as \"bus:%s://host\"", scheme,
                            scheme);
    return strata__fail(err, STRATA_EINVAL, "url",
                        "no such kind of layer as \"%.40s\"; known: %s; one of your own goes through strata_open()",
                        scheme, names);
}

static const struct layer_kind *find_kind(const char *scheme)
{
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (strcmp(layer_kinds[i].scheme, scheme) == 0)
            return &layer_kinds[i];
    return NULL;
}

/* What begins a part of a stack's URL. */
static int is_part(const char *name, size_t length)
{
    int is_one = length == 3 && strncmp(name, "bus", length) == 0;
    for (size_t i = 0; i < KIND_COUNT; i++)
        is_one |= strlen(layer_kinds[i].scheme) == length && strncmp(name, layer_kinds[i].scheme, length) == 0;
    return is_one;
}

/* "redis://:a?b=c@host": the parameter is half of a password, and no error may quote it. */
static int is_password(const struct url_layer *url)
{
    int has_at = 0;
    for (size_t i = 0; i < url->param_count; i++)
        has_at = has_at || strchr(url->params[i].value, '@') != NULL;
    return has_at && strchr(url->raw_rest, '@') == NULL;
}

static int fail_password(const char *scheme, strata_error *err)
{
    return strata__fail(err, STRATA_EINVAL, "url",
                        "%s: a parameter is wrong, and is not shown, for it may be part of a password: a '?' in one is "
                        "written as %%3F; an '@' in a parameter as %%40",
                        scheme);
}

/* has_at: the URL has an '@', and a '|' may be one of the password before it. */
static int make_layer(const struct url_layer *url, int has_at, strata_layer **out, strata_error *err)
{
    union any_options options;
    const struct layer_kind *kind = find_kind(url->scheme);
    if (kind == NULL)
        return fail_scheme(has_at ? NULL : url->scheme, err);
    if (kind->make == make_disk && strata__stack_url_no_bar(url->rest, is_part) != NULL)
        return strata__fail(err, STRATA_EINVAL, "url", "the path of disk: holds a layer"); /* explained by who called */
    if (kind->no_rest != NULL && url->rest[0] != '\0')
        return strata__fail(err, STRATA_EINVAL, "url",
                            "%s takes nothing between ':' and '?', but there is \"%.60s\": write, "
                            "for example, \"%s\"",
                            kind->scheme, has_at ? "..." : url->rest, kind->no_rest);
    memset(&options, 0, sizeof options);
    options.size = kind->rows->size;
    int hide = has_at || kind->make == make_redis; /* there is a password in a URL that is a parameter, too */
    for (size_t i = 0; i < url->param_count; i++) {
        if (kind->rest_is != NULL && url->rest[0] != '\0' && strcmp(url->params[i].name, kind->rest_is) == 0)
            return strata__fail(err, STRATA_EINVAL, "url",
                                "%s: %s stands there twice, \"%.60s\" and \"%.60s\": keep one", kind->scheme,
                                kind->rest_is, hide ? "..." : url->rest, hide ? "..." : url->params[i].value);
        int rc = strata__option_set(kind->rows, &options, url->scheme, url->params[i].name, url->params[i].value, err);
        if (rc < 0)
            return kind->make == make_redis && is_password(url) ? fail_password(url->scheme, err) : rc;
    }
    *out = kind->make(&options, url);
    return STRATA_OK;
}

/* Buses ----------------------------------------------------------------------------------------------------------- */

struct bus_kind {
    const char *name;   /* "bus:" and this */
    const char *scheme; /* its server's URL begins so; "bus:redis-stream+cluster://a" is one of "redis+cluster://a" */
    const struct option_rows *rows;
    strata_bus *(*make)(const union any_options *options);
};

static strata_bus *make_stream(const union any_options *o) { return strata_redis_stream_bus(&o->redis_bus); }

static strata_bus *make_pubsub(const union any_options *o) { return strata_redis_pubsub_bus(&o->redis_bus); }

static strata_bus *make_tracking(const union any_options *o) { return strata_redis_tracking_bus(&o->redis_tracking); }

static strata_bus *make_nats(const union any_options *o) { return strata_nats_bus(&o->nats); }

static strata_bus *make_rabbitmq(const union any_options *o) { return strata_rabbitmq_bus(&o->rabbitmq); }

static const struct bus_kind bus_kinds[] = {
    { "redis-stream", "redis", &strata__redis_bus_rows, make_stream },
    { "redis-pubsub", "redis", &strata__redis_bus_rows, make_pubsub },
    { "redis-tracking", "redis", &strata__redis_tracking_rows, make_tracking },
    { "nats", "nats", &strata__nats_rows, make_nats },
    { "rabbitmq", "amqp", &strata__rabbitmq_rows, make_rabbitmq },
};
enum { BUS_COUNT = sizeof bus_kinds / sizeof bus_kinds[0] };

static int is_bus_name(const char *scheme)
{
    int is_one = 0;
    for (size_t i = 0; i < BUS_COUNT; i++)
        is_one |= strcmp(scheme, bus_kinds[i].name) == 0;
    return is_one;
}

static int is_bus(const struct url_layer *url) { return strcmp(url->scheme, "bus") == 0; }

/* `*out_rest` is what follows its name: nothing, "://host...", "+cluster://...", or ":" and a URL with another scheme. */
static const struct bus_kind *find_bus(const char *text, const char **out_rest)
{
    for (size_t i = 0; i < BUS_COUNT; i++) {
        size_t length = strlen(bus_kinds[i].name);
        *out_rest = text + length;
        if (strncmp(text, bus_kinds[i].name, length) == 0 && strchr(":+", text[length]) != NULL)
            return &bus_kinds[i];
    }
    return NULL;
}

/* What looks like a name is shown, and nothing that may be a password. */
static int fail_bus(const char *text, strata_error *err)
{
    size_t name = strspn(text, "abcdefghijklmnopqrstuvwxyz-_");
    int is_name = name > 0 && name < 24 && strchr(":+?", text[name]) != NULL;
    return strata__fail(err, STRATA_EINVAL, "url",
                        "no such kind of bus%s%.*s; known: redis-stream, redis-pubsub, redis-tracking, nats, rabbitmq "
                        "(with TLS bus:rabbitmq:amqps://host): write, for example, "
                        "\"bus:redis-stream://127.0.0.1?prefix=app:\"",
                        is_name ? ": " : "", is_name ? (int)name : 0, text);
}

static const struct url_param *find_param(const struct url_layer *url, const char *name)
{
    for (size_t i = 0; i < url->param_count; i++)
        if (strcmp(url->params[i].name, name) == 0)
            return &url->params[i];
    return NULL;
}

/* A bus that speaks of a Redis layer's keys has its prefix; and where it says nothing of a server, its server, too. */
static int inherit(const struct bus_kind *kind, const struct url_layer *bus, const struct url_layer *redis, int all,
                   union any_options *options, strata_error *err)
{
    static const char *const names[] = {
        "prefix",      "url",        "cluster",       "sentinel_user", "sentinel_password", "tls_verify",
        "tls_ca_file", "tls_ca_dir", "tls_cert_file", "tls_key_file",  "tls_server_name"
    };
    for (size_t i = 0; i < (all ? sizeof names / sizeof names[0] : 1); i++) {
        const struct url_param *given = find_param(redis, names[i]);
        if (given == NULL || find_param(bus, names[i]) != NULL)
            continue;
        int rc = strata__option_set(kind->rows, options, kind->name, names[i], given->value, err);
        if (rc < 0)
            return rc;
    }
    return STRATA_OK;
}

/* Not as a parameter: whose errors may quote it. */
static void set_url(const struct bus_kind *kind, union any_options *options, const char *text)
{
    for (size_t i = 0; i < kind->rows->count; i++)
        if (strcmp(kind->rows->rows[i].name, "url") == 0)
            memcpy((char *)options + kind->rows->rows[i].offset, &text, sizeof text);
}

/* The URL of its server into `text`, to be set in its options; "" none. */
static void write_bus_url(const struct bus_kind *kind, const char *rest, const struct url_layer *redis, char *text,
                          size_t room)
{
    text[0] = '\0';
    if (rest[0] == ':' && strncmp(rest, "://", 3) != 0)
        snprintf(text, room, "%s", rest + 1);
    else if (rest[0] != '\0')
        snprintf(text, room, "%s%s", kind->scheme, rest);
    else if (redis != NULL && (redis->raw_rest[0] != '\0' || strcmp(redis->scheme, "redis") != 0))
        snprintf(text, room, "%s:%s", redis->scheme, redis->raw_rest);
}

/* `redis` is the Redis layer of the stack, or NULL. */
static int make_bus(const struct url_layer *url, const struct url_layer *redis, strata_bus **out, strata_error *err)
{
    char text[STACK_URL_BYTES + 1];
    union any_options options;
    const char *rest;
    const struct bus_kind *kind = find_bus(url->raw_rest, &rest);
    if (kind == NULL)
        return fail_bus(url->raw_rest, err);
    if (strcmp(kind->scheme, "redis") != 0)
        redis = NULL;
    memset(&options, 0, sizeof options);
    options.size = kind->rows->size;
    int rc = STRATA_OK, has_url = find_param(url, "url") != NULL;
    if (has_url && rest[0] != '\0')
        return strata__fail(err, STRATA_EINVAL, "url", "bus:%s: its URL stands there twice: keep one", kind->name);
    if (redis != NULL)
        rc = inherit(kind, url, redis, rest[0] == '\0' && !has_url, &options, err);
    write_bus_url(kind, rest, has_url ? NULL : redis, text, sizeof text);
    if (rc == STRATA_OK && text[0] != '\0')
        set_url(kind, &options, text);
    for (size_t i = 0; rc == STRATA_OK && i < url->param_count; i++)
        rc = strata__option_set(kind->rows, &options, kind->name, url->params[i].name, url->params[i].value, err);
    if (rc != STRATA_OK)
        return is_password(url) ? fail_password(url->scheme, err) : rc;
    *out = kind->make(&options);
    return STRATA_OK;
}

static int check_rest(const strata_options *given, strata_options *known, strata_error *err)
{
    static const strata_options init = STRATA_OPTIONS_INIT;
    if (given == NULL)
        given = &init;
    int rc = strata__options_check(&strata__cache_option_rows, given, given->size, known, sizeof *known, err);
    if (rc == STRATA_OK && (known->layers != NULL || known->layer_count != 0))
        return strata__fail(err, STRATA_EINVAL, "layers",
                            "the URL names the layers: leave options.layers and layer_count "
                            "empty, or call strata_open()");
    return rc;
}

/* What is made of the URL's parts, until strata_open() has it. */
struct parts {
    strata_layer *layers[STACK_URL_LAYERS];
    strata_bus *buses[BUSES + STACK_URL_LAYERS]; /* the options' first */
    size_t layer_count, bus_count;
};

static const struct url_layer *find_redis(const struct stack_url *parsed)
{
    for (size_t i = 0; i < parsed->layer_count; i++) {
        const struct layer_kind *kind = find_kind(parsed->layers[i].scheme);
        if (kind != NULL && kind->make == make_redis)
            return &parsed->layers[i];
    }
    return NULL;
}

static int make_parts(const char *url, struct parts *out, strata_error *err)
{
    struct stack_url parsed;
    int rc = strata__stack_url_parse(url, &parsed, err);
    for (size_t i = 0; rc == STRATA_OK && i < parsed.layer_count; i++) {
        const struct url_layer *part = &parsed.layers[i];
        if (is_bus(part)) {
            rc = make_bus(part, find_redis(&parsed), &out->buses[out->bus_count], err);
            out->bus_count += rc == STRATA_OK;
        } else {
            rc = make_layer(part, strchr(url, '@') != NULL, &out->layers[out->layer_count], err);
            out->layer_count += rc == STRATA_OK;
        }
    }
    return rc;
}

/* Options that are refused: layers there are still their caller's, for a URL takes none; buses were taken over. */
static void free_given_buses(const strata_options *options)
{
    if (options == NULL || options->size < offsetof(strata_options, coherence) || options->buses == NULL)
        return;
    for (size_t i = 0; i < options->bus_count; i++)
        strata_bus_free(options->buses[i]);
}

int strata_open_url(strata **out, const char *url, const strata_options *options, strata_error *err)
{
    struct parts parts;
    strata_options known;

    if (out == NULL)
        return strata__fail(err, STRATA_EINVAL, "out", "NULL: give the address of a strata pointer");
    *out = NULL;
    memset(&parts, 0, sizeof parts);
    int rc = check_rest(options, &known, err);
    if (rc != STRATA_OK) {
        free_given_buses(options);
        return rc;
    }
    if (known.bus_count != 0 && known.buses == NULL)
        return strata__fail(err, STRATA_EINVAL, "buses", "bus_count is %zu, and buses is NULL: give as many, or 0",
                            known.bus_count);
    for (; parts.bus_count < known.bus_count; parts.bus_count++)
        parts.buses[parts.bus_count] = known.buses[parts.bus_count];
    rc = make_parts(url, &parts, err);
    if (rc == STRATA_OK) {
        known.layers = parts.layers;
        known.layer_count = parts.layer_count;
        known.buses = parts.buses;
        known.bus_count = parts.bus_count;
        parts.layer_count = parts.bus_count = 0; /* open takes all of them over, also when it fails */
        rc = strata_open(out, &known, err);
    }
    while (parts.layer_count > 0)
        strata_layer_free(parts.layers[--parts.layer_count]);
    while (parts.bus_count > 0)
        strata_bus_free(parts.buses[--parts.bus_count]);
    if (rc == STRATA_EINVAL)
        strata__stack_url_explain(url, is_part, err);
    return rc;
}
