/* tracking_cluster.c - the servers of a Cluster: a connection to each master, all of which tell.
 *
 * Every master is asked, in each heartbeat, who serves what (CLUSTER SLOTS; in RESP2 on a connection beside the one that listens), and is believed
 * about itself alone: a slot is covered if the connection that tells of it leads to the node that says it serves it.  Where every slot that anybody speaks of is covered, by one node and no
 * other, all that happened before the question was told.  What others say of somebody who is not listened to yet has him listened to.
 *
 * Slots may move between masters that are listened to all the while: nothing is missed.  Where a slot's master is on a connection that is
 * new (it was added, promoted, restarted, or the connection was lost), something may have been, and everything counts as missed.
 *
 * Not covered: a slot that goes to a node that is not listened to and is back within one heartbeat; and a master that is cut off from the
 * others, and still reached from here: until the Cluster's own node timeout has it stop, two nodes take writes, and what the other one is told
 * nobody can know who asks this one. */
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/bus/redis_tracking/tracking_impl.h"

enum { UNCOVERED = UINT16_MAX, DISPUTED = UINT16_MAX - 1 };

struct tracking_cluster {
    struct os_lock lock;
    /* Under it: what the heartbeat that is out has shown. */
    struct redis_map map; /* of the answer that is read */
    size_t answers;
    struct redis_place masters[MASTERS_MOST];
    size_t master_count;
    int too_many;
    uint8_t is_served[REDIS_SLOTS]; /* somebody says so */
    uint16_t owner[REDIS_SLOTS];    /* whose node says that it serves it; UNCOVERED, DISPUTED */
    strata_error why;               /* an answer was no map */
};

void strata__tracking_cluster_begin(struct tracking *t)
{
    struct tracking_cluster *c = t->cluster;
    os_lock_take(&c->lock);
    c->answers = c->master_count = 0;
    c->too_many = 0;
    c->why = (strata_error)STRATA_ERROR_INIT;
    memset(c->is_served, 0, sizeof c->is_served);
    for (size_t i = 0; i < REDIS_SLOTS; i++)
        c->owner[i] = UNCOVERED;
    os_lock_give(&c->lock);
}

/* Answers ---------------------------------------------------------------------------------------------------------- */

static void add_master_locked(struct tracking_cluster *c, const struct redis_place *place)
{
    for (size_t i = 0; i < c->master_count; i++)
        if (strata__redis_same_place(&c->masters[i], place))
            return;
    if (c->master_count == MASTERS_MOST)
        c->too_many = 1;
    else
        c->masters[c->master_count++] = *place;
}

static struct tracker *find(struct tracking *t, enum tracker_kind kind, const struct redis_place *place,
                            uint16_t *out_index)
{
    struct tracker *found = NULL;
    os_lock_take(&t->lock); /* places stay while a heartbeat is out, but start() may still add some */
    for (size_t i = 0; i < t->tracker_count && found == NULL; i++)
        if (t->trackers[i]->kind == kind && strata__redis_same_place(&t->trackers[i]->place, place)) {
            found = t->trackers[i];
            *out_index = (uint16_t)i;
        }
    os_lock_give(&t->lock);
    return found;
}

static void read_map_locked(struct tracking_cluster *c, struct tracker *tr)
{
    const struct redis_map *map = &c->map;
    uint16_t own = REDIS_NOBODY, listener = UNCOVERED;
    int is_heard = find(tr->t, TRACKER_PREFIX, &tr->place, &listener) != NULL;
    c->answers++;
    for (size_t i = 0; i < map->place_count; i++) {
        if (map->is_master[i])
            add_master_locked(c, &map->places[i]);
        if (is_heard && strata__redis_same_place(&map->places[i], &tr->place))
            own = (uint16_t)i;
    }
    for (size_t slot = 0; slot < REDIS_SLOTS; slot++) {
        c->is_served[slot] |= map->owner[slot] != REDIS_NOBODY;
        if (own != REDIS_NOBODY && map->owner[slot] == own)
            c->owner[slot] = c->owner[slot] == UNCOVERED || c->owner[slot] == listener ? listener : (uint16_t)DISPUTED;
    }
}

void strata__tracking_cluster_answer(struct tracker *tr)
{
    struct tracking_cluster *c = tr->t->cluster;
    const struct redisReply *reply = tr->question.reply;
    enum { SHOWN = 70 };
    os_lock_take(&c->lock);
    tr->asked_ups = atomic_load(&tr->ups);
    if (!strata__tracker_asks_map(tr)) {
        /* It is there, and has told all. */
    } else if (strata__redis_kind(reply) != REDIS_IS_ERROR && strata__redis_map_read(reply, tr->place.host, &c->map)) {
        read_map_locked(c, tr);
    } else {
        strata_slice text = strata__redis_kind(reply) == REDIS_IS_ERROR ? strata__redis_text(reply) : strata_str("?");
        atomic_store(&tr->t->failed, 1);
        (void)strata__fail(
            &c->why, STRATA_EIO, tr->t->base.name,
            "%.60s: CLUSTER SLOTS was refused: \"%.*s\": let the user run it; a server alone is redis://",
            tr->place.host, (int)(text.size < SHOWN ? text.size : SHOWN), (const char *)text.data);
    }
    os_lock_give(&c->lock);
}

/* Who is listened to ------------------------------------------------------------------------------------------------- */

/* NULL: memory is out, or there are too many, says *err. */
static struct tracker *add(struct tracking *t, enum tracker_kind kind, const struct redis_place *place,
                           strata_error *err)
{
    struct tracker *tr = NULL;
    if (t->tracker_count == TRACKERS_MOST)
        (void)strata__fail(err, STRATA_EIO, t->base.name,
                           "the Cluster has more masters than the %d that are listened to: use another bus there",
                           (int)MASTERS_MOST);
    else
        tr = strata__tracker_open(t, kind, place, err);
    if (tr == NULL)
        return NULL;
    os_lock_take(&t->lock);
    t->trackers[t->tracker_count++] = tr;
    os_lock_give(&t->lock);
    return tr;
}

static void drop(struct tracking *t, size_t i)
{
    struct tracker *tr = t->trackers[i];
    os_lock_take(&t->lock);
    t->trackers[i] = t->trackers[--t->tracker_count];
    os_lock_give(&t->lock);
    strata__tracker_close(tr);
}

static int add_seeds(struct tracking *t, strata_error *err)
{
    const struct redis_url *url = &t->target.url;
    for (size_t i = 0; i < t->tracker_count; i++)
        if (t->trackers[i]->kind == TRACKER_SEED)
            return 1;
    int added = 0;
    for (size_t i = 0; i < url->host_count; i++) {
        struct redis_place place = { .port = (uint16_t)url->hosts[i].port };
        size_t size = strlen(url->hosts[i].host);
        if (size >= sizeof place.host) {
            (void)strata__fail(err, STRATA_EINVAL, "url", "a host's name is longer than 255 bytes: correct it");
            continue;
        }
        memcpy(place.host, url->hosts[i].host, size + 1);
        added += add(t, TRACKER_SEED, &place, err) != NULL;
    }
    return added > 0;
}

static void want(struct tracking *t, enum tracker_kind kind, const struct redis_place *place, strata_error *err)
{
    uint16_t index;
    struct tracker *tr = find(t, kind, place, &index);
    if (tr == NULL)
        tr = add(t, kind, place, err);
    if (tr != NULL)
        tr->is_wanted = 1;
}

static void want_masters(struct tracking *t, strata_error *err)
{
    struct tracking_cluster *c = t->cluster;
    for (size_t i = 0; i < t->tracker_count; i++)
        t->trackers[i]->is_wanted = 0;
    for (size_t i = 0; i < c->master_count; i++) {
        want(t, TRACKER_PREFIX, &c->masters[i], err);
        if (!tracking_is_resp3(t))
            want(t, TRACKER_ASKER, &c->masters[i], err);
    }
}

/* Those that serve nothing any more, and those that were asked for the way. */
static void drop_others(struct tracking *t)
{
    for (size_t i = t->tracker_count; i-- > 0;)
        if (!t->trackers[i]->is_wanted)
            drop(t, i);
}

/* What it shows ------------------------------------------------------------------------------------------------------ */

/* Is every slot that is served told of, by connections that are there yet? */
static int is_covered(const struct tracking *t)
{
    const struct tracking_cluster *c = t->cluster;
    size_t served = 0;
    for (size_t slot = 0; slot < REDIS_SLOTS; slot++) {
        uint16_t owner = c->owner[slot];
        served += c->is_served[slot];
        if (c->is_served[slot] && (owner >= t->tracker_count || !atomic_load(&t->trackers[owner]->up) ||
                                   atomic_load(&t->trackers[owner]->ups) != t->trackers[owner]->asked_ups))
            return 0;
    }
    return served > 0 && !c->too_many && !atomic_load(&t->failed);
}

/* From now on they are known.  1: some were not. */
static int know_owners(struct tracking *t)
{
    const struct tracking_cluster *c = t->cluster;
    int fresh = 0;
    for (size_t slot = 0; slot < REDIS_SLOTS; slot++) {
        if (!c->is_served[slot])
            continue;
        struct tracker *tr = t->trackers[c->owner[slot]];
        fresh |= tr->known_ups != tr->asked_ups;
        tr->known_ups = tr->asked_ups;
    }
    return fresh;
}

void strata__tracking_cluster_judge(struct tracking *t)
{
    struct tracking_cluster *c = t->cluster;
    strata_error err = c->why;
    int covered = is_covered(t), fresh = covered && know_owners(t); /* before their places change */
    if (c->answers == 0)
        (void)add_seeds(t, &err);
    else
        want_masters(t, &err);
    if (covered)
        drop_others(t);
    os_lock_take(&t->lock);
    int was_up = t->told_up;
    os_lock_give(&t->lock);
    if (err.status < 0) {
        strata__tracking_tell_down(t, &err);
    } else if (covered && !was_up) {
        strata__tracking_tell_up(t);
        strata__tracking_soon(t);
    } else if (fresh) {
        strata_bus_lost(t->host, "keys of the Cluster are served by a node that was not listened to before");
        strata__tracking_soon(t);
    } else if (covered) {
        strata_bus_proven(t->host, t->asked_ms);
    }
}

/* Life ------------------------------------------------------------------------------------------------------------- */

int strata__tracking_cluster_start(struct tracking *t, strata_error *err)
{
    strata_error why = STRATA_ERROR_INIT;
    t->cluster = strata__alloc_zero(NULL, sizeof *t->cluster);
    if (t->cluster == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, t->base.name);
    if (add_seeds(t, &why))
        return STRATA_OK;
    if (err != NULL)
        *err = why;
    return why.status < 0 ? why.status : STRATA_EIO;
}

void strata__tracking_cluster_free(struct tracking *t)
{
    strata__free(NULL, t->cluster);
    t->cluster = NULL;
}
