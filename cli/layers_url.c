/* layers_url.c - see layers_url.h.
 *
 * Only as much of the URL is understood here as is needed to find the first memory layer's parameters; whether the
 * whole is right, the library says when it is opened. */
#include "cli/layers_url.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli_error.h"

/* The layer's part: [begin, end). */
struct part {
    const char *begin;
    const char *end;
};

static int find_memory(const char *url, struct part *out)
{
    const char *at = url;

    for (;;) {
        const char *end;

        at += strspn(at, " ");
        end = at + strcspn(at, "|");
        if (strncmp(at, "memory:", 7) == 0) {
            while (end > at && end[-1] == ' ')
                end--;
            out->begin = at;
            out->end = end;
            return 1;
        }
        if (*end == '\0')
            return 0;
        at = end + 1;
    }
}

static const char *parameters(const struct part *part)
{
    return memchr(part->begin, '?', (size_t)(part->end - part->begin));
}

static int has_parameter(const struct part *part, const char *name)
{
    const char *at = parameters(part);
    size_t length = strlen(name);

    while (at != NULL && at < part->end) {
        at++; /* the '?' or '&' */
        if ((size_t)(part->end - at) > length && memcmp(at, name, length) == 0 && at[length] == '=')
            return 1;
        at = memchr(at, '&', (size_t)(part->end - at));
    }
    return 0;
}

struct text {
    char *out;
    size_t used;
    int cut;
};

static void append(struct text *t, const char *bytes, size_t size)
{
    if (t->used + size >= LAYERS_URL_BYTES) {
        t->cut = 1;
        return;
    }
    memcpy(t->out + t->used, bytes, size);
    t->used += size;
    t->out[t->used] = '\0';
}

/* "?name=value" or "&name=value". */
static void append_parameter(struct text *t, int *first, const char *name, const char *value, uint64_t n,
                             const char *unit)
{
    char parameter[96];
    int length;

    if (value != NULL)
        length = snprintf(parameter, sizeof parameter, "%c%s=%s", *first ? '?' : '&', name, value);
    else
        length = snprintf(parameter, sizeof parameter, "%c%s=%" PRIu64 "%s", *first ? '?' : '&', name, n, unit);
    append(t, parameter, (size_t)length);
    *first = 0;
}

static int twice(const struct part *part, const char *name, int wished, const char *option, strata_error *err)
{
    if (!wished || !has_parameter(part, name))
        return STRATA_OK;
    return cli_fail(err, STRATA_EINVAL, "--layers", "the URL has %s already: leave %s out, or the parameter", name,
                    option);
}

int layers_url(char *out, const char *url, const struct layers_wish *wish, strata_error *err)
{
    struct text t = { out, 0, 0 };
    struct part part = { url, url };
    int wished = wish->max_entries != 0 || wish->policy != NULL || wish->shards != 0;
    int first, status;

    out[0] = '\0';
    if (wished && !find_memory(url, &part))
        return cli_fail(err, STRATA_EINVAL, "--layers",
                        "there is no memory layer that --size, --policy or --shards could be for: add memory: to it");
    status = twice(&part, "max_entries", wish->max_entries != 0, "--size", err);
    if (status == STRATA_OK)
        status = twice(&part, "policy", wish->policy != NULL, "--policy", err);
    if (status == STRATA_OK)
        status = twice(&part, "shards", wish->shards != 0, "--shards", err);
    if (status != STRATA_OK)
        return status;
    append(&t, url, (size_t)(part.end - url));
    if (wished) {
        /* "memory:?" has the mark, and no parameter before ours that a '&' could follow */
        const char *mark = parameters(&part);

        first = mark == NULL;
        if (mark != NULL && mark + 1 == part.end) {
            t.used--;
            first = 1;
        }
        if (wish->max_entries != 0)
            append_parameter(&t, &first, "max_entries", NULL, wish->max_entries, "");
        if (wish->max_bytes != 0 && !has_parameter(&part, "max_bytes"))
            append_parameter(&t, &first, "max_bytes", NULL, wish->max_bytes >> 20, "mb");
        if (wish->policy != NULL)
            append_parameter(&t, &first, "policy", wish->policy, 0, "");
        if (wish->shards != 0)
            append_parameter(&t, &first, "shards", NULL, wish->shards, "");
    }
    append(&t, part.end, strlen(part.end));
    if (t.cut)
        return cli_fail(err, STRATA_EINVAL, "--layers", "the URL is longer than %d bytes", (int)LAYERS_URL_BYTES);
    return STRATA_OK;
}

/* The "@" that ends them, as it is or as %40; NULL where there is none before `end`. */
static char *end_of_user(char *at, const char *end)
{
    char *last = NULL;
    for (; at < end; at++)
        if (*at == '@' || strncmp(at, "%40", 3) == 0)
            last = at;
    return last;
}

/* The value of a parameter that is a password. */
static void hide_parameters(char *url)
{
    static const char name[] = "_password=";
    for (char *at = strstr(url, name); at != NULL; at = strstr(at, name)) {
        at += sizeof name - 1;
        size_t size = strcspn(at, "&|"), stars = size < 3 ? size : 3;
        memset(at, '*', stars);
        memmove(at + stars, at + size, strlen(at + size) + 1);
    }
}

void layers_url_hide(char *url)
{
    for (char *at = strstr(url, "//"); at != NULL; at = strstr(at, "//")) {
        at += 2;
        char *sign = end_of_user(at, at + strcspn(at, "/?&|"));
        if (sign == NULL)
            continue;
        size_t stars = sign - at < 3 ? (size_t)(sign - at) : 3;
        memset(at, '*', stars);
        memmove(at + stars, sign, strlen(sign) + 1);
        at += stars;
    }
    hide_parameters(url);
}
