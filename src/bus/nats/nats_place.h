/* nats_place.h - how far a node has come in a stream of JetStream: pure.
 *
 * A stream numbers what it holds, a consumer what it sends.  A jump in the consumer's numbers: something was sent and did not
 * arrive.  A jump in the stream's alone: something was removed before it was sent, for the stream holds nothing but what we
 * ask for. */
#ifndef STRATA_BUS_NATS_PLACE_H
#define STRATA_BUS_NATS_PLACE_H
#include <stdint.h>

#include "strata/base.h"

enum { NATS_CURSOR_BYTES = 16 };

struct nats_place {
    int known;
    uint64_t last;      /* of the stream: the last that was delivered, or before which delivery begins */
    int64_t created_ns; /* of the stream */
    uint64_t number;    /* of the consumer: the last that arrived */
};

enum nats_step {
    NATS_STEP_NEXT,     /* deliver it */
    NATS_STEP_REPEATED, /* it was delivered before */
    NATS_STEP_REMOVED,  /* deliver it; something before it is gone for good */
    NATS_STEP_MISSING   /* something before it was sent, and has not come: begin anew behind place->last */
};

enum nats_step strata__nats_step(struct nats_place *place, uint64_t stream_number, uint64_t consumer_number);

/* "$JS.ACK.stream.consumer.times.7.3.time.pending", or with a domain and an account before the stream.  1: it is one. */
int strata__nats_numbers(const char *reply, uint64_t *out_stream, uint64_t *out_consumer);

/* A place in 16 bytes: its stream's number and birth, little endian. */
void strata__nats_cursor_write(const struct nats_place *place, unsigned char out[NATS_CURSOR_BYTES]);
/* 1: it is one. */
int strata__nats_cursor_read(strata_slice cursor, struct nats_place *out);

/* Where to go on, in a stream that begins at `first`, ends with `last` (first > last: it is empty), and was made then.  Moves place.
 * NULL: nothing is missing; else why something is, static. */
const char *strata__nats_place_check(struct nats_place *place, uint64_t first, uint64_t last, int64_t created_ns);

#endif /* STRATA_BUS_NATS_PLACE_H */
