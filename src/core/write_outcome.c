/* write_outcome.c - what a write comes to, out of what its layers answered: strata_options.write_policy.
 *
 * A layer has carried it out, had no room for it, or failed.  The first failure's words are kept.  That a layer which failed, or
 * had no room, is then told to forget the key is not counted as its carrying it out. */
#include "src/core/flight.h"
#include "src/core/write.h"

static int is_policy(const struct write *w, int32_t policy) { return w->root->options.write_policy == policy; }

/* Is it taken back where a layer fails? */
static int is_strict_set(const struct write *w)
{
    return w->kind == STRATA_OP_PUT && !w->demotes && is_policy(w, STRATA_WRITE_STRICT);
}

void strata__write_note(struct write *w, struct layer_slot *slot)
{
    if (w->op.kind == STRATA_OP_REMOVE && w->op.status == STRATA_PENDING) {
        w->pending = 1;
        w->pending_at = slot->index;
    }
    w->passes |= w->op.kind == STRATA_OP_PUT && w->op.status > 0;
    w->fails |= w->op.status < 0;
    if (w->op.status >= 0 || w->status < 0)
        return;
    const char *words = w->op_err.message[0] != 0 ? w->op_err.message : strata_status_text(w->op.status);
    w->status = strata__fail(&w->err, w->op.status == STRATA_ENOMEM ? STRATA_ENOMEM : STRATA_ELAYER, slot->layer->name,
                             "layer \"%s\" failed, %s: %s", slot->layer->name,
                             is_strict_set(w) ? "and what was set was taken back" : "the others were written", words);
    w->err.os_errno = w->op_err.os_errno;
}

void strata__write_layer_over(struct write *w)
{
    w->took |= !w->fails && !w->passes;
    w->fails = w->passes = 0;
}

int strata__write_takes_back(struct write *w)
{
    if (w->unchanged || !is_strict_set(w) || (w->status >= 0 && !w->pending))
        return 0;
    w->kind = STRATA_OP_REMOVE;
    w->stops = STOP_NOT;
    w->done_layers = 0;
    return 1;
}

/* The result ------------------------------------------------------------------------------------------------------ */

static void count_write(struct write *w)
{
    static const struct {
        uint32_t kind, event;
        enum count count;
    } kinds[] = {
        { STRATA_OP_PUT, STRATA_EVENT_SET, COUNT_SETS },
        { STRATA_OP_REMOVE, STRATA_EVENT_DELETE, COUNT_DELETES },
        { WRITE_EXPIRE, STRATA_EVENT_EXPIRE, COUNT_EXPIRES },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].kind != w->told_as)
            continue;
        count_up(w->handle, kinds[i].count);
        event_fire(w->handle, kinds[i].event, w->key.plain, NULL);
    }
    if (w->status < 0 && !w->told)
        strata__event_error(w->handle, w->key.plain, w->err.where, w->status, w->err.message);
}

/* Of a write that depends on what is there, and has written nothing. */
static int unchanged_result(struct write *w)
{
    if (w->status == STRATA_ECONFLICT)
        count_up(w->handle, COUNT_CONFLICTS);
    else if (w->status < 0 && !w->told)
        strata__event_error(w->handle, w->key.plain, w->err.where, w->status, w->err.message);
    return w->status;
}

int strata__write_result(struct write *w)
{
    if (w->unchanged)
        return unchanged_result(w);
    count_write(w);
    if (w->queued)
        return STRATA_PENDING;
    if (w->out_version != NULL && w->status >= 0)
        *w->out_version = (strata_entry_version){ w->meta.version, w->meta.store_life };
    if (w->status < 0 && !(w->took && is_policy(w, STRATA_WRITE_BEST_EFFORT)))
        return w->status;
    if (w->pending)
        return is_policy(w, STRATA_WRITE_STRICT)
                   ? strata__pending_fails(w->root->layers[w->pending_at].layer->name, &w->err)
                   : STRATA_PENDING;
    if (w->unpublished)
        return is_policy(w, STRATA_WRITE_STRICT) ? strata__unpublished_fails(w->root, &w->err) : STRATA_PENDING;
    if (w->unadmitted && !w->took)
        return STRATA_MISS;
    return w->kind == WRITE_EXPIRE && !w->found ? STRATA_MISS : STRATA_OK;
}

int strata__unpublished_fails(struct root *root, strata_error *err)
{
    (void)root;
    return strata__fail(
        err, STRATA_ELAYER, "bus",
        "a bus can't be reached: other nodes may serve what they hold until they are told, or trust it no more; do it "
        "again, or use another write_policy");
}

int strata__pending_fails(const char *layer, strata_error *err)
{
    return strata__fail(
        err, STRATA_ELAYER, layer,
        "layer \"%s\" can't be reached: this cache serves nothing older from it, and goes on telling it, "
        "but its other users may; do it again, or use another write_policy",
        layer);
}
