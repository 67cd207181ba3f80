/* cache_middleware.c - the side of the middleware that answers: see cache_middleware.h; cache_fetch.c is the other one. */
#include "cache_impl.h"
#include "http_rules.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOT_STORED_MS = 5000 }; /* for so long nobody waits for another's response after one was not stored */

int http_cache_open(struct http_cache **out, const struct http_cache_options *options, strata_error *err)
{
    strata_policy policy = { STRATA_SIZED(strata_policy), .uncacheable_ms = NOT_STORED_MS };
    strata_policy reloads = { STRATA_SIZED(strata_policy), .uncacheable_ms = STRATA_OFF };
    strata_namespace_options space = { STRATA_SIZED(strata_namespace_options), .policy = &policy };
    strata_namespace_options below = { STRATA_SIZED(strata_namespace_options), .policy = &reloads };
    struct http_cache *cache = calloc(1, sizeof *cache);
    *out = NULL;
    if (cache == NULL)
        return STRATA_ENOMEM;
    cache->options = *options;
    if (cache->options.name == NULL)
        cache->options.name = "strata";
    if (cache->options.key == NULL)
        cache->options.key = http_key_default;
    if (options->timeout_ms > 0)
        policy.hard_timeout_ms = options->timeout_ms;
    policy.background_completion = STRATA_ON; /* what comes too late for one is there for the next */
    pthread_mutex_init(&cache->lock, NULL);
    int status = strata_namespace(options->cache, options->space != NULL ? options->space : "http", &space,
                                  &cache->space, err);
    if (status >= 0)
        status = strata_namespace(cache->space, "reloads", &below, &cache->reloads, err);
    if (status < 0)
        http_cache_close(cache);
    else
        *out = cache;
    return status;
}

void http_cache_close(struct http_cache *cache)
{
    if (cache == NULL)
        return;
    strata_close(cache->reloads);
    strata_close(cache->space);
    pthread_mutex_destroy(&cache->lock);
    while (cache->idle != NULL) {
        struct ticket *next = cache->idle->next;
        free(cache->idle);
        cache->idle = next;
    }
    free(cache);
}

struct ticket *http__ticket_take(struct http_cache *cache, const struct http_request *request)
{
    pthread_mutex_lock(&cache->lock);
    struct ticket *ticket = cache->idle;
    if (ticket != NULL)
        cache->idle = ticket->next;
    else if ((ticket = calloc(1, sizeof *ticket)) != NULL)
        ticket->cache = cache; /* which never changes: loaders of earlier holders read it without the lock */
    if (ticket != NULL) {
        ticket->serial = ++cache->serials;
        ticket->held = ticket->loaded = 0;
        ticket->request = request;
    }
    pthread_mutex_unlock(&cache->lock);
    return ticket;
}

void http__ticket_key(struct ticket *ticket, strata_slice key)
{
    pthread_mutex_lock(&ticket->cache->lock);
    ticket->key = key;
    ticket->held = 1;
    pthread_mutex_unlock(&ticket->cache->lock);
}

static int ticket_answered(struct ticket *ticket)
{
    pthread_mutex_lock(&ticket->cache->lock);
    int answered = ticket->response != NULL;
    pthread_mutex_unlock(&ticket->cache->lock);
    return answered;
}

struct http_response *http__ticket_give_back(struct ticket *ticket, int *loaded)
{
    struct http_cache *cache = ticket->cache;
    pthread_mutex_lock(&cache->lock);
    struct http_response *response = ticket->response;
    *loaded = ticket->loaded;
    ticket->held = 0;
    ticket->response = NULL;
    ticket->next = cache->idle;
    cache->idle = ticket;
    pthread_mutex_unlock(&cache->lock);
    return response;
}

/* What the cache has to say ------------------------------------------------------------------------------------ */

static void say(struct http_cache *cache, struct http_answer *answer, const char *x_cache, const char *words)
{
    char status[160];
    snprintf(status, sizeof status, "%s; %s", cache->options.name, words);
    http_text_add_string(&answer->extra, "Cache-Status");
    http_text_add_string(&answer->extra, status);
    http_text_add_string(&answer->extra, "x-cache");
    http_text_add_string(&answer->extra, x_cache);
}

static void answer_plainly(struct http_answer *answer, int status, const char *text)
{
    static const char plain[] = "Content-Type\0text/plain\0Cache-Control\0no-store";
    answer->status = status;
    answer->fields = plain;
    answer->fields_size = sizeof plain;
    answer->body = text;
    answer->body_size = strlen(text);
}

static void answer_failed(struct http_answer *answer, int status)
{
    if (status == STRATA_ETIMEDOUT)
        answer_plainly(answer, 504, "The handler takes too long.\n");
    else
        answer_plainly(answer, 502, "The handler failed.\n");
}

static void answer_with(struct http_answer *answer, struct http_response *response)
{
    if (response == NULL) {
        answer_failed(answer, STRATA_ELOADER);
        return;
    }
    answer->status = response->status;
    answer->fields = response->fields.data;
    answer->fields_size = response->fields.size;
    answer->body = response->body.data;
    answer->body_size = response->body.size;
    answer->response = response;
}

/* A client that has it already is told so. */
static void answer_condition(struct http_answer *answer, const struct http_request *request)
{
    const char *wanted = http_request_field(request, "if-none-match"), *since;
    int same = 0;
    if (answer->status != 200)
        return;
    if (wanted != NULL) {
        same = http_etag_matches(wanted, http_block_find(answer->fields, answer->fields_size, "etag"));
    } else if ((since = http_request_field(request, "if-modified-since")) != NULL) {
        int64_t modified = http_date_parse(http_block_find(answer->fields, answer->fields_size, "last-modified"));
        same = modified >= 0 && modified <= http_date_parse(since);
    }
    if (same) {
        answer->status = 304;
        answer->body_size = 0;
    }
}

/* Past the cache: the request as it is, to the handler and back. */
static void pass(struct http_cache *cache, const struct http_request *request, const char *words,
                 struct http_answer *answer)
{
    answer_with(answer, http__ask(cache, request));
    say(cache, answer, "BYPASS", words);
}

static void bypass(struct http_cache *cache, const struct http_request *request, const char *why,
                   struct http_answer *answer)
{
    char words[80];
    snprintf(words, sizeof words, "fwd=bypass; detail=%s", why);
    pass(cache, request, words, answer);
}

/* Through the cache -------------------------------------------------------------------------------------------- */

struct visit {
    struct http_cache *cache;
    const struct http_request *request;
    struct cache_control wants;
    struct ticket *ticket;
    struct http_text primary, variant; /* keys */
    strata_value *value;
    struct http_record record;
    strata_error err;
    int64_t began_us;
    int varies;
};

static int ask_layers(struct visit *v, const struct http_text *key)
{
    const strata_slice slice = strata_bytes(key->data, key->size);
    int status;
    strata_value_unref(v->value);
    v->value = NULL;
    if (key->failed)
        return STRATA_ENOMEM;
    http__ticket_key(v->ticket, slice);
    if (v->wants.only_if_cached)
        status = strata_get(v->cache->space, slice, &v->value, &v->err);
    else
        status = strata_get_or_load(v->cache->space, slice, http__load, v->ticket, NULL, &v->value, &v->err);
    if ((status == STRATA_OK || status == STRATA_STALE) &&
        !http_record_read(strata_bytes(strata_value_data(v->value), strata_value_size(v->value)), &v->record)) {
        strata_delete(v->cache->space, slice, NULL); /* of another program, or damaged: the next one loads it */
        return STRATA_MISS;
    }
    return status;
}

/* The record of the request's response, by way of that of its target. */
static int look_up(struct visit *v)
{
    int status = ask_layers(v, &v->primary);
    if ((status != STRATA_OK && status != STRATA_STALE) || v->record.kind != HTTP_RECORD_VARY)
        return status;
    v->varies = 1;
    if (ticket_answered(v->ticket))
        return status; /* the handler ran for this request just now */
    v->variant.size = 0;
    http__variant_key(strata_bytes(v->primary.data, v->primary.size), &v->record, v->request, &v->variant);
    return ask_layers(v, &v->variant);
}

static int64_t age_of(const struct visit *v)
{
    int64_t since = (http__now_us() - v->record.born_us) / 1000000;
    return v->record.age_s + (since > 0 ? since : 0);
}

/* May the client be given what is stored? */
static int fresh_enough(const struct visit *v)
{
    int64_t age = age_of(v);
    return v->cache->options.ignore_reloads ||
           ((v->wants.max_age < 0 || age <= v->wants.max_age) &&
            (v->wants.min_fresh < 0 || v->record.fresh_s - age >= v->wants.min_fresh));
}

static void answer_stored(struct visit *v, int status, int loaded, struct http_answer *answer)
{
    char words[96], age[24];
    int64_t old = age_of(v);
    const char *miss = v->varies ? "vary-miss" : "uri-miss";
    answer->status = (int)v->record.status;
    answer->fields = v->record.fields;
    answer->fields_size = v->record.fields_size;
    answer->body = v->record.body;
    answer->body_size = v->record.body_size;
    answer->value = strata_value_ref(v->value);
    if (status == STRATA_STALE && loaded)
        snprintf(words, sizeof words, "fwd=stale; detail=error");
    else if (loaded)
        snprintf(words, sizeof words, "fwd=%s%s", miss, v->record.status < 500 ? "; stored" : "");
    else if (v->record.born_us >= v->began_us)
        snprintf(words, sizeof words, "fwd=%s; collapsed", miss);
    else
        snprintf(words, sizeof words, "hit; ttl=%" PRId64, v->record.fresh_s - old);
    say(v->cache, answer, status == STRATA_STALE ? "STALE" : strncmp(words, "hit", 3) == 0 ? "HIT" : "MISS", words);
    snprintf(age, sizeof age, "%" PRId64, old);
    http_text_add_string(&answer->extra, "Age");
    http_text_add_string(&answer->extra, age);
}

/* New from the handler, with all who want that now; 0: another one's request brought it, and it is stored if it may be. */
static int answer_reloaded(struct visit *v, struct http_answer *answer)
{
    strata_slice key = strata_bytes(v->primary.data, v->primary.size);
    strata_value *value = NULL;
    int loaded;
    http__ticket_key(v->ticket, key);
    int status = strata_get_or_load(v->cache->reloads, key, http__reload, v->ticket, NULL, &value, &v->err);
    strata_value_unref(value);
    struct http_response *response = http__ticket_give_back(v->ticket, &loaded);
    v->ticket = NULL;
    if (response == NULL && status >= 0)
        return 0;
    if (response != NULL)
        answer_with(answer, response);
    else
        answer_failed(answer, status);
    say(v->cache, answer, "MISS", "fwd=request");
    return 1;
}

static void answer_found(struct visit *v, int status, struct http_answer *answer)
{
    int loaded, found = status == STRATA_OK || status == STRATA_STALE;
    struct http_response *own = http__ticket_give_back(v->ticket, &loaded);
    v->ticket = NULL;
    if (found && v->record.kind == HTTP_RECORD_RESPONSE) {
        answer_stored(v, status, loaded, answer);
        if (own != NULL)
            http_response_free(own);
        free(own);
    } else if (own != NULL) {
        answer_with(answer, own);
        say(v->cache, answer, "MISS", v->varies ? "fwd=vary-miss; stored" : "fwd=uri-miss");
    } else if (v->wants.only_if_cached) {
        answer_plainly(answer, 504, "Nothing is stored of it.\n");
        say(v->cache, answer, "MISS", "detail=only-if-cached");
    } else if (status == STRATA_EKEYSIZE) {
        bypass(v->cache, v->request, "key-too-long", answer);
    } else if (status == STRATA_ETIMEDOUT || (loaded && status < 0)) { /* the handler has failed for this one */
        answer_failed(answer, status);
        say(v->cache, answer, "MISS", "fwd=uri-miss");
    } else { /* waited for a response that is not for others, or the cache has a problem of its own */
        pass(v->cache, v->request, "fwd=uri-miss", answer);
    }
}

static void through(struct visit *v, struct http_answer *answer)
{
    int reload = !v->cache->options.ignore_reloads && (v->wants.no_cache || v->wants.max_age == 0);
    if (!reload || v->wants.only_if_cached) {
        int status = look_up(v);
        reload = (status == STRATA_OK || status == STRATA_STALE) && v->record.kind == HTTP_RECORD_RESPONSE &&
                 v->record.born_us < v->began_us && !fresh_enough(v) && !v->wants.only_if_cached;
        if (!reload) {
            answer_found(v, status, answer);
            return;
        }
    }
    if (answer_reloaded(v, answer))
        return;
    v->ticket = http__ticket_take(v->cache, v->request);
    if (v->ticket == NULL)
        bypass(v->cache, v->request, "memory", answer);
    else
        answer_found(v, look_up(v), answer);
}

static int make_key(struct http_cache *cache, const struct http_request *request, struct http_text *out)
{
    struct http_text key = { 0 };
    int bad = cache->options.key(request, &key, cache->options.key_ctx);
    http__primary_key(key.data, key.size, out);
    out->failed |= key.failed;
    http_text_free(&key);
    return bad == 0 && !out->failed;
}

/* What is stored of the target is out of date (RFC 9111, 4.4).  Variants are out of reach without the record of their target. */
static void changed(struct http_cache *cache, const struct http_request *request, int status)
{
    struct http_text key = { 0 };
    if (status >= 200 && status < 400 && http_method_unsafe(request->method) && make_key(cache, request, &key))
        strata_delete(cache->space, strata_bytes(key.data, key.size), NULL);
    http_text_free(&key);
}

static void wants_of(const struct http_request *request, struct cache_control *out)
{
    struct http_text text = { 0 };
    const char *pragma = http_request_field(request, "pragma");
    int there = http_request_joined(request, "cache-control", &text);
    cache_control_parse(text.failed ? NULL : text.data, out);
    if (!there && pragma != NULL && http_list_has(pragma, "no-cache"))
        out->no_cache = 1;
    http_text_free(&text);
}

void http_cache_handle(struct http_cache *cache, const struct http_request *request, struct http_answer *out)
{
    *out = (struct http_answer){ 0 };
    if (!http_method_cacheable(request->method)) {
        pass(cache, request, "fwd=method", out);
        changed(cache, request, out->status);
        return;
    }
    const char *why = http_request_bypass(request);
    struct visit v = { .cache = cache, .request = request, .began_us = http__now_us() };
    if (why == NULL && !make_key(cache, request, &v.primary))
        why = "key";
    if (why == NULL && (v.ticket = http__ticket_take(cache, request)) == NULL)
        why = "memory";
    if (why != NULL) {
        bypass(cache, request, why, out);
    } else {
        wants_of(request, &v.wants);
        through(&v, out);
        answer_condition(out, request);
    }
    strata_value_unref(v.value);
    http_text_free(&v.primary);
    http_text_free(&v.variant);
}

void http_answer_free(struct http_answer *answer)
{
    strata_value_unref(answer->value);
    if (answer->response != NULL)
        http_response_free(answer->response);
    free(answer->response);
    http_text_free(&answer->extra);
}
