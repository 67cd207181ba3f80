/* cache_fetch.c - the side of the middleware that runs handlers and stores: see cache_impl.h. */
#include "cache_impl.h"
#include "http_rules.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { VARY_MARK_HOURS = 24 };

int64_t http__now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

struct http_response *http__ask(struct http_cache *cache, const struct http_request *request)
{
    struct http_response *response = calloc(1, sizeof *response);
    if (response == NULL)
        return NULL;
    response->status = 200;
    if (cache->options.handler(request, response, cache->options.handler_ctx) == 0 && !response->fields.failed &&
        !response->body.failed)
        return response;
    http_response_free(response);
    free(response);
    return NULL;
}

static void drop(struct http_response *response)
{
    if (response != NULL)
        http_response_free(response);
    free(response);
}

/* 1: somebody waits with this ticket for this key, and `out` is a copy of what he asks. */
static int claim(struct ticket *ticket, strata_slice key, struct http_request_copy *out, uint64_t *serial)
{
    pthread_mutex_lock(&ticket->cache->lock);
    int good = ticket->held && ticket->key.size == key.size && memcmp(ticket->key.data, key.data, key.size) == 0 &&
               http_request_copy(ticket->request, out) == 0;
    if (good) {
        ticket->loaded = 1;
        *serial = ticket->serial;
    }
    pthread_mutex_unlock(&ticket->cache->lock);
    return good;
}

/* To who asked, if he is still there. */
static void hand_over(struct ticket *ticket, uint64_t serial, struct http_response *response)
{
    pthread_mutex_lock(&ticket->cache->lock);
    if (serial != 0 && ticket->held && ticket->serial == serial && ticket->response == NULL) {
        ticket->response = response;
        response = NULL;
    }
    pthread_mutex_unlock(&ticket->cache->lock);
    drop(response);
}

/* Names that Vary has, in small letters. */
static void vary_names(const struct http_response *response, struct http_text *out)
{
    const char *name, *value;
    for (size_t at = 0; http_block_next(response->fields.data, response->fields.size, &at, &name, &value);) {
        if (strcmp(name, "Vary") != 0 && strcmp(name, "vary") != 0)
            continue;
        while (*value != '\0') {
            size_t n = strcspn(value, ", \t");
            for (size_t i = 0; i < n; i++)
                http_text_add(out, &(char){ (char)tolower((unsigned char)value[i]) }, 1);
            if (n > 0)
                http_text_add(out, "", 1);
            value += n + strspn(value + n, ", \t");
        }
    }
}

static int has_name(const char *names, size_t size, const char *name)
{
    for (const char *at = names; at < names + size; at += strlen(at) + 1)
        if (strcmp(at, name) == 0)
            return 1;
    return 0;
}

static int names_within(const struct http_text *names, const struct http_record *vary)
{
    for (size_t at = 0; at < names->size; at += strlen(names->data + at) + 1)
        if (!has_name(vary->vary, vary->vary_size, names->data + at))
            return 0;
    return 1;
}

/* What is stored of a response: texts that are its own, and what of it goes where. */
struct parts {
    struct http_text fields, asked, names;
    struct http_freshness freshness;
    enum http_verdict verdict;
    int64_t born_us;
};

static void parts_free(struct parts *parts)
{
    http_text_free(&parts->fields);
    http_text_free(&parts->asked);
    http_text_free(&parts->names);
}

static void parts_make(struct http_cache *cache, const struct http_request *request,
                       const struct http_response *response, struct parts *out)
{
    const char *name, *value, *connection = http_block_find(response->fields.data, response->fields.size, "connection");
    *out = (struct parts){ .born_us = http__now_us() };
    out->verdict = http_response_judge(response, out->born_us / 1000000, cache->options.default_ttl_s, &out->freshness);
    for (size_t at = 0; http_block_next(response->fields.data, response->fields.size, &at, &name, &value);)
        if (http_field_stored(name, connection)) {
            http_text_add_string(&out->fields, name);
            http_text_add_string(&out->fields, value);
        }
    vary_names(response, &out->names);
    http_text_add_string(&out->asked, request->target);
    for (size_t at = 0; at < out->names.size; at += strlen(out->names.data + at) + 1) {
        struct http_text joined = { 0 };
        if (http_request_joined(request, out->names.data + at, &joined) && !joined.failed) {
            http_text_add_string(&out->asked, out->names.data + at);
            http_text_add_string(&out->asked, joined.data);
        }
        out->asked.failed |= joined.failed;
        http_text_free(&joined);
    }
    if (out->fields.failed || out->asked.failed || out->names.failed)
        out->verdict = HTTP_PRIVATE; /* no memory: for who asked alone */
}

static int write_response(const struct parts *parts, const struct http_response *response, void **out, size_t *out_size)
{
    const struct http_record record = { .kind = HTTP_RECORD_RESPONSE,
                                        .status = (uint32_t)response->status,
                                        .born_us = parts->born_us,
                                        .age_s = parts->freshness.age_s,
                                        .fresh_s = parts->freshness.fresh_s,
                                        .fields = parts->fields.data,
                                        .fields_size = parts->fields.size,
                                        .asked = parts->asked.data,
                                        .asked_size = parts->asked.size,
                                        .body = response->body.data,
                                        .body_size = response->body.size };
    return http_record_write(&record, out, out_size);
}

static strata_policy policy_of(const struct http_freshness *f)
{
    return (strata_policy){ STRATA_SIZED(strata_policy), .ttl_ms = (f->fresh_s - f->age_s) * 1000,
                            .stale_while_revalidate_ms = f->stale_while_revalidate_s > 0
                                                             ? f->stale_while_revalidate_s * 1000
                                                             : STRATA_OFF,
                            .stale_if_error_ms = f->stale_if_error_s > 0 ? f->stale_if_error_s * 1000 : STRATA_OFF };
}

/* What is there already of a target whose responses vary: 1, and *out borrows from *value, which is to be given back. */
static int find_vary(struct http_cache *cache, strata_slice primary, strata_value **value, struct http_record *out)
{
    int status = strata_get(cache->space, primary, value, NULL);
    return (status == STRATA_OK || status == STRATA_STALE) &&
           http_record_read(strata_bytes(strata_value_data(*value), strata_value_size(*value)), out) &&
           out->kind == HTTP_RECORD_VARY;
}

/* Store a response that varies below the names of `vary`. */
static int set_variant(struct http_cache *cache, strata_slice primary, const struct http_record *vary,
                       const struct http_request *request, const struct http_response *response,
                       const struct parts *parts)
{
    struct http_text key = { 0 };
    strata_policy policy = policy_of(&parts->freshness);
    void *data = NULL;
    size_t size = 0;
    int status = STRATA_ENOMEM;
    http__variant_key(primary, vary, request, &key);
    if (!key.failed && write_response(parts, response, &data, &size) == 0)
        status = strata_set(cache->space, strata_bytes(key.data, key.size), strata_bytes(data, size), &policy, NULL);
    free(data);
    http_text_free(&key);
    return status;
}

/* A new record of a target whose responses vary.  Variants have its number in their keys: without it, they are out of reach. */
static struct http_record vary_record(struct ticket *ticket, const struct parts *parts)
{
    uint64_t mixed = (uint64_t)parts->born_us * 0x9e3779b97f4a7c15u ^ (uint64_t)(uintptr_t)ticket;
    pthread_mutex_lock(&ticket->cache->lock);
    mixed ^= ++ticket->cache->serials << 48;
    pthread_mutex_unlock(&ticket->cache->lock);
    return (struct http_record){ .kind = HTTP_RECORD_VARY,
                                 .born_us = parts->born_us,
                                 .variant = mixed,
                                 .vary = parts->names.data,
                                 .vary_size = parts->names.size };
}

static const strata_policy vary_policy = { STRATA_SIZED(strata_policy), .ttl_ms = VARY_MARK_HOURS * 3600 * 1000LL,
                                           .stale_while_revalidate_ms = STRATA_OFF, .stale_if_error_ms = STRATA_OFF };

static void free_record(void *data, void *ctx)
{
    (void)ctx;
    free(data);
}

static int complete(strata_load *load, const struct http_record *record, const strata_policy *policy)
{
    void *data;
    size_t size;
    if (http_record_write(record, &data, &size) != 0)
        return strata_load_fail(load, STRATA_ENOMEM, "no memory to store the response");
    strata_load_set_policy(load, policy);
    return strata_load_take(load, data, size, free_record, NULL);
}

static int complete_with_nothing(strata_load *load)
{
    const struct http_record nothing = { .kind = HTTP_RECORD_NOTHING };
    void *data;
    size_t size;
    if (http_record_write(&nothing, &data, &size) != 0)
        return strata_load_fail(load, STRATA_ENOMEM, "no memory");
    int status = strata_load_decline(load, data, size);
    free(data);
    return status;
}

static int complete_with_response(strata_load *load, const struct parts *parts, const struct http_response *response)
{
    strata_policy policy = policy_of(&parts->freshness);
    void *data;
    size_t size;
    if (write_response(parts, response, &data, &size) != 0)
        return strata_load_fail(load, STRATA_ENOMEM, "no memory to store the response");
    if (parts->verdict == HTTP_STORE) {
        strata_load_set_policy(load, &policy);
        return strata_load_take(load, data, size, free_record, NULL);
    }
    int status = strata_load_decline(load, data, size);
    free(data);
    return status;
}

/* The key of the target, out of that of a variant; empty for one that is none. */
static strata_slice primary_of(strata_slice key)
{
    uint32_t size;
    const char *data = key.data;
    if (key.size < 1 + sizeof(uint64_t) + sizeof size || data[0] != 'V')
        return strata_bytes(NULL, 0);
    memcpy(&size, data + 1 + sizeof(uint64_t), sizeof size);
    return strata_bytes(data + 1 + sizeof(uint64_t) + sizeof size, size);
}

/* A response that may be stored: 1 and *status where the load is completed with it. */
static int store(strata_load *load, strata_slice key, struct ticket *ticket, const struct http_request *request,
                 const struct http_response *response, const struct parts *parts, int *status)
{
    struct http_cache *cache = ticket->cache;
    strata_slice primary = primary_of(key);
    if (primary.size > 0) {
        strata_value *value = NULL;
        struct http_record vary;
        int within = find_vary(cache, primary, &value, &vary) && names_within(&parts->names, &vary);
        strata_value_unref(value);
        if (within)
            *status = complete_with_response(load, parts, response);
        else
            strata_delete(cache->space, primary, NULL); /* it varies by more than it did: begin anew */
        return within;
    }
    if (parts->names.size == 0) {
        *status = complete_with_response(load, parts, response);
        return 1;
    }
    struct http_record vary = vary_record(ticket, parts);
    if (set_variant(cache, key, &vary, request, response, parts) < 0)
        return 0;
    *status = complete(load, &vary, &vary_policy);
    return 1;
}

int http__load(strata_load *load, strata_slice key, void *ctx)
{
    struct ticket *ticket = ctx;
    struct http_request_copy copy = { .text = { 0 } };
    struct http_record before = { 0 };
    struct parts parts;
    uint64_t serial = 0;
    const strata_value *previous = strata_load_previous(load);
    int had = previous != NULL &&
              http_record_read(strata_bytes(strata_value_data(previous), strata_value_size(previous)), &before) &&
              before.kind == HTTP_RECORD_RESPONSE && before.asked_size > 0;
    if (!claim(ticket, key, &copy, &serial)) {
        if (!had)
            return strata_load_fail(load, STRATA_ECANCELED, "nobody waits for it any more");
        size_t target = strlen(before.asked) + 1;
        http_request_of(before.asked, before.asked + target, before.asked_size - target, &copy);
    }
    struct http_response *response = copy.text.failed ? NULL : http__ask(ticket->cache, &copy.request);
    if (response == NULL) {
        http_request_copy_free(&copy);
        return strata_load_fail(load, STRATA_ELOADER, "the handler failed");
    }
    int status = STRATA_OK, done = 0, keep = response->status >= 500 && had;
    parts_make(ticket->cache, &copy.request, response, &parts);
    if (keep) /* the stale one is served, if it may be */
        hand_over(ticket, serial, response);
    if (keep)
        done = 1, status = strata_load_fail(load, STRATA_ELOADER, "the handler answered with an error of the server");
    else if (parts.verdict == HTTP_STORE)
        done = store(load, key, ticket, &copy.request, response, &parts, &status);
    else if (parts.verdict == HTTP_SHARE)
        done = 1, status = complete_with_response(load, &parts, response);
    else if (had)
        strata_delete(ticket->cache->space, key, NULL); /* from now on nobody gets what was stored */
    if (!keep)
        hand_over(ticket, serial, response);
    parts_free(&parts);
    http_request_copy_free(&copy);
    return done ? status : complete_with_nothing(load);
}

/* Into the namespace, from outside its loads. */
static void replace(struct ticket *ticket, strata_slice key, const struct http_request *request,
                    const struct http_response *response, const struct parts *parts)
{
    struct http_cache *cache = ticket->cache;
    strata_policy policy = policy_of(&parts->freshness);
    strata_value *value = NULL;
    struct http_record vary;
    void *data;
    size_t size;
    if (parts->names.size == 0) {
        if (write_response(parts, response, &data, &size) == 0) {
            strata_set(cache->space, key, strata_bytes(data, size), &policy, NULL);
            free(data);
        }
        return;
    }
    if (!find_vary(cache, key, &value, &vary) || !names_within(&parts->names, &vary)) {
        vary = vary_record(ticket, parts);
        if (http_record_write(&vary, &data, &size) == 0) {
            strata_set(cache->space, key, strata_bytes(data, size), &vary_policy, NULL);
            free(data);
        }
    }
    set_variant(cache, key, &vary, request, response, parts);
    strata_value_unref(value);
}

/* The handler is asked once for all who want it anew at the same time; what it says is stored for everybody. */
int http__reload(strata_load *load, strata_slice key, void *ctx)
{
    struct ticket *ticket = ctx;
    struct http_request_copy copy;
    struct parts parts;
    uint64_t serial;
    if (!claim(ticket, key, &copy, &serial))
        return strata_load_fail(load, STRATA_ECANCELED, "nobody waits for it any more");
    struct http_response *response = http__ask(ticket->cache, &copy.request);
    if (response != NULL) {
        parts_make(ticket->cache, &copy.request, response, &parts);
        if (parts.verdict == HTTP_STORE)
            replace(ticket, key, &copy.request, response, &parts);
        else if (parts.verdict == HTTP_PRIVATE)
            strata_delete(ticket->cache->space, key, NULL);
        hand_over(ticket, serial, response);
        parts_free(&parts);
    }
    http_request_copy_free(&copy);
    return response != NULL ? complete_with_nothing(load)
                            : strata_load_fail(load, STRATA_ELOADER, "the handler failed");
}
