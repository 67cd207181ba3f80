/* tracking_keys.c - per_key: the server remembers what the Redis layer of this cache reads, and tells this bus' connection.
 *
 * Each heartbeat has all connections of the layer looked after (strata_bus_follow()).  The bus counts as up once all of them are followed; where
 * one had to be made anew, what was read on the one before it is not followed any more, and everything counts as missed.  Nothing is proven
 * unless all of them, and this connection, have answered in the same heartbeat. */
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/bus/redis_tracking/tracking_impl.h"

static void followed(strata_follow *how, int status, const strata_error *why)
{
    struct tracking *t = how->owner;
    t->follow_status = status;
    t->follow_why = *why;
    strata__tracking_leave(t);
}

int strata__tracking_keys_check(struct tracking *t, strata_error *err)
{
    t->follow = (strata_follow){ .size = sizeof t->follow,
                                 .kind = "redis",
                                 .done = followed,
                                 .owner = t,
                                 .prefix = t->prefix,
                                 .all = !tracking_per_key(t) };
    return strata_bus_follow(t->host, &t->follow, err);
}

void strata__tracking_keys_listen(struct tracker *tr)
{
    struct tracking *t = tr->t;
    os_lock_take(&t->lock);
    memcpy(t->listener, tr->id, sizeof t->listener);
    memcpy(t->listener_at, tr->run_id, sizeof t->listener_at);
    t->listener_number++;
    os_lock_give(&t->lock);
}

void strata__tracking_keys_ask(struct tracking *t)
{
    char listener[sizeof t->listener], at[sizeof t->listener_at];
    os_lock_take(&t->lock);
    memcpy(listener, t->listener, sizeof listener);
    memcpy(at, t->listener_at, sizeof at);
    t->follow_number = t->listener_number;
    os_lock_give(&t->lock);
    t->follow.server = strata_str(at);
    t->follow.listener = strata_str(listener);
    t->follow.number = t->follow_number;
    t->follow.timeout_ms = t->options.timeout_ms;
    t->follow_why = (strata_error)STRATA_ERROR_INIT;
    int rc;
    if (at[0] == '\0')
        rc = strata__fail(&t->follow_why, STRATA_EIO, t->base.name,
                          "the server does not say its run_id: let the user run INFO, or leave per_key out");
    else
        rc = strata_bus_follow(t->host, &t->follow, &t->follow_why);
    if (rc >= 0)
        return;
    t->follow_status = rc;
    strata__tracking_leave(t);
}

void strata__tracking_keys_judge(struct tracking *t)
{
    os_lock_take(&t->lock);
    int same = t->follow_number == t->listener_number, was_up = t->told_up;
    os_lock_give(&t->lock);
    if (!same) /* the connection is another one by now */
        return;
    if (t->follow_status < 0) {
        strata__tracking_tell_down(t, &t->follow_why);
    } else if (!was_up) {
        strata__tracking_tell_up(t);
        strata__tracking_soon(t);
    } else if (t->follow_status == STRATA_AGAIN) {
        strata_bus_lost(t->host,
                        "a connection of the layer was made anew: what was read on the one before is not told of");
        strata__tracking_soon(t);
    } else if (!atomic_load(&t->failed)) {
        strata_bus_proven(t->host, t->asked_ms);
    }
}
