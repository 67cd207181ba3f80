/* plan.c - what becomes of a load's result: what is stored, for how long, and where; or what of before is served instead. */
#include "src/core/adaptive.h"
#include "src/core/plan.h"

#include "src/core/generation.h"
#include "src/core/key_marks.h"
#include "src/layer/entry_notes.h"
#include "src/policy/ttl.h"

/* What the loader has named; of a value that is not modified, else, what it had: tags, and a validator.  How many tags. */
static uint32_t plan_tags(struct flight *f, int negative)
{
    const struct strata_load *load = &f->load;
    const struct held *had = load->not_modified ? &f->previous : NULL;
    if (had != NULL && load->tag_count == 0 && !load->has_notes) {
        f->tags = had->tags != NULL ? strata_value_ref(had->tags) : NULL;
        return had->meta.tag_count;
    }
    const uint64_t *ids = load->tags;
    uint32_t count = load->tag_count;
    if (had == NULL && count == 0 && !load->has_notes)
        return 0;
    if (had != NULL && count == 0) {
        ids = had->tags != NULL ? had->tags->data : NULL;
        count = had->meta.tag_count;
    }
    struct entry_note note = { { NULL, 0 }, { NULL, 0 } };
    if (load->has_notes)
        note = strata__entry_note(load->notes, 0);
    else if (had != NULL)
        note = strata__entry_note(had->tags, had->meta.tag_count);
    if (count == 0 || ids != NULL) /* without memory it counts as having any tag */
        f->tags = strata__entry_notes_new(f->mem, ids, count, negative ? NULL : &note);
    return count;
}

/* What it would take to load it again.  A load that found it not modified says nothing of that. */
static uint32_t measured_us(const struct flight *f, int64_t elapsed_ns)
{
    if (f->load.not_modified)
        return 0;
    return elapsed_ns < 1000 ? 1 : elapsed_ns / 1000 < UINT32_MAX ? (uint32_t)(elapsed_ns / 1000) : UINT32_MAX;
}

void strata__plan_load(struct flight *f, int64_t elapsed_ns)
{
    struct strata_load *load = &f->load;
    int negative = load->status == STRATA_ABSENT;
    strata_policy own;
    const strata_policy *policy = &f->policy;
    if (load->has_policy || f->handle->adaptive_most != 0) {
        strata__policy_resolve(&own, load->has_policy ? &load->policy : NULL, policy);
        policy = &own;
        memcpy(f->policy.layer_ttl_ms, own.layer_ttl_ms, sizeof own.layer_ttl_ms);
        f->policy.admit = own.admit;
        f->policy.resident = own.resident;
        f->policy.cost_us = own.cost_us;
    }
    struct plan *p = &f->plan;
    *p = (struct plan){ .end = (uint32_t)f->root->layer_count, .value = f->value };
    if (load->declined) {
        strata__uncacheable_note(f, policy);
        return;
    }
    uint32_t tag_count = plan_tags(f, negative);
    strata__generation_tag(f->handle, &f->tags, &tag_count);
    p->tags = f->tags;
    p->meta = (strata_meta){
        .life = f->root->life,
        .born_ms = f->load_ms,
        .born_wall_ms = f->load_wall_ms,
        .position = f->position,
        .tag_count = tag_count,
        .store_position = f->store_position,
        .load_ms = (uint32_t)(elapsed_ns / 1000000 < UINT32_MAX ? elapsed_ns / 1000000 : UINT32_MAX),
        .cost_us = measured_us(f, elapsed_ns),
        .codec = f->value != NULL && f->value->object != NULL && f->root->codec != NULL ? f->root->codec->id : 0,
    };
    if (!negative && policy == &own)
        strata__adaptive_load(f->handle, f->key.hash, &own);
    strata__policy_to_meta(policy, negative, &p->meta);
    if (strata__ttl_is_drawn(policy))
        strata__ttl_draw(policy, f->key.plain, 1, ex_random(f->root->ex), &p->meta);
    if (policy->ttl_ms == STRATA_OFF)
        strata__uncacheable_note(f, policy);
    else
        strata__uncacheable_forget(f, policy);
    if (policy->ttl_ms != STRATA_OFF && p->meta.fresh_ms > 0)
        p->kind = STRATA_OP_PUT;
    else if (negative && f->previous.there)
        p->kind = STRATA_OP_REMOVE; /* not remembered; but what was there is known to be wrong */
}

/* Stale where it may be; and the next try waits a while. */
void strata__plan_failure(struct flight *f)
{
    int64_t now = ex_now_ms(f->root->ex), retry = f->policy.retry_ms;
    struct held *h = &f->previous;
    enum action a = h->there && !h->meta.negative ? strata__held_action(h, SITUATION_FAILED, now) : ACTION_FAIL;
    f->status = f->load.status;
    f->err = f->load.err;
    if (a != ACTION_FAIL) {
        f->status = a == ACTION_STALE ? STRATA_STALE : STRATA_OK;
        f->value = strata_value_ref(h->value);
        f->hit_layer = h->layer;
        f->hit_state = held_state(h, now);
    }
    if (h->there && !h->meta.negative && retry > 0 && now < h->d.gone_at && !h->foreign) {
        f->plan = (struct plan){ .kind = STRATA_OP_PUT, .end = 1, .value = h->value, .tags = h->tags, .meta = h->meta };
        f->plan.meta.retry_at_ms = now + retry;
    }
}
