/* health.c - how coherent a cache is with the nodes that share its data, in numbers and in a sentence. */
#include <stdio.h>
#include <string.h>

#include "src/core/behind.h"
#include "src/core/coherence_impl.h"

static int shares(const struct root *root)
{
    for (size_t i = 0; i < root->layer_count; i++)
        if (root->layers[i].flags & STRATA_LAYER_SHARED)
            return 1;
    return 0;
}

/* Does it keep copies of what others write? */
static int copies(const struct root *root)
{
    for (size_t i = 0; i < root->layer_count; i++)
        if (!(root->layers[i].flags & STRATA_LAYER_SHARED))
            return shares(root);
    return 0;
}

/* Said once, to who listens first: nobody can before the cache is open. */
void strata__coherence_warn(struct root *root)
{
    if (root->coherence != NULL || !copies(root) || atomic_exchange(&root->warned, 1))
        return;
    strata_event e = {
        .size = sizeof e,
        .kind = STRATA_EVENT_SUSPECT,
        .cache = root->handle,
        .message = "layers of this node hold copies of what other nodes write, and no bus tells of that: give "
                   "strata_options.buses"
    };
    strata__event_fire(root->handle, &e);
}

static void add_bus(const struct bus_slot *b, strata_health *out)
{
    out->buses++;
    out->buses_up += b->up;
    out->peers += b->peer_count;
    out->queued += b->queued + (b->all_due != 0);
    LIST_EACH(node, &b->sending)
    out->queued += node != NULL;
    out->published += b->counted.published;
    out->applied += b->applied;
    out->rejected += b->rejected;
    out->duplicates += b->duplicates;
    out->overflows += b->overflows;
    if (b->down.status != 0)
        out->last = b->down;
}

static void fill(struct coherence *c, strata_health *out)
{
    key_mutex_lock(&c->lock);
    int64_t now = ex_now_ms(c->root->ex);
    out->coherent = 1;
    out->trusted = c->proven != INT64_MIN && c->proven + c->trust_ms > now;
    if (!out->trusted) {
        int64_t since = c->proven != INT64_MIN ? c->proven + c->trust_ms : c->untrusted_since;
        out->untrusted_ms = now > since ? now - since : 0;
    }
    out->bound_ms = c->trust_ms + (c->suspect_ms > 0 ? c->suspect_ms : 0);
    out->lost = c->losses;
    for (size_t i = 0; i < c->count; i++)
        add_bus(&c->buses[i], out);
    key_mutex_unlock(&c->lock);
}

/* What a reader gets of what was held before trust ended. */
static const char *served(const struct coherence *c, const strata_health *out)
{
    if (c->suspect_ms <= 0)
        return "what was held is not served";
    if (out->untrusted_ms >= c->suspect_ms)
        return "what was held is served only if a load fails";
    return "what was held is served as stale, and asked for anew";
}

/* Which layers don't answer, or owe their store something: it is why calls are STRATA_PENDING while the buses are well.  Where the
 * rest of the words is to begin. */
static size_t put_layers(struct root *root, strata_health *out)
{
    size_t room = sizeof out->words / 2, n = 0; /* so that the rest fits behind it */
    for (size_t i = 0; i < root->layer_count; i++) {
        strata_part_health h = STRATA_PART_HEALTH_INIT;
        char text[128], retry[64] = "";
        strata__health_layer_fill(root, &root->layers[i], &h);
        out->owed += h.waiting;
        int alone = h.breaker != STRATA_BREAKER_CLOSED;
        if (h.waiting == 0 && !alone)
            continue;
        if (alone)
            snprintf(retry, sizeof retry, " is left alone for %lld ms more%s", (long long)h.retry_ms,
                     h.waiting != 0 ? ", and" : "");
        int size = snprintf(text, sizeof text, "layer \"%s\"%s", h.name, retry);
        if (h.waiting != 0 && size > 0 && (size_t)size < sizeof text)
            size += snprintf(text + size, sizeof text - (size_t)size,
                             " is yet to be told of %llu deletes, clears or bans", (unsigned long long)h.waiting);
        if (size < 0 || (size_t)size >= sizeof text || n + (size_t)size + sizeof "; " > room)
            continue;
        n += (size_t)snprintf(out->words + n, room - n, "%s; ", text);
    }
    return n;
}

/* The same of what was set, and is yet to be written. */
static size_t put_behind(struct root *root, strata_health *out, size_t from)
{
    char text[96];
    uint64_t bytes;
    strata__behind_look(root, &out->behind, &bytes, &out->behind_ms);
    if (out->behind == 0)
        return from;
    int size = snprintf(text, sizeof text, "%llu sets are yet to be written, the oldest for %lld ms; ",
                        (unsigned long long)out->behind, (long long)out->behind_ms);
    if (size < 0 || from + (size_t)size >= sizeof out->words / 2 + 64)
        return from;
    memcpy(out->words + from, text, (size_t)size + 1);
    return from + (size_t)size;
}

/* "1 of 1 buses up, hears 3 other nodes"; who is heard on several buses counts once. */
static void put_buses(struct coherence *c, const strata_health *out, char *words, size_t room)
{
    uint32_t most = 0, publishes = 0;
    int n = snprintf(words, room, "%u of %u bus%s up", out->buses_up, out->buses, out->buses == 1 ? "" : "es");
    key_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->count; i++) {
        publishes += c->buses[i].publishes;
        most = c->buses[i].peer_count > most ? c->buses[i].peer_count : most;
    }
    key_mutex_unlock(&c->lock);
    if (publishes != 0 && n >= 0 && (size_t)n < room) /* a store that tells of its keys does not say who else listens */
        snprintf(words + n, room - (size_t)n, ", hears %u other node%s", most, most == 1 ? "" : "s");
}

static void put_suspect(const struct coherence *c, const char *buses, strata_health *out, size_t from)
{
    char *words = out->words + from;
    size_t room = sizeof out->words - from;
    const char *why = out->buses_up != out->buses ? out->last.message
                      : c->publish_only           ? "it only publishes (publish_only)"
                      : out->rejected != 0        ? "messages were refused: give all nodes the same secret and version"
                      : c->was_trusted            ? "waiting for proof that nothing is missing"
                                                  : "waiting for its first heartbeats to come back, a second or two";
    int n = c->was_trusted ? snprintf(words, room, "not trusted for %lld ms: %s; %s%s", (long long)out->untrusted_ms,
                                      served(c, out), buses, why[0] != '\0' ? "; " : "")
                           : snprintf(words, room, "opened %lld ms ago, and not trusted yet; %s%s",
                                      (long long)out->untrusted_ms, buses, why[0] != '\0' ? "; " : "");
    if (n >= 0 && (size_t)n < room)
        strata__words_fit(words + n, room - (size_t)n, why);
}

static void put_words(struct root *root, strata_health *out)
{
    size_t from = put_behind(root, out, put_layers(root, out)), room = sizeof out->words - from;
    char *words = out->words + from;
    char buses[64] = "";
    if (out->coherent)
        put_buses(root->coherence, out, buses, sizeof buses);
    if (!out->coherent && copies(root))
        snprintf(words, room,
                 "no bus: what another node writes or deletes is served here until its time is over; give "
                 "strata_options.buses, or "
                 "take the layers of this node out");
    else if (!out->coherent)
        snprintf(words, room, "nothing is shared with other nodes");
    else if (out->trusted && out->rejected != 0)
        snprintf(
            words, room,
            "trusted, but for %llu messages that were refused, and not carried out: give all nodes the same secret "
            "and version (STRATA_EVENT_ERROR has said why); %s",
            (unsigned long long)out->rejected, buses);
    else if (out->trusted)
        snprintf(words, room, "trusted: nothing that was invalidated more than %lld ms ago is served; %s",
                 (long long)out->bound_ms, buses);
    else
        put_suspect(root->coherence, buses, out, from);
}

int strata_health_get(strata *cache, strata_health *out, strata_error *err)
{
    strata_health h = STRATA_HEALTH_INIT;
    if (cache == NULL || out == NULL || out->size < sizeof out->size)
        return strata__no_argument(err, "strata_health_get() needs a cache and a struct with its size set");
    struct root *root = cache->root;
    int rc = root_enter(root, err);
    if (rc != STRATA_OK)
        return rc;
    if (root->coherence != NULL)
        fill(root->coherence, &h);
    else
        h.bound_ms = copies(root) ? STRATA_FOREVER : 0;
    put_words(root, &h);
    root_leave(root);
    size_t known = out->size < sizeof h ? out->size : sizeof h;
    memset((char *)out + sizeof out->size, 0, out->size - sizeof out->size);
    memcpy((char *)out + sizeof out->size, (char *)&h + sizeof h.size, known - sizeof h.size);
    return STRATA_OK;
}
