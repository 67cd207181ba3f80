/* redis_pubsub.c - a bus over Pub/Sub: one channel, to which every node is subscribed; in a Cluster a sharded one, which lives with its slot.
 *
 * The subscription is asked for again every KEEP_MS, which changes nothing and shows that it stands: the mark of the connection says
 * whether it is still the one that was subscribed before.  If not, messages may have come in between, and nobody kept them: the
 * cache takes that from up() after down().  A connection that ends is heard of at once, but for a Cluster's, where the link does not
 * say whose it was.
 *
 * One thing is under way at a time: a request, or a pause. */
#include <string.h>

#include "src/base/err.h"
#include "src/bus/redis_base.h"

enum { KEEP_MS = 1000, PAUSE_MIN_MS = 20, PAUSE_MAX_MS = 1000 };

struct pubsub {
    struct redis_bus bus;
    struct redis_request request;
    _Atomic(int) asking;      /* a request is out */
    _Atomic(uint32_t) timers; /* pauses that are not over */
    _Atomic(int) ended;       /* the subscription has ended since it was last asked for */
    _Atomic(int) stands;      /* it was told to be there */
    int64_t pause_ms;         /* after a failure; of who has the request */
};

static struct pubsub *downcast(struct redis_bus *b) { return (struct pubsub *)(void *)b; }

static int is_cluster(const struct redis_bus *b) { return b->target.url.topology == REDIS_CLUSTER; }

static void come_again(struct pubsub *p, int64_t pause_ms)
{
    atomic_fetch_add(&p->timers, 1);
    strata__redis_bus_later(&p->bus, pause_ms);
}

/* It has ended: told by the first who notices. */
static void gone(struct pubsub *p, const strata_error *why)
{
    atomic_store(&p->ended, 1);
    if (atomic_exchange(&p->stands, 0) && !atomic_load(&p->bus.stopped))
        strata__redis_bus_away(&p->bus, why);
}

/* The request is through: how long until the next. */
static void rest(struct pubsub *p, int64_t pause_ms)
{
    atomic_store(&p->asking, 0);
    if (atomic_load(&p->timers) == 0)
        come_again(p, pause_ms);
}

static void failed(struct pubsub *p, const strata_error *why)
{
    int64_t pause = p->pause_ms;
    p->pause_ms = 2 * pause < PAUSE_MAX_MS ? 2 * pause : PAUSE_MAX_MS;
    atomic_store(&p->stands, 0);
    strata__redis_bus_away(&p->bus, why);
    rest(p, pause);
}

static void stands_now(struct pubsub *p, struct redis_mark *mark)
{
    strata_error why = STRATA_ERROR_INIT;
    if (atomic_exchange(&mark->life, 1) == 0 && atomic_load(&p->stands)) {
        (void)strata__fail(&why, STRATA_EIO, p->bus.base.name,
                           "the connection was lost, and is made anew: what was sent meanwhile has not come");
        gone(p, &why);
        atomic_store(&p->ended, 0); /* by this answer */
    }
    p->pause_ms = PAUSE_MIN_MS;
    atomic_store(&p->stands, 1);
    strata__redis_bus_reads(&p->bus);
    if (atomic_load(&p->ended)) { /* while it was being told that it stands */
        (void)strata__fail(&why, STRATA_EIO, p->bus.base.name, "the subscription has ended, and is asked for again");
        gone(p, &why);
    }
    rest(p, atomic_load(&p->ended) ? PAUSE_MIN_MS : KEEP_MS);
}

static void confirmed(struct redis_request *request)
{
    struct pubsub *p = request->owner;
    strata_error why = STRATA_ERROR_INIT;
    if (atomic_load(&p->bus.stopped))
        return;
    if (request->status != STRATA_OK) {
        failed(p, &request->err);
    } else if (strata__redis_kind(request->reply) != REDIS_IS_ARRAY) {
        (void)strata__redis_bus_refused(&p->bus, is_cluster(&p->bus) ? "SSUBSCRIBE" : "SUBSCRIBE", request->reply, &why);
        failed(p, &why);
    } else {
        stands_now(p, request->mark);
    }
}

static void subscribe(struct pubsub *p)
{
    const strata_slice words[] = { strata_str(is_cluster(&p->bus) ? "SSUBSCRIBE" : "SUBSCRIBE"), p->bus.key };
    struct redis_request *request = &p->request;
    atomic_store(&p->ended, 0);
    p->request = (struct redis_request){
        .args = words, .arg_count = 2, .timeout_ms = p->bus.options.timeout_ms, .key_at = 1, .done = confirmed, .owner = p
    };
    strata__redis_submit(p->bus.reader, &request, 1);
}

static void go_on(struct redis_bus *b)
{
    struct pubsub *p = downcast(b);
    atomic_fetch_sub(&p->timers, 1);
    if (!atomic_exchange(&p->asking, 1))
        subscribe(p);
}

/* What comes unasked ---------------------------------------------------------------------------------------------------- */

static int is_word(const struct redisReply *reply, const char *word)
{
    strata_slice text = strata__redis_kind(reply) == REDIS_IS_TEXT ? strata__redis_text(reply) : strata_bytes(NULL, 0);
    return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

/* The server ends a sharded subscription where its slot moves away. */
static void moved_away(struct pubsub *p)
{
    strata_error why = STRATA_ERROR_INIT;
    (void)strata__fail(&why, STRATA_EIO, p->bus.base.name, "the slot of the channel moves to another node");
    gone(p, &why);
    come_again(p, 0);
}

static int caught(void *ctx, const struct redisReply *reply)
{
    struct pubsub *p = ctx;
    if (strata__redis_kind(reply) != REDIS_IS_ARRAY || strata__redis_count(reply) != 3)
        return 0;
    const struct redisReply *kind = strata__redis_at(reply, 0), *message = strata__redis_at(reply, 2);
    if (is_word(kind, "sunsubscribe")) {
        if (!atomic_load(&p->bus.stopped))
            moved_away(p);
        return 1;
    }
    if (strata__redis_kind(message) != REDIS_IS_TEXT || !(is_word(kind, "message") || is_word(kind, "smessage")))
        return 0;
    strata__redis_bus_deliver(&p->bus, strata__redis_text(message), strata_bytes(NULL, 0));
    return 1;
}

static void lost(void *ctx, const strata_error *why)
{
    struct pubsub *p = ctx;
    if (atomic_load(&p->bus.stopped) || !atomic_load(&p->stands))
        return;
    gone(p, why);
    come_again(p, 0);
}

/* As a kind of bus ------------------------------------------------------------------------------------------------------ */

static size_t command(struct redis_bus *b, strata_slice message, strata_slice words[REDIS_BUS_WORDS])
{
    words[0] = strata_str(b->verb);
    words[1] = b->key;
    words[2] = message;
    return 3;
}

static int start_reading(struct redis_bus *b, strata_slice resume_from, strata_error *err)
{
    struct pubsub *p = downcast(b);
    struct redis_link_options options = strata__redis_bus_link(b);
    memset((char *)p + sizeof p->bus, 0, sizeof *p - sizeof p->bus);
    p->pause_ms = PAUSE_MIN_MS;
    p->asking = 1;
    b->go_on = go_on;
    options.caught = caught;
    options.lost = is_cluster(b) ? NULL : lost;
    int rc = strata__redis_open(&b->reader, &options, err);
    if (rc != STRATA_OK)
        return rc;
    if (resume_from.size != 0)
        strata__redis_bus_lost(b, "Pub/Sub keeps nothing: what was sent while this node was closed is not known");
    subscribe(p);
    return STRATA_OK;
}

strata_bus *strata_redis_pubsub_bus(const strata_redis_bus_options *options)
{
    static const struct redis_bus_kind kind = { .name = "redis_pubsub",
                                                .flags = STRATA_BUS_ECHOES,
                                                .bytes = sizeof(struct pubsub),
                                                .command = command,
                                                .taken = REDIS_IS_INTEGER,
                                                .read = start_reading };
    strata_bus *bus = strata__redis_bus_new(&kind, options);
    struct redis_bus *b = (struct redis_bus *)(void *)bus;
    if (bus->failed.status == STRATA_OK)
        b->verb = is_cluster(b) ? "SPUBLISH" : "PUBLISH";
    return bus;
}
