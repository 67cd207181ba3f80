/* nats_bus.c - the bus on NATS as a bus: options, start, stop, counters, end. */
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/bus/bus_host.h"
#include "src/bus/nats/nats_bus_impl.h"
#include "src/os/os_clock.h"
#include "src/os/os_fork.h"
#include "src/policy/options.h"

static struct nats_bus *downcast(strata_bus *bus) { return (struct nats_bus *)(void *)bus; }

struct nats_link_options strata__nats_link_options(const struct nats_bus *b)
{
    const strata_nats_options *o = &b->options;
    return (struct nats_link_options){ .name = b->base.name,
                                       .host = b->url.hosts[0].host,
                                       .port = b->url.hosts[0].port,
                                       .user = o->user,
                                       .password = o->password,
                                       .token = o->token,
                                       .credentials_file = o->credentials_file,
                                       .tls = b->url.tls,
                                       .tls_verify = o->tls_verify == STRATA_ON,
                                       .tls_ca_file = o->tls_ca_file,
                                       .tls_cert_file = o->tls_cert_file,
                                       .tls_key_file = o->tls_key_file,
                                       .tls_server_name = o->tls_server_name,
                                       .client_name = b->client_name,
                                       .connect_timeout_ms = o->connect_timeout_ms,
                                       .write_timeout_ms = o->timeout_ms,
                                       .ping_ms = o->ping_ms,
                                       .send_at_once = o->jetstream == STRATA_ON,
                                       .mem = b->mem };
}

/* Start and stop --------------------------------------------------------------------------------------------------- */

static int name_consumer(struct nats_bus *b, const char *node_name, strata_error *err)
{
    const char *name = b->options.consumer != NULL ? b->options.consumer : node_name;
    snprintf(b->client_name, sizeof b->client_name, "strata %s", node_name != NULL ? node_name : b->base.name);
    if (b->options.jetstream != STRATA_ON)
        return STRATA_OK;
    if (name == NULL)
        return strata__fail(
            err, STRATA_EINVAL, "node_name",
            "%s: JetStream keeps messages for a node by its name: set strata_coherence_options.node_name (or "
            "consumer), different for each node and the same after a restart",
            b->base.name);
    if (strata__nats_consumer_name(name, b->consumer, sizeof b->consumer))
        return STRATA_OK;
    return strata__fail(err, STRATA_EINVAL, b->options.consumer != NULL ? "consumer" : "node_name",
                        "%s: it is empty, or too long for the name of a consumer: take a shorter one", b->base.name);
}

static int start_threads(struct nats_bus *b, strata_error *err)
{
    int failed = strata__os_mutex_init(&b->lock);
    if (failed == 0 && (failed = strata__os_cond_init(&b->changed)) != 0)
        strata__os_mutex_deinit(&b->lock);
    if (failed != 0)
        return strata__fail_os(err, STRATA_ENOMEM, failed, b->base.name, "no lock for the bus");
    b->has_lock = 1;
    failed = strata__os_thread_start(&b->writer, "strata-nats-out", strata__nats_writer, b);
    if (failed == 0 && (failed = strata__os_thread_start(&b->reader, "strata-nats-in", strata__nats_reader, b)) != 0) {
        os_mutex_lock(&b->lock);
        b->stopping = 1;
        strata__os_cond_broadcast(&b->changed);
        os_mutex_unlock(&b->lock);
        strata__os_thread_join(&b->writer);
    }
    if (failed == 0)
        return STRATA_OK;
    return strata__fail_os(err, STRATA_ENOMEM, failed, b->base.name,
                           "no thread for the bus: raise the limit, or free some");
}

/* nats.c starts threads for the whole process when it is first used: from here they would run the program's signal handlers. */
struct checking {
    struct nats_link_options options;
    strata_error *err;
    int status;
};

static void check_files(void *ctx)
{
    struct checking *c = ctx;
    c->status = strata__nats_check(&c->options, c->err);
}

static int check_with_library(struct nats_bus *b, strata_error *err)
{
    struct os_thread thread;
    struct checking c = { .options = strata__nats_link_options(b), .err = err };
    int failed = strata__os_thread_start(&thread, "strata-nats", check_files, &c);
    if (failed != 0)
        return strata__fail_os(err, STRATA_ENOMEM, failed, b->base.name,
                               "no thread for the bus: raise the limit, or free some");
    strata__os_thread_join(&thread);
    return c.status;
}

static int nats_start(strata_bus *bus, strata_bus_host *host, const strata_bus_start *how, strata_error *err)
{
    struct nats_bus *b = downcast(bus);
    b->mem = strata_bus_allocator(host);
    b->host = host;
    b->forks = strata__os_fork_generation();
    memset(&b->place, 0, sizeof b->place);
    b->made_subject[0] = '\0';
    if (how->resume_from.size != 0 && b->options.jetstream == STRATA_ON)
        (void)strata__nats_cursor_read(how->resume_from, &b->place);
    int rc = name_consumer(b, how->node_name, err);
    if (rc == STRATA_OK)
        rc = check_with_library(b, err);
    if (rc == STRATA_OK && how->resume_from.size != 0 && !b->place.known)
        strata__nats_say_lost(b, "what came before cannot be asked for again");
    if (rc == STRATA_OK)
        rc = start_threads(b, err);
    if (rc < 0)
        b->host = NULL;
    return rc;
}

static int is_forked(const struct nats_bus *b) { return b->forks != strata__os_fork_generation(); }

static void nats_stop(strata_bus *bus, int64_t flush_ms)
{
    struct nats_bus *b = downcast(bus);
    if (b->host == NULL || is_forked(b))
        return;
    int64_t until_us = strata__os_now_us() + flush_ms * 1000;
    os_mutex_lock(&b->lock);
    while (flush_ms > 0 && b->queued > 0 && b->state == NATS_STATE_UP && strata__os_now_us() < until_us)
        (void)strata__os_cond_wait(&b->changed, &b->lock, until_us);
    b->stopping = 1;
    if (b->inlet != NULL)
        strata__nats_interrupt(b->inlet);
    if (b->acks != NULL)
        strata__nats_interrupt(b->acks);
    if (b->link != NULL)
        strata__nats_break(b->link);
    strata__os_cond_broadcast(&b->changed);
    os_mutex_unlock(&b->lock);
    strata__os_thread_join(&b->writer);
    strata__os_thread_join(&b->reader);
    b->host = NULL; /* the lock stays: others may still publish, and are told */
}

static void nats_rouse(strata_bus *bus)
{
    struct nats_bus *b = downcast(bus);
    if (b->host == NULL || is_forked(b))
        return;
    os_mutex_lock(&b->lock);
    b->roused = b->state == NATS_STATE_DOWN;
    strata__os_cond_broadcast(&b->changed);
    os_mutex_unlock(&b->lock);
}

/* Counters --------------------------------------------------------------------------------------------------------- */

static uint64_t read_count(const _Atomic(uint64_t) *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void nats_stats(strata_bus *bus, strata_bus_stats *out)
{
    struct nats_bus *b = downcast(bus);
    uint64_t connects = read_count(&b->counts.connects);
    out->published = read_count(&b->counts.published);
    out->failed = read_count(&b->counts.failed);
    out->received = read_count(&b->counts.received);
    out->bytes_out = read_count(&b->counts.bytes_out);
    out->bytes_in = read_count(&b->counts.bytes_in);
    out->reconnects = connects > 0 ? connects - 1 : 0;
    out->lost = read_count(&b->counts.lost);
    if (b->host == NULL || is_forked(b))
        return;
    os_mutex_lock(&b->lock);
    out->up = b->state == NATS_STATE_UP;
    memcpy(out->server, b->server, sizeof out->server);
    os_mutex_unlock(&b->lock);
}

/* Making one ------------------------------------------------------------------------------------------------------- */

/* The options that are the bus' own copies; url is cut up, and name stands in the base. */
static const size_t texts[] = {
    offsetof(strata_nats_options, subject),          offsetof(strata_nats_options, stream),
    offsetof(strata_nats_options, consumer),         offsetof(strata_nats_options, user),
    offsetof(strata_nats_options, password),         offsetof(strata_nats_options, token),
    offsetof(strata_nats_options, credentials_file), offsetof(strata_nats_options, tls_ca_file),
    offsetof(strata_nats_options, tls_cert_file),    offsetof(strata_nats_options, tls_key_file),
    offsetof(strata_nats_options, tls_server_name)
};
enum { TEXTS = sizeof texts / sizeof texts[0] };

static const char **text_at(strata_nats_options *o, size_t i) { return (const char **)(void *)((char *)o + texts[i]); }

static void nats_close(strata_bus *bus)
{
    struct nats_bus *b = downcast(bus);
    if (b->has_lock && !is_forked(b)) {
        strata__os_cond_deinit(&b->changed);
        strata__os_mutex_deinit(&b->lock);
    }
    strata__free(NULL, b->url_text);
    for (size_t i = 0; i < TEXTS; i++)
        strata__free(NULL, (void *)(uintptr_t)*text_at(&b->options, i));
    strata__free(NULL, b);
}

static const strata_bus_ops nats_ops = { .size = sizeof nats_ops,
                                         .kind = "nats",
                                         .start = nats_start,
                                         .publish = strata__nats_submit,
                                         .stop = nats_stop,
                                         .rouse = nats_rouse,
                                         .stats = nats_stats,
                                         .reopen = NULL, /* nats.c's threads are not in a child */
                                         .close = nats_close };

static int copy_texts(struct nats_bus *b, strata_error *err)
{
    strata_nats_options *o = &b->options;
    int failed = (b->url_text = strata__strdup(NULL, o->url != NULL ? o->url : NATS_URL_DEFAULT)) == NULL;
    o->url = NULL;
    if (o->subject == NULL)
        o->subject = "cache.invalidations";
    if (o->stream == NULL)
        o->stream = "CACHE_INVALIDATIONS";
    for (size_t i = 0; i < TEXTS; i++) {
        const char **text = text_at(o, i);
        if (*text == NULL)
            continue;
        *text = strata__strdup(NULL, *text);
        failed |= *text == NULL;
    }
    return failed ? strata__fail(err, STRATA_ENOMEM, "nats", "no memory for the options of a bus: free some")
                  : STRATA_OK;
}

/* A subject without wildcards; a stream's name has no dots either. */
static int check_name(const char *what, const char *text, const char *banned, strata_error *err)
{
    size_t size = strlen(text);
    if (strcspn(text, banned) == size && size > 0 && text[0] != '.' && text[size - 1] != '.' &&
        strstr(text, "..") == NULL)
        return STRATA_OK;
    return strata__fail(err, STRATA_EINVAL, what, "\"%.60s\" is none: it may have no blanks, stars and '>', %s", text,
                        strchr(banned, '.') != NULL ? "and no dots and slashes"
                                                    : "and no dot at its ends or beside another one");
}

static int check_who(struct nats_bus *b, strata_error *err)
{
    strata_nats_options *o = &b->options;
    const struct nats_url *url = &b->url;
    if ((o->user != NULL || o->token != NULL || o->credentials_file != NULL) &&
        (url->user != NULL || url->token != NULL))
        return strata__fail(err, STRATA_EINVAL, "url",
                            "there is a user or a token in it, and another one in options: keep one");
    if ((o->user != NULL) + (o->token != NULL) + (o->credentials_file != NULL) > 1)
        return strata__fail(err, STRATA_EINVAL, "user", "of user, token and credentials_file one is enough: keep one");
    if (o->password != NULL && o->user == NULL)
        return strata__fail(err, STRATA_EINVAL, "password", "a password without a user: set user, too");
    if ((o->tls_cert_file == NULL) != (o->tls_key_file == NULL))
        return strata__fail(err, STRATA_EINVAL, o->tls_cert_file == NULL ? "tls_cert_file" : "tls_key_file",
                            "a certificate and its key belong together: set both");
    if (!url->tls && (o->tls_ca_file != NULL || o->tls_cert_file != NULL || o->tls_server_name != NULL))
        return strata__fail(err, STRATA_EINVAL, "url", "tls_... options belong to TLS: write tls:// into url");
    const char **from[] = { &o->user, &o->password, &o->token };
    const char *to[] = { url->user, url->password, url->token };
    for (size_t i = 0; i < 3; i++)
        if (to[i] != NULL && (*from[i] = strata__strdup(NULL, to[i])) == NULL)
            return strata__fail(err, STRATA_ENOMEM, "nats", "no memory for the options of a bus: free some");
    return STRATA_OK;
}

/* What would be without an effect is refused.  Before defaults stand in it. */
static int check_together(const strata_nats_options *o, strata_error *err)
{
    const struct {
        const char *name;
        int is_given;
    } of_streams[] = { { "storage", o->storage != 0 },
                       { "stream", o->stream != NULL },
                       { "consumer", o->consumer != NULL },
                       { "max_age_ms", o->max_age_ms != 0 },
                       { "max_messages", o->max_messages != 0 },
                       { "ack_wait_ms", o->ack_wait_ms != 0 },
                       { "max_deliver", o->max_deliver != 0 },
                       { "ensure_stream", o->ensure_stream != 0 },
                       { "ensure_consumer", o->ensure_consumer != 0 } };
    for (size_t i = 0; i < sizeof of_streams / sizeof of_streams[0] && o->jetstream != STRATA_ON; i++)
        if (of_streams[i].is_given)
            return strata__fail(err, STRATA_EINVAL, of_streams[i].name,
                                "core NATS has no streams: set jetstream=on, too, or leave this out");
    if (o->connection != NULL &&
        (o->url != NULL || o->user != NULL || o->password != NULL || o->token != NULL || o->credentials_file != NULL ||
         o->tls_ca_file != NULL || o->tls_cert_file != NULL || o->tls_key_file != NULL || o->tls_server_name != NULL ||
         o->tls_verify != 0 || o->connect_timeout_ms != 0 || o->ping_ms != 0))
        return strata__fail(
            err, STRATA_EINVAL, "connection",
            "the application has opened it: leave url, connect_timeout_ms, ping_ms, and what belongs to users and "
            "TLS out");
    return STRATA_OK;
}

static int check(struct nats_bus *b, const strata_nats_options *given, strata_error *err)
{
    static const strata_nats_options defaults = STRATA_NATS_OPTIONS_INIT;
    strata_nats_options *o = &b->options;
    if (given == NULL)
        given = &defaults;
    int rc = strata__options_check(&strata__nats_rows, given, given->size, o, sizeof *o, err);
    if (rc < 0) {
        memset(o, 0, sizeof *o); /* nothing of the caller's is kept */
        return rc;
    }
    int together = check_together(o, err), verify_is_given = o->tls_verify != 0;
    strata__options_fill(&strata__nats_rows, o);
    rc = copy_texts(b, err); /* which also lets go of the caller's */
    if (rc == STRATA_OK)
        rc = together;
    if (rc == STRATA_OK && !strata__nats_built_in())
        rc = strata__fail(err, STRATA_EUNSUPPORTED, "nats",
                          "this build of strata has no nats.c: build it with -DSTRATA_WITH_NATS=ON");
    if (rc == STRATA_OK)
        rc = strata__nats_url_parse(b->url_text, &b->url, err);
    if (rc == STRATA_OK && verify_is_given && !b->url.tls)
        rc = strata__fail(err, STRATA_EINVAL, "tls_verify", "it belongs to TLS: write tls:// into url");
    if (rc == STRATA_OK)
        rc = check_who(b, err);
    if (rc == STRATA_OK)
        rc = check_name("subject", o->subject, " \t\r\n*>", err);
    if (rc == STRATA_OK)
        rc = check_name("stream", o->stream, " \t\r\n*>./\\", err);
    return rc;
}

strata_bus *strata_nats_bus(const strata_nats_options *options)
{
    struct nats_bus *b = strata__alloc_zero(NULL, sizeof *b);
    if (b == NULL)
        return strata__bus_out_of_memory();
    b->base.size = sizeof b->base;
    b->base.ops = &nats_ops;
    snprintf(b->base.name, sizeof b->base.name, "nats");
    if (check(b, options, &b->base.failed) == STRATA_OK)
        snprintf(b->base.name, sizeof b->base.name, "%s",
                 b->options.name != NULL             ? b->options.name
                 : b->options.jetstream == STRATA_ON ? "jetstream"
                                                     : "nats");
    b->options.name = b->base.name;
    b->base.flags = STRATA_BUS_ECHOES;
    if (b->options.jetstream == STRATA_ON)
        b->base.flags |= STRATA_BUS_ORDERED | STRATA_BUS_REPLAYS | STRATA_BUS_DURABLE;
    b->base.max_message_bytes = b->options.max_message_bytes;
    return &b->base;
}
