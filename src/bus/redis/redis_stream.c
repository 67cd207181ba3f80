/* redis_stream.c - a bus over Redis Streams: one stream, which every node reads to its end and waits there for more.
 *
 * What was read last, `last`, is where reading goes on, also on another connection.  Whether everything behind it was still there is
 * asked with each read: behind XREAD travels an XRANGE for one entry that was read before, the anchor.  A stream loses its entries from
 * the front, or all at once (trimmed, flushed, evicted); so if the anchor is there after the read, nothing between it and what was read
 * has gone.  If it is not, and on every other connection, where a server may have taken over that has less, the `proven` position itself
 * is asked for, the last one before which nothing is missing.  Where that is not there, the cache is told, and reading goes on at the end.
 * An id alone is no proof: a stream that was emptied, or a server that took another one's place, gives out ids anew, of the same
 * millisecond.  So places are compared with a print of the message that stands there.
 *
 * One thing is under way at a time: LOOK (the end of the stream, and `proven`), READ (and the anchor), or a pause.  Only who finishes
 * the last request of it goes on, so nothing here needs a lock. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/bus/redis_base.h"

enum { BLOCK_MS = 2000, PAUSE_MIN_MS = 20, PAUSE_MAX_MS = 1000, MOST_AT_ONCE = 256, ID = 48, CURSOR = ID + 18 };
enum { BYTES_AT_ONCE = 1 << 20 };
#define BLOCK_TEXT "2000"
#define FIELD "m"

struct id {
    uint64_t ms, number;
    uint64_t print; /* of the message there */
    char text[ID];  /* "" where there is none */
};

struct stream {
    struct redis_bus bus;
    struct id last;     /* delivered */
    struct id proven;   /* delivered, and nothing before it is missing; 0-0: nothing was read yet, as with the others */
    struct id anchor;   /* an entry at or before `proven`, a small one */
    struct id end;      /* LOOK's: the last entry there is */
    struct id smallest; /* READ's: of what came, the entry that is the cheapest to ask for again */
    size_t smallest_bytes;
    int begun;              /* `last` is set: by a cursor, or by a first LOOK */
    int reading;            /* READ; else LOOK */
    int came;               /* READ: entries */
    const struct id *probe; /* LOOK: `proven`; READ: `anchor`; NULL: nothing was read yet */
    int gone;               /* it is not there */
    int failed;             /* a request has */
    int64_t pause_ms;
    uint32_t count; /* of entries in one READ */
    char count_text[16];
    strata_error why;
    struct redis_request first, second;
    _Atomic(uint32_t) under_way;
};

static struct stream *downcast(struct redis_bus *b) { return (struct stream *)(void *)b; }

/* Ids ----------------------------------------------------------------------------------------------------------------- */

static int digits(const char **at, const char *end, uint64_t *out)
{
    const char *from = *at;
    uint64_t n = 0;
    for (; *at < end && **at >= '0' && **at <= '9'; (*at)++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(**at - '0'), &n))
            return 0;
    *out = n;
    return *at > from;
}

/* "1767225600000-0" */
static int parse_id(strata_slice text, struct id *out)
{
    const char *at = text.data, *end = at + text.size;
    memset(out, 0, sizeof *out);
    if (text.size == 0 || text.size >= ID || !digits(&at, end, &out->ms) || at == end || *at++ != '-' ||
        !digits(&at, end, &out->number) || at != end)
        return 0;
    (void)snprintf(out->text, sizeof out->text, "%" PRIu64 "-%" PRIu64, out->ms, out->number);
    return 1;
}

/* What a cache keeps: an id, and the print. */
static strata_slice write_cursor(const struct id *id, char out[CURSOR])
{
    int size = snprintf(out, CURSOR, "%s/%016" PRIx64, id->text, id->print);
    return strata_bytes(out, (size_t)size);
}

static int parse_cursor(strata_slice text, struct id *out)
{
    char print[17], again[CURSOR];
    const char *slash = text.size > 17 ? (const char *)text.data + text.size - 17 : NULL;
    if (slash == NULL || *slash != '/' || !parse_id(strata_bytes(text.data, text.size - 17), out))
        return 0;
    memcpy(print, slash + 1, 16);
    print[16] = '\0';
    out->print = strtoull(print, NULL, 16);
    strata_slice same = write_cursor(out, again);
    return same.size == text.size && memcmp(again, text.data, same.size) == 0;
}

static int same_place(const struct id *a, const struct id *b)
{
    return a->ms == b->ms && a->number == b->number && a->print == b->print;
}

static int before(const struct id *a, const struct id *b)
{
    return a->ms != b->ms ? a->ms < b->ms : a->number < b->number;
}

/* An entry: its id, and our field.  0: it is none; *out_message is empty where it has no message of ours. */
static int parse_entry(const struct redisReply *entry, struct id *out, strata_slice *out_message)
{
    *out_message = strata_bytes(NULL, 0);
    if (strata__redis_kind(entry) != REDIS_IS_ARRAY || strata__redis_count(entry) != 2 ||
        strata__redis_kind(strata__redis_at(entry, 0)) != REDIS_IS_TEXT ||
        strata__redis_kind(strata__redis_at(entry, 1)) != REDIS_IS_ARRAY ||
        !parse_id(strata__redis_text(strata__redis_at(entry, 0)), out))
        return 0;
    const struct redisReply *fields = strata__redis_at(entry, 1);
    for (size_t i = 0; i + 1 < strata__redis_count(fields); i += 2) {
        const struct redisReply *name = strata__redis_at(fields, i), *value = strata__redis_at(fields, i + 1);
        if (strata__redis_kind(name) != REDIS_IS_TEXT || strata__redis_kind(value) != REDIS_IS_TEXT)
            return 0;
        if (strata__redis_text(name).size == 1 && memcmp(strata__redis_text(name).data, FIELD, 1) == 0)
            *out_message = strata__redis_text(value);
    }
    out->print = strata__hash(out_message->data, out_message->size, 0);
    return 1;
}

/* Asking -------------------------------------------------------------------------------------------------------------- */

static void look(struct stream *s);
static void read_more(struct stream *s);

static void go_on(struct redis_bus *b) { look(downcast(b)); }

/* A failure: tell why, and look again after a while. */
static void pause_and_look(struct stream *s)
{
    int64_t pause = s->pause_ms;
    s->pause_ms = 2 * pause < PAUSE_MAX_MS ? 2 * pause : PAUSE_MAX_MS;
    strata__redis_bus_away(&s->bus, &s->why);
    strata__redis_bus_later(&s->bus, pause);
}

static void jump_to_end(struct stream *s)
{
    if (s->end.text[0] == '\0')
        (void)parse_id(strata_str("0-0"), &s->end); /* there is nothing yet */
    s->last = s->proven = s->anchor = s->end;
}

static void missing(struct stream *s)
{
    int back = before(&s->end, &s->proven);
    strata__redis_bus_lost(
        &s->bus, back ? "the stream ends before what was read of it: it was emptied, or the server failed over to "
                        "one that had less"
                      : "what was read last is not in the stream any more: it was trimmed (raise max_length), "
                        "emptied or evicted");
    jump_to_end(s);
}

static void looked(struct stream *s)
{
    if (!s->begun) {
        jump_to_end(s);
        s->begun = 1;
    } else if (s->gone) {
        missing(s);
    } else if (s->probe != NULL) {
        int once_more = !same_place(&s->proven, &s->last);
        s->proven = s->anchor = s->last; /* what was read behind `proven` was whole; is it there? */
        if (once_more) {
            look(s);
            return;
        }
    }
    s->pause_ms = PAUSE_MIN_MS;
    strata__redis_bus_reads(&s->bus);
    read_more(s);
}

static void was_read(struct stream *s)
{
    if (s->gone || !s->came) { /* nothing for a while: is it still the stream that it was? */
        look(s);
        return;
    }
    s->proven = s->last;
    s->anchor = s->smallest;
    read_more(s);
}

static void one_less(struct stream *s)
{
    if (atomic_fetch_sub(&s->under_way, 1) != 1 || atomic_load(&s->bus.stopped))
        return;
    if (s->failed)
        pause_and_look(s);
    else if (s->reading)
        was_read(s);
    else
        looked(s);
}

static void fail(struct stream *s, const strata_error *why)
{
    s->why = *why;
    s->failed = 1;
}

/* 1: there is a reply of that kind, or nil; else it has failed. */
static int is_good(struct stream *s, const struct redis_request *request, const char *command)
{
    strata_error why = STRATA_ERROR_INIT;
    if (request->status != STRATA_OK) {
        fail(s, &request->err);
        return 0;
    }
    if (strata__redis_kind(request->reply) == REDIS_IS_ARRAY || strata__redis_kind(request->reply) == REDIS_IS_NIL)
        return 1;
    (void)strata__redis_bus_refused(&s->bus, command, request->reply, &why);
    fail(s, &why);
    return 0;
}

static void probe_came(struct redis_request *request)
{
    struct stream *s = request->owner;
    strata_slice message;
    struct id there;
    if (is_good(s, request, "XRANGE"))
        s->gone = strata__redis_kind(request->reply) == REDIS_IS_NIL || strata__redis_count(request->reply) == 0 ||
                  !parse_entry(strata__redis_at(request->reply, 0), &there, &message) || !same_place(&there, s->probe);
    one_less(s);
}

static void end_came(struct redis_request *request)
{
    struct stream *s = request->owner;
    strata_slice message;
    memset(&s->end, 0, sizeof s->end);
    if (is_good(s, request, "XREVRANGE") && strata__redis_kind(request->reply) == REDIS_IS_ARRAY &&
        strata__redis_count(request->reply) > 0 &&
        !parse_entry(strata__redis_at(request->reply, 0), &s->end, &message)) {
        strata_error why = STRATA_ERROR_INIT;
        (void)strata__redis_bus_refused(&s->bus, "XREVRANGE", request->reply, &why);
        fail(s, &why);
    }
    one_less(s);
}

static void take_entry(struct stream *s, const struct redisReply *entry, size_t *bytes)
{
    strata_slice message;
    struct id id;
    char cursor[CURSOR];
    if (!parse_entry(entry, &id, &message)) {
        strata__redis_bus_lost(&s->bus, "an entry of the stream is none: is it a Redis server?");
        return;
    }
    s->last = id;
    *bytes += message.size + ID;
    if (!s->came || message.size < s->smallest_bytes) {
        s->smallest = id;
        s->smallest_bytes = message.size;
    }
    s->came = 1;
    if (message.size == 0)
        strata__redis_bus_lost(&s->bus, "an entry of the stream has no message: who else writes there?");
    else
        strata__redis_bus_deliver(&s->bus, message, write_cursor(&id, cursor));
}

static void entries_came(struct redis_request *request)
{
    struct stream *s = request->owner;
    size_t bytes = 0, count = 0;
    if (is_good(s, request, "XREAD") && strata__redis_kind(request->reply) == REDIS_IS_ARRAY &&
        strata__redis_count(request->reply) == 1) {
        const struct redisReply *stream = strata__redis_at(request->reply, 0);
        const struct redisReply *list = strata__redis_kind(stream) == REDIS_IS_ARRAY && strata__redis_count(stream) == 2
                                            ? strata__redis_at(stream, 1)
                                            : NULL;
        count = list != NULL && strata__redis_kind(list) == REDIS_IS_ARRAY ? strata__redis_count(list) : 0;
        for (size_t i = 0; i < count; i++)
            take_entry(s, strata__redis_at(list, i), &bytes);
    }
    if (count > 0) { /* as many as fit into a megabyte, if they go on like that */
        uint64_t fit = BYTES_AT_ONCE / (bytes / count + 1);
        s->count = (uint32_t)(fit < 1 ? 1 : fit > MOST_AT_ONCE ? MOST_AT_ONCE : fit);
    }
    one_less(s);
}

/* `first` is there; `second` is for the probe, where there is one. */
static void ask(struct stream *s, const struct id *probe)
{
    strata_slice words[6] = { strata_str("XRANGE") };
    struct redis_request *requests[2] = { &s->first, &s->second };
    int is_entry = probe->ms != 0 || probe->number != 0;
    size_t count = is_entry ? 2 : 1;
    words[1] = s->bus.key;
    words[2] = words[3] = strata_str(probe->text);
    words[4] = strata_str("COUNT");
    words[5] = strata_str("1");
    s->probe = is_entry ? probe : NULL;
    s->second = (struct redis_request){
        .args = words, .arg_count = 6, .timeout_ms = s->first.timeout_ms, .key_at = 1, .done = probe_came, .owner = s
    };
    s->first.owner = s;
    s->came = s->gone = s->failed = 0;
    atomic_store(&s->under_way, (uint32_t)count);
    strata__redis_submit(s->bus.reader, requests, count);
}

static void look(struct stream *s)
{
    strata_slice words[] = { strata_str("XREVRANGE"), s->bus.key,          strata_str("+"),
                             strata_str("-"),         strata_str("COUNT"), strata_str("1") };
    s->reading = 0;
    s->first = (struct redis_request){
        .args = words, .arg_count = 6, .timeout_ms = s->bus.options.timeout_ms, .key_at = 1, .done = end_came
    };
    ask(s, &s->proven);
}

static void read_more(struct stream *s)
{
    strata_slice words[] = { strata_str("XREAD"), strata_str("COUNT"),     strata_str(s->count_text),
                             strata_str("BLOCK"), strata_str(BLOCK_TEXT),  strata_str("STREAMS"),
                             s->bus.key,          strata_str(s->last.text) };
    (void)snprintf(s->count_text, sizeof s->count_text, "%u", (unsigned)s->count);
    words[2] = strata_str(s->count_text);
    s->reading = 1;
    s->first = (struct redis_request){ .args = words,
                                       .arg_count = 8,
                                       .timeout_ms = BLOCK_MS + s->bus.options.timeout_ms,
                                       .key_at = 6,
                                       .done = entries_came };
    ask(s, &s->anchor);
}

/* As a kind of bus ---------------------------------------------------------------------------------------------------- */

static size_t command(struct redis_bus *b, strata_slice message, strata_slice words[REDIS_BUS_WORDS])
{
    words[0] = strata_str("XADD");
    words[1] = b->key;
    words[2] = strata_str("MAXLEN");
    words[3] = strata_str("~");
    words[4] = strata_str(b->length);
    words[5] = strata_str("*");
    words[6] = strata_str(FIELD);
    words[7] = message;
    return 8;
}

static int start_reading(struct redis_bus *b, strata_slice resume_from, strata_error *err)
{
    struct stream *s = downcast(b);
    struct redis_link_options options = strata__redis_bus_link(b);
    memset((char *)s + sizeof s->bus, 0, sizeof *s - sizeof s->bus);
    s->count = MOST_AT_ONCE;
    s->pause_ms = PAUSE_MIN_MS;
    b->go_on = go_on;
    int rc = strata__redis_open(&b->reader, &options, err);
    if (rc != STRATA_OK)
        return rc;
    if (resume_from.size != 0 && parse_cursor(resume_from, &s->last)) {
        s->proven = s->anchor = s->last;
        s->begun = 1;
    } else if (resume_from.size != 0) {
        strata__redis_bus_lost(b, "the place to go on from is none of a stream's");
    }
    look(s);
    return STRATA_OK;
}

strata_bus *strata_redis_stream_bus(const strata_redis_bus_options *options)
{
    static const struct redis_bus_kind kind = { .name = "redis_stream",
                                                .flags = STRATA_BUS_ORDERED | STRATA_BUS_REPLAYS | STRATA_BUS_ECHOES,
                                                .bytes = sizeof(struct stream),
                                                .has_length = 1,
                                                .command = command,
                                                .taken = REDIS_IS_TEXT,
                                                .read = start_reading };
    strata_bus *bus = strata__redis_bus_new(&kind, options);
    if (bus->failed.status == STRATA_OK)
        ((struct redis_bus *)(void *)bus)->verb = "XADD";
    return bus;
}
