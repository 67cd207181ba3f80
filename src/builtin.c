/* builtin.c - the composition root: the one file that names every layer.
 *
 * A kind of layer is a row: the scheme it has in a stack's URL, the rows of its options struct, and a constructor that
 * gets that struct filled in.  strata_open_url() is this table and strata_open(). */
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/policy/options.h"
#include "src/policy/stack_url.h"
#include "strata/cache.h"
#include "strata/disk.h"
#include "strata/memory.h"
#include "strata/redis.h"
#include "strata/version.h"

/* Room for the options struct of any kind. */
union any_options {
    size_t size;
    strata_memory_options memory;
    strata_disk_options disk;
    strata_redis_options redis;
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

/* "redis://:a?b=c@host": the parameter is half of a password, and no error may quote it. */
static int is_password(const struct layer_kind *kind, const struct url_layer *url)
{
    int has_at = 0;
    for (size_t i = 0; i < url->param_count; i++)
        has_at = has_at || strchr(url->params[i].value, '@') != NULL;
    return kind->make == make_redis && has_at && strchr(url->raw_rest, '@') == NULL;
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
            return is_password(kind, url) ? fail_password(url->scheme, err) : rc;
    }
    *out = kind->make(&options, url);
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

int strata_open_url(strata **out, const char *url, const strata_options *options, strata_error *err)
{
    struct stack_url parsed;
    strata_options known;
    strata_layer *layers[STACK_URL_LAYERS];
    size_t made = 0;

    if (out == NULL)
        return strata__fail(err, STRATA_EINVAL, "out", "NULL: give the address of a strata pointer");
    *out = NULL;
    int rc = check_rest(options, &known, err);
    if (rc == STRATA_OK)
        rc = strata__stack_url_parse(url, &parsed, err);
    for (size_t i = 0; rc == STRATA_OK && i < parsed.layer_count; i++) {
        rc = make_layer(&parsed.layers[i], strchr(url, '@') != NULL, &layers[made], err);
        made += rc == STRATA_OK;
    }
    if (rc == STRATA_OK) {
        known.layers = layers;
        known.layer_count = made;
        return strata_open(out, &known, err); /* takes the layers over, also when it fails */
    }
    while (made > 0)
        strata_layer_free(layers[--made]);
    return rc;
}
