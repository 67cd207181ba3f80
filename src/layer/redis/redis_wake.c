/* redis_wake.c - the wake channel: one connection that is subscribed as long as the layer is open, once anybody had to wait.
 *
 * Messages are full keys.  What came while it was away is not known: with every subscription all who wait ask again. */
#include <string.h>

#include "src/base/err.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/link/redis_link.h"

static size_t subscribe(void *ctx, size_t nth, const strata_slice **out_args)
{
    struct redis_layer *r = ctx;
    if (nth > 0)
        return 0;
    *out_args = r->leases.words;
    return 2;
}

static void set_channel(struct redis_layer *r, enum redis_channel channel)
{
    os_lock_take(&r->leases.lock);
    r->leases.channel = channel;
    os_lock_give(&r->leases.lock);
    strata__redis_leases_wake(r,
                              strata_bytes(NULL, 0)); /* who waits says so to the holders, or begins to ask in pauses */
}

static int subscribed(void *ctx, size_t nth, const struct redisReply *reply, int64_t elapsed_us,
                      struct redis_mark *mark, strata_error *err)
{
    struct redis_layer *r = ctx;
    (void)nth;
    (void)elapsed_us;
    (void)mark;
    (void)err;
    if (strata__redis_kind(reply) == REDIS_IS_ARRAY) {
        set_channel(r, CHANNEL_UP);
        return 1;
    }
    strata_error why = STRATA_ERROR_INIT;
    (void)strata__redis_no_answer(r, "SUBSCRIBE", reply, &why);
    strata__redis_notice(r, NOTICE_NO_CHANNEL, &why);
    set_channel(r, CHANNEL_FORBIDDEN);
    return 1;
}

static void pushed(void *ctx, strata_slice message)
{
    struct redis_layer *r = ctx;
    size_t skip = r->prefix.size;
    if (message.size >= skip && (skip == 0 || memcmp(message.data, r->prefix.data, skip) == 0))
        strata__redis_leases_wake(r, strata_bytes((const char *)message.data + skip, message.size - skip));
}

int strata__redis_channel_open(struct redis_layer *r)
{
    struct redis_leases *l = &r->leases;
    os_lock_take(&l->lock);
    int mine = l->channel == CHANNEL_NONE, up = l->channel == CHANNEL_UP;
    if (mine)
        l->channel = CHANNEL_OPENING;
    os_lock_give(&l->lock);
    if (!mine)
        return up;
    struct redis_link_options options = strata__redis_link_options(r);
    strata_error why = STRATA_ERROR_INIT;
    l->words[0] = strata_str("SUBSCRIBE");
    l->words[1] = r->channel;
    options.connections = 1;
    options.hello = subscribe;
    options.greeted = subscribed;
    options.pushed = pushed;
    options.ctx = r;
    if (strata__redis_open(&l->subscriber, &options, &why) < 0) {
        strata__redis_notice(r, NOTICE_NO_CHANNEL, &why);
        set_channel(r, CHANNEL_FORBIDDEN);
    }
    return 0;
}

void strata__redis_channel_close(struct redis_layer *r)
{
    strata__redis_close(r->leases.subscriber);
    r->leases.subscriber = NULL;
}
