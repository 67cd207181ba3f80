/* bus_host.c - the calls of strata/sys/bus.h, handed to whoever opened the bus. */
#include "src/bus/bus_host.h"

#include "src/base/err.h"

void strata_bus_delivered(strata_bus_host *host, strata_slice bytes, strata_slice cursor)
{
    host->delivered(host, bytes, cursor);
}

void strata_bus_up(strata_bus_host *host) { host->up(host); }

void strata_bus_down(strata_bus_host *host, const strata_error *why) { host->down(host, why); }

void strata_bus_lost(strata_bus_host *host, const char *why) { host->lost(host, why); }

void strata_bus_key_changed(strata_bus_host *host, strata_slice key) { host->key_changed(host, key); }

void strata_bus_proven(strata_bus_host *host, int64_t sent_ms)
{
    if (host->proven != NULL)
        host->proven(host, sent_ms);
}

int strata_bus_follow(strata_bus_host *host, strata_follow *how, strata_error *err)
{
    if (host->follow != NULL)
        return host->follow(host, how, err);
    if (how->all)
        return STRATA_OK;
    return strata__fail(err, STRATA_EUNSUPPORTED, how->kind, "nobody here reads anything that could be followed");
}

int64_t strata_bus_now_ms(strata_bus_host *host) { return host->now_ms(host); }

int strata_bus_after(strata_bus_host *host, int64_t delay_ms, void (*fn)(void *ctx), void *ctx)
{
    return host->after(host, delay_ms, fn, ctx);
}

const strata_allocator *strata_bus_allocator(strata_bus_host *host) { return host->mem; }

void strata_publish_done(strata_publish *message, int status)
{
    message->status = status;
    message->done(message);
}

void strata_bus_free(strata_bus *bus)
{
    if (bus != NULL && bus->ops != NULL)
        bus->ops->close(bus);
}

static void close_none(strata_bus *bus) { (void)bus; }

strata_bus *strata__bus_out_of_memory(void)
{
    static const strata_bus_ops ops = { .size = sizeof ops, .kind = "none", .close = close_none };
    static strata_bus bus = { .size = sizeof bus,
                              .ops = &ops,
                              .name = "bus",
                              .failed = { .status = STRATA_ENOMEM,
                                          .where = "bus",
                                          .message = "no memory for a bus: free some and open again" } };
    return &bus;
}
