/* coherence_trust.c - up to when is what this node holds to be trusted?  coherence_impl.h has the idea.
 *
 * A hit compares two words of its handle: trusted_until with its own clock, and line with the entry's position.  Nothing here has to
 * run for trust to end: a process that was stopped, and wakes, finds the moment passed. */
#include <stdio.h>
#include <string.h>

#include "src/core/bans.h"
#include "src/core/coherence_impl.h"

/* moment + ms, where the moment may be none. */
static int64_t after(int64_t moment, int64_t ms) { return moment == NEVER ? NEVER : moment + ms; }

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t proven_until(const struct coherence *c) { return after(c->proven, c->trust_ms); }

/* Two epochs are one, and as suspect as the older: what is folded is trusted too little, never too much.  Two of before the last loss,
 * or two of after it: no proof brings back what is older. */
static void fold_locked(struct coherence *c)
{
    uint32_t i = c->lost >= 2 ? 0 : c->lost;
    struct epoch *into = &c->epochs[i];
    into->until = into[0].until < into[1].until ? into[0].until : into[1].until;
    memmove(&into[1], &into[2], (c->epoch_count - i - 2) * sizeof *into);
    c->epoch_count--;
    c->lost -= c->lost >= 2;
}

/* Epochs whose time is over need not be told apart as finely as those that are trusted: one in trust_ms is enough for suspect_ms. */
static void thin_locked(struct coherence *c, int64_t now)
{
    uint32_t kept = 0, lost = c->lost;
    for (uint32_t i = 1; i < c->epoch_count; i++) {
        struct epoch *last = &c->epochs[kept];
        const struct epoch next = c->epochs[i];
        if (i != lost && next.until <= now && last->until <= now && next.until - last->until < c->trust_ms)
            last->until = last->until < next.until ? last->until : next.until;
        else
            c->epochs[++kept] = next;
        if (i == lost)
            c->lost = kept;
    }
    c->epoch_count = kept + 1;
}

/* Tree lock. */
static void new_epoch_locked(struct coherence *c, int64_t now)
{
    thin_locked(c, now);
    if (c->epoch_count == EPOCHS)
        fold_locked(c);
    uint32_t begin = next_position(c->root);
    c->epochs[c->epoch_count++] = (struct epoch){ .begin = begin, .until = now + c->trust_ms };
    publish_position(c->root, begin);
}

/* From when on is what is born to have an epoch of its own?  As long as proofs come, never: with the next one it would be none.  Two
 * heartbeats without one, and what is loaded may have to do without. */
static int64_t window_due(const struct coherence *c, int64_t now)
{
    int64_t due = c->epochs[c->epoch_count - 1].until - c->trust_ms + c->window_ms;
    int64_t overdue = proven_until(c) > now ? c->proven + 2 * c->heartbeat_ms : NEVER;
    return larger(due, overdue < proven_until(c) ? overdue : proven_until(c));
}

/* What the hot paths compare.  Lines are never lowered, for bans draw them, too: as long as there is no proof, and an epoch has begun
 * for want of it, hits take the way that looks closer.  Tree lock. */
static void tell_handles_locked(struct coherence *c, int64_t now)
{
    struct root *root = c->root;
    int one = c->lost + 1 == c->epoch_count;
    root->suspect_line = c->epochs[c->lost].begin;
    root->trusted_until = proven_until(c) > now ? proven_until(c) : NEVER;
    if (one)
        root->trusted_until = larger(root->trusted_until, c->epochs[c->lost].until);
    if (root->layers[0].flags & STRATA_LAYER_SHARED) { /* what others write to, too, needs no trust */
        root->suspect_line = 0;
        root->trusted_until = INT64_MAX;
    }
    atomic_store_explicit(&c->window_due, window_due(c, now), memory_order_relaxed);
    for (uint32_t i = 0; i < root->space_count; i++)
        trust_set_locked(root->spaces[i]);
}

void strata__trust_window(struct root *root)
{
    struct coherence *c = root->coherence;
    if (c == NULL || ex_now_ms(root->ex) < atomic_load_explicit(&c->window_due, memory_order_relaxed))
        return;
    key_mutex_lock(&root->tree_lock);
    int64_t now = ex_now_ms(root->ex);
    key_mutex_lock(&c->lock);
    if (now >= window_due(c, now)) { /* nobody was faster */
        new_epoch_locked(c, now);
        tell_handles_locked(c, now);
    }
    key_mutex_unlock(&c->lock);
    key_mutex_unlock(&root->tree_lock);
}

static uint32_t epoch_of(const struct coherence *c, uint32_t position)
{
    uint32_t i = c->epoch_count - 1;
    while (i > 0 && position < c->epochs[i].begin)
        i--;
    return i;
}

uint32_t strata__suspect_cap(struct root *root, uint32_t position, uint32_t now)
{
    struct coherence *c = root->coherence;
    if (c == NULL)
        return now;
    key_mutex_lock(&c->lock);
    uint32_t i = epoch_of(c, position);
    uint32_t most = i + 1 < c->epoch_count ? c->epochs[i + 1].begin - 1 : now;
    key_mutex_unlock(&c->lock);
    return most < now ? most : now;
}

uint32_t strata__suspect_begin(struct root *root)
{
    struct coherence *c = root->coherence;
    if (c == NULL)
        return 0;
    key_mutex_lock(&c->lock);
    uint32_t begin = c->epochs[c->epoch_count - 1].begin;
    key_mutex_unlock(&c->lock);
    return begin;
}

int strata__trust_level_locked(struct coherence *c, uint32_t position, int64_t now)
{
    uint32_t i = epoch_of(c, position);
    int64_t until = c->epochs[i].until;
    if (i >= c->lost)
        until = larger(until, proven_until(c));
    if (now < until)
        return SUSPECT_NOT;
    if (c->suspect_ms == STRATA_OFF)
        return SUSPECT_NEVER;
    return now - until < c->suspect_ms ? SUSPECT_STALE : SUSPECT_OLD;
}

int strata__suspect_level(struct root *root, uint32_t position, int64_t now)
{
    struct coherence *c = root->coherence;
    if (c == NULL)
        return SUSPECT_NOT;
    key_mutex_lock(&c->lock);
    int level = strata__trust_level_locked(c, position, now);
    key_mutex_unlock(&c->lock);
    return level;
}

/* What listeners are told, once no lock is held. */
struct news {
    uint32_t kind; /* 0: nothing */
    char words[160];
};

static void note_locked(struct coherence *c, int64_t now, const char *why, struct news *out)
{
    int trusted = proven_until(c) > now;
    out->kind = 0;
    if (trusted == c->said_trusted)
        return;
    c->said_trusted = trusted;
    if (!trusted)
        c->untrusted_since = why != NULL ? now : larger(proven_until(c), c->untrusted_since);
    out->kind = trusted ? STRATA_EVENT_TRUSTED : STRATA_EVENT_SUSPECT;
    snprintf(out->words, sizeof out->words, "%s",
             trusted       ? c->was_trusted ? "every message is here again: what comes from now on is trusted"
                                            : "the first heartbeats have come back: what is held from now on is trusted"
             : why != NULL ? why
                           : "no proof that every message came: what is held is served as stale, and asked for anew");
    if (trusted)
        c->was_trusted = 1;
}

static void tell(struct coherence *c, const struct news *news)
{
    if (news->kind == 0 || !event_wanted(c->root, news->kind))
        return;
    strata_event e = { .size = sizeof e, .kind = news->kind, .cache = c->root->handle, .message = news->words };
    strata__event_fire(c->root->handle, &e);
}

static int64_t least_proven_locked(const struct coherence *c)
{
    int64_t least = c->count != 0 && !c->publish_only ? INT64_MAX : NEVER;
    for (size_t i = 0; i < c->count; i++)
        least = c->buses[i].proven < least ? c->buses[i].proven : least;
    return least;
}

void strata__trust_begin(struct coherence *c)
{
    int64_t now = ex_now_ms(c->root->ex);
    key_mutex_lock(&c->root->tree_lock);
    key_mutex_lock(&c->lock);
    c->epochs[0] = (struct epoch){ .begin = 0, .until = now };
    c->epoch_count = 1;
    c->proven = NEVER;
    new_epoch_locked(c, now);
    c->lost = 1;
    c->was_trusted = 0;
    c->said_trusted = 0;
    c->untrusted_since = now;
    key_mutex_unlock(&c->lock);
    tell_handles_locked(c, now);
    key_mutex_unlock(&c->root->tree_lock);
}

/* `counts`: something was there that may be missing now. */
static void end_trust(struct coherence *c, struct bus_slot *b, const char *why, int counts)
{
    struct news news;
    char words[160];
    key_mutex_lock(&c->root->tree_lock);
    int64_t now = ex_now_ms(c->root->ex);
    key_mutex_lock(&c->lock);
    int64_t ends = proven_until(c) < now ? proven_until(c) : now;
    for (uint32_t i = c->lost; i < c->epoch_count; i++)
        c->epochs[i].until = larger(c->epochs[i].until, ends);
    new_epoch_locked(c, now);
    c->lost = c->epoch_count - 1;
    c->losses += counts != 0;
    b->counted.lost += counts != 0;
    c->life_count = 0;
    b->before_count = 0; /* some of what came after those numbers did not come */
    b->number_lost = b->number;
    b->lost_ms = now;
    b->self_ms = NEVER;
    b->proven = NEVER;
    c->proven = NEVER;
    LIST_EACH(node, &b->peers)
    list_entry(node, struct peer, link)->heard_us_ms = NEVER;
    snprintf(words, sizeof words, "%s: %s", b->bus->name, why);
    note_locked(c, now, words, &news);
    tell_handles_locked(c, now);
    key_mutex_unlock(&c->lock);
    key_mutex_unlock(&c->root->tree_lock);
    tell(c, &news);
}

void strata__trust_lost(struct coherence *c, struct bus_slot *b, const char *why) { end_trust(c, b, why, 1); }

void strata__trust_restart(struct coherence *c, struct bus_slot *b, const char *why) { end_trust(c, b, why, 0); }

void strata__trust_proven(struct coherence *c, struct bus_slot *b, int64_t moment)
{
    struct news news = { 0 };
    key_mutex_lock(&c->root->tree_lock);
    int64_t now = ex_now_ms(c->root->ex);
    key_mutex_lock(&c->lock);
    int doubted = b->doubted_ms != NEVER && now - b->doubted_ms < c->trust_ms;
    if (moment > b->proven && moment <= now && !doubted) {
        b->proven = moment;
        b->proved = 1;
        int64_t least = least_proven_locked(c);
        if (least > c->proven) {
            c->note_due |= c->proven == NEVER;
            c->proven = least;
            if (proven_until(c) > now) /* epochs that began for want of proof are none */
                c->epoch_count = c->lost + 1;
            note_locked(c, now, NULL, &news);
            tell_handles_locked(c, now);
        }
    }
    key_mutex_unlock(&c->lock);
    key_mutex_unlock(&c->root->tree_lock);
    tell(c, &news);
}

void strata__trust_tick(struct coherence *c)
{
    struct news news = { 0 };
    key_mutex_lock(&c->root->tree_lock);
    int64_t now = ex_now_ms(c->root->ex);
    key_mutex_lock(&c->lock);
    if (proven_until(c) <= now) {
        if (c->epochs[c->epoch_count - 1].until <= now)
            new_epoch_locked(c, now);
        note_locked(c, now, NULL, &news);
        tell_handles_locked(c, now);
    }
    key_mutex_unlock(&c->lock);
    key_mutex_unlock(&c->root->tree_lock);
    tell(c, &news);
}
