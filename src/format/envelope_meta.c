/* envelope_meta.c - an envelope in the words of layers, and back. */
#include <string.h>

#include "src/format/envelope.h"

static int64_t at_least_zero(int64_t ms) { return ms > 0 ? ms : 0; }

static uint32_t to_us(uint32_t ms) { return ms < UINT32_MAX / 1000 ? ms * 1000 : UINT32_MAX; }

void strata__envelope_from_meta(struct envelope *out, const strata_meta *meta)
{
    memset(out, 0, sizeof *out);
    out->flags = meta->negative ? ENVELOPE_NEGATIVE : 0;
    out->fresh_ms = at_least_zero(meta->fresh_ms);
    out->stale_ms = at_least_zero(meta->stale_ms);
    out->error_ms = at_least_zero(meta->error_ms);
    out->keep_ms = at_least_zero(meta->keep_ms);
    out->early_ms = at_least_zero(meta->early_ms);
    out->version = meta->version;
    out->store_life = meta->store_life;
    out->born_wall_ms = meta->born_wall_ms;
    out->born_ms = meta->born_ms;
    out->retry_at_ms = meta->retry_at_ms;
    out->life = meta->life;
    out->position = meta->position;
    out->store_position = meta->store_position;
    out->load_ms = meta->load_ms;
    out->cost_us = meta->cost_us / 1000 != meta->load_ms || meta->load_ms == 0 ? meta->cost_us : 0;
    out->codec = meta->codec;
    out->slide_ms = at_least_zero(meta->slide_ms);
    out->slide_step_ms = at_least_zero(meta->slide_step_ms);
    out->slide_max_ms = at_least_zero(meta->slide_max_ms);
}

void strata__envelope_to_meta(strata_meta *out, const struct envelope *envelope)
{
    memset(out, 0, sizeof *out);
    out->life = envelope->life;
    out->version = envelope->version;
    out->store_life = envelope_life(envelope->store_life);
    out->born_ms = envelope->born_ms;
    out->born_wall_ms = envelope->born_wall_ms;
    out->fresh_ms = envelope->fresh_ms;
    out->stale_ms = envelope->stale_ms;
    out->error_ms = envelope->error_ms;
    out->keep_ms = envelope->keep_ms;
    out->early_ms = envelope->early_ms;
    out->retry_at_ms = envelope->retry_at_ms;
    out->position = envelope->position;
    out->store_position = envelope->store_position;
    out->tag_count = envelope->tag_count;
    out->load_ms = envelope->load_ms;
    out->cost_us = envelope->cost_us != 0 ? envelope->cost_us : to_us(envelope->load_ms);
    out->codec = envelope->codec;
    out->slide_ms = envelope->slide_ms;
    out->slide_step_ms = envelope->slide_step_ms;
    out->slide_max_ms = envelope->slide_max_ms;
    out->negative = envelope->flags & ENVELOPE_NEGATIVE ? 1 : 0;
}
