/* http_message.c - see http_message.h. */
#include "http_message.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void http_text_add(struct http_text *text, const void *data, size_t size)
{
    if (text->failed || size == 0)
        return;
    if (text->room - text->size < size) {
        size_t room = text->room == 0 ? 256 : text->room;
        while (room - text->size < size && room < (size_t)1 << 40)
            room *= 2;
        char *grown = realloc(text->data, room);
        if (grown == NULL) {
            text->failed = 1;
            return;
        }
        text->data = grown;
        text->room = room;
    }
    memcpy(text->data + text->size, data, size);
    text->size += size;
}

void http_text_add_string(struct http_text *text, const char *string)
{
    http_text_add(text, string, strlen(string) + 1);
}

void http_text_free(struct http_text *text)
{
    free(text->data);
    *text = (struct http_text){ 0 };
}

struct search {
    const char *name, *found;
    struct http_text *joined;
    int count;
};

static int first_of(const char *name, const char *value, void *ctx)
{
    struct search *search = ctx;
    if (strcasecmp(name, search->name) == 0)
        search->found = value;
    return search->found != NULL;
}

const char *http_request_field(const struct http_request *request, const char *name)
{
    struct search search = { .name = name };
    request->each(request, first_of, &search);
    return search.found;
}

static int join(const char *name, const char *value, void *ctx)
{
    struct search *search = ctx;
    if (strcasecmp(name, search->name) == 0) {
        http_text_add(search->joined, ", ", search->count++ > 0 ? 2 : 0);
        http_text_add(search->joined, value, strlen(value));
    }
    return 0;
}

int http_request_joined(const struct http_request *request, const char *name, struct http_text *out)
{
    struct search search = { .name = name, .joined = out };
    request->each(request, join, &search);
    http_text_add(out, "", 1);
    return search.count > 0;
}

int http_block_next(const char *block, size_t size, size_t *at, const char **name, const char **value)
{
    if (*at >= size)
        return 0;
    *name = block + *at;
    *at += strlen(*name) + 1;
    if (*at >= size)
        return 0;
    *value = block + *at;
    *at += strlen(*value) + 1;
    return 1;
}

const char *http_block_find(const char *block, size_t size, const char *wanted)
{
    const char *name, *value;
    for (size_t at = 0; http_block_next(block, size, &at, &name, &value);)
        if (strcasecmp(name, wanted) == 0)
            return value;
    return NULL;
}

static void each_of_copy(const struct http_request *request, http_visit visit, void *ctx)
{
    const struct http_text *block = request->fields;
    const char *name, *value;
    for (size_t at = 0; http_block_next(block->data, block->size, &at, &name, &value);)
        if (visit(name, value, ctx) != 0)
            return;
}

static int copy_field(const char *name, const char *value, void *ctx)
{
    struct http_text *text = ctx;
    if (strcasecmp(name, "range") != 0 && strncasecmp(name, "if-", 3) != 0) {
        http_text_add_string(text, name);
        http_text_add_string(text, value);
    }
    return 0;
}

static void of_block(struct http_request_copy *out, const char *target)
{
    out->request = (struct http_request){
        .method = "GET", .target = target, .each = each_of_copy, .fields = &out->text
    };
}

int http_request_copy(const struct http_request *request, struct http_request_copy *out)
{
    *out = (struct http_request_copy){ .text = { 0 } };
    request->each(request, copy_field, &out->text);
    char *target = strdup(request->target);
    if (out->text.failed || target == NULL) {
        free(target);
        http_text_free(&out->text);
        return -1;
    }
    of_block(out, target);
    return 0;
}

void http_request_of(const char *target, const char *block, size_t size, struct http_request_copy *out)
{
    *out = (struct http_request_copy){ .text = { 0 } };
    http_text_add(&out->text, block, size);
    char *own = strdup(target);
    of_block(out, own != NULL ? own : "");
    out->text.failed |= own == NULL;
}

void http_request_copy_free(struct http_request_copy *copy)
{
    if (copy->request.target != NULL && copy->request.target[0] != '\0')
        free((char *)(size_t)copy->request.target);
    http_text_free(&copy->text);
}

void http_response_field(struct http_response *response, const char *name, const char *value)
{
    http_text_add_string(&response->fields, name);
    http_text_add_string(&response->fields, value);
}

void http_response_free(struct http_response *response)
{
    http_text_free(&response->fields);
    http_text_free(&response->body);
}
