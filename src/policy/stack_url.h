/* stack_url.h - the text of a stack, "memory:?max_bytes=64mb&policy=lru | other:...", taken apart.
 *
 *   stack = layer *( "|" layer )          layers, nearest first; blanks around each are skipped
 *   layer = scheme [ ":" rest [ "?" parameter *( "&" parameter ) ] ]
 *   scheme = a-z, then a-z 0-9 - _ +      parameter = name "=" value
 *
 * rest and values are percent-decoded ("%7C" is "|", "%26" is "&").  Where there is an '@' there may be a password: then no error
 * quotes the text.  Pure and bounded: no allocation, no recursion, and
 * no idea which layers there are: that is src/builtin.c's. */
#ifndef STRATA_POLICY_STACK_URL_H
#define STRATA_POLICY_STACK_URL_H
#include <stddef.h>

#include "strata/error.h"

enum { STACK_URL_LAYERS = 8, STACK_URL_PARAMS = 16, STACK_URL_BYTES = 4096 };

struct url_param {
    const char *name;
    const char *value; /* never empty */
};

struct url_layer {
    const char *scheme;
    const char *rest;     /* what stands between ':' and '?'; may be empty */
    const char *raw_rest; /* the same, not decoded: for kinds that decode its parts themselves */
    struct url_param params[STACK_URL_PARAMS];
    size_t param_count;
};

/* All texts point into `text`: do not copy the struct. */
struct stack_url {
    struct url_layer layers[STACK_URL_LAYERS];
    size_t layer_count;
    int has_secret; /* there is an '@' */
    char text[STACK_URL_BYTES + 1];
    char raw[STACK_URL_BYTES + 1];
};

/* STRATA_OK, or STRATA_EINVAL that names the part. */
int strata__stack_url_parse(const char *url, struct stack_url *out, strata_error *err);

/* Where in `url`, behind a comma, a blank or the like instead of a '|', what may be a further layer begins: one of the kinds that
 * is_kind() knows, and its ':'.  NULL: nowhere. */
const char *strata__stack_url_no_bar(const char *url, int (*is_kind)(const char *name, size_t length));

/* A URL that was refused, and has such a place: say instead that it's a '|' which separates layers, and quote the URL as it was meant, unless
 * there may be a password in it.  Else `err` stays as it is. */
void strata__stack_url_explain(const char *url, int (*is_kind)(const char *name, size_t length), strata_error *err);

#endif /* STRATA_POLICY_STACK_URL_H */
