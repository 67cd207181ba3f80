/* redis_nodes.c - the nodes of a cluster, and the thread that keeps the map of who serves what.
 *
 * The map is asked for with CLUSTER SLOTS, which servers of all ages know, where somebody has reason to doubt it: a redirection,
 * an error that a demoted or cut-off node gives, a lost connection, a timeout; and from time to time while the node of some slot
 * is not connected.  The nodes of the map are asked first, those that are connected before those that are not; then its
 * replicas; then those that the options name, with a link for this one question. */
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/link/redis_cluster_impl.h"
#include "src/os/os_clock.h"
#include "src/os/os_futex.h"
#include "src/os/os_random.h"

/* Between two questions; while a node is away; how often requests that wait, and nodes that left, are looked at. */
enum { REFRESH_GAP_MS = 100, REFRESH_AWAY_MS = 500, LOOK_MS = 10, LEFT_MS = 1000, MOST_DOUBLINGS = 6 };

/* Nodes ------------------------------------------------------------------------------------------------------------- */

void strata__redis_node_unpin(struct redis_node *node) { atomic_fetch_sub(&node->hops, 1); }

static struct redis_node *find_locked(struct redis_cluster *cl, const struct redis_place *place)
{
    size_t count = atomic_load(&cl->node_count);
    for (size_t i = 0; i < count; i++)
        if (strata__redis_same_place(&cl->nodes[i]->place, place))
            return cl->nodes[i];
    return NULL;
}

/* A place in the table: a new one, or that of a node that has left for good. */
static struct redis_node *add_locked(struct redis_cluster *cl, const struct redis_place *place)
{
    size_t count = atomic_load(&cl->node_count);
    struct redis_node *node = NULL;
    if (count < REDIS_PLACES_MOST) {
        node = strata__alloc_zero(cl->mem, sizeof *node);
        if (node == NULL)
            return NULL;
        cl->nodes[count] = node;
        atomic_store(&cl->node_count, count + 1);
    }
    for (size_t i = 0; node == NULL && i < count; i++)
        if (cl->nodes[i]->link == NULL && atomic_load(&cl->nodes[i]->hops) == 0)
            node = cl->nodes[i];
    if (node != NULL)
        node->place = *place;
    return node;
}

static int open_link(struct redis_cluster *cl, const struct redis_place *place, uint32_t connections,
                     struct redis_link **out, strata_error *err)
{
    struct redis_link_options options = cl->node_options;
    options.host = place->host;
    options.port = place->port;
    options.connections = connections;
    if (connections == 0) { /* for one question */
        options.connections = 1;
        options.hello = NULL;
        options.pushed = NULL;
    }
    return strata__redis_open(out, &options, err);
}

struct redis_node *strata__redis_node_at(struct redis_cluster *cl, const struct redis_place *place, strata_error *err)
{
    os_lock_take(&cl->lock);
    int closed = atomic_load(&cl->closing);
    struct redis_node *node = closed ? NULL : find_locked(cl, place);
    if (node == NULL && !closed)
        node = add_locked(cl, place);
    if (node != NULL && node->link == NULL &&
        open_link(cl, place, cl->options->connections, &node->link, err) != STRATA_OK)
        node = NULL;
    else if (node == NULL)
        (void)strata__fail_plain(err, closed ? STRATA_ECLOSED : STRATA_ENOMEM, cl->options->name);
    if (node != NULL)
        atomic_fetch_add(&node->hops, 1);
    os_lock_give(&cl->lock);
    return node;
}

static int is_connected(const struct redis_node *node)
{
    struct redis_link_counts counts;
    strata__redis_counts(node->link, &counts);
    return counts.connected > 0;
}

struct redis_node *strata__redis_node_any(struct redis_cluster *cl, uint32_t number, uint64_t affinity)
{
    struct redis_node *found = NULL;
    os_lock_take(&cl->lock);
    size_t count = atomic_load(&cl->node_count);
    for (size_t i = 0; i < count; i++) {
        size_t at = number != 0 ? number - 1 : (size_t)((affinity + i) % count);
        struct redis_node *node = at < count ? cl->nodes[at] : NULL;
        if (node == NULL || node->link == NULL || atomic_load(&node->slots) == 0)
            node = NULL;
        if (node != NULL && (found == NULL || is_connected(node)))
            found = node;
        if (number != 0 || (found != NULL && is_connected(found)))
            break;
    }
    if (found != NULL)
        atomic_fetch_add(&found->hops, 1);
    os_lock_give(&cl->lock);
    return found;
}

/* Those that own nothing, and that nothing is on its way to: 1 where some have to be looked at again.  What timed out there may
 * still lie in the server's buffers, but a node that owns nothing carries nothing out. */
static int close_left(struct redis_cluster *cl)
{
    int left = 0;
    size_t count = atomic_load(&cl->node_count);
    for (size_t i = 0; i < count; i++) {
        struct redis_link *link = NULL;
        os_lock_take(&cl->lock);
        struct redis_node *node = cl->nodes[i];
        if (node->link != NULL && atomic_load(&node->slots) == 0) {
            if (atomic_load(&node->hops) == 0) {
                link = node->link;
                node->link = NULL;
            } else {
                left = 1;
            }
        }
        os_lock_give(&cl->lock);
        strata__redis_close(link);
    }
    return left;
}

/* What waits there. */
static void look_at_lanes(struct redis_cluster *cl, int64_t now)
{
    for (size_t i = 0; i < REDIS_LANES; i++) {
        strata__redis_lane_expire(cl, &cl->lanes[i], now, NULL);
        strata__redis_lane_resume(cl, &cl->lanes[i], now);
    }
}

/* The map ----------------------------------------------------------------------------------------------------------- */

struct question {
    struct redis_request request; /* first */
    struct redis_cluster *cluster;
    const char *host; /* of whom is asked */
    strata_error *err;
    int good;
    _Atomic(int) answered;
};

static void read_answer(struct question *q)
{
    const struct redis_request *request = &q->request;
    struct redis_cluster *cl = q->cluster;
    if (request->status != STRATA_OK) {
        *q->err = request->err;
        return;
    }
    if (strata__redis_kind(request->reply) == REDIS_IS_ERROR) {
        enum { SHOWN = 90 };
        strata_slice text = strata__redis_text(request->reply);
        (void)strata__fail(q->err, STRATA_EIO, cl->options->name,
                           "%s: CLUSTER SLOTS was refused: \"%.*s\": for a server that stands alone write redis://",
                           q->host, (int)(text.size < SHOWN ? text.size : SHOWN), (const char *)text.data);
        return;
    }
    if (!strata__redis_map_read(request->reply, q->host, cl->next_map))
        (void)strata__fail(q->err, STRATA_EIO, cl->options->name,
                           "%s: CLUSTER SLOTS was answered with what it is never answered with: is it a Redis server?",
                           q->host);
    else if (cl->next_map->served == 0)
        (void)strata__fail(q->err, STRATA_EIO, cl->options->name,
                           "%s: no slot is served by anybody: look at CLUSTER INFO, and create the cluster", q->host);
    else
        q->good = 1;
}

static void map_came(struct redis_request *request)
{
    struct question *q = (struct question *)(void *)request;
    struct redis_cluster *cl = q->cluster;
    read_answer(q);
    atomic_store(&q->answered, 1); /* and it is gone */
    strata__os_unpark(&cl->wake);
}

static int ask_link(struct redis_cluster *cl, struct redis_link *link, const char *host, strata_error *err)
{
    const strata_slice words[] = { strata_str("CLUSTER"), strata_str("SLOTS") };
    struct question q = {
        .request = { .args = words, .arg_count = 2, .timeout_ms = cl->options->connect_timeout_ms, .done = map_came },
        .cluster = cl,
        .host = host,
        .err = err,
    };
    struct redis_request *list = &q.request;
    strata__redis_submit(link, &list, 1);
    while (!atomic_load(&q.answered)) { /* a node that is slow to answer stretches nobody else's time */
        if (atomic_load(&cl->held) > 0)
            look_at_lanes(cl, strata__os_now_ms());
        (void)strata__os_park(&cl->wake, strata__os_now_us() + LOOK_MS * 1000);
    }
    return q.good;
}

/* The link of one question; the lock lets who closes hurry it. */
static int set_asking(struct redis_cluster *cl, struct redis_link *link)
{
    os_lock_take(&cl->lock);
    int may = link == NULL || !atomic_load(&cl->closing);
    cl->asking = may ? link : NULL;
    os_lock_give(&cl->lock);
    return may;
}

static int ask_place(struct redis_cluster *cl, const struct redis_place *place, strata_error *err)
{
    struct redis_link *link;
    if (atomic_load(&cl->closing) || open_link(cl, place, 0, &link, err) != STRATA_OK)
        return 0;
    int good = set_asking(cl, link) && ask_link(cl, link, place->host, err);
    (void)set_asking(cl, NULL);
    strata__redis_close(link);
    return good;
}

/* Nodes that have a link, connected or not.  They own slots, so that they are not closed: only this thread takes slots away
 * for good, and closes. */
static int ask_nodes(struct redis_cluster *cl, int connected, strata_error *err)
{
    if (cl->options->pushed != NULL) /* they are subscribed, and answer nothing else */
        return 0;
    size_t count = atomic_load(&cl->node_count);
    size_t start = count != 0 ? (size_t)(strata__os_random() % count) : 0;
    for (size_t i = 0; i < count && !atomic_load(&cl->closing); i++) {
        os_lock_take(&cl->lock);
        struct redis_node *node = cl->nodes[(start + i) % count];
        int may = node->link != NULL;
        os_lock_give(&cl->lock);
        if (may && is_connected(node) == connected && ask_link(cl, node->link, node->place.host, err))
            return 1;
    }
    return 0;
}

static int ask_replicas(struct redis_cluster *cl, strata_error *err)
{
    for (size_t i = 0; i < cl->map->place_count; i++)
        if (!cl->map->is_master[i] && ask_place(cl, &cl->map->places[i], err))
            return 1;
    return 0;
}

static int ask_seeds(struct redis_cluster *cl, strata_error *err)
{
    const struct redis_link_options *o = cl->options;
    for (size_t i = 0; i < o->host_count; i++) {
        struct redis_place place = { .port = (uint16_t)o->hosts[i].port };
        size_t size = strlen(o->hosts[i].host);
        if (size >= sizeof place.host) {
            (void)strata__fail(err, STRATA_EIO, o->name, "a host's name is longer than 255 bytes: correct it in url");
            continue;
        }
        memcpy(place.host, o->hosts[i].host, size + 1);
        if (ask_place(cl, &place, err))
            return 1;
    }
    return 0;
}

static int ask_somebody(struct redis_cluster *cl, strata_error *err)
{
    return ask_nodes(cl, 1, err) || ask_nodes(cl, 0, err) || ask_replicas(cl, err) || ask_seeds(cl, err);
}

static void release_all(struct redis_cluster *cl)
{
    for (size_t i = 0; i < REDIS_LANES; i++)
        strata__redis_lane_release(cl, &cl->lanes[i]);
}

/* What cl->next_map says.  A master whose link cannot be opened now leaves its slots with whom they are: 0, and why. */
static int apply_map(struct redis_cluster *cl, strata_error *err)
{
    int good = 1;
    struct redis_map *map = cl->next_map;
    struct redis_node *node_of[REDIS_PLACES_MOST];
    for (size_t i = 0; i < map->place_count; i++) {
        node_of[i] = map->is_master[i] ? strata__redis_node_at(cl, &map->places[i], err) : NULL;
        good = good && (!map->is_master[i] || node_of[i] != NULL);
    }
    for (size_t slot = 0; slot < REDIS_SLOTS; slot++) {
        struct redis_lane *lane = redis_lane_of(cl, (uint16_t)slot);
        struct redis_node *node = map->owner[slot] != REDIS_NOBODY ? node_of[map->owner[slot]] : NULL;
        os_lock_take(&lane->lock);
        if (node != NULL || map->owner[slot] == REDIS_NOBODY)
            strata__redis_lane_own_locked(cl, (uint16_t)slot, node);
        os_lock_give(&lane->lock);
    }
    for (size_t i = 0; i < map->place_count; i++)
        if (node_of[i] != NULL)
            strata__redis_node_unpin(node_of[i]);
    cl->next_map = cl->map;
    cl->map = map;
    return good;
}

/* When to try again, where nobody has told us. */
static int64_t pause_ms(struct redis_cluster *cl)
{
    int64_t pause = cl->options->backoff_min_ms > 0 ? cl->options->backoff_min_ms : 1;
    uint32_t times = cl->failures < MOST_DOUBLINGS ? cl->failures : MOST_DOUBLINGS;
    pause <<= times;
    pause = pause < cl->options->backoff_max_ms ? pause : cl->options->backoff_max_ms;
    return pause / 2 + (int64_t)(strata__os_random() % (uint64_t)(pause / 2 + 1)) + 1;
}

/* For how long it holds. */
static int64_t refresh(struct redis_cluster *cl)
{
    strata_error why = STRATA_ERROR_INIT;
    atomic_fetch_add(&cl->begun, 1);
    atomic_store(&cl->wanted, 0);
    atomic_store(&cl->demanded, 0);
    if (atomic_load(&cl->state) == REDIS_LOST)
        atomic_store(&cl->state, REDIS_LOOKING);
    int got = ask_somebody(cl, &why) && !atomic_load(&cl->closing) && apply_map(cl, &why);
    if (!got && atomic_load(&cl->closing))
        return INT64_MAX; /* who closes says so to those that wait */
    if (got) {
        cl->failures = 0;
        atomic_store(&cl->state, REDIS_MAPPED);
    } else {
        os_lock_take(&cl->lock);
        cl->reason = why;
        if (why.status != STRATA_ENOMEM)
            cl->reason.status = STRATA_EIO; /* also where it was a timeout of ours: what waited was not asked */
        os_lock_give(&cl->lock);
        int looking = REDIS_LOOKING;
        (void)atomic_compare_exchange_strong(&cl->state, &looking, REDIS_LOST);
    }
    atomic_store(&cl->map_good, got);
    atomic_store(&cl->ended, atomic_load(&cl->begun));
    release_all(cl);
    if (got)
        return INT64_MAX;
    int64_t pause = pause_ms(cl);
    cl->failures++;
    return pause;
}

/* The thread -------------------------------------------------------------------------------------------------------- */

void strata__redis_cluster_want(struct redis_cluster *cl)
{
    if (!atomic_exchange(&cl->wanted, 1))
        strata__os_unpark(&cl->wake);
}

/* Is the link of a node that owns slots without a connection? */
static int somebody_is_away(struct redis_cluster *cl)
{
    size_t count = atomic_load(&cl->node_count);
    for (size_t i = 0; i < count; i++) {
        struct redis_node *node = cl->nodes[i]; /* written before node_count */
        if (atomic_load(&node->slots) > 0 && !is_connected(node))
            return 1;
    }
    return 0;
}

void strata__redis_cluster_run(void *ctx)
{
    struct redis_cluster *cl = ctx;
    int64_t next = 0, earliest = 0;
    while (!atomic_load(&cl->closing)) {
        int64_t now = strata__os_now_ms(), look = LEFT_MS;
        if (now >= next || atomic_load(&cl->demanded) || (atomic_load(&cl->wanted) && now >= earliest)) {
            int64_t holds = refresh(cl);
            now = strata__os_now_ms();
            earliest = now + (holds < REFRESH_GAP_MS ? holds : REFRESH_GAP_MS);
            next = holds == INT64_MAX ? INT64_MAX : now + holds;
        }
        if (atomic_load(&cl->state) == REDIS_MAPPED && next > now + REFRESH_AWAY_MS && somebody_is_away(cl))
            next = now + REFRESH_AWAY_MS;
        if (atomic_load(&cl->held) > 0) {
            look_at_lanes(cl, now);
            look = LOOK_MS;
        }
        if (close_left(cl))
            look = look < LOOK_MS * 10 ? look : LOOK_MS * 10;
        if (atomic_load(&cl->wanted) && earliest - now < look)
            look = earliest > now ? earliest - now : 0;
        look = next - now < look ? next - now : look;
        (void)strata__os_park(&cl->wake, strata__os_now_us() + (look > 0 ? look : 0) * 1000);
    }
}
