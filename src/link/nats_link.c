/* nats_link.c - see nats_link.h: connections, publishing, subscriptions. */
#include "src/link/nats_link.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/link/nats_link_impl.h"
#include "src/os/os_fork.h"

/* nats.c's threads are the process': they live as long as it does, and a child does not have them. */
static _Atomic(uint64_t) used_in; /* generation of forks + 1; 0: not yet */

int strata__nats_built_in(void) { return 1; }

int strata__nats_usable(const char *name, strata_error *err)
{
    (void)strata__os_fork_watch();
    uint64_t now = (uint64_t)strata__os_fork_generation() + 1, before = 0;
    /* Relaxed: a number that is written once, and compared with what the same thread knows. */
    if (atomic_compare_exchange_strong_explicit(&used_in, &before, now, memory_order_relaxed, memory_order_relaxed) ||
        before == now)
        return STRATA_OK;
    return strata__fail(
        err, STRATA_EUNSUPPORTED, name,
        "NATS cannot be used after fork() in a child of a process that used it, for its library's threads are not "
        "there: open the cache in each process, after the fork");
}

/* Options ---------------------------------------------------------------------------------------------------------- */

/* Without one nats.c prints. */
static void swallow(natsConnection *nc, natsSubscription *sub, natsStatus status, void *ctx)
{
    (void)nc;
    (void)sub;
    (void)status;
    (void)ctx;
}

static natsStatus secure(natsOptions *o, const struct nats_link_options *from, const char **out_what)
{
    natsStatus s = natsOptions_SetSecure(o, true);
    *out_what = "tls";
    if (s == NATS_OK && from->tls_ca_file != NULL) {
        *out_what = "tls_ca_file";
        s = natsOptions_LoadCATrustedCertificates(o, from->tls_ca_file);
    }
    if (s == NATS_OK && from->tls_cert_file != NULL) {
        *out_what = "tls_cert_file";
        s = natsOptions_LoadCertificatesChain(o, from->tls_cert_file, from->tls_key_file);
    }
    if (s == NATS_OK && !from->tls_verify)
        return natsOptions_SkipServerVerification(o, true);
    *out_what = s == NATS_OK ? "tls_server_name" : *out_what;
    if (s == NATS_OK) /* or it checks who signed, and not for whom */
        s = natsOptions_SetExpectedHostname(o, from->tls_server_name != NULL ? from->tls_server_name : from->host);
    return s;
}

static natsStatus authenticate(natsOptions *o, const struct nats_link_options *from)
{
    natsStatus s = NATS_OK;
    if (from->user != NULL)
        s = natsOptions_SetUserInfo(o, from->user, from->password != NULL ? from->password : "");
    if (s == NATS_OK && from->token != NULL)
        s = natsOptions_SetToken(o, from->token);
    if (s == NATS_OK && from->credentials_file != NULL)
        s = natsOptions_SetUserCredentialsFromFiles(o, from->credentials_file, NULL);
    return s;
}

/* Its own way of reconnecting is off: nats.c gives up for good after some failures, and buffers what we would rather see fail. */
static natsStatus set_up(natsOptions *o, const struct nats_link_options *from)
{
    natsStatus s = natsOptions_SetAllowReconnect(o, false);
    if (s == NATS_OK)
        s = natsOptions_SetErrorHandler(o, swallow, NULL);
    if (s == NATS_OK)
        s = natsOptions_SetTimeout(o, from->connect_timeout_ms);
    if (s == NATS_OK)
        s = natsOptions_SetWriteDeadline(o, from->write_timeout_ms);
    if (s == NATS_OK)
        s = natsOptions_SetPingInterval(o, from->ping_ms);
    if (s == NATS_OK)
        s = natsOptions_SetMaxPingsOut(o, 2);
    if (s == NATS_OK && from->send_at_once)
        s = natsOptions_SetSendAsap(o, true);
    if (s == NATS_OK && from->client_name != NULL)
        s = natsOptions_SetName(o, from->client_name);
    return s;
}

/* Where it has failed, *out is NULL. */
static int make_options(natsOptions **out, const struct nats_link_options *from, strata_error *err)
{
    char server[300];
    const char *what = "url";
    *out = NULL;
    /* The password is no part of it: nats.c quotes it in errors. */
    snprintf(server, sizeof server, strchr(from->host, ':') != NULL ? "nats://[%s]:%" PRIu32 : "nats://%s:%" PRIu32,
             from->host, from->port);
    natsStatus s = natsOptions_Create(out);
    if (s == NATS_OK)
        s = natsOptions_SetURL(*out, server);
    if (s == NATS_OK)
        s = set_up(*out, from);
    if (s == NATS_OK)
        s = authenticate(*out, from);
    if (s == NATS_OK && from->tls)
        s = secure(*out, from, &what);
    if (s == NATS_OK)
        return STRATA_OK;
    natsOptions_Destroy(*out);
    *out = NULL;
    if (s == NATS_NO_MEMORY)
        return strata__fail(err, STRATA_ENOMEM, from->name, "no memory for a connection to NATS: free some");
    return strata__fail(err, STRATA_EINVAL, what, "%s: the NATS library does not take it: %s", from->name,
                        s == NATS_SSL_ERROR ? "look whether the file is there, readable, and in PEM"
                                            : natsStatus_GetText(s));
}

int strata__nats_check(const struct nats_link_options *options, strata_error *err)
{
    natsOptions *made;
    int rc = strata__nats_usable(options->name, err);
    if (rc == STRATA_OK)
        rc = make_options(&made, options, err);
    if (rc == STRATA_OK)
        natsOptions_Destroy(made);
    return rc;
}

/* Connections ------------------------------------------------------------------------------------------------------ */

static struct nats_link *new_link(const struct nats_link_options *options, strata_error *err)
{
    struct nats_link *link = strata__alloc_zero(options->mem, sizeof *link);
    if (link == NULL) {
        (void)strata__fail(err, STRATA_ENOMEM, options->name, "no memory for a connection to NATS: free some");
        return NULL;
    }
    link->mem = options->mem;
    snprintf(link->name, sizeof link->name, "%s", options->name);
    snprintf(link->where, sizeof link->where, strchr(options->host, ':') != NULL ? "[%s]:%" PRIu32 : "%s:%" PRIu32,
             options->host, options->port);
    return link;
}

static int fail_connect(const struct nats_link_options *options, const char *where, natsStatus s, strata_error *err)
{
    natsStatus last;
    const char *said = nats_GetLastError(&last);
    const char *text = said != NULL && said[0] != '\0' ? said : natsStatus_GetText(s);
    const char *hint = "it is tried again";
    const char *behind = text[0] == '(' ? strstr(text, "): ") : NULL; /* "(conn.c:2088): ": where in its source */
    if (behind != NULL)
        text = behind + 3;
    if (s == NATS_NO_MEMORY)
        return strata__fail(err, STRATA_ENOMEM, options->name, "no memory for a connection to NATS: free some");
    if (s == NATS_CONNECTION_AUTH_FAILED)
        hint = "look at user, password, token or credentials_file";
    else if (s == NATS_NO_SERVER)
        hint = "is a nats-server running, and is this its address? It is tried again";
    else if (s == NATS_SECURE_CONNECTION_REQUIRED)
        hint = "this server wants TLS: write tls:// into url";
    else if (s == NATS_SECURE_CONNECTION_WANTED)
        hint = "this server speaks no TLS: write nats:// into url, or give it certificates";
    else if (s == NATS_SSL_ERROR)
        hint = "look at tls_ca_file and tls_server_name";
    else if (options->credentials_file != NULL && s != NATS_NO_SERVER && s != NATS_TIMEOUT && s != NATS_IO_ERROR)
        hint = "look at credentials_file";
    return strata__fail(err, STRATA_EIO, options->name, "%s: not connected: %.100s; %s", where, text, hint);
}

int strata__nats_connect(struct nats_link **out, const struct nats_link_options *options, strata_error *err)
{
    natsOptions *made = NULL;
    *out = NULL;
    int rc = strata__nats_usable(options->name, err);
    if (rc == STRATA_OK)
        rc = make_options(&made, options, err);
    if (rc < 0)
        return rc;
    struct nats_link *link = new_link(options, err);
    if (link == NULL) {
        natsOptions_Destroy(made);
        return STRATA_ENOMEM;
    }
    natsStatus s = natsConnection_Connect(&link->nc, made);
    natsOptions_Destroy(made);
    if (s == NATS_OK) {
        *out = link;
        return STRATA_OK;
    }
    rc = fail_connect(options, link->where, s, err);
    strata__free(link->mem, link);
    return rc;
}

static uint64_t reconnects(natsConnection *nc)
{
    natsStatistics *stats = NULL;
    uint64_t none[4], count = 0;
    if (natsStatistics_Create(&stats) != NATS_OK)
        return UINT64_MAX;
    if (natsConnection_GetStats(nc, stats) == NATS_OK)
        (void)natsStatistics_GetCounts(stats, &none[0], &none[1], &none[2], &none[3], &count);
    natsStatistics_Destroy(stats);
    return count;
}

int strata__nats_lend(struct nats_link **out, void *connection, const struct nats_link_options *options,
                      strata_error *err)
{
    char url[512] = "";
    *out = NULL;
    int rc = strata__nats_usable(options->name, err);
    if (rc < 0)
        return rc;
    struct nats_link *link = new_link(options, err);
    if (link == NULL)
        return STRATA_ENOMEM;
    link->nc = connection;
    link->lent = 1;
    link->reconnects = reconnects(link->nc);
    /* "nats://user:password@host:port": what stands behind the last '@' alone is ever shown. */
    if (natsConnection_GetConnectedUrl(link->nc, url, sizeof url) == NATS_OK && url[0] != '\0') {
        const char *host = strstr(url, "://") != NULL ? strstr(url, "://") + 3 : url;
        host = strrchr(host, '@') != NULL ? strrchr(host, '@') + 1 : host;
        snprintf(link->where, sizeof link->where, "%.200s", host);
    }
    if (natsConnection_Status(link->nc) != NATS_CONN_STATUS_CONNECTED) {
        strata__free(link->mem, link);
        return strata__fail(err, STRATA_EIO, options->name,
                            "the connection that the application lends is not connected: it is looked at again");
    }
    *out = link;
    return STRATA_OK;
}

void strata__nats_close(struct nats_link *link)
{
    if (link == NULL)
        return;
    jsCtx_Destroy(link->js);
    if (!link->lent)
        natsConnection_Destroy(link->nc);
    strata__free(link->mem, link);
}

void strata__nats_break(struct nats_link *link)
{
    if (!link->lent)
        natsConnection_Close(link->nc);
}

int strata__nats_complaint(struct nats_link *link, char *out, size_t size)
{
    const char *text = NULL;
    out[0] = '\0';
    natsStatus s = natsConnection_GetLastError(link->nc, &text);
    if (text != NULL && text[0] != '\0')
        snprintf(out, size, "%s", text);
    else if (s != NATS_OK)
        snprintf(out, size, "%s", natsStatus_GetText(s));
    return out[0] != '\0';
}

int strata__nats_forbidden(struct nats_link *link, strata_error *err)
{
    char text[160];
    if (!strata__nats_complaint(link, text, sizeof text) ||
        (strstr(text, "ermissions") == NULL && strstr(text, "PERMISSIONS") == NULL))
        return STRATA_OK;
    return strata__fail(err, STRATA_EIO, link->name, "%s: %s: give its user these rights", link->where, text);
}

int strata__nats_is_whole(struct nats_link *link)
{
    return natsConnection_Status(link->nc) == NATS_CONN_STATUS_CONNECTED &&
           (!link->lent || reconnects(link->nc) == link->reconnects);
}

const char *strata__nats_where(const struct nats_link *link) { return link->where; }

size_t strata__nats_others(struct nats_link *link, char **out, size_t most, const strata_allocator *mem)
{
    char **urls = NULL;
    int count = 0;
    size_t kept = 0;
    if (link->lent || natsConnection_GetDiscoveredServers(link->nc, &urls, &count) != NATS_OK)
        return 0;
    for (int i = 0; i < count; i++) {
        const char *host = strstr(urls[i], "://") != NULL ? strstr(urls[i], "://") + 3 : urls[i];
        char *copy = kept < most && strchr(host, '@') == NULL ? strata__strdup(mem, host) : NULL;
        if (copy != NULL)
            out[kept++] = copy;
        free(urls[i]); /* nats.c's own */
    }
    free(urls);
    return kept;
}

/* Out and in ------------------------------------------------------------------------------------------------------- */

int strata__nats_failed(const struct nats_link *link, natsStatus s, const char *what, strata_error *err)
{
    int status = s == NATS_TIMEOUT ? STRATA_ETIMEDOUT : s == NATS_NO_MEMORY ? STRATA_ENOMEM : STRATA_EIO;
    return strata__fail(err, status, link->name, "%s: %s: %s", link->where, what, natsStatus_GetText(s));
}

int strata__nats_publish(struct nats_link *link, const char *subject, const char *reply, strata_slice bytes,
                         strata_error *err)
{
    natsStatus s = bytes.size > INT32_MAX ? NATS_MAX_PAYLOAD
                   : reply != NULL
                       ? natsConnection_PublishRequest(link->nc, subject, reply, bytes.data, (int)bytes.size)
                       : natsConnection_Publish(link->nc, subject, bytes.data, (int)bytes.size);
    if (s == NATS_OK)
        return STRATA_OK;
    if (s == NATS_MAX_PAYLOAD)
        return strata__fail(err, STRATA_EVALUESIZE, link->name,
                            "%s: this message has %zu bytes, and the server takes at most %" PRId64
                            ": raise its max_payload, or set max_message_bytes to that",
                            link->where, bytes.size, natsConnection_GetMaxPayload(link->nc));
    return strata__nats_failed(link, s, "it could not be published", err);
}

int strata__nats_flush(struct nats_link *link, int64_t timeout_ms, strata_error *err)
{
    natsStatus s = natsConnection_FlushTimeout(link->nc, timeout_ms > 0 ? timeout_ms : 1);
    return s == NATS_OK ? STRATA_OK : strata__nats_failed(link, s, "the server did not confirm what was sent", err);
}

int strata__nats_inbox(struct nats_link *link, char out[64], strata_error *err)
{
    natsInbox *inbox = NULL;
    natsStatus s = natsInbox_Create(&inbox);
    if (s == NATS_OK)
        snprintf(out, 64, "%s", inbox);
    natsInbox_Destroy(inbox);
    return s == NATS_OK ? STRATA_OK : strata__nats_failed(link, s, "no inbox", err);
}

int strata__nats_subscribe(struct nats_link *link, const char *subject, int most, struct nats_inlet **out,
                           strata_error *err)
{
    *out = strata__alloc_zero(link->mem, sizeof **out);
    if (*out == NULL)
        return strata__fail(err, STRATA_ENOMEM, link->name, "no memory for a subscription: free some");
    (*out)->mem = link->mem;
    natsStatus s = natsConnection_SubscribeSync(&(*out)->sub, link->nc, subject);
    if (s == NATS_OK)
        s = natsSubscription_SetPendingLimits((*out)->sub, most, -1);
    if (s == NATS_OK)
        return STRATA_OK;
    strata__nats_unsubscribe(*out);
    *out = NULL;
    return strata__nats_failed(link, s, "no subscription", err);
}

void strata__nats_interrupt(struct nats_inlet *inlet) { (void)natsSubscription_Unsubscribe(inlet->sub); }

void strata__nats_unsubscribe(struct nats_inlet *inlet)
{
    if (inlet == NULL)
        return;
    natsSubscription_Destroy(inlet->sub);
    strata__free(inlet->mem, inlet);
}

static void look_at_headers(natsMsg *msg, struct nats_message *out)
{
    const char *number = NULL;
    if (natsMsgHeader_Get(msg, "Status", &out->status) != NATS_OK)
        out->status = NULL;
    if (out->status != NULL && natsMsgHeader_Get(msg, "Nats-Last-Consumer", &number) == NATS_OK)
        out->last_consumer = strtoull(number, NULL, 10);
}

enum nats_next strata__nats_next(struct nats_inlet *inlet, int64_t timeout_ms, struct nats_message *out)
{
    natsMsg *msg = NULL;
    memset(out, 0, sizeof *out);
    natsStatus s = natsSubscription_NextMsg(&msg, inlet->sub, timeout_ms);
    if (s == NATS_TIMEOUT)
        return NATS_NEXT_NOTHING;
    if (s == NATS_SLOW_CONSUMER)
        return NATS_NEXT_DROPPED;
    if (s == NATS_NO_RESPONDERS)
        return NATS_NEXT_NOBODY;
    if (s != NATS_OK)
        return NATS_NEXT_GONE;
    out->native = msg;
    out->bytes = strata_bytes(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
    out->subject = natsMsg_GetSubject(msg);
    out->reply = natsMsg_GetReply(msg);
    if (out->bytes.size == 0)
        look_at_headers(msg, out);
    return NATS_NEXT_MESSAGE;
}

void strata__nats_release(struct nats_message *message)
{
    natsMsg_Destroy(message->native);
    message->native = NULL;
}

size_t strata__nats_waiting(struct nats_inlet *inlet)
{
    int count = 0;
    return natsSubscription_GetPending(inlet->sub, &count, NULL) == NATS_OK && count > 0 ? (size_t)count : 0;
}
