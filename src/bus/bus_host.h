/* bus_host.h - what a strata_bus_host is inside: the sink through which a bus talks back.
 *
 * Whoever opens buses (core; the contract suite) embeds one a bus in its own struct, fills every field before start(), and keeps it
 * until close() has returned.  The public strata_bus_ calls dispatch through it, so a bus knows nothing of core.  All functions are
 * called from any thread, and none of them blocks; those of one bus that deliver are called one after the other. */
#ifndef STRATA_BUS_BUS_HOST_H
#define STRATA_BUS_BUS_HOST_H
#include <stdint.h>

#include "strata/sys/bus.h"

struct strata_bus_host {
    const strata_allocator *mem; /* never NULL */
    void (*delivered)(struct strata_bus_host *host, strata_slice bytes, strata_slice cursor);
    void (*up)(struct strata_bus_host *host);
    void (*down)(struct strata_bus_host *host, const strata_error *why);
    void (*lost)(struct strata_bus_host *host, const char *why);
    void (*key_changed)(struct strata_bus_host *host, strata_slice key);
    int64_t (*now_ms)(struct strata_bus_host *host);
    void (*proven)(struct strata_bus_host *host, int64_t sent_ms); /* NULL: nobody wants to know */
    /* NULL: nothing can be followed.  What was begun is done when close() is called. */
    int (*follow)(struct strata_bus_host *host, strata_follow *how, strata_error *err);
    /* As strata_bus_after().  What was accepted runs, also while the cache closes (a delay is then cut short); all of it has run
     * when close() is called. */
    int (*after)(struct strata_bus_host *host, int64_t delay_ms, void (*fn)(void *ctx), void *ctx);
};

/* What a constructor returns that has no memory for a bus: shared, static, and strata_open() reports it. */
strata_bus *strata__bus_out_of_memory(void);

#endif /* STRATA_BUS_BUS_HOST_H */
