/* bulk_batch.h - the flights of a bulk read, which are driven by one strand (bulk_batch.c). */
#ifndef STRATA_CORE_BULK_BATCH_H
#define STRATA_CORE_BULK_BATCH_H
#include "src/core/flight.h"

struct batch {
    struct strand strand;
    _Atomic(uint32_t) refs;
    struct root *root;
    struct read read;
    size_t room;
    struct flight **loading; /* of missed(): what the bulk loader is called for */
    strata_load **loads;
    strata_slice *keys;
    enum { BATCH_READS, BATCH_ASKS, BATCH_ADMITS, BATCH_UNLEASED } stage; /* what the strand waits for */
    size_t failed,
        waiting;   /* how its flights stand: first those whose lease could not be asked for, then those to wait for,
                               then those to load */
    size_t admits; /* from here on its flights are to be admitted, */
    void (*admitted)(struct batch *b); /* and then */
    unsigned char spreads;             /* each of its flights has its own loader, to be called side by side */
    void *memory;                      /* the arrays */
};

/* With room for so many flights: read.flights, of which read.count are there; strata__read_run() begins.  One reference, counted by the
 * strand.  NULL: no memory. */
struct batch *strata__batch_new(struct root *root, size_t room);

#endif /* STRATA_CORE_BULK_BATCH_H */
