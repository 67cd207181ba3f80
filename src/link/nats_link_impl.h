/* nats_link_impl.h - what a connection is inside; for nats_link.c and nats_stream.c alone. */
#ifndef STRATA_LINK_NATS_LINK_IMPL_H
#define STRATA_LINK_NATS_LINK_IMPL_H
#include <nats/nats.h>
#include <stdint.h>

#include "src/link/nats_link.h"

struct nats_link {
    const strata_allocator *mem;
    natsConnection *nc;
    jsCtx *js;           /* NULL until the first question; of the thread that asks */
    int lent;            /* nc is the application's */
    uint64_t reconnects; /* lent: as it was then */
    char name[32];
    char where[280];
};

struct nats_inlet {
    const strata_allocator *mem;
    natsSubscription *sub;
};

/* Words for a status; what it is in ours. */
int strata__nats_failed(const struct nats_link *link, natsStatus s, const char *what, strata_error *err);

#endif /* STRATA_LINK_NATS_LINK_IMPL_H */
