/* nats_jet.c - JetStream: the stream, this node's consumer in it, and the numbers that show what is missing.
 *
 * The consumer is made anew with each connection, right behind what was delivered last: what the server had sent to a connection
 * that is gone it would only send again after ack_wait_ms, behind everything else.  It sends to a subject of this connection
 * alone, so that nothing of an earlier one arrives here. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/bus/nats/nats_bus_impl.h"
#include "src/os/os_clock.h"

enum { MOST_WAITING = 65536, ACKNOWLEDGE_AT = 64, SILENT_HEARTBEATS = 4, ASK_MS = 5000 };

int strata__nats_consumer_name(const char *node, char *out, size_t size)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;
    for (; *node != '\0' && n + 4 <= size; node++) {
        unsigned char c = (unsigned char)*node;
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '_') {
            out[n++] = (char)c;
        } else { /* no other name becomes the same: '=' is not among the above */
            out[n++] = '=';
            out[n++] = digits[c >> 4];
            out[n++] = digits[c & 15];
        }
    }
    out[n] = '\0';
    return *node == '\0' && n > 0;
}

/* A server that makes a file for a stream takes its time; and stop() does not wait for it. */
static int64_t ask_ms(const struct nats_bus *b)
{
    return b->options.timeout_ms > ASK_MS ? b->options.timeout_ms : ASK_MS;
}

/* The stream: made where it is missing, and not another's. */
static int find_stream(struct nats_bus *b, struct nats_link *link, struct nats_stream *out, strata_error *err)
{
    const strata_nats_options *o = &b->options;
    const struct nats_stream_options make = { .stream = o->stream,
                                              .subject = o->subject,
                                              .in_memory = o->storage == STRATA_NATS_MEMORY,
                                              .max_age_ms = o->max_age_ms,
                                              .max_messages = o->max_messages };
    int rc = strata__nats_stream_look(link, o->stream, o->subject, ask_ms(b), out, err);
    if (rc == STRATA_MISS && o->ensure_stream == STRATA_ON) {
        rc = strata__nats_stream_make(link, &make, ask_ms(b), err);
        if (rc == STRATA_OK)
            rc = strata__nats_stream_look(link, o->stream, o->subject, ask_ms(b), out, err);
    }
    if (rc == STRATA_MISS)
        return strata__fail(err, STRATA_EIO, b->base.name,
                            "%s: there is no stream \"%.60s\": make it, with the subject \"%.60s\" alone, or set "
                            "ensure_stream=on",
                            strata__nats_where(link), o->stream, o->subject);
    if (rc == STRATA_OK && !out->holds_subject)
        return strata__fail(
            err, STRATA_EIO, b->base.name,
            "%s: the stream \"%.60s\" holds another subject than \"%.60s\": the bus needs one with this "
            "subject and no other, so that it sees what is missing",
            strata__nats_where(link), o->stream, o->subject);
    return rc;
}

/* Where to go on: behind what this process had, or what the cursor says, or what the server knows that this node had. */
static void find_place(struct nats_bus *b, const struct nats_stream *stream, const struct nats_consumer *consumer)
{
    if (!b->place.known) {
        b->place.known = 1;
        b->place.created_ns = stream->created_ns;
        b->place.last = consumer != NULL ? consumer->floor : stream->last;
    }
    const char *why = strata__nats_place_check(&b->place, stream->first, stream->last, stream->created_ns);
    if (why != NULL)
        strata__nats_say_lost(b, why);
}

static int make_consumer(struct nats_bus *b, struct nats_link *link, int is_there, strata_error *err)
{
    const strata_nats_options *o = &b->options;
    const struct nats_consumer_options make = { .stream = o->stream,
                                                .consumer = b->consumer,
                                                .subject = o->subject,
                                                .deliver_subject = b->deliver_subject,
                                                .from = b->place.last + 1,
                                                .ack_wait_ms = o->ack_wait_ms,
                                                .max_deliver = o->max_deliver,
                                                .heartbeat_ms = NATS_HEARTBEAT_MS };
    int rc = is_there ? strata__nats_consumer_drop(link, o->stream, b->consumer, ask_ms(b), err) : STRATA_OK;
    b->place.number = 0;
    return rc == STRATA_OK ? strata__nats_consumer_make(link, &make, ask_ms(b), err) : rc;
}

/* Somebody else's consumer, as it is: it cannot be told where to begin. */
static int take_consumer(struct nats_bus *b, struct nats_link *link, const struct nats_consumer *consumer,
                         strata_error *err)
{
    if (consumer == NULL || consumer->deliver_subject[0] == '\0')
        return strata__fail(
            err, STRATA_EIO, b->base.name,
            "%s: the stream \"%.60s\" has no consumer \"%.60s\" with a deliver subject: make it, durable, "
            "acknowledging all, or set ensure_consumer=on",
            strata__nats_where(link), b->options.stream, b->consumer);
    memcpy(b->deliver_subject, consumer->deliver_subject, sizeof b->deliver_subject);
    b->place.number = consumer->last_number;
    if (consumer->delivered > b->place.last) {
        b->place.last = consumer->delivered; /* it comes again, but behind what is newer */
        strata__nats_say_lost(b, "the consumer had sent messages to a connection that is gone");
    }
    return STRATA_OK;
}

/* Another process under the same name has taken what was ours. */
static int is_taken(const struct nats_bus *b, const struct nats_consumer *consumer)
{
    return b->made_subject[0] != '\0' && consumer->bound && strcmp(consumer->deliver_subject, b->made_subject) != 0 &&
           strcmp(consumer->deliver_subject, b->deliver_subject) != 0;
}

static int listen(struct nats_bus *b, struct nats_link *link, struct nats_inlet **out, strata_error *err)
{
    int rc = strata__nats_subscribe(link, b->deliver_subject, MOST_WAITING, out, err);
    if (rc == STRATA_OK)
        rc = strata__nats_flush(link, b->options.timeout_ms, err);
    return rc == STRATA_OK ? strata__nats_forbidden(link, err) : rc;
}

int strata__nats_jet_attach(struct nats_bus *b, struct nats_link *link, struct nats_inlet **out_inlet, strata_error *err)
{
    struct nats_stream stream;
    struct nats_consumer found;
    const struct nats_consumer *consumer = &found;
    int ensure = b->options.ensure_consumer == STRATA_ON;
    int rc = find_stream(b, link, &stream, err);
    if (rc == STRATA_OK)
        rc = strata__nats_consumer_look(link, b->options.stream, b->consumer, ask_ms(b), &found, err);
    if (rc < 0)
        return rc;
    if (rc == STRATA_MISS)
        consumer = NULL;
    if (ensure && consumer != NULL && is_taken(b, consumer))
        return strata__fail(
            err, STRATA_EIO, b->base.name,
            "%s: another process has taken the consumer \"%.60s\": give each node a node_name of its own",
            strata__nats_where(link), b->consumer);
    find_place(b, &stream, consumer);
    if (ensure) {
        rc = strata__nats_inbox(link, b->deliver_subject, err);
        if (rc == STRATA_OK)
            rc = listen(b, link, out_inlet, err);
        if (rc == STRATA_OK)
            rc = make_consumer(b, link, consumer != NULL, err);
    } else {
        rc = take_consumer(b, link, consumer, err);
        if (rc == STRATA_OK)
            rc = listen(b, link, out_inlet, err);
    }
    b->heard_ms = strata__os_now_ms();
    b->unacknowledged = 0;
    if (rc == STRATA_OK)
        memcpy(b->made_subject, b->deliver_subject, sizeof b->made_subject);
    return rc;
}

static void acknowledge(struct nats_bus *b, struct nats_link *link)
{
    if (b->unacknowledged == 0)
        return;
    /* A failure is that of the connection, which shows by itself. */
    (void)strata__nats_publish(link, b->ack_reply, NULL, strata_str("+ACK"), NULL);
    b->unacknowledged = 0;
}

static int fail_missing(struct nats_bus *b, struct nats_link *link, strata_error *err)
{
    (void)strata__fail(err, STRATA_EIO, b->base.name,
                       "%s: messages of the stream \"%.60s\" did not arrive: they are "
                       "asked for again",
                       strata__nats_where(link), b->options.stream);
    if (b->options.ensure_consumer != STRATA_ON)
        strata__nats_say_lost(b, "messages of the stream did not arrive, and the consumer cannot be put back");
    return 0;
}

static void deliver(struct nats_bus *b, const struct nats_message *message)
{
    unsigned char cursor[NATS_CURSOR_BYTES];
    strata__nats_cursor_write(&b->place, cursor);
    nats_count(&b->counts.received, 1);
    nats_count(&b->counts.bytes_in, message->bytes.size);
    strata_bus_delivered(b->host, message->bytes, strata_bytes(cursor, sizeof cursor));
}

int strata__nats_jet_take(struct nats_bus *b, struct nats_link *link, struct nats_inlet *inlet,
                          const struct nats_message *message, strata_error *err)
{
    uint64_t stream_number = 0, consumer_number = 0;
    b->heard_ms = strata__os_now_ms();
    if (!strata__nats_numbers(message->reply, &stream_number, &consumer_number)) {
        if (message->status != NULL && message->last_consumer > b->place.number)
            return fail_missing(b, link, err);
        acknowledge(b, link);
        return 1; /* a heartbeat; or a stranger's, who knows our subject */
    }
    enum nats_step step = strata__nats_step(&b->place, stream_number, consumer_number);
    if (step == NATS_STEP_MISSING)
        return fail_missing(b, link, err);
    if (step == NATS_STEP_REMOVED)
        strata__nats_say_lost(b, "messages left the stream before they were sent");
    if (step != NATS_STEP_REPEATED)
        deliver(b, message);
    b->unacknowledged++;
    snprintf(b->ack_reply, sizeof b->ack_reply, "%s", message->reply);
    if (b->unacknowledged >= ACKNOWLEDGE_AT || strata__nats_waiting(inlet) == 0)
        acknowledge(b, link);
    return 1;
}

int strata__nats_jet_idle(struct nats_bus *b, struct nats_link *link, strata_error *err)
{
    acknowledge(b, link);
    if (b->options.ensure_consumer != STRATA_ON || /* somebody else's may have no heartbeat */
        strata__os_now_ms() - b->heard_ms < (int64_t)SILENT_HEARTBEATS * NATS_HEARTBEAT_MS)
        return 1;
    (void)strata__fail(err, STRATA_EIO, b->base.name,
                       "%s: nothing comes from the consumer \"%.60s\", not even its heartbeat: it is looked for again",
                       strata__nats_where(link), b->consumer);
    return 0;
}
