/* redis_follow.c - the server is to remember what this layer reads, and to tell a listener (CLIENT TRACKING ... REDIRECT).
 *
 * Whether a connection is followed is noted in its mark, which begins anew with the connection: so a question that is answered, and finds the
 * listener's number there, shows that this very connection has been followed since that was noted.  One round asks every connection of
 * the link; those that are not followed yet are first asked which server they lead to.  The numbers that servers give their clients are small,
 * and each counts for itself: at another server, the listener's would be a stranger's. */
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/redis/redis_layer_impl.h"

enum { SERVER_ROOM = 64, LISTENER_ROOM = 24 };

struct one {
    struct redis_request request; /* first */
    struct round *round;
    uint32_t nth;
};

struct round {
    struct redis_layer *r;
    strata_follow *how;
    uint64_t number;
    int64_t timeout_ms;
    char server[SERVER_ROOM], listener[LISTENER_ROOM];
    _Atomic(uint32_t) left;
    _Atomic(int) anew;
    struct os_lock lock;
    strata_error why; /* under it: of the first that failed */
    struct one each[];
};

static void fail_round(struct round *round, const strata_error *why)
{
    os_lock_take(&round->lock);
    if (round->why.status >= 0)
        round->why = *why;
    os_lock_give(&round->lock);
}

static void leave(struct round *round)
{
    if (atomic_fetch_sub(&round->left, 1) != 1)
        return;
    strata_follow *how = round->how;
    strata_error why = round->why;
    int status = why.status < 0 ? why.status : atomic_load(&round->anew) ? STRATA_AGAIN : STRATA_OK;
    strata__free(round->r->mem, round);
    how->done(how, status, &why);
}

static void ask(struct one *one, const strata_slice *args, size_t count, void (*done)(struct redis_request *request))
{
    struct round *round = one->round;
    one->request = (struct redis_request){
        .args = args, .arg_count = count, .timeout_ms = round->timeout_ms, .done = done
    };
    strata__redis_submit_at(round->r->link, one->nth, &one->request);
}

/* 1: there is an answer, and it is no error; else the round has failed. */
static int is_good(struct one *one, const char *what, const char *advice)
{
    enum { SHOWN = 60 };
    const struct redis_request *request = &one->request;
    strata_error why = request->err;
    if (request->status == STRATA_OK && strata__redis_kind(request->reply) != REDIS_IS_ERROR)
        return 1;
    if (request->status == STRATA_OK) {
        strata_slice text = strata__redis_text(request->reply);
        (void)strata__fail(&why, STRATA_EIO, one->round->r->base.name, "%s was refused: \"%.*s\": %s", what,
                           (int)(text.size < SHOWN ? text.size : SHOWN), (const char *)text.data, advice);
    }
    fail_round(one->round, &why);
    return 0;
}

static void tracking_answered(struct redis_request *request)
{
    struct one *one = (struct one *)(void *)request;
    struct round *round = one->round;
    if (is_good(one, "CLIENT TRACKING", "the user of the layer needs +client|tracking; Redis 6.0 or newer, or Valkey")) {
        /* Another connection than the one that was looked at is looked at in the next round. */
        if (atomic_load(&request->mark->seen) == round->number)
            atomic_store(&request->mark->followed, round->number);
        atomic_store(&round->anew, 1);
    }
    leave(round);
}

static int is_server(const struct round *round, strata_slice info)
{
    static const char field[] = "run_id:";
    size_t size = strlen(round->server), from = sizeof field - 1;
    const char *bytes = info.data;
    for (size_t i = 0; i + from + size <= info.size; i++)
        if (memcmp(bytes + i, field, from) == 0)
            return memcmp(bytes + i + from, round->server, size) == 0;
    return 0;
}

static void info_answered(struct redis_request *request)
{
    struct one *one = (struct one *)(void *)request;
    struct round *round = one->round;
    const strata_slice words[] = { strata_str("CLIENT"), strata_str("TRACKING"), strata_str("ON"),
                                   strata_str("REDIRECT"), strata_str(round->listener) };
    if (!is_good(one, "INFO", "the user of the layer needs +info")) {
        leave(round);
    } else if (strata__redis_kind(request->reply) != REDIS_IS_TEXT ||
               !is_server(round, strata__redis_text(request->reply))) {
        strata_error why = STRATA_ERROR_INIT;
        (void)strata__fail(&why, STRATA_EIO, round->r->base.name,
                           "the layer is connected to another server than the bus that is to be told of its keys: give "
                           "both the same url; after a failover this passes");
        fail_round(round, &why);
        leave(round);
    } else {
        atomic_store(&request->mark->seen, round->number);
        ask(one, words, sizeof words / sizeof words[0], tracking_answered);
    }
}

static void ping_answered(struct redis_request *request)
{
    struct one *one = (struct one *)(void *)request;
    const strata_slice words[] = { strata_str("INFO"), strata_str("server") };
    if (request->status == STRATA_OK && atomic_load(&request->mark->followed) == one->round->number)
        leave(one->round);
    else if (is_good(one, "PING", "let the user of the layer run it"))
        ask(one, words, 2, info_answered);
    else
        leave(one->round);
}

static int shown(strata_slice text) { return (int)(text.size < 40 ? text.size : 40); }

static int check(struct redis_layer *r, const strata_follow *how, strata_error *err)
{
    if (strcmp(how->kind, "redis") != 0)
        return strata__fail(err, STRATA_EUNSUPPORTED, r->base.name, "this layer's store is a Redis, not a \"%s\"",
                            how->kind);
    if (how->prefix.size != r->prefix.size ||
        (r->prefix.size != 0 && memcmp(how->prefix.data, r->prefix.data, r->prefix.size) != 0))
        return strata__fail(
            err, STRATA_EINVAL, r->base.name,
            "keys stand in this layer behind \"%.*s\", and the bus is told of those behind \"%.*s\": give "
            "both the same prefix",
            shown(r->prefix), (const char *)r->prefix.data, shown(how->prefix), (const char *)how->prefix.data);
    if (how->all)
        return STRATA_OK;
    if (redis_is_cluster(r))
        return strata__fail(err, STRATA_EUNSUPPORTED, r->base.name,
                            "per_key needs one server, and this layer is over a Cluster: leave it out there");
    if (r->host == NULL || how->server.size >= SERVER_ROOM || how->listener.size >= LISTENER_ROOM)
        return strata__fail(err, STRATA_EIO, r->base.name, "the layer is not open: open the cache again");
    return STRATA_OK;
}

int strata__redis_layer_follow(strata_layer *layer, strata_follow *how, strata_error *err)
{
    struct redis_layer *r = (struct redis_layer *)(void *)layer;
    int rc = check(r, how, err);
    if (rc < 0 || how->all || how->server.size == 0)
        return rc;
    const uint32_t count = strata__redis_connections(r->link);
    struct round *round = strata__alloc_zero(r->mem, sizeof *round + count * sizeof round->each[0]);
    if (round == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, r->base.name);
    round->r = r;
    round->how = how;
    round->number = how->number;
    round->timeout_ms = how->timeout_ms;
    memcpy(round->server, how->server.data, how->server.size);
    memcpy(round->listener, how->listener.data, how->listener.size);
    atomic_init(&round->left, count + 1);
    const strata_slice word = strata_str("PING");
    for (uint32_t i = 0; i < count; i++) {
        round->each[i].round = round;
        round->each[i].nth = i;
        ask(&round->each[i], &word, 1, ping_answered);
    }
    leave(round);
    return STRATA_OK;
}
