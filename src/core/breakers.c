/* breakers.c - breakers of loads: which one is a flight's, asking it, and telling it how the load went.
 *
 * One that has no failure to remember, and that nobody is to tell anything, is not kept. */
#include <stdio.h>

#include "src/base/hash.h"
#include "src/core/flight.h"

struct loads_breaker {
    struct ward ward;
    struct breaker breaker;
};

static struct loads_breaker *of_ward(struct ward *w) { return (struct loads_breaker *)(void *)w; }

/* Whose ---------------------------------------------------------------------------------------------------------- */

uint64_t strata__scope_id(const struct flight *f, int32_t scope, const char *name)
{
    const uint64_t seed = f->root->seed;
    const struct {
        strata_loader loader;
        strata_bulk_loader bulk;
        void *ctx;
    } who = { f->loader, f->bulk, f->loader_ctx };
    if (name != NULL)
        return strata__hash(name, strlen(name), strata__mix64(seed + 1));
    switch (scope) {
    case STRATA_SCOPE_CACHE: return strata__mix64(seed + 2);
    case STRATA_SCOPE_LOADER: return strata__hash(&who, sizeof who, strata__mix64(seed + 3));
    case STRATA_SCOPE_KEY: return strata__mix64(f->key.hash + strata__mix64(seed + 4));
    default: return strata__mix64(f->handle->space + strata__mix64(seed + 5));
    }
}

const char *strata__scope_words(const struct flight *f, int32_t scope, const char *name, char *out, size_t room)
{
    char key[80];
    if (name != NULL)
        snprintf(out, room, "\"%s\"", name);
    else if (scope == STRATA_SCOPE_KEY)
        snprintf(out, room, "of the key \"%s\"", strata__key_text(f->key.plain, key, sizeof key));
    else if (scope == STRATA_SCOPE_CACHE || (scope != STRATA_SCOPE_LOADER && f->handle->name[0] == 0))
        snprintf(out, room, "of the cache");
    else if (scope == STRATA_SCOPE_LOADER)
        snprintf(out, room, "of the loader");
    else
        snprintf(out, room, "of the namespace \"%.60s\"", f->handle->name);
    return out;
}

static const char *words_of(const struct flight *f, char *out, size_t room)
{
    return strata__scope_words(f, f->policy.breaker_scope, f->policy.breaker_name, out, room);
}

static uint64_t id_of(const struct flight *f)
{
    return strata__scope_id(f, f->policy.breaker_scope, f->policy.breaker_name);
}

/* Asking --------------------------------------------------------------------------------------------------------- */

static void refused(struct flight *f, const struct breaker *b, int64_t now)
{
    char whose[160], when[64];
    if (b->probing)
        snprintf(when, sizeof when, "one load of it tries now whether that is over");
    else
        snprintf(when, sizeof when, "the next load is tried in %lld ms", (long long)(b->until_ms - now));
    f->load.status = STRATA_EBREAKER;
    strata__fail(&f->load.err, STRATA_EBREAKER, "breaker_failures",
                 "the breaker %s is open after %u failed loads in a row: %s; stale_if_error_ms would serve what was "
                 "there before",
                 words_of(f, whose, sizeof whose), b->in_a_row, when);
}

/* As it is now, in *b. */
static int is_open(const struct flight *f, int64_t now, struct breaker *b)
{
    struct warden *o = &f->root->warden;
    *b = (struct breaker){ .state = BREAKER_CLOSED };
    if (f->policy.breaker_failures <= 0)
        return 0;
    key_mutex_lock(&o->lock);
    struct ward *w = strata__ward_find(&o->breakers, id_of(f));
    if (w != NULL)
        *b = of_ward(w)->breaker;
    key_mutex_unlock(&o->lock);
    return b->state != BREAKER_CLOSED && now < b->until_ms;
}

int strata__breaker_is_open(const struct flight *f)
{
    struct breaker b;
    return is_open(f, ex_now_ms(f->root->ex), &b);
}

int strata__breaker_refuses(struct flight *f)
{
    struct breaker b;
    int64_t now = ex_now_ms(f->root->ex);
    if (!is_open(f, now, &b))
        return 0;
    refused(f, &b, now);
    return 1;
}

static struct loads_breaker *made_locked(struct flight *f, uint64_t id)
{
    struct wards *all = &f->root->warden.breakers;
    const strata_policy *p = &f->policy;
    struct ward *w = strata__ward_find(all, id);
    if (w == NULL) {
        w = strata__ward_make(all, f->mem, id, sizeof(struct loads_breaker));
        if (w == NULL)
            return NULL;
        strata__breaker_init(&of_ward(w)->breaker, (uint32_t)p->breaker_failures, p->breaker_open_ms,
                             p->breaker_open_ms);
    }
    struct breaker *b = &of_ward(w)->breaker;
    b->failures = (uint32_t)p->breaker_failures;
    b->open_ms = b->probe_ms = p->breaker_open_ms;
    return of_ward(w);
}

int strata__breaker_stops(struct flight *f, const struct flight *first)
{
    struct warden *o = &f->root->warden;
    int64_t now = ex_now_ms(f->root->ex);
    struct breaker b = { 0 };
    int stops = 0;
    if (f->policy.breaker_failures <= 0 || f->way_in.breaker != NULL)
        return 0;
    key_mutex_lock(&o->lock);
    uint64_t id = id_of(f);
    /* Without memory to remember failures in, none are. */
    struct loads_breaker *w = made_locked(f, id);
    if (w != NULL && first != NULL && first->way_in.breaker == &w->ward) {
        f->way_in.ticket = first->way_in.ticket;
    } else if (w != NULL) {
        stops = strata__breaker_ask(&w->breaker, now, &f->way_in.ticket) == BREAKER_REFUSE;
        b = w->breaker;
    }
    if (w != NULL && !stops) {
        f->way_in.breaker = &w->ward;
        w->ward.users++;
    }
    key_mutex_unlock(&o->lock);
    if (stops)
        refused(f, &b, now);
    return stops;
}

/* Telling -------------------------------------------------------------------------------------------------------- */

static void tell_listeners(struct flight *f, uint32_t kind, const struct breaker *b)
{
    char whose[160], words[256];
    if (!event_wanted(f->root, kind))
        return;
    words_of(f, whose, sizeof whose);
    if (kind == STRATA_EVENT_BREAKER_OPEN)
        snprintf(words, sizeof words, "the breaker %s opened after %u failed loads in a row, for %lld ms", whose,
                 b->in_a_row, (long long)b->open_ms);
    else
        snprintf(words, sizeof words, "the breaker %s closed: a load succeeded", whose);
    strata_event e = { .size = sizeof e, .kind = kind, .cache = f->handle, .key = f->key.plain, .message = words };
    strata__event_fire(f->handle, &e);
}

void strata__breaker_hears(struct flight *f, enum breaker_verdict verdict)
{
    struct warden *o = &f->root->warden;
    if (f->policy.breaker_failures <= 0)
        return;
    key_mutex_lock(&o->lock);
    struct ward *w = f->way_in.breaker;
    if (w == NULL) {
        key_mutex_unlock(&o->lock);
        return;
    }
    struct breaker *b = &of_ward(w)->breaker, before = *b, after;
    f->way_in.breaker = NULL;
    strata__breaker_tell(b, f->way_in.ticket, verdict, ex_now_ms(f->root->ex));
    after = *b;
    if (--w->users == 0 && after.state == BREAKER_CLOSED && after.in_a_row == 0)
        strata__ward_drop(&o->breakers, f->mem, w);
    key_mutex_unlock(&o->lock);
    if (after.opened != before.opened) {
        count_up(f->handle, COUNT_BREAKER_OPENED);
        tell_listeners(f, STRATA_EVENT_BREAKER_OPEN, &after);
    } else if (after.state == BREAKER_CLOSED && before.state != BREAKER_CLOSED) {
        tell_listeners(f, STRATA_EVENT_BREAKER_CLOSED, &after);
    }
}
