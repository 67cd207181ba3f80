/* redis_base.c - see redis_base.h. */
#include "src/bus/redis_base.h"

#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/bus/bus_host.h"
#include "src/os/os_clock.h"
#include "src/os/os_socket.h"
#include "src/policy/options.h"

enum { BACKOFF_MIN_MS = 20, BACKOFF_MAX_MS = 1000, MAX_LENGTH = 100000 };

static struct redis_bus *downcast(strata_bus *bus) { return (struct redis_bus *)(void *)bus; }

static void count(_Atomic(uint64_t) *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* Words for refusals -------------------------------------------------------------------------------------------------- */

static const char *advice_for(strata_slice text)
{
    static const struct {
        const char *code, *advice;
    } known[] = {
        { "NOPERM", "let the user do this (ACL SETUSER), with the keys and channels of the prefix" },
        { "WRONGTYPE", "another program keeps something else there: give the bus another channel" },
        { "OOM", "raise the server's maxmemory, or let it evict (maxmemory-policy)" },
        { "READONLY", "it is a replica: write the primary's address into url" },
        { "LOADING", "it reads its data after a start: wait" },
        { "MASTERDOWN", "it is a replica without its primary: write the primary's address into url" },
        { "MISCONF", "it cannot save its data: look at the server's log and disk" },
        { "NOAUTH", "write the password into url" },
        { "MOVED", "a node of a Cluster: write redis+cluster:// into url" },
        { "CLUSTERDOWN", "the cluster has no primary for some slots: look at CLUSTER INFO" },
        { "ERR unknown command", "Streams need Redis 5, sharded Pub/Sub Redis 7; or the command was renamed there" },
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (text.size >= strlen(known[i].code) && memcmp(text.data, known[i].code, strlen(known[i].code)) == 0)
            return known[i].advice;
    return "look at the server";
}

int strata__redis_bus_refused(const struct redis_bus *b, const char *command, const struct redisReply *reply,
                              strata_error *err)
{
    enum { SHOWN = 90 }; /* so that the advice fits behind it */
    if (strata__redis_kind(reply) != REDIS_IS_ERROR)
        return strata__fail(err, STRATA_EIO, b->base.name,
                            "%s was answered with something else than a Redis server says: is it one?", command);
    strata_slice text = strata__redis_text(reply);
    return strata__fail(err, STRATA_EIO, b->base.name, "%s was refused: \"%.*s\": %s", command,
                        (int)(text.size < SHOWN ? text.size : SHOWN), (const char *)text.data, advice_for(text));
}

/* Up and down --------------------------------------------------------------------------------------------------------- */

int strata__redis_bus_enter(struct redis_bus *b)
{
    /* Sequentially consistent, as the two in stop(): either this one sees that it is stopped, or stop() waits for it. */
    atomic_fetch_add(&b->inside, 1);
    if (!atomic_load(&b->stopped))
        return 1;
    strata__redis_bus_leave(b);
    return 0;
}

/* The last that a thread does with a bus. */
void strata__redis_bus_leave(struct redis_bus *b) { atomic_fetch_sub(&b->inside, 1); }

static void tell_locked(struct redis_bus *b)
{
    int now = b->reads && !b->refused ? 1 : -1;
    if (atomic_load(&b->stopped) || (now > 0 && b->told > 0))
        return;
    if (now < 0 && b->told < 0 && strcmp(b->told_why.message, b->why.message) == 0)
        return;
    b->told = now;
    if (now > 0) {
        count(&b->ups, 1);
        strata_bus_up(b->host);
        return;
    }
    b->told_why = b->why;
    strata_bus_down(b->host, &b->why);
}

void strata__redis_bus_reads(struct redis_bus *b)
{
    os_lock_take(&b->lock);
    b->reads = 1;
    tell_locked(b);
    os_lock_give(&b->lock);
}

void strata__redis_bus_away(struct redis_bus *b, const strata_error *why)
{
    os_lock_take(&b->lock);
    b->reads = 0;
    b->why = *why;
    tell_locked(b);
    os_lock_give(&b->lock);
}

/* A user who may listen and not speak has a bus that does not work: it says so, until something was taken. */
static void may_publish(struct redis_bus *b, int refused, const strata_error *why)
{
    os_lock_take(&b->lock);
    if (refused || b->refused) {
        b->refused = refused;
        if (refused)
            b->why = *why;
        tell_locked(b);
    }
    os_lock_give(&b->lock);
}

void strata__redis_bus_lost(struct redis_bus *b, const char *why)
{
    count(&b->lost, 1);
    if (!atomic_load(&b->stopped))
        strata_bus_lost(b->host, why);
}

void strata__redis_bus_deliver(struct redis_bus *b, strata_slice message, strata_slice cursor)
{
    count(&b->received, 1);
    count(&b->bytes_in, message.size);
    if (!atomic_load(&b->stopped))
        strata_bus_delivered(b->host, message, cursor);
}

static void later(void *ctx)
{
    struct redis_bus *b = ctx;
    if (!strata__redis_bus_enter(b))
        return;
    b->go_on(b);
    strata__redis_bus_leave(b);
}

void strata__redis_bus_later(struct redis_bus *b, int64_t pause_ms)
{
    if (strata_bus_after(b->host, pause_ms, later, b) == STRATA_ENOMEM)
        atomic_store(&b->stalled, 1);
}

/* Publishing ---------------------------------------------------------------------------------------------------------- */

struct sending {
    struct redis_request request; /* first */
    struct redis_bus *bus;
    strata_publish *message;
};

static int outcome(struct redis_bus *b, const struct redis_request *request, strata_error *err)
{
    if (request->status != STRATA_OK) {
        *err = request->err;
        return request->status;
    }
    if (strata__redis_kind(request->reply) == b->kind->taken) {
        may_publish(b, 0, NULL);
        return STRATA_OK;
    }
    int rc = strata__redis_bus_refused(b, b->verb, request->reply, err);
    may_publish(b, 1, err);
    return rc;
}

static void finish(struct redis_bus *b, strata_publish *message, int rc)
{
    count(rc == STRATA_OK ? &b->published : &b->failed, 1);
    if (rc == STRATA_OK)
        count(&b->bytes_out, message->bytes.size);
    strata_publish_done(message, rc);
    atomic_fetch_sub(&b->out, 1);
}

static void sent(struct redis_request *request)
{
    struct sending *s = (struct sending *)(void *)request;
    struct redis_bus *b = s->bus;
    strata_publish *message = s->message;
    int rc = outcome(b, request, message->err);
    strata__free(b->mem, s);
    finish(b, message, rc);
}

static void send_one(struct redis_bus *b, strata_publish *message)
{
    strata_slice words[REDIS_BUS_WORDS];
    struct sending *s = strata__alloc_zero(b->mem, sizeof *s);
    if (s == NULL) {
        finish(b, message, strata__fail_plain(message->err, STRATA_ENOMEM, b->base.name));
        return;
    }
    s->bus = b;
    s->message = message;
    s->request = (struct redis_request){ .args = words,
                                         .arg_count = b->kind->command(b, message->bytes, words),
                                         .timeout_ms = b->options.timeout_ms,
                                         .key_at = 1,
                                         .done = sent };
    struct redis_request *request = &s->request;
    strata__redis_submit(b->writer, &request, 1);
}

static void redis_publish(strata_bus *bus, strata_publish *message)
{
    struct redis_bus *b = downcast(bus);
    atomic_fetch_add(&b->out, 1);
    if (atomic_load(&b->stopping) || !strata__redis_bus_enter(b)) {
        finish(b, message, strata__fail_plain(message->err, STRATA_ECLOSED, b->base.name));
        return;
    }
    if (atomic_load(&b->stalled) && atomic_exchange(&b->stalled, 0))
        b->go_on(b);
    if (message->bytes.size > b->base.max_message_bytes)
        finish(b, message,
               strata__fail(message->err, STRATA_EINVAL, b->base.name, "a message of %zu bytes, and %u are the most",
                            message->bytes.size, (unsigned)b->base.max_message_bytes));
    else
        send_one(b, message);
    strata__redis_bus_leave(b);
}

/* Start, stop, end ---------------------------------------------------------------------------------------------------- */

struct redis_link_options strata__redis_bus_link(struct redis_bus *b)
{
    struct redis_link_options o = strata__redis_target_link(&b->target);
    o.name = b->base.name;
    o.connections = 1;
    o.patience = "timeout_ms of this bus";
    o.connect_timeout_ms = b->options.connect_timeout_ms;
    o.backoff_min_ms = BACKOFF_MIN_MS;
    o.backoff_max_ms = BACKOFF_MAX_MS;
    o.max_pending = b->options.max_pending;
    o.mem = b->mem;
    o.ctx = b;
    return o;
}

static void close_links(struct redis_bus *b)
{
    strata__redis_close(b->writer);
    strata__redis_close(b->reader);
    b->writer = b->reader = NULL;
    strata__redis_target_close(&b->target);
}

static int redis_start(strata_bus *bus, strata_bus_host *host, const strata_bus_start *how, strata_error *err)
{
    struct redis_bus *b = downcast(bus);
    b->host = host;
    b->mem = strata_bus_allocator(host);
    int rc = strata__redis_target_open(&b->target, b->base.name, err);
    if (rc == STRATA_OK) {
        struct redis_link_options options = strata__redis_bus_link(b);
        rc = strata__redis_open(&b->writer, &options, err);
    }
    if (rc == STRATA_OK)
        rc = b->kind->read(b, how->resume_from, err);
    if (rc < 0) {
        atomic_store(&b->stopped, 1);
        close_links(b);
        b->host = NULL;
    }
    return rc;
}

static void redis_stop(strata_bus *bus, int64_t flush_ms)
{
    struct redis_bus *b = downcast(bus);
    int64_t now = strata__os_now_ms(), until = flush_ms < INT64_MAX - now ? now + flush_ms : INT64_MAX;
    if (b->host == NULL)
        return;
    atomic_store(&b->stopping, 1);
    while (atomic_load(&b->out) > 0 && strata__os_now_ms() < until)
        (void)strata__os_poll(NULL, 0, 1);
    os_lock_take(&b->lock); /* what is just being told is told */
    atomic_store(&b->stopped, 1);
    os_lock_give(&b->lock);
    while (atomic_load(&b->inside) > 0)
        (void)strata__os_poll(NULL, 0, 1);
    close_links(b);
    while (atomic_load(&b->out) > 0) /* somebody who came too late is just being told so */
        (void)strata__os_poll(NULL, 0, 1);
}

static void redis_rouse(strata_bus *bus)
{
    struct redis_bus *b = downcast(bus);
    if (b->host == NULL || !strata__redis_bus_enter(b))
        return;
    strata__redis_rouse(b->writer);
    strata__redis_rouse(b->reader);
    strata__redis_bus_leave(b);
}

static void redis_stats(strata_bus *bus, strata_bus_stats *out)
{
    struct redis_bus *b = downcast(bus);
    uint64_t ups = atomic_load_explicit(&b->ups, memory_order_relaxed);
    out->published = atomic_load_explicit(&b->published, memory_order_relaxed);
    out->failed = atomic_load_explicit(&b->failed, memory_order_relaxed);
    out->received = atomic_load_explicit(&b->received, memory_order_relaxed);
    out->bytes_out = atomic_load_explicit(&b->bytes_out, memory_order_relaxed);
    out->bytes_in = atomic_load_explicit(&b->bytes_in, memory_order_relaxed);
    out->lost = atomic_load_explicit(&b->lost, memory_order_relaxed);
    out->reconnects = ups > 0 ? ups - 1 : 0;
    os_lock_take(&b->lock);
    out->up = b->told > 0;
    os_lock_give(&b->lock);
}

/* In a child after fork: whoever held a lock does not exist here, and what was out is the parent's. */
static int redis_reopen(strata_bus *bus, strata_error *err)
{
    struct redis_bus *b = downcast(bus);
    (void)err;
    strata__redis_abandon(b->writer);
    strata__redis_abandon(b->reader);
    b->writer = b->reader = NULL;
    b->target.tls = NULL; /* left as it is: a thread of the parent may have held a lock of OpenSSL's */
    if (b->kind->end != NULL)
        b->kind->end(b);
    memset(&b->lock, 0, sizeof b->lock);
    atomic_store(&b->stopping, 0);
    atomic_store(&b->stopped, 0);
    atomic_store(&b->inside, 0);
    atomic_store(&b->out, 0);
    atomic_store(&b->stalled, 0);
    b->reads = b->refused = b->told = 0;
    b->host = NULL;
    return STRATA_OK;
}

static void redis_close(strata_bus *bus)
{
    struct redis_bus *b = downcast(bus);
    if (b->host != NULL && b->kind->end != NULL)
        b->kind->end(b);
    strata__redis_target_deinit(&b->target);
    strata__free(NULL, b->key_bytes);
    strata__free(NULL, b);
}

/* The constructor ----------------------------------------------------------------------------------------------------- */

static int make_key(struct redis_bus *b, const char *prefix, const char *channel, strata_error *err)
{
    /* Reserved, as the key of a life is: behind a 0 comes the size of a namespace's name, and 255 bytes of one do not fit in. */
    static const char reserved[2] = { '\0', '\377' };
    size_t before = strlen(prefix), behind = strlen(channel);
    b->key_bytes = strata__alloc(NULL, before + sizeof reserved + behind);
    if (b->key_bytes == NULL)
        return strata__fail(err, STRATA_ENOMEM, "prefix", "no memory for the name of the channel: free some");
    memcpy(b->key_bytes, prefix, before);
    memcpy(b->key_bytes + before, reserved, sizeof reserved);
    memcpy(b->key_bytes + before + sizeof reserved, channel, behind);
    b->key = strata_bytes(b->key_bytes, before + sizeof reserved + behind);
    return STRATA_OK;
}

static int make_target(struct redis_bus *b, strata_error *err)
{
    const strata_redis_bus_options *o = &b->options;
    const struct redis_target_options target = { .url = o->url,
                                                 .sentinel_user = o->sentinel_user,
                                                 .sentinel_password = o->sentinel_password,
                                                 .tls_ca_file = o->tls_ca_file,
                                                 .tls_ca_dir = o->tls_ca_dir,
                                                 .tls_cert_file = o->tls_cert_file,
                                                 .tls_key_file = o->tls_key_file,
                                                 .tls_server_name = o->tls_server_name,
                                                 .tls_verify = o->tls_verify };
    int rc = strata__redis_target_init(&b->target, &target, err);
    if (rc == STRATA_OK && o->cluster == STRATA_ON)
        rc = strata__redis_url_cluster(&b->target.url, err);
    return rc;
}

static int make_parts(struct redis_bus *b, const strata_redis_bus_options *given, strata_error *err)
{
    static const strata_redis_bus_options defaults = STRATA_REDIS_BUS_OPTIONS_INIT;
    strata_redis_bus_options *o = &b->options;
    if (given == NULL)
        given = &defaults;
    int rc = strata__options_check(&strata__redis_bus_rows, given, given->size, o, sizeof *o, err);
    if (rc < 0)
        return rc;
    if (o->max_length != 0 && !b->kind->has_length)
        return strata__fail(err, STRATA_EINVAL, "max_length",
                            "Pub/Sub keeps no messages: leave max_length out, or take Streams");
    strata__options_fill(&strata__redis_bus_rows, o);
    if (o->max_length == 0)
        o->max_length = MAX_LENGTH;
    if (o->name != NULL)
        (void)snprintf(b->base.name, sizeof b->base.name, "%s", o->name);
    (void)snprintf(b->length, sizeof b->length, "%llu", (unsigned long long)o->max_length);
    rc = make_target(b, err);
    return rc == STRATA_OK
               ? make_key(b, o->prefix != NULL ? o->prefix : "strata:", o->channel != NULL ? o->channel : "bus", err)
               : rc;
}

static void forget_texts(strata_redis_bus_options *o)
{
    o->url = o->prefix = o->channel = o->name = o->sentinel_user = o->sentinel_password = NULL;
    o->tls_ca_file = o->tls_ca_dir = o->tls_cert_file = o->tls_key_file = o->tls_server_name = NULL;
}

strata_bus *strata__redis_bus_new(const struct redis_bus_kind *kind, const strata_redis_bus_options *options)
{
    struct redis_bus *b = strata__alloc_zero(NULL, kind->bytes);
    if (b == NULL)
        return strata__bus_out_of_memory();
    b->ops = (strata_bus_ops){ .size = sizeof b->ops,
                               .kind = kind->name,
                               .start = redis_start,
                               .publish = redis_publish,
                               .stop = redis_stop,
                               .stats = redis_stats,
                               .reopen = redis_reopen,
                               .close = redis_close,
                               .rouse = redis_rouse };
    b->base = (strata_bus){
        .size = sizeof b->base, .ops = &b->ops, .flags = kind->flags, .max_message_bytes = REDIS_BUS_MESSAGE
    };
    b->kind = kind;
    (void)snprintf(b->base.name, sizeof b->base.name, "%s", kind->name);
    (void)make_parts(b, options, &b->base.failed);
    forget_texts(&b->options);
    return &b->base;
}
