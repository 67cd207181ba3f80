/* nats_write.c - publishing: a bounded queue, and the thread that empties it.
 *
 * Core NATS confirms nothing by itself, so a PING follows each batch: its answer says that the server has read what came before.  A
 * stream answers each message.  Either way the next batch gathers while one is on its way. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/bus/nats/nats_answer.h"
#include "src/bus/nats/nats_bus_impl.h"
#include "src/os/os_clock.h"

/* What is on its way. */
struct batch {
    strata_publish *messages[NATS_BATCH];
    uint8_t sent[NATS_BATCH]; /* and not answered yet */
    size_t count, waiting;
    uint64_t serial; /* of the first: tells its answers from those of earlier ones, which came too late */
};

static void end(struct nats_bus *b, strata_publish *message, int status)
{
    nats_count(status == STRATA_OK ? &b->counts.published : &b->counts.failed, 1);
    if (status == STRATA_OK)
        nats_count(&b->counts.bytes_out, message->bytes.size);
    strata_publish_done(message, status);
}

static void end_with(struct nats_bus *b, strata_publish *message, const strata_error *err)
{
    *message->err = *err;
    end(b, message, err->status);
}

static int fail_down(const struct nats_bus *b, strata_publish *message)
{
    if (b->why.message[0] == '\0')
        return strata__fail(message->err, STRATA_EIO, b->base.name, "not connected: it is tried again");
    *message->err = b->why;
    return b->why.status;
}

/* Why a message is not taken, or STRATA_OK.  The caller holds the lock. */
static int refuse_locked(struct nats_bus *b, strata_publish *message)
{
    if (b->stopping)
        return strata__fail(message->err, STRATA_ECLOSED, b->base.name, "the bus is closed");
    if (message->bytes.size > b->base.max_message_bytes)
        return strata__fail(message->err, STRATA_EVALUESIZE, b->base.name,
                            "this message has %zu bytes, and max_message_bytes is %" PRIu32 ": raise that",
                            message->bytes.size, b->base.max_message_bytes);
    if (b->state == NATS_STATE_DOWN)
        return fail_down(b, message);
    if (b->queued >= b->options.max_pending)
        return strata__fail(message->err, STRATA_EBUSY, b->base.name,
                            "%" PRIu32 " messages wait to be published: raise max_pending", b->queued);
    return STRATA_OK;
}

void strata__nats_submit(strata_bus *bus, strata_publish *message)
{
    struct nats_bus *b = (struct nats_bus *)(void *)bus;
    message->bus_data = NULL;
    os_mutex_lock(&b->lock);
    int rc = refuse_locked(b, message);
    if (rc == STRATA_OK) {
        if (b->last != NULL)
            b->last->bus_data = message;
        else
            b->first = message;
        b->last = message;
        b->queued++;
        strata__os_cond_broadcast(&b->changed);
    }
    os_mutex_unlock(&b->lock);
    if (rc != STRATA_OK)
        end(b, message, rc);
}

static strata_publish *pop_locked(struct nats_bus *b)
{
    strata_publish *message = b->first;
    if (message == NULL)
        return NULL;
    b->first = message->bus_data;
    if (b->first == NULL)
        b->last = NULL;
    return message;
}

void strata__nats_fail_queued(struct nats_bus *b, int status)
{
    strata_publish *message;
    while ((message = pop_locked(b)) != NULL) {
        b->queued--;
        int rc = status == STRATA_ECLOSED ? strata__fail(message->err, status, b->base.name, "the bus is closed")
                                          : fail_down(b, message);
        os_mutex_unlock(&b->lock);
        end(b, message, rc);
        os_mutex_lock(&b->lock);
    }
}

/* Core ------------------------------------------------------------------------------------------------------------- */

static void publish_core(struct nats_bus *b, struct nats_link *link, struct batch *batch)
{
    strata_error err;
    for (size_t i = 0; i < batch->count; i++) {
        strata_publish *message = batch->messages[i];
        batch->sent[i] = strata__nats_publish(link, b->options.subject, NULL, message->bytes, &err) == STRATA_OK;
        if (!batch->sent[i])
            end_with(b, message, &err);
        batch->waiting += batch->sent[i];
    }
    if (batch->waiting == 0)
        return;
    int rc = strata__nats_flush(link, b->options.timeout_ms, &err);
    if (rc == STRATA_OK)
        rc = strata__nats_forbidden(link, &err);
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->sent[i] && rc == STRATA_OK)
            end(b, batch->messages[i], STRATA_OK);
        else if (batch->sent[i])
            end_with(b, batch->messages[i], &err);
    }
}

/* JetStream -------------------------------------------------------------------------------------------------------- */

static void send_to_stream(struct nats_bus *b, struct nats_link *link, struct batch *batch)
{
    strata_error err;
    char reply[112];
    for (size_t i = 0; i < batch->count; i++) {
        snprintf(reply, sizeof reply, "%s%" PRIx64, b->ack_subject, batch->serial + i);
        batch->sent[i] = strata__nats_publish(link, b->options.subject, reply, batch->messages[i]->bytes, &err) ==
                         STRATA_OK;
        if (!batch->sent[i])
            end_with(b, batch->messages[i], &err);
        batch->waiting += batch->sent[i];
    }
}

static int read_answer(const struct nats_bus *b, const char *where, const struct nats_message *answer, strata_error *err)
{
    char said[120];
    if (strata__nats_answer(answer->bytes, said, sizeof said))
        return STRATA_OK;
    return strata__fail(err, STRATA_EIO, b->base.name, "%s: the stream \"%.60s\" does not take it: %s", where,
                        b->options.stream, said[0] != '\0' ? said : "it answers what is no answer");
}

static void take_answer(struct nats_bus *b, struct nats_link *link, struct batch *batch,
                        const struct nats_message *answer)
{
    strata_error err;
    size_t prefix = strlen(b->ack_subject);
    uint64_t serial = 0;
    if (strlen(answer->subject) <= prefix || sscanf(answer->subject + prefix, "%" SCNx64, &serial) != 1 ||
        serial - batch->serial >= batch->count || !batch->sent[serial - batch->serial])
        return; /* of a message that has failed meanwhile */
    size_t i = (size_t)(serial - batch->serial);
    batch->sent[i] = 0;
    batch->waiting--;
    if (read_answer(b, strata__nats_where(link), answer, &err) == STRATA_OK) {
        end(b, batch->messages[i], STRATA_OK);
        return;
    }
    end_with(b, batch->messages[i], &err);
}

/* The stream is not there any more: the reader looks for it. */
static int fail_without_stream(struct nats_bus *b, struct nats_link *link, strata_error *err)
{
    os_mutex_lock(&b->lock);
    b->look_again = 1;
    strata__nats_interrupt(b->inlet); /* it is there while we use the connection */
    os_mutex_unlock(&b->lock);
    return strata__fail(err, STRATA_EIO, b->base.name,
                        "%s: no stream takes \"%.60s\": was it deleted? It is looked for again",
                        strata__nats_where(link), b->options.subject);
}

static int fail_unconfirmed(struct nats_bus *b, struct nats_link *link, strata_error *err)
{
    return strata__fail(err, strata__nats_is_whole(link) ? STRATA_ETIMEDOUT : STRATA_EIO, b->base.name,
                        "%s: the stream \"%.60s\" did not confirm a message: it is perhaps there",
                        strata__nats_where(link), b->options.stream);
}

static void publish_stream(struct nats_bus *b, struct nats_link *link, struct nats_inlet *acks, struct batch *batch)
{
    strata_error err;
    struct nats_message answer;
    int64_t until_ms = strata__os_now_ms() + b->options.timeout_ms;
    enum nats_next next = NATS_NEXT_MESSAGE;
    send_to_stream(b, link, batch);
    while (batch->waiting > 0 && next != NATS_NEXT_GONE && next != NATS_NEXT_NOBODY) {
        int64_t left = until_ms - strata__os_now_ms();
        next = left > 0 ? strata__nats_next(acks, left, &answer) : NATS_NEXT_GONE;
        if (next != NATS_NEXT_MESSAGE)
            continue;
        take_answer(b, link, batch, &answer);
        strata__nats_release(&answer);
    }
    (void)(next == NATS_NEXT_NOBODY ? fail_without_stream(b, link, &err) : fail_unconfirmed(b, link, &err));
    for (size_t i = 0; i < batch->count; i++)
        if (batch->sent[i])
            end_with(b, batch->messages[i], &err);
    batch->serial += batch->count;
}

/* The thread ------------------------------------------------------------------------------------------------------- */

/* Takes what there is.  0: the bus stops. */
static int gather_locked(struct nats_bus *b, struct batch *batch)
{
    batch->count = batch->waiting = 0;
    while (!b->stopping && (b->first == NULL || b->state == NATS_STATE_NEW))
        (void)strata__os_cond_wait(&b->changed, &b->lock, INT64_MAX);
    if (b->stopping)
        return 0;
    if (b->state == NATS_STATE_DOWN)
        strata__nats_fail_queued(b, STRATA_EIO);
    while (b->state == NATS_STATE_UP && batch->count < NATS_BATCH && b->first != NULL)
        batch->messages[batch->count++] = pop_locked(b);
    return 1;
}

void strata__nats_writer(void *bus)
{
    struct nats_bus *b = bus;
    struct batch batch = { .serial = 1 };
    os_mutex_lock(&b->lock);
    while (gather_locked(b, &batch)) {
        if (batch.count == 0)
            continue;
        struct nats_link *link = b->link;
        struct nats_inlet *acks = b->acks;
        b->uses = 1;
        os_mutex_unlock(&b->lock);
        if (acks != NULL)
            publish_stream(b, link, acks, &batch);
        else
            publish_core(b, link, &batch);
        os_mutex_lock(&b->lock);
        b->uses = 0;
        b->queued -= (uint32_t)batch.count;
        strata__os_cond_broadcast(&b->changed);
    }
    strata__nats_fail_queued(b, STRATA_ECLOSED);
    os_mutex_unlock(&b->lock);
}
