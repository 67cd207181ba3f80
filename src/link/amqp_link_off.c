/* amqp_link_off.c - built where rabbitmq-c is not: no link can be opened, and the words say which cmake option brings it.
 *
 * There is no link to hand to the other functions: calling them is a mistake of ours. */
#include "src/base/err.h"
#include "src/link/amqp_link.h"

int strata__amqp_built_in(void) { return 0; }

int strata__amqp_tls_built_in(void) { return 0; }

int strata__amqp_open(struct amqp_link **out, const struct amqp_link_options *options, strata_error *err)
{
    *out = NULL;
    return strata__fail(err, STRATA_EUNSUPPORTED, options->name,
                        "this build of strata has no rabbitmq-c: build it with -DSTRATA_WITH_RABBITMQ=ON");
}

static void never(const struct amqp_link *link)
{
    if (link != NULL)
        STRATA_BUG("a link to a server in a build without rabbitmq-c");
}

void strata__amqp_stop(struct amqp_link *link, int64_t flush_ms)
{
    (void)flush_ms;
    never(link);
}

void strata__amqp_close(struct amqp_link *link) { never(link); }

void strata__amqp_abandon(struct amqp_link *link) { never(link); }

void strata__amqp_publish(struct amqp_link *link, strata_slice bytes, void *owner)
{
    (void)bytes;
    (void)owner;
    never(link);
}

void strata__amqp_rouse(struct amqp_link *link) { never(link); }

void strata__amqp_stats(struct amqp_link *link, strata_bus_stats *out)
{
    (void)out;
    never(link);
}
