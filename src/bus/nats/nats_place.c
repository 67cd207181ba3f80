/* nats_place.c - see nats_place.h. */
#include "src/bus/nats/nats_place.h"

#include <string.h>

#include "src/format/le.h"

enum nats_step strata__nats_step(struct nats_place *place, uint64_t stream_number, uint64_t consumer_number)
{
    if (consumer_number != place->number + 1)
        return NATS_STEP_MISSING;
    place->number = consumer_number;
    if (stream_number <= place->last)
        return NATS_STEP_REPEATED;
    int is_next = stream_number == place->last + 1;
    place->last = stream_number;
    return is_next ? NATS_STEP_NEXT : NATS_STEP_REMOVED;
}

/* Digits up to a dot or the end; *at moves behind it. */
static int read_number(const char **at, uint64_t *out)
{
    const char *from = *at;
    uint64_t n = 0;
    for (; **at >= '0' && **at <= '9' && n <= (UINT64_MAX - 9) / 10; (*at)++)
        n = n * 10 + (uint64_t)(**at - '0');
    int good = *at != from && (**at == '.' || **at == '\0');
    *at += **at == '.';
    *out = n;
    return good;
}

int strata__nats_numbers(const char *reply, uint64_t *out_stream, uint64_t *out_consumer)
{
    enum { PLAIN_DOTS = 8, DOMAIN_DOTS = 10 }; /* of 9 parts; of 11 or, with a last one that means nothing, 12 */
    int dots = 0, skip;
    if (reply == NULL || strncmp(reply, "$JS.ACK.", 8) != 0)
        return 0;
    for (const char *at = reply; *at != '\0'; at++)
        dots += *at == '.';
    if (dots != PLAIN_DOTS && dots < DOMAIN_DOTS)
        return 0;
    skip = dots == PLAIN_DOTS ? 5 : 7;
    while (skip > 0)
        skip -= *reply++ == '.';
    return read_number(&reply, out_stream) && read_number(&reply, out_consumer) && *out_stream != 0 &&
           *out_consumer != 0;
}

void strata__nats_cursor_write(const struct nats_place *place, unsigned char out[NATS_CURSOR_BYTES])
{
    strata__le64_put(out, place->last);
    strata__le64_put(out + 8, (uint64_t)place->created_ns);
}

int strata__nats_cursor_read(strata_slice cursor, struct nats_place *out)
{
    if (cursor.size != NATS_CURSOR_BYTES)
        return 0;
    memset(out, 0, sizeof *out);
    out->known = 1;
    out->last = strata__le64(cursor.data);
    out->created_ns = (int64_t)strata__le64((const uint8_t *)cursor.data + 8);
    return 1;
}

const char *strata__nats_place_check(struct nats_place *place, uint64_t first, uint64_t last, int64_t created_ns)
{
    const char *why = NULL;
    uint64_t before = first > 0 ? first - 1 : 0;
    if (place->created_ns != created_ns) {
        why = "the stream was deleted, and made anew";
        place->last = before;
    } else if (last < place->last) {
        why = "the stream has lost its end, as after a restart in memory";
        place->last = last;
    } else if (before > place->last) {
        why = "the stream does not hold what came meanwhile any more";
        place->last = before;
    }
    place->created_ns = created_ns;
    return why;
}
