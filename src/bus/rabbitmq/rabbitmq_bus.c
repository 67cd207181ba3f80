/* rabbitmq_bus.c - messages as they are, to one exchange and from one queue a node; src/link/amqp_link.h does the talking.
 *
 * Not STRATA_BUS_ORDERED.  On one server everything that was confirmed before a heartbeat of ours was sent does stand before it in our
 * queue.  But two queues may get the messages of two publishers in different orders; and in a cluster that falls apart our queue may
 * stand on one side, and go on echoing our heartbeats, while a publisher on the other side has its messages confirmed without it: an
 * echo proves nothing there, and the mutual acknowledgements of peers do.
 *
 * No cursors: a queue gives what was not acknowledged, and cannot go back. */
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/bus/bus_host.h"
#include "src/bus/rabbitmq/rabbitmq_url.h"
#include "src/link/amqp_link.h"
#include "src/policy/options.h"
#include "strata/policy.h"
#include "strata/rabbitmq.h"

enum { TEXTS = 9, NAME_MOST = 255, BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 5000 };
#define EXCHANGE_DEFAULT "strata.invalidations"

struct rabbitmq_bus {
    strata_bus base;
    strata_rabbitmq_options options; /* its texts are ours: texts[] */
    char *texts[TEXTS];
    struct rabbitmq_url url; /* points into its text */
    strata_bus_host *host;
    struct amqp_link *link; /* from start to close */
    char queue[NAME_MOST + 1];
    strata_error told; /* the link's thread: why it is down */
};

static struct rabbitmq_bus *downcast(strata_bus *bus) { return (struct rabbitmq_bus *)(void *)bus; }

/* What the link tells ------------------------------------------------------------------------------------------------ */

static void on_delivered(void *ctx, strata_slice bytes)
{
    struct rabbitmq_bus *b = ctx;
    strata_bus_delivered(b->host, bytes, strata_bytes(NULL, 0));
}

static void on_up(void *ctx)
{
    struct rabbitmq_bus *b = ctx;
    b->told.message[0] = '\0';
    strata_bus_up(b->host);
}

/* Each attempt that fails comes here: the same words are told once. */
static void on_down(void *ctx, const strata_error *why)
{
    struct rabbitmq_bus *b = ctx;
    if (strcmp(b->told.message, why->message) == 0)
        return;
    b->told = *why;
    strata_bus_down(b->host, why);
}

static void on_lost(void *ctx, const char *why) { strata_bus_lost(((struct rabbitmq_bus *)ctx)->host, why); }

static void on_done(void *owner, int status, const strata_error *why)
{
    strata_publish *message = owner;
    if (status < 0)
        *message->err = *why;
    strata_publish_done(message, status);
}

/* The contract ------------------------------------------------------------------------------------------------------- */

/* "": the server makes one up. */
static int name_queue(struct rabbitmq_bus *b, const char *node_name, strata_error *err)
{
    const strata_rabbitmq_options *o = &b->options;
    int n;
    if (o->queue != NULL)
        n = snprintf(b->queue, sizeof b->queue, "%s", o->queue);
    else if (o->durable != STRATA_ON)
        n = snprintf(b->queue, sizeof b->queue, "%s", "");
    else if (node_name == NULL || node_name[0] == '\0')
        return strata__fail(err, STRATA_EINVAL, "node_name",
                            "%s: a durable bus needs a name of this node that stays the same: set "
                            "strata_coherence_options.node_name, or queue",
                            b->base.name);
    else
        n = snprintf(b->queue, sizeof b->queue, "%s.%s", o->exchange, node_name);
    if (n < 0 || (size_t)n >= sizeof b->queue)
        return strata__fail(
            err, STRATA_EINVAL, "node_name",
            "%s: exchange and node_name together name the queue, and have more than %d bytes: shorten one",
            b->base.name, NAME_MOST);
    return STRATA_OK;
}

static const char *type_name(int32_t type)
{
    return type == STRATA_RABBITMQ_TOPIC ? "topic" : type == STRATA_RABBITMQ_DIRECT ? "direct" : "fanout";
}

static int start(strata_bus *bus, strata_bus_host *host, const strata_bus_start *how, strata_error *err)
{
    struct rabbitmq_bus *b = downcast(bus);
    const strata_rabbitmq_options *o = &b->options;
    int rc = name_queue(b, how->node_name, err);
    if (rc != STRATA_OK)
        return rc;
    int durable = o->durable == STRATA_ON;
    const struct amqp_link_options link = { .name = bus->name,
                                            .host = b->url.host,
                                            .port = b->url.port,
                                            .vhost = b->url.vhost,
                                            .user = b->url.user,
                                            .password = b->url.password,
                                            .tls = b->url.tls,
                                            .tls_verify = o->tls_verify != STRATA_OFF,
                                            .ca_file = o->tls_ca_file,
                                            .cert_file = o->tls_cert_file,
                                            .key_file = o->tls_key_file,
                                            .exchange = o->exchange,
                                            .exchange_type = type_name(o->exchange_type),
                                            .routing_key = o->routing_key,
                                            .queue = b->queue,
                                            .durable = durable,
                                            .persistent = o->persistent == 0 ? durable : o->persistent == STRATA_ON,
                                            .mandatory = o->exchange_type != STRATA_RABBITMQ_FANOUT,
                                            .prefetch = o->prefetch,
                                            .max_pending = o->max_pending,
                                            .timeout_ms = o->timeout_ms,
                                            .connect_timeout_ms = o->connect_timeout_ms,
                                            .heartbeat_ms = o->heartbeat_ms,
                                            .queue_expires_ms = o->queue_expires_ms == STRATA_OFF ? 0
                                                                                                  : o->queue_expires_ms,
                                            .backoff_min_ms = BACKOFF_MIN_MS,
                                            .backoff_max_ms = BACKOFF_MAX_MS,
                                            .mem = strata_bus_allocator(host),
                                            .delivered = on_delivered,
                                            .up = on_up,
                                            .down = on_down,
                                            .lost = on_lost,
                                            .done = on_done,
                                            .ctx = b };
    b->host = host;
    /* Nothing that was before this queue can be had: the cache does not give such a cursor, for we gave none. */
    if (how->resume_from.size != 0)
        strata_bus_lost(host, "a RabbitMQ queue has no positions to resume from");
    return strata__amqp_open(&b->link, &link, err);
}

static void publish(strata_bus *bus, strata_publish *message)
{
    strata__amqp_publish(downcast(bus)->link, message->bytes, message);
}

static void stop(strata_bus *bus, int64_t flush_ms)
{
    struct rabbitmq_bus *b = downcast(bus);
    if (b->link != NULL)
        strata__amqp_stop(b->link, flush_ms);
}

static void rouse(strata_bus *bus)
{
    struct rabbitmq_bus *b = downcast(bus);
    if (b->link != NULL)
        strata__amqp_rouse(b->link);
}

static void stats(strata_bus *bus, strata_bus_stats *out)
{
    struct rabbitmq_bus *b = downcast(bus);
    if (b->link != NULL)
        strata__amqp_stats(b->link, out);
}

static int reopen(strata_bus *bus, strata_error *err)
{
    struct rabbitmq_bus *b = downcast(bus);
    (void)err;
    strata__amqp_abandon(b->link);
    b->link = NULL;
    b->told = (strata_error)STRATA_ERROR_INIT;
    return STRATA_OK;
}

static void close_bus(strata_bus *bus)
{
    struct rabbitmq_bus *b = downcast(bus);
    strata__amqp_close(b->link);
    for (int i = 0; i < TEXTS; i++)
        strata__free(NULL, b->texts[i]);
    strata__free(NULL, b);
}

static const strata_bus_ops rabbitmq_ops = { .size = sizeof rabbitmq_ops,
                                             .kind = "rabbitmq",
                                             .start = start,
                                             .publish = publish,
                                             .stop = stop,
                                             .stats = stats,
                                             .reopen = reopen,
                                             .close = close_bus,
                                             .rouse = rouse };

/* The constructor ----------------------------------------------------------------------------------------------------- */

static int copy_texts(struct rabbitmq_bus *b, strata_error *err)
{
    strata_rabbitmq_options *o = &b->options;
    if (o->url == NULL)
        o->url = RABBITMQ_URL_DEFAULT;
    if (o->exchange == NULL)
        o->exchange = EXCHANGE_DEFAULT;
    if (o->routing_key == NULL)
        o->routing_key = "";
    const char **fields[TEXTS] = { &o->url,         &o->exchange,      &o->routing_key,  &o->queue,
                                   &o->tls_ca_file, &o->tls_cert_file, &o->tls_key_file, &o->name };
    for (int i = 0; i < TEXTS && fields[i] != NULL; i++) {
        if (*fields[i] == NULL)
            continue;
        b->texts[i] = strata__strdup(NULL, *fields[i]);
        *fields[i] = b->texts[i];
        if (b->texts[i] == NULL)
            return strata__fail_plain(err, STRATA_ENOMEM, "rabbitmq");
    }
    return STRATA_OK;
}

static int check_tls(const struct rabbitmq_bus *b, strata_error *err)
{
    const strata_rabbitmq_options *o = &b->options;
    int has_any = o->tls_ca_file != NULL || o->tls_cert_file != NULL || o->tls_key_file != NULL;
    if (!b->url.tls && has_any)
        return strata__fail(err, STRATA_EINVAL, "url",
                            "certificates are for amqps://: write that, or leave tls_... out");
    if ((o->tls_cert_file == NULL) != (o->tls_key_file == NULL))
        return strata__fail(err, STRATA_EINVAL, "tls_cert_file", "a certificate and its key belong together: give both");
    if (b->url.tls && !strata__amqp_tls_built_in())
        return strata__fail(
            err, STRATA_EUNSUPPORTED, "url",
            "this build of strata has no TLS for RabbitMQ: build rabbitmq-c with OpenSSL, and strata with "
            "-DSTRATA_WITH_TLS=ON");
    return STRATA_OK;
}

static int check_names(const strata_rabbitmq_options *o, strata_error *err)
{
    if (o->queue_expires_ms > 0 && o->queue_expires_ms < 1000)
        return strata__fail(err, STRATA_EINVAL, "queue_expires_ms",
                            "%lld ms: at least a second, or the queue may go between two connections",
                            (long long)o->queue_expires_ms);
    if (strncmp(o->exchange, "amq.", 4) == 0)
        return strata__fail(err, STRATA_EINVAL, "exchange", "names that begin with \"amq.\" are the server's own");
    if (o->queue != NULL && strncmp(o->queue, "amq.", 4) == 0)
        return strata__fail(err, STRATA_EINVAL, "queue", "names that begin with \"amq.\" are the server's own");
    return STRATA_OK;
}

static int check(struct rabbitmq_bus *b, const strata_rabbitmq_options *given, strata_error *err)
{
    static const strata_rabbitmq_options defaults = STRATA_RABBITMQ_OPTIONS_INIT;
    strata_rabbitmq_options *o = &b->options;
    if (given == NULL)
        given = &defaults;
    int rc = strata__options_check(&strata__rabbitmq_rows, given, given->size, o, sizeof *o, err);
    if (rc < 0) {
        memset(o, 0, sizeof *o); /* nothing of the caller's is kept */
        return rc;
    }
    strata__options_fill(&strata__rabbitmq_rows, o);
    rc = copy_texts(b, err);
    if (rc == STRATA_OK && !strata__amqp_built_in())
        rc = strata__fail(err, STRATA_EUNSUPPORTED, "rabbitmq",
                          "this build of strata has no rabbitmq-c: build it with -DSTRATA_WITH_RABBITMQ=ON");
    if (rc == STRATA_OK)
        rc = strata__rabbitmq_url_parse(b->texts[0], &b->url, err);
    if (rc == STRATA_OK)
        rc = check_names(o, err);
    return rc == STRATA_OK ? check_tls(b, err) : rc;
}

strata_bus *strata_rabbitmq_bus(const strata_rabbitmq_options *options)
{
    struct rabbitmq_bus *b = strata__alloc_zero(NULL, sizeof *b);
    if (b == NULL)
        return strata__bus_out_of_memory();
    b->base.size = sizeof b->base;
    b->base.ops = &rabbitmq_ops;
    b->base.flags = STRATA_BUS_ECHOES;
    b->base.max_message_bytes = AMQP_MESSAGE_MAX;
    (void)snprintf(b->base.name, sizeof b->base.name, "rabbitmq");
    if (check(b, options, &b->base.failed) == STRATA_OK && b->options.name != NULL)
        (void)snprintf(b->base.name, sizeof b->base.name, "%s", b->options.name);
    if (b->options.durable == STRATA_ON)
        b->base.flags |= STRATA_BUS_REPLAYS | STRATA_BUS_DURABLE;
    return &b->base;
}
