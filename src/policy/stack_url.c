/* stack_url.c - see stack_url.h.
 *
 * The text is copied once and then cut in place: separators become NULs, and percent-decoding only ever makes a part
 * shorter, so nothing here can outgrow its room. */
#include "src/policy/stack_url.h"

#include <stdio.h>
#include <string.h>

#include "src/base/err.h"

#define WHERE "url"

static int is_blank(char c) { return c == ' ' || c == '\t'; }

static int is_name_char(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; }

static int is_name(const char *text, char also)
{
    if (text[0] < 'a' || text[0] > 'z')
        return 0;
    while (is_name_char(*text) || (*text == also && also != '\0'))
        text++;
    return *text == '\0';
}

/* What an error may quote of it. */
static const char *shown(const struct stack_url *url, const char *text) { return url->has_secret ? "..." : text; }

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decode "%41" in place. */
static int decode(const struct stack_url *url, char *text, strata_error *err)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (is_blank(*from))
            return strata__fail(err, STRATA_EINVAL, WHERE, "a blank in \"%.60s\": write it as %%20, or take it out",
                                shown(url, from));
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        int high = hex(from[1]);
        int low = high >= 0 ? hex(from[2]) : -1;
        if (low < 0)
            return strata__fail(err, STRATA_EINVAL, WHERE, "\"%.3s\" is no byte: write %%25 for a percent sign itself",
                                shown(url, from));
        if (high == 0 && low == 0)
            return strata__fail(err, STRATA_EINVAL, WHERE, "%%00 cannot be part of a layer's URL: take it out");
        *to++ = (char)(high << 4 | low);
        from += 2;
    }
    *to = '\0';
    return STRATA_OK;
}

/* Cut `text` at the first `separator`; what follows it, or NULL. */
static char *cut(char *text, char separator)
{
    char *at = strchr(text, separator);
    if (at == NULL)
        return NULL;
    *at = '\0';
    return at + 1;
}

static char *trim(char *text)
{
    while (is_blank(*text))
        text++;
    size_t length = strlen(text);
    while (length > 0 && is_blank(text[length - 1]))
        text[--length] = '\0';
    return text;
}

/* "25%": nothing follows that could be a byte, and nobody writes "25%25" of himself. */
static int is_share(const char *value)
{
    size_t digits = strspn(value, "0123456789");
    return digits != 0 && strcmp(value + digits, "%") == 0;
}

static int parse_param(const struct stack_url *url, char *text, struct url_layer *layer, strata_error *err)
{
    if (*text == '\0')
        return strata__fail(err, STRATA_EINVAL, WHERE,
                            "%.30s: a parameter is missing after '?' or '&': write name=value", layer->scheme);
    char *value = cut(text, '=');
    if (!is_name(text, '\0'))
        return strata__fail(err, STRATA_EINVAL, WHERE, "%.30s: \"%.60s\" is no parameter name: write name=value%s",
                            layer->scheme, shown(url, text),
                            url->has_secret ? "; a '?' in a password is written as %3F, '&' as %26" : "");
    if (value == NULL || *value == '\0')
        return strata__fail(err, STRATA_EINVAL, WHERE, "%.30s: %.60s has no value: write %.60s=value, or leave it out",
                            layer->scheme, shown(url, text), shown(url, text));
    if (layer->param_count == STACK_URL_PARAMS)
        return strata__fail(err, STRATA_EINVAL, WHERE, "%.30s: more than %d parameters", layer->scheme,
                            STACK_URL_PARAMS);
    for (size_t i = 0; i < layer->param_count; i++)
        if (strcmp(layer->params[i].name, text) == 0)
            return strata__fail(err, STRATA_EINVAL, WHERE, "%.30s: %.60s stands there twice: keep one", layer->scheme,
                                shown(url, text));
    layer->params[layer->param_count++] = (struct url_param){ text, value };
    return is_share(value) ? STRATA_OK : decode(url, value, err);
}

/* Before it is decoded: the copy has it at the same place. */
static void keep_raw(struct stack_url *url, struct url_layer *layer)
{
    size_t at = (size_t)(layer->rest - url->text);
    url->raw[at + strlen(layer->rest)] = '\0';
    layer->raw_rest = url->raw + at;
}

static int parse_layer(struct stack_url *url, char *text, struct url_layer *layer, strata_error *err)
{
    text = trim(text);
    if (*text == '\0')
        return strata__fail(err, STRATA_EINVAL, WHERE,
                            "a layer is missing: write one before, between and after each '|', "
                            "as \"memory:?max_bytes=64mb\"");
    char *params = cut(text, '?');
    char *rest = cut(text, ':');
    if (!is_name(text, '+'))
        return strata__fail(err, STRATA_EINVAL, WHERE,
                            "\"%.60s\" does not begin with the kind of a layer and ':': write, "
                            "for example, \"memory:?max_bytes=64mb\"%s",
                            shown(url, text), url->has_secret ? "; a '|' in a password is written as %7C" : "");
    layer->scheme = text;
    layer->rest = rest != NULL ? rest : text + strlen(text);
    layer->param_count = 0;
    keep_raw(url, layer);
    int rc = rest != NULL ? decode(url, rest, err) : STRATA_OK;
    while (rc == STRATA_OK && params != NULL) {
        char *next = cut(params, '&');
        rc = parse_param(url, params, layer, err);
        params = next;
    }
    return rc;
}

int strata__stack_url_parse(const char *url, struct stack_url *out, strata_error *err)
{
    out->layer_count = 0;
    if (url == NULL)
        return strata__fail(err, STRATA_EINVAL, WHERE, "the URL is NULL: give one, as \"memory:?max_bytes=64mb\"");
    size_t length = strnlen(url, STACK_URL_BYTES + 1);
    if (length > STACK_URL_BYTES)
        return strata__fail(err, STRATA_EINVAL, WHERE, "longer than %d bytes: shorten it", STACK_URL_BYTES);
    for (size_t i = 0; i < length; i++)
        if (((unsigned char)url[i] < 0x20 && url[i] != '\t') || url[i] == 0x7f)
            return strata__fail(err, STRATA_EINVAL, WHERE,
                                "a control character at byte %zu: take it out, or write it as "
                                "%%%02X",
                                i + 1, (unsigned)(unsigned char)url[i]);
    memcpy(out->text, url, length);
    out->text[length] = '\0';
    memcpy(out->raw, out->text, length + 1);
    out->has_secret = strchr(out->text, '@') != NULL;
    char *text = out->text;
    while (text != NULL) {
        char *next = cut(text, '|');
        if (out->layer_count == STACK_URL_LAYERS)
            return strata__fail(err, STRATA_EINVAL, WHERE, "more than %d layers: take some out", STACK_URL_LAYERS);
        int rc = parse_layer(out, text, &out->layers[out->layer_count], err);
        if (rc < 0)
            return rc;
        out->layer_count++;
        text = next;
    }
    return STRATA_OK;
}

/* What people write between layers where a '|' belongs. */
static int is_wrong_bar(char c) { return c != '\0' && strchr(",;&+>", c) != NULL; }

static int is_gap(char c) { return is_blank(c) || c == '\n' || c == '\r'; }

/* `at` may begin a layer: what stands before it is a separator, but no '|'. */
static int follows_wrong_bar(const char *url, const char *at)
{
    const char *before = at;
    while (before > url && is_gap(before[-1]))
        before--;
    return before > url && before[-1] != '|' && (before < at || is_wrong_bar(before[-1]));
}

const char *strata__stack_url_no_bar(const char *url, int (*is_kind)(const char *name, size_t length))
{
    for (const char *at = url; *at != '\0'; at++) {
        size_t length = 0;
        while (is_name_char(at[length]) || at[length] == '+')
            length++;
        /* "redis:6379" is one of several servers */
        int begins = length > 0 && at[length] == ':' && (at[length + 1] < '0' || at[length + 1] > '9');
        if (begins && follows_wrong_bar(url, at) && is_kind(at, length))
            return at;
    }
    return NULL;
}

/* `url` with " | " instead of what separates its layers, and "..." where there is more of it than there is room. */
static void write_bars(const char *url, int (*is_kind)(const char *name, size_t length), char *out, size_t room)
{
    size_t used = 0;
    const char *from = url, *next;
    do {
        next = strata__stack_url_no_bar(from, is_kind);
        const char *end = next != NULL ? next : from + strlen(from);
        while (next != NULL && end > from && (is_gap(end[-1]) || is_wrong_bar(end[-1]) || end[-1] == '-'))
            end--;
        int n = snprintf(out + used, room - used, "%.*s%s", (int)(end - from), from, next != NULL ? " | " : "");
        used += n > 0 ? (size_t)n : 0;
        from = next;
    } while (next != NULL && used < room);
    if (used >= room)
        memcpy(out + room - sizeof "...", "...", sizeof "...");
}

void strata__stack_url_explain(const char *url, int (*is_kind)(const char *name, size_t length), strata_error *err)
{
    char meant[160];
    const char *at = url != NULL && strnlen(url, STACK_URL_BYTES + 1) <= STACK_URL_BYTES
                         ? strata__stack_url_no_bar(url, is_kind)
                         : NULL;
    if (at == NULL)
        return;
    int has_secret = strchr(url, '@') != NULL;
    write_bars(has_secret ? "memory:?max_bytes=64mb,disk:/var/cache/shop" : url, is_kind, meant, sizeof meant);
    (void)strata__fail(err, STRATA_EINVAL, WHERE,
                       "layers are separated by '|', and none stands before \"%.*s\": write%s \"%s\"",
                       (int)strcspn(at, ":") + 1, at, has_secret ? ", for example," : "", meant);
}
