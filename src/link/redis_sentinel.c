/* redis_sentinel.c - see redis_sentinel.h. */
#include "src/link/redis_sentinel.h"

#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/link/redis_link_impl.h"
#include "src/os/os_clock.h"
#include "src/os/os_futex.h"

/* So often they are asked whether the master is where it was: one that was cut off, and is still a master to itself, tells
 * nobody. */
enum { LOOK_AGAIN_MS = 1000 };

struct redis_sentinel {
    struct redis_link *link;
    const struct redis_link_options *options; /* the link's */
    const strata_allocator *mem;
    struct os_thread thread;
    _Atomic(uint32_t) wake; /* what the thread sleeps on */
    _Atomic(int) closing;
    _Atomic(int) demanded;
    _Atomic(int) doubted;
    _Atomic(uint32_t) generation;   /* of `place`; written under the lock */
    _Atomic(uint32_t) begun, ended; /* questions, and those that were answered or not */

    struct os_lock lock;
    /* Under it. */
    int found;                /* `place` is the answer to the last question; else `reason` */
    struct redis_place place; /* port 0: never found */
    strata_error reason;
    struct redis_link *asking; /* to the Sentinel that is asked first */

    size_t first; /* the thread's: its index */
};

struct question {
    struct redis_request request; /* first */
    struct redis_sentinel *s;
    const struct redis_host *host;
    struct redis_place place;
    strata_error *why;
    int good;
};

static int read_place(const struct redisReply *reply, struct redis_place *out)
{
    if (strata__redis_kind(reply) != REDIS_IS_ARRAY || strata__redis_count(reply) != 2)
        return 0;
    const struct redisReply *host = strata__redis_at(reply, 0), *port = strata__redis_at(reply, 1);
    if (strata__redis_kind(host) != REDIS_IS_TEXT || strata__redis_kind(port) != REDIS_IS_TEXT)
        return 0;
    strata_slice name = strata__redis_text(host), digits = strata__redis_text(port);
    const char *at = digits.data;
    uint32_t n = 0;
    for (size_t i = 0; i < digits.size && n <= UINT16_MAX; i++)
        n = at[i] >= '0' && at[i] <= '9' ? n * 10 + (uint32_t)(at[i] - '0') : UINT16_MAX + 1u;
    if (n == 0 || n > UINT16_MAX || name.size == 0 || name.size >= sizeof out->host ||
        memchr(name.data, '\0', name.size) != NULL)
        return 0;
    memcpy(out->host, name.data, name.size);
    out->host[name.size] = '\0';
    out->port = (uint16_t)n;
    return 1;
}

static void answered(struct redis_request *request)
{
    struct question *q = (struct question *)(void *)request;
    const struct redis_link_options *o = q->s->options;
    unsigned port = (unsigned)q->host->port;
    if (request->status != STRATA_OK) {
        *q->why = request->err;
    } else if (strata__redis_kind(request->reply) == REDIS_IS_ERROR) {
        enum { SHOWN = 90 };
        strata_slice text = strata__redis_text(request->reply);
        (void)strata__fail(q->why, STRATA_EIO, o->name,
                           "the Sentinel at %s:%u refused: \"%.*s\": is it one, and are its user and password right "
                           "(sentinel_user, sentinel_password)?",
                           q->host->host, port, (int)(text.size < SHOWN ? text.size : SHOWN), (const char *)text.data);
    } else if (strata__redis_kind(request->reply) == REDIS_IS_NIL ||
               (strata__redis_kind(request->reply) == REDIS_IS_ARRAY && strata__redis_count(request->reply) == 0)) {
        (void)strata__fail(
            q->why, STRATA_EIO, o->name,
            "the Sentinel at %s:%u knows no master \"%s\": correct its name in url, or \"sentinel monitor\"",
            q->host->host, port, o->master_name);
    } else if (!(q->good = read_place(request->reply, &q->place))) {
        (void)strata__fail(q->why, STRATA_EIO, o->name,
                           "the Sentinel at %s:%u answered with what none answers with: is it a Sentinel?",
                           q->host->host, port);
    }
}

static int ask(struct redis_sentinel *s, struct redis_link *link, const struct redis_host *host,
               struct redis_place *out, strata_error *why)
{
    const strata_slice words[] = { strata_str("SENTINEL"), strata_str("get-master-addr-by-name"),
                                   strata_str(s->options->master_name) };
    struct question q = {
        .request = { .args = words, .arg_count = 3, .timeout_ms = s->options->connect_timeout_ms, .done = answered },
        .s = s,
        .host = host,
        .why = why,
    };
    strata__redis_call(link, &q.request);
    *out = q.place;
    return q.good;
}

/* The lock lets who closes hurry it.  0: it is closing. */
static int set_asking(struct redis_sentinel *s, struct redis_link *link)
{
    os_lock_take(&s->lock);
    int may = link == NULL || !atomic_load(&s->closing);
    s->asking = may ? link : NULL;
    os_lock_give(&s->lock);
    return may;
}

static void leave_sentinel(struct redis_sentinel *s)
{
    struct redis_link *link = s->asking;
    (void)set_asking(s, NULL);
    strata__redis_close(link);
}

static int open_sentinel(struct redis_sentinel *s, const struct redis_host *host, strata_error *why)
{
    struct redis_link_options options = *s->options;
    struct redis_link *link;
    options.topology = REDIS_ALONE;
    options.master_name = NULL; /* what goes wrong with a Sentinel is told of its address */
    options.host = host->host;
    options.port = host->port;
    options.user = s->options->sentinel_user;
    options.password = s->options->sentinel_password;
    options.database = 0;
    options.connections = 1;
    options.hello = NULL; /* it is no server for that */
    options.pushed = NULL;
    options.caught = NULL;
    options.lost = NULL;
    options.resp3 = 0;
    if (strata__redis_open(&link, &options, why) != STRATA_OK)
        return 0;
    if (set_asking(s, link))
        return 1;
    strata__redis_close(link);
    return 0;
}

/* The link to one that answered is kept. */
static int ask_all(struct redis_sentinel *s, struct redis_place *out, strata_error *why)
{
    const struct redis_link_options *o = s->options;
    if (atomic_exchange(&s->doubted, 0)) {
        leave_sentinel(s);
        s->first = (s->first + 1) % o->host_count;
    }
    for (size_t i = 0; i < o->host_count && !atomic_load(&s->closing); i++) {
        const struct redis_host *host = &o->hosts[s->first];
        if ((s->asking != NULL || open_sentinel(s, host, why)) && ask(s, s->asking, host, out, why))
            return 1;
        leave_sentinel(s);
        s->first = (s->first + 1) % o->host_count;
    }
    return 0;
}

/* Where all connections shall be that are not there. */
static void move_link(struct redis_sentinel *s)
{
    struct redis_link *link = s->link;
    for (size_t i = 0; i < link->conn_count; i++) {
        struct redis_conn *c = &link->conns[i];
        os_lock_take(&c->lock);
        if (c->state == REDIS_UP && c->found != atomic_load(&s->generation))
            strata__redis_break_locked(
                c, STRATA_EIO, 0,
                "the Sentinels have made another server the master; whether this one carried out "
                "what was on its way is not known");
        os_lock_give(&c->lock);
    }
}

static void look(struct redis_sentinel *s)
{
    struct redis_place place;
    strata_error why = STRATA_ERROR_INIT;
    atomic_fetch_add(&s->begun, 1);
    atomic_store(&s->demanded, 0);
    int found = ask_all(s, &place, &why), moved = 0;
    os_lock_take(&s->lock);
    s->found = found;
    if (!found) {
        s->reason = why;
    } else if (!strata__redis_same_place(&place, &s->place)) {
        moved = s->place.port != 0;
        s->place = place;
        atomic_fetch_add(&s->generation, 1);
    }
    os_lock_give(&s->lock);
    atomic_store(&s->ended, atomic_load(&s->begun));
    if (moved)
        move_link(s);
    strata__redis_wake(s->link);
}

static void run(void *ctx)
{
    struct redis_sentinel *s = ctx;
    int64_t next = INT64_MIN;
    while (!atomic_load(&s->closing)) {
        int64_t now = strata__os_now_ms();
        if (now >= next || atomic_load(&s->demanded)) {
            look(s);
            next = strata__os_now_ms() + LOOK_AGAIN_MS;
            continue;
        }
        (void)strata__os_park(&s->wake, strata__os_now_us() + (next - now) * 1000);
    }
}

uint32_t strata__redis_sentinel_ask(struct redis_sentinel *s)
{
    uint32_t ticket = atomic_load(&s->begun);
    atomic_store(&s->demanded, 1);
    strata__os_unpark(&s->wake);
    return ticket;
}

int strata__redis_sentinel_find(struct redis_sentinel *s, uint32_t ticket, struct redis_place *out,
                                uint32_t *out_generation, strata_error *why)
{
    if ((int32_t)(atomic_load(&s->ended) - ticket) <= 0)
        return 0;
    os_lock_take(&s->lock);
    int found = s->found;
    *out = s->place;
    *out_generation = atomic_load(&s->generation);
    *why = s->reason;
    os_lock_give(&s->lock);
    return found ? 1 : -1;
}

int strata__redis_sentinel_holds(struct redis_sentinel *s, uint32_t generation)
{
    return atomic_load(&s->generation) == generation;
}

void strata__redis_sentinel_doubt(struct redis_sentinel *s) { atomic_store(&s->doubted, 1); }

int strata__redis_sentinel_open(struct redis_sentinel **out, struct redis_link *link,
                                const struct redis_link_options *options, strata_error *err)
{
    struct redis_sentinel *s = *out = strata__alloc_zero(options->mem, sizeof *s);
    if (s == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, options->name);
    s->link = link;
    s->options = options;
    s->mem = options->mem;
    int failed = strata__os_thread_start(&s->thread, "strata-sentinel", run, s);
    if (failed == 0)
        return STRATA_OK;
    *out = NULL;
    strata__free(s->mem, s);
    return strata__fail_os(err, STRATA_EIO, failed, options->name,
                           "the thread that asks Sentinels could not be started: raise the limits (ulimit -u)");
}

void strata__redis_sentinel_close(struct redis_sentinel *s)
{
    if (s == NULL)
        return;
    os_lock_take(&s->lock);
    atomic_store(&s->closing, 1);
    strata__redis_hurry(s->asking);
    os_lock_give(&s->lock);
    strata__os_unpark(&s->wake);
    strata__os_thread_join(&s->thread);
    strata__redis_close(s->asking);
    strata__free(s->mem, s);
}

void strata__redis_sentinel_abandon(struct redis_sentinel *s)
{
    if (s == NULL)
        return;
    strata__redis_abandon(s->asking);
    strata__free(s->mem, s);
}
