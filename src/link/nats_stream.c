/* nats_stream.c - see nats_link.h: the streams and consumers of JetStream. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/link/nats_link_impl.h"

enum { NS_A_MS = 1000000 };

/* The context, and how long to wait. */
static int begin(struct nats_link *link, int64_t timeout_ms, jsOptions *out, strata_error *err)
{
    natsStatus s = jsOptions_Init(out);
    if (s == NATS_OK && link->js == NULL)
        s = natsConnection_JetStream(&link->js, link->nc, NULL);
    out->Wait = timeout_ms;
    return s == NATS_OK ? STRATA_OK : strata__nats_failed(link, s, "no JetStream", err);
}

/* What the server or the library said; the code is JetStream's own. */
static int fail(struct nats_link *link, natsStatus s, jsErrCode code, const char *what, strata_error *err)
{
    natsStatus last;
    const char *said = nats_GetLastError(&last);
    if (s == NATS_NO_RESPONDERS || code == JSNotEnabledErr || code == JSNotEnabledForAccountErr)
        return strata__fail(err, STRATA_EIO, link->name,
                            "%s: JetStream is off there, or not for this account: start nats-server with -js, or set "
                            "jetstream=off",
                            link->where);
    if (s == NATS_TIMEOUT || said == NULL || said[0] == '\0')
        return strata__nats_failed(link, s, what, err);
    return strata__fail(err, STRATA_EIO, link->name, "%s: %s: %.140s", link->where, what, said);
}

int strata__nats_stream_look(struct nats_link *link, const char *stream, const char *subject, int64_t timeout_ms,
                             struct nats_stream *out, strata_error *err)
{
    jsOptions wait;
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    memset(out, 0, sizeof *out);
    int rc = begin(link, timeout_ms, &wait, err);
    if (rc < 0)
        return rc;
    natsStatus s = js_GetStreamInfo(&info, link->js, stream, &wait, &code);
    if (code == JSStreamNotFoundErr)
        return STRATA_MISS;
    if (s != NATS_OK || info == NULL || info->Config == NULL)
        return fail(link, s == NATS_OK ? NATS_PROTOCOL_ERROR : s, code, "the stream could not be looked at", err);
    out->first = info->State.FirstSeq;
    out->last = info->State.LastSeq;
    out->created_ns = info->Created;
    out->holds_subject = info->Config->SubjectsLen == 1 && strcmp(info->Config->Subjects[0], subject) == 0;
    jsStreamInfo_Destroy(info);
    return STRATA_OK;
}

int strata__nats_stream_make(struct nats_link *link, const struct nats_stream_options *options, int64_t timeout_ms,
                             strata_error *err)
{
    jsOptions wait;
    jsStreamConfig config;
    jsErrCode code = 0;
    const char *subjects[1] = { options->subject };
    int rc = begin(link, timeout_ms, &wait, err);
    if (rc < 0)
        return rc;
    (void)jsStreamConfig_Init(&config);
    config.Name = options->stream;
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Storage = options->in_memory ? js_MemoryStorage : js_FileStorage;
    config.Retention = js_LimitsPolicy;
    config.Discard = js_DiscardOld;
    if (options->max_age_ms > 0)
        config.MaxAge = options->max_age_ms * NS_A_MS;
    if (options->max_messages > 0)
        config.MaxMsgs = (int64_t)options->max_messages;
    natsStatus s = js_AddStream(NULL, link->js, &config, &wait, &code);
    if (s == NATS_OK || code == JSStreamNameExistErr) /* of another node, just now */
        return STRATA_OK;
    return fail(link, s, code, "the stream could not be made", err);
}

int strata__nats_consumer_look(struct nats_link *link, const char *stream, const char *consumer, int64_t timeout_ms,
                               struct nats_consumer *out, strata_error *err)
{
    jsOptions wait;
    jsConsumerInfo *info = NULL;
    jsErrCode code = 0;
    memset(out, 0, sizeof *out);
    int rc = begin(link, timeout_ms, &wait, err);
    if (rc < 0)
        return rc;
    natsStatus s = js_GetConsumerInfo(&info, link->js, stream, consumer, &wait, &code);
    if (code == JSConsumerNotFoundErr || (s == NATS_NOT_FOUND && code == 0))
        return STRATA_MISS;
    if (s != NATS_OK || info == NULL || info->Config == NULL)
        return fail(link, s == NATS_OK ? NATS_PROTOCOL_ERROR : s, code, "the consumer could not be looked at", err);
    if (info->Config->DeliverSubject != NULL)
        snprintf(out->deliver_subject, sizeof out->deliver_subject, "%s", info->Config->DeliverSubject);
    out->bound = info->PushBound;
    /* One that has acknowledged nothing was made behind what its node had: servers may tell 0 all the same. */
    out->floor = info->AckFloor.Stream;
    if (info->Config->OptStartSeq > out->floor + 1)
        out->floor = info->Config->OptStartSeq - 1;
    out->delivered = info->Delivered.Stream;
    out->last_number = info->Delivered.Consumer;
    jsConsumerInfo_Destroy(info);
    return STRATA_OK;
}

int strata__nats_consumer_make(struct nats_link *link, const struct nats_consumer_options *options, int64_t timeout_ms,
                               strata_error *err)
{
    enum { MOST_UNACKNOWLEDGED = 20000 };
    jsOptions wait;
    jsConsumerConfig config;
    jsErrCode code = 0;
    int rc = begin(link, timeout_ms, &wait, err);
    if (rc < 0)
        return rc;
    (void)jsConsumerConfig_Init(&config);
    config.Durable = options->consumer;
    config.DeliverPolicy = js_DeliverByStartSequence;
    config.OptStartSeq = options->from;
    config.AckPolicy = js_AckAll;
    config.AckWait = options->ack_wait_ms * NS_A_MS;
    config.MaxDeliver = options->max_deliver;
    config.MaxAckPending = MOST_UNACKNOWLEDGED;
    config.FilterSubject = options->subject;
    config.DeliverSubject = options->deliver_subject;
    config.Heartbeat = options->heartbeat_ms * NS_A_MS;
    natsStatus s = js_AddConsumer(NULL, link->js, options->stream, &config, &wait, &code);
    return s == NATS_OK ? STRATA_OK : fail(link, s, code, "the consumer could not be made", err);
}

int strata__nats_consumer_drop(struct nats_link *link, const char *stream, const char *consumer, int64_t timeout_ms,
                               strata_error *err)
{
    jsOptions wait;
    jsErrCode code = 0;
    int rc = begin(link, timeout_ms, &wait, err);
    if (rc < 0)
        return rc;
    natsStatus s = js_DeleteConsumer(link->js, stream, consumer, &wait, &code);
    if (s == NATS_OK || code == JSConsumerNotFoundErr)
        return STRATA_OK;
    return fail(link, s, code, "the consumer could not be put to its place", err);
}
