/* cache_key.c - under which keys responses are stored: see cache_impl.h. */
#include "cache_impl.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void http__primary_key(const void *key, size_t size, struct http_text *out)
{
    http_text_add(out, "P", 1);
    http_text_add(out, key, size);
}

static void add_sized(struct http_text *out, const char *data, size_t size)
{
    uint32_t n = data != NULL ? (uint32_t)size : UINT32_MAX; /* a field that is not there differs from an empty one */
    http_text_add(out, &n, sizeof n);
    if (data != NULL)
        http_text_add(out, data, size);
}

void http__variant_key(strata_slice primary, const struct http_record *vary, const struct http_request *request,
                       struct http_text *out)
{
    http_text_add(out, "V", 1);
    http_text_add(out, &vary->variant, sizeof vary->variant);
    add_sized(out, primary.data, primary.size);
    for (const char *name = vary->vary; name < vary->vary + vary->vary_size; name += strlen(name) + 1) {
        struct http_text value = { 0 };
        int there = http_request_joined(request, name, &value);
        add_sized(out, there && !value.failed ? value.data : NULL, value.size);
        out->failed |= value.failed;
        http_text_free(&value);
    }
}

struct parameter {
    const char *text;
    size_t size;
    size_t place; /* among those of one name the order counts */
};

static int by_name(const void *a, const void *b)
{
    const struct parameter *x = a, *y = b;
    size_t nx = strcspn(x->text, "=&"), ny = strcspn(y->text, "=&");
    int order = memcmp(x->text, y->text, nx < ny ? nx : ny);
    if (order != 0)
        return order;
    if (nx != ny)
        return nx < ny ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

static void add_sorted(const char *query, struct http_text *out)
{
    size_t count = 1, n = 0;
    for (const char *at = query; *at != '\0'; at++)
        count += *at == '&';
    struct parameter *list = calloc(count, sizeof *list);
    if (list == NULL) {
        out->failed = 1;
        return;
    }
    for (const char *at = query; n < count; at += list[n].size + 1, n++)
        list[n] = (struct parameter){ at, strcspn(at, "&"), n };
    qsort(list, count, sizeof *list, by_name);
    for (size_t i = 0; i < count; i++) {
        http_text_add(out, i == 0 ? "?" : "&", 1);
        http_text_add(out, list[i].text, list[i].size);
    }
    free(list);
}

int http_key_default(const struct http_request *request, struct http_text *out, void *ctx)
{
    const char *host = http_request_field(request, "host"), *query = strchr(request->target, '?');
    (void)ctx;
    http_text_add(out, "GET ", 4);
    for (; host != NULL && *host != '\0'; host++)
        http_text_add(out, &(char){ (char)tolower((unsigned char)*host) }, 1);
    http_text_add(out, " ", 1);
    http_text_add(out, request->target, query != NULL ? (size_t)(query - request->target) : strlen(request->target));
    if (query != NULL)
        add_sorted(query + 1, out);
    return 0;
}
