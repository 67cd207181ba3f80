/* amqp_session.c - see amqp_session.h.
 *
 * What comes after the login is read frame by frame, and put together here: the library's own way to consume a message waits for
 * all of its frames, and cannot tell a confirmation from a delivery. */
#include "src/link/amqp_session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if __has_include(<rabbitmq-c/amqp.h>) /* 0.12 and later; there amqp.h is a warning */
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_tcp_socket.h>
#endif

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/os/os_clock.h"
#include "src/os/os_socket.h"

enum { CHANNEL = 1, PROBE = 2, FRAME_BYTES = 128 << 10, CHANNELS = 2, NAME_BYTES = 256 };
enum { SEND_BYTES = 2 * AMQP_MESSAGE_MAX };
enum { CODE_REFUSED = 403, CODE_NOT_FOUND = 404, CODE_LOCKED = 405, CODE_UNEQUAL = 406, CODE_NOT_ALLOWED = 530 };

/* What the content that is coming in belongs to. */
enum content { CONTENT_NONE, CONTENT_DELIVERY, CONTENT_RETURN };

struct amqp_session {
    const struct amqp_link_options *o;
    amqp_connection_state_t connection;
    amqp_socket_t *socket; /* the connection's */
    enum content content;
    int has_header;
    uint64_t tag;       /* of the content */
    uint64_t size, got; /* of its body */
    char *body;         /* room for AMQP_MESSAGE_MAX */
    uint64_t published; /* the last one's tag */
    char queue[NAME_BYTES];
    char server[40];
    char blocked[80]; /* why; empty: it is not */
};

/* Errors -------------------------------------------------------------------------------------------------------------- */

static int fail(const struct amqp_session *s, strata_error *err, int status, const char *what, const char *why,
                const char *advice)
{
    return strata__fail(err, status, s->o->name, "%.60s:%u, vhost \"%.40s\": %s: %.100s%s%s", s->o->host,
                        (unsigned)s->o->port, s->o->vhost, what, why, advice[0] != '\0' ? ": " : "", advice);
}

static int fail_code(const struct amqp_session *s, strata_error *err, const char *what, int code)
{
    int status = code == AMQP_STATUS_NO_MEMORY                                          ? STRATA_ENOMEM
                 : code == AMQP_STATUS_TIMEOUT || code == AMQP_STATUS_HEARTBEAT_TIMEOUT ? STRATA_ETIMEDOUT
                                                                                        : STRATA_EIO;
    const char *advice = code == AMQP_STATUS_SSL_PEER_VERIFY_FAILED || code == AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED
                             ? "look at tls_ca_file, and at the host in url"
                             : "";
    return fail(s, err, status, what, amqp_error_string2(code), advice);
}

/* What to do about a refusal, by its number and what was asked. */
static const char *advice_for(const char *what, uint16_t code)
{
    int is_login = strcmp(what, "login") == 0;
    int is_queue = strcmp(what, "queue") == 0 || strcmp(what, "consume") == 0;
    switch (code) {
    case CODE_REFUSED:
        return is_login   ? "check user and password in url"
               : is_queue ? "another process uses the queue (give each its own node_name), or the user may not"
                          : "give the user configure, write and read permission";
    case CODE_LOCKED: return "another connection has the queue: give each node its own";
    case CODE_UNEQUAL: return "name another exchange, or give the options that it has";
    case CODE_NOT_ALLOWED: return "check the vhost in url, and that the user may use it";
    default: return "";
    }
}

static int fail_refused(const struct amqp_session *s, strata_error *err, const char *what, uint16_t code,
                        amqp_bytes_t text)
{
    char words[101];
    (void)snprintf(words, sizeof words, "%.*s", (int)(text.len < 100 ? text.len : 100),
                   text.len > 0 ? (const char *)text.bytes : "");
    return fail(s, err, STRATA_EIO, what, words, advice_for(what, code));
}

static int fail_closed(const struct amqp_session *s, strata_error *err, const char *what, const amqp_method_t *method)
{
    if (method->id == AMQP_CHANNEL_CLOSE_METHOD) {
        const amqp_channel_close_t *m = method->decoded;
        return fail_refused(s, err, what, m->reply_code, m->reply_text);
    }
    if (method->id == AMQP_CONNECTION_CLOSE_METHOD) {
        const amqp_connection_close_t *m = method->decoded;
        return fail_refused(s, err, what, m->reply_code, m->reply_text);
    }
    return fail(s, err, STRATA_EIO, what, "an answer that was not asked for", "is it a RabbitMQ?");
}

static int check_reply(struct amqp_session *s, strata_error *err, const char *what, amqp_rpc_reply_t reply)
{
    switch (reply.reply_type) {
    case AMQP_RESPONSE_NORMAL: return STRATA_OK;
    case AMQP_RESPONSE_SERVER_EXCEPTION: return fail_closed(s, err, what, &reply.reply);
    case AMQP_RESPONSE_LIBRARY_EXCEPTION: return fail_code(s, err, what, reply.library_error);
    default: return fail(s, err, STRATA_EIO, what, "the connection was closed", "is it a RabbitMQ?");
    }
}

/* Connecting ---------------------------------------------------------------------------------------------------------- */

static struct timeval time_left(int64_t deadline_us)
{
    int64_t left = deadline_us - strata__os_now_us();
    left = left > 1000 ? left : 1000;
    return (struct timeval){ .tv_sec = (time_t)(left / 1000000), .tv_usec = (suseconds_t)(left % 1000000) };
}

static int connect_tls(struct amqp_session *s, int64_t deadline_us, strata_error *err)
{
    s->socket = strata__amqp_tls_socket(s->connection, s->o, err);
    if (s->socket == NULL)
        return err->status;
    struct timeval left = time_left(deadline_us);
    int code = amqp_socket_open_noblock(s->socket, s->o->host, (int)s->o->port, &left);
    return code == AMQP_STATUS_OK ? STRATA_OK : fail_code(s, err, "TLS", code);
}

static int connect_tcp(struct amqp_session *s, int *fd, strata_error *err)
{
    s->socket = amqp_tcp_socket_new(s->connection);
    if (s->socket == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, s->o->name);
    amqp_tcp_socket_set_sockfd(s->socket, *fd);
    *fd = -1;
    return STRATA_OK;
}

int strata__amqp_session_connect(struct amqp_session **out, const struct amqp_link_options *options, int *fd,
                                 int64_t deadline_us, strata_error *err)
{
    *out = NULL;
    struct amqp_session *s = strata__alloc_zero(options->mem, sizeof *s);
    int rc = STRATA_OK;
    if (s == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, options->name);
    s->o = options;
    s->body = strata__alloc(options->mem, AMQP_MESSAGE_MAX);
    s->connection = amqp_new_connection();
    if (s->body == NULL || s->connection == NULL)
        rc = strata__fail_plain(err, STRATA_ENOMEM, options->name);
    if (rc == STRATA_OK)
        rc = options->tls ? connect_tls(s, deadline_us, err) : connect_tcp(s, fd, err);
    if (rc == STRATA_OK) {
        strata__os_socket_room(strata__amqp_session_fd(s), SEND_BYTES);
        *out = s;
    } else {
        strata__amqp_session_free(s);
    }
    return rc;
}

int strata__amqp_session_fd(const struct amqp_session *session)
{
    return session->socket == NULL ? -1 : amqp_socket_get_sockfd(session->socket);
}

const char *strata__amqp_session_server(const struct amqp_session *session) { return session->server; }

const char *strata__amqp_session_blocked(const struct amqp_session *session)
{
    return session->blocked[0] != '\0' ? session->blocked : NULL;
}

/* Login --------------------------------------------------------------------------------------------------------------- */

static amqp_table_entry_t say_yes(const char *key)
{
    return (amqp_table_entry_t){ .key = amqp_cstring_bytes(key),
                                 .value = { .kind = AMQP_FIELD_KIND_BOOLEAN, .value = { .boolean = 1 } } };
}

/* The server's own words of itself: "RabbitMQ 3.10.8". */
static void note_server(struct amqp_session *s)
{
    const amqp_table_t *properties = amqp_get_server_properties(s->connection);
    amqp_bytes_t product = { 0, NULL }, version = { 0, NULL };
    for (int i = 0; i < properties->num_entries; i++) {
        const amqp_table_entry_t *e = &properties->entries[i];
        if (e->value.kind != AMQP_FIELD_KIND_UTF8)
            continue;
        if (e->key.len == 7 && memcmp(e->key.bytes, "product", 7) == 0)
            product = e->value.value.bytes;
        if (e->key.len == 7 && memcmp(e->key.bytes, "version", 7) == 0)
            version = e->value.value.bytes;
    }
    (void)snprintf(s->server, sizeof s->server, "%.*s %.*s", (int)(product.len < 20 ? product.len : 20),
                   product.len > 0 ? (const char *)product.bytes : "", (int)(version.len < 16 ? version.len : 16),
                   version.len > 0 ? (const char *)version.bytes : "");
}

static int log_in(struct amqp_session *s, int64_t deadline_us, strata_error *err)
{
    amqp_table_entry_t able[] = { say_yes("consumer_cancel_notify"), say_yes("connection.blocked"),
                                  say_yes("publisher_confirms"), say_yes("basic.nack") };
    amqp_table_entry_t about[2] = {
        { .key = amqp_cstring_bytes("capabilities"), .value = { .kind = AMQP_FIELD_KIND_TABLE } },
        { .key = amqp_cstring_bytes("connection_name"), .value = { .kind = AMQP_FIELD_KIND_UTF8 } }
    };
    about[0].value.value.table = (amqp_table_t){ .num_entries = 4, .entries = able };
    about[1].value.value.bytes = amqp_cstring_bytes(s->o->name);
    const amqp_table_t properties = { .num_entries = 2, .entries = about };
    struct timeval left = time_left(deadline_us);
    int64_t beats = (s->o->heartbeat_ms + 999) / 1000;
    (void)amqp_set_handshake_timeout(s->connection, &left);
    amqp_rpc_reply_t reply = amqp_login_with_properties(s->connection, s->o->vhost, CHANNELS, FRAME_BYTES, (int)beats,
                                                        &properties, AMQP_SASL_METHOD_PLAIN, s->o->user,
                                                        s->o->password);
    if (reply.reply_type == AMQP_RESPONSE_NORMAL)
        note_server(s);
    return check_reply(s, err, "login", reply);
}

/* The last answer, and from now on only so much time for the next. */
static int step(struct amqp_session *s, int64_t deadline_us, const char *what, strata_error *err)
{
    struct timeval left = time_left(deadline_us);
    int rc = check_reply(s, err, what, amqp_get_rpc_reply(s->connection));
    (void)amqp_set_rpc_timeout(s->connection, &left);
    return rc;
}

/* Is the durable queue there?  On a channel of its own: the server closes it where the answer is no. */
static int find_queue(struct amqp_session *s, int64_t deadline_us, int *out_found, strata_error *err)
{
    *out_found = 0;
    amqp_channel_open(s->connection, PROBE);
    int rc = step(s, deadline_us, "channel", err);
    if (rc != STRATA_OK)
        return rc;
    amqp_queue_declare(s->connection, PROBE, amqp_cstring_bytes(s->o->queue), 1, 0, 0, 0, amqp_empty_table);
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(s->connection);
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION && reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        const amqp_channel_close_t *m = reply.reply.decoded;
        amqp_channel_close_ok_t seen = { 0 };
        if (m->reply_code != CODE_NOT_FOUND)
            return check_reply(s, err, "queue", reply);
        int code = amqp_send_method(s->connection, PROBE, AMQP_CHANNEL_CLOSE_OK_METHOD, &seen);
        return code == AMQP_STATUS_OK ? STRATA_OK : fail_code(s, err, "queue", code);
    }
    rc = check_reply(s, err, "queue", reply);
    if (rc == STRATA_OK) {
        *out_found = 1;
        rc = check_reply(s, err, "channel", amqp_channel_close(s->connection, PROBE, AMQP_REPLY_SUCCESS));
    }
    return rc;
}

static int declare_queue(struct amqp_session *s, int64_t deadline_us, int *out_made, strata_error *err)
{
    int found = 0, rc = STRATA_OK, lasts = s->o->durable;
    amqp_table_entry_t expires = { .key = amqp_cstring_bytes("x-expires"),
                                   .value = { .kind = AMQP_FIELD_KIND_I64,
                                              .value = { .i64 = s->o->queue_expires_ms } } };
    const amqp_table_t arguments = { .num_entries = lasts && s->o->queue_expires_ms > 0, .entries = &expires };
    (void)snprintf(s->queue, sizeof s->queue, "%s", s->o->queue);
    if (lasts)
        rc = find_queue(s, deadline_us, &found, err);
    if (rc != STRATA_OK || found)
        return rc;
    const amqp_queue_declare_ok_t *ok = amqp_queue_declare(s->connection, CHANNEL, amqp_cstring_bytes(s->o->queue), 0,
                                                           (amqp_boolean_t)lasts, (amqp_boolean_t)!lasts,
                                                           (amqp_boolean_t)!lasts, arguments);
    rc = step(s, deadline_us, "queue", err);
    if (rc != STRATA_OK)
        return rc;
    if (ok == NULL || ok->queue.len == 0 || ok->queue.len >= sizeof s->queue)
        return fail(s, err, STRATA_EIO, "queue", "the server gave no name for it", "is it a RabbitMQ?");
    memcpy(s->queue, ok->queue.bytes, ok->queue.len);
    s->queue[ok->queue.len] = '\0';
    *out_made = lasts;
    return STRATA_OK;
}

static int open_channel(struct amqp_session *s, int64_t deadline_us, strata_error *err)
{
    amqp_connection_state_t c = s->connection;
    amqp_channel_open(c, CHANNEL);
    int rc = step(s, deadline_us, "channel", err);
    if (rc == STRATA_OK) {
        amqp_confirm_select(c, CHANNEL);
        rc = step(s, deadline_us, "confirms", err);
    }
    if (rc == STRATA_OK && s->o->prefetch > 0) {
        amqp_basic_qos(c, CHANNEL, 0, (uint16_t)s->o->prefetch, 0);
        rc = step(s, deadline_us, "prefetch", err);
    }
    if (rc == STRATA_OK) {
        amqp_exchange_declare(c, CHANNEL, amqp_cstring_bytes(s->o->exchange), amqp_cstring_bytes(s->o->exchange_type),
                              0, (amqp_boolean_t)s->o->durable, 0, 0, amqp_empty_table);
        rc = step(s, deadline_us, "exchange", err);
    }
    return rc;
}

/* Exclusive: of two consumers of one queue each would get half. */
static int subscribe(struct amqp_session *s, int64_t deadline_us, strata_error *err)
{
    amqp_connection_state_t c = s->connection;
    amqp_bytes_t queue = amqp_cstring_bytes(s->queue);
    amqp_queue_bind(c, CHANNEL, queue, amqp_cstring_bytes(s->o->exchange), amqp_cstring_bytes(s->o->routing_key),
                    amqp_empty_table);
    int rc = step(s, deadline_us, "bind", err);
    if (rc == STRATA_OK) {
        amqp_basic_consume(c, CHANNEL, queue, amqp_empty_bytes, 0, 0, 1, amqp_empty_table);
        rc = step(s, deadline_us, "consume", err);
    }
    return rc;
}

int strata__amqp_session_login(struct amqp_session *session, int64_t deadline_us, int *out_made, strata_error *err)
{
    *out_made = 0;
    int rc = log_in(session, deadline_us, err);
    if (rc == STRATA_OK)
        rc = open_channel(session, deadline_us, err);
    if (rc == STRATA_OK)
        rc = declare_queue(session, deadline_us, out_made, err);
    if (rc == STRATA_OK)
        rc = subscribe(session, deadline_us, err);
    return rc;
}

/* Traffic ------------------------------------------------------------------------------------------------------------- */

int strata__amqp_session_publish(struct amqp_session *session, strata_slice bytes, strata_error *err)
{
    struct amqp_session *s = session;
    char id[24];
    (void)snprintf(id, sizeof id, "%" PRIu64, s->published + 1);
    amqp_basic_properties_t properties = { ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG,
                                           .delivery_mode = s->o->persistent ? AMQP_DELIVERY_PERSISTENT
                                                                             : AMQP_DELIVERY_NONPERSISTENT };
    if (s->o->mandatory) { /* so that what comes back is known by it */
        properties._flags |= AMQP_BASIC_MESSAGE_ID_FLAG;
        properties.message_id = amqp_cstring_bytes(id);
    }
    amqp_bytes_t body = { bytes.size, (void *)(uintptr_t)bytes.data };
    int code = amqp_basic_publish(s->connection, CHANNEL, amqp_cstring_bytes(s->o->exchange),
                                  amqp_cstring_bytes(s->o->routing_key), (amqp_boolean_t)s->o->mandatory, 0,
                                  &properties, body);
    if (code != AMQP_STATUS_OK)
        return fail_code(s, err, "publish", code);
    s->published++;
    return STRATA_OK;
}

int strata__amqp_session_ack(struct amqp_session *session, uint64_t tag, strata_error *err)
{
    int code = amqp_basic_ack(session->connection, CHANNEL, tag, 1);
    return code == AMQP_STATUS_OK ? STRATA_OK : fail_code(session, err, "acknowledge", code);
}

static void begin_content(struct amqp_session *s, enum content content, uint64_t tag)
{
    s->content = content;
    s->has_header = 0;
    s->tag = tag;
    s->size = s->got = 0;
}

/* All of a content is there: what is it? */
static int end_content(struct amqp_session *s, struct amqp_event *out)
{
    enum content content = s->content;
    s->content = CONTENT_NONE;
    out->tag = s->tag;
    out->kind = content == CONTENT_RETURN    ? AMQP_RETURNED
                : s->size > AMQP_MESSAGE_MAX ? AMQP_TOO_LARGE
                                             : AMQP_DELIVERED;
    out->bytes = strata_bytes(s->body, out->kind == AMQP_DELIVERED ? (size_t)s->size : 0);
    return STRATA_OK;
}

static int on_header(struct amqp_session *s, const amqp_frame_t *frame, struct amqp_event *out, strata_error *err)
{
    if (s->content == CONTENT_NONE || s->has_header)
        return fail(s, err, STRATA_EIO, "receive", "a header without a message", "is it a RabbitMQ?");
    s->has_header = 1;
    s->size = frame->payload.properties.body_size;
    const amqp_basic_properties_t *properties = frame->payload.properties.decoded;
    if (s->content == CONTENT_RETURN && (properties->_flags & AMQP_BASIC_MESSAGE_ID_FLAG) != 0) {
        char id[24];
        amqp_bytes_t text = properties->message_id;
        (void)snprintf(id, sizeof id, "%.*s", (int)(text.len < 23 ? text.len : 23),
                       text.len > 0 ? (const char *)text.bytes : "");
        s->tag = strtoull(id, NULL, 10);
    }
    return s->size == 0 ? end_content(s, out) : STRATA_OK;
}

static int on_body(struct amqp_session *s, const amqp_frame_t *frame, struct amqp_event *out, strata_error *err)
{
    amqp_bytes_t part = frame->payload.body_fragment;
    if (s->content == CONTENT_NONE || !s->has_header || part.len > s->size - s->got)
        return fail(s, err, STRATA_EIO, "receive", "more bytes than a message has", "is it a RabbitMQ?");
    if (s->size <= AMQP_MESSAGE_MAX && part.len > 0)
        memcpy(s->body + s->got, part.bytes, part.len);
    s->got += part.len;
    return s->got == s->size ? end_content(s, out) : STRATA_OK;
}

static void confirm(struct amqp_event *out, enum amqp_event_kind kind, uint64_t tag, int multiple)
{
    out->kind = kind;
    out->tag = tag;
    out->multiple = multiple;
}

static int on_method(struct amqp_session *s, const amqp_method_t *method, struct amqp_event *out, strata_error *err)
{
    switch (method->id) {
    case AMQP_BASIC_DELIVER_METHOD:
        begin_content(s, CONTENT_DELIVERY, ((const amqp_basic_deliver_t *)method->decoded)->delivery_tag);
        return STRATA_OK;
    case AMQP_BASIC_RETURN_METHOD: begin_content(s, CONTENT_RETURN, 0); return STRATA_OK;
    case AMQP_BASIC_ACK_METHOD: {
        const amqp_basic_ack_t *m = method->decoded;
        confirm(out, AMQP_CONFIRMED, m->delivery_tag, m->multiple);
        return STRATA_OK;
    }
    case AMQP_BASIC_NACK_METHOD: {
        const amqp_basic_nack_t *m = method->decoded;
        confirm(out, AMQP_REFUSED, m->delivery_tag, m->multiple);
        return STRATA_OK;
    }
    case AMQP_BASIC_CANCEL_METHOD: out->kind = AMQP_DELETED; return STRATA_OK;
    case AMQP_CONNECTION_BLOCKED_METHOD: {
        const amqp_connection_blocked_t *m = method->decoded;
        (void)snprintf(s->blocked, sizeof s->blocked, "it takes no messages now: %.*s",
                       (int)(m->reason.len < 40 ? m->reason.len : 40),
                       m->reason.len > 0 ? (const char *)m->reason.bytes : "");
        return STRATA_OK;
    }
    case AMQP_CONNECTION_UNBLOCKED_METHOD: s->blocked[0] = '\0'; return STRATA_OK;
    default: return fail_closed(s, err, "connection", method);
    }
}

int strata__amqp_session_next(struct amqp_session *session, struct amqp_event *out, strata_error *err)
{
    struct amqp_session *s = session;
    const struct timeval at_once = { 0, 0 };
    amqp_frame_t frame;
    int rc = STRATA_OK;
    *out = (struct amqp_event){ .kind = AMQP_NOTHING };
    while (rc == STRATA_OK && out->kind == AMQP_NOTHING) {
        amqp_maybe_release_buffers(s->connection);
        int code = amqp_simple_wait_frame_noblock(s->connection, &frame, &at_once);
        if (code == AMQP_STATUS_TIMEOUT)
            return STRATA_OK;
        if (code != AMQP_STATUS_OK)
            return fail_code(s, err, "connection", code);
        if (frame.frame_type == AMQP_FRAME_METHOD)
            rc = on_method(s, &frame.payload.method, out, err);
        else if (frame.frame_type == AMQP_FRAME_HEADER)
            rc = on_header(s, &frame, out, err);
        else if (frame.frame_type == AMQP_FRAME_BODY)
            rc = on_body(s, &frame, out, err);
    }
    return rc;
}

void strata__amqp_session_goodbye(struct amqp_session *session, int64_t most_ms)
{
    struct timeval left = time_left(strata__os_now_us() + most_ms * 1000);
    (void)amqp_set_rpc_timeout(session->connection, &left);
    (void)amqp_connection_close(session->connection, AMQP_REPLY_SUCCESS);
}

void strata__amqp_session_free(struct amqp_session *session)
{
    if (session == NULL)
        return;
    if (session->connection != NULL)
        (void)amqp_destroy_connection(session->connection);
    strata__free(session->o->mem, session->body);
    strata__free(session->o->mem, session);
}
