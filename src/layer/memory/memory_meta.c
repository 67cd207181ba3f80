/* memory_meta.c - strata_meta in and out of an entry.
 *
 * Most entries have a time to live and nothing else: their deadline and a class number (an index into the layer's short list
 * of distinct ttls) say it all, in the head.  Entries with windows carry a brief block of 48 bytes, and whatever does
 * not fit that (another cache's life, a version, months of window) the whole strata_meta. */
#include <string.h>

#include "src/layer/memory/memory_impl.h"
#include "src/layer/plain_put.h"
#include "src/policy/sliding.h"

/* Class of a ttl, 0 where the list is full. */
static uint16_t ttl_class(struct memory *m, int64_t fresh_ms)
{
    uint32_t n = atomic_load_explicit(&m->class_count, memory_order_acquire);
    for (uint32_t i = 1; i <= n; i++)
        if (atomic_load_explicit(&m->classes[i], memory_order_relaxed) == fresh_ms)
            return (uint16_t)i;
    while (n < TTL_CLASSES) {
        int64_t none = -1;
        if (atomic_compare_exchange_strong(&m->classes[n + 1], &none, fresh_ms)) {
            atomic_store_explicit(&m->class_count, n + 1, memory_order_release);
            return (uint16_t)(n + 1);
        }
        if (none == fresh_ms)
            return (uint16_t)(n + 1);
        n++;
    }
    return 0;
}

static int fits_brief(const strata_meta *meta)
{
    return meta->version == 0 && meta->store_position == 0 && meta->stale_ms >= 0 && meta->stale_ms < UINT32_MAX &&
           meta->error_ms >= 0 && meta->error_ms < UINT32_MAX && meta->keep_ms >= 0 && meta->keep_ms < UINT32_MAX &&
           meta->early_ms >= 0 && meta->early_ms < UINT32_MAX;
}

static int64_t plus(int64_t a, int64_t b)
{
    int64_t sum;
    if (b == STRATA_FOREVER || __builtin_add_overflow(a, b, &sum))
        return b < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

static uint8_t kind_of_windows(const strata_meta *meta, int same_life)
{
    if (meta->slide_ms > 0)
        return KIND_META | KIND_FULL;
    return same_life && fits_brief(meta) ? KIND_META : KIND_FULL;
}

uint8_t strata__meta_kind(struct memory *m, const strata_meta *meta, uint16_t *out_class)
{
    uint8_t kind = meta->negative ? KIND_NEGATIVE : 0;
    uint64_t life = 0;
    *out_class = 0;
    if (atomic_load_explicit(&m->life, memory_order_relaxed) == 0) {
        atomic_store(&m->wall_offset, meta->born_wall_ms - meta->born_ms);
        atomic_compare_exchange_strong(&m->life, &life, meta->life);
    }
    int same_life = meta->life == atomic_load_explicit(&m->life, memory_order_relaxed);
    if (!same_life || !meta_is_plain(meta))
        return kind | kind_of_windows(meta, same_life);
    if (meta->fresh_ms == STRATA_FOREVER)
        return kind | KIND_FOREVER;
    *out_class = strata__meta_class(m, meta->fresh_ms);
    return *out_class != 0 ? kind : kind | KIND_META;
}

uint16_t strata__meta_class(struct memory *m, int64_t fresh_ms)
{
    /* What is longer than max_ttl_ms was shortened in the middle of its life: no other entry has the same. */
    if (fresh_ms >= 0 && (m->base.max_ttl_ms == 0 || fresh_ms <= m->base.max_ttl_ms))
        return ttl_class(m, fresh_ms);
    return 0;
}

static int64_t gone_at(const strata_meta *meta)
{
    int64_t window = meta->stale_ms;
    if (meta->error_ms > window)
        window = meta->error_ms;
    if (meta->keep_ms > window)
        window = meta->keep_ms;
    return plus(plus(meta->born_ms, meta->fresh_ms), window);
}

void strata__meta_deadlines(const strata_meta *meta, uint8_t kind, int64_t *deadline, int64_t *out_gone_at)
{
    int64_t fresh_until = plus(meta->born_ms, meta->fresh_ms);
    *deadline = meta->early_ms > 0 && fresh_until != INT64_MAX ? plus(fresh_until, -meta->early_ms) : fresh_until;
    *out_gone_at = gone_at(meta);
    if (meta->slide_ms > 0) {
        int64_t due = strata__slide_due(meta, meta->born_ms);
        *deadline = due < *deadline ? due : *deadline; /* a hit past it is to be told, and extends it */
    }
    if (kind & KIND_FOREVER)
        *deadline = meta->born_ms;
}

void strata__meta_store(struct entry *e, const strata_meta *meta)
{
    if (e->kind & KIND_FULL) {
        memcpy(entry_meta(e), meta, meta_bytes(e->kind));
        return;
    }
    struct brief_meta brief = {
        .born_ms = meta->born_ms,
        .fresh_ms = meta->fresh_ms,
        .retry_at_ms = meta->retry_at_ms,
        .stale_ms = (uint32_t)meta->stale_ms,
        .error_ms = (uint32_t)meta->error_ms,
        .keep_ms = (uint32_t)meta->keep_ms,
        .early_ms = (uint32_t)meta->early_ms,
        .load_ms = meta->load_ms,
        .codec = meta->codec,
    };
    memcpy(entry_meta(e), &brief, sizeof brief);
}

void strata__meta_load(const struct memory *m, const struct entry *e, strata_meta *out)
{
    if (e->kind & KIND_FULL) {
        out->slide_ms = out->slide_step_ms = out->slide_max_ms = 0;
        out->cost_us = out->reserved = 0;
        memcpy(out, entry_meta(e), meta_bytes(e->kind));
        out->position = atomic_load_explicit(&((struct entry *)(uintptr_t)e)->position, memory_order_relaxed);
        return;
    }
    memset(out, 0, sizeof *out);
    out->tag_count = (e->kind & KIND_TAGGED) != 0 ? entry_tags(e)->count : 0;
    out->life = atomic_load_explicit(&((struct memory *)(uintptr_t)m)->life, memory_order_relaxed);
    out->position = atomic_load_explicit(&((struct entry *)(uintptr_t)e)->position, memory_order_relaxed);
    out->negative = (e->kind & KIND_NEGATIVE) != 0;
    if (e->kind & KIND_META) {
        struct brief_meta brief;
        memcpy(&brief, entry_meta(e), sizeof brief);
        out->born_ms = brief.born_ms;
        out->fresh_ms = brief.fresh_ms;
        out->retry_at_ms = brief.retry_at_ms;
        out->stale_ms = brief.stale_ms;
        out->error_ms = brief.error_ms;
        out->keep_ms = brief.keep_ms;
        out->early_ms = brief.early_ms;
        out->load_ms = brief.load_ms;
        out->codec = brief.codec;
    } else if (e->kind & KIND_FOREVER) {
        out->born_ms = e->deadline;
        out->fresh_ms = STRATA_FOREVER;
    } else {
        out->fresh_ms = atomic_load_explicit(&((struct memory *)(uintptr_t)m)->classes[e->extra >> TTL_CLASS_SHIFT],
                                             memory_order_relaxed);
        out->born_ms = e->deadline - out->fresh_ms;
    }
    out->born_wall_ms = out->born_ms +
                        atomic_load_explicit(&((struct memory *)(uintptr_t)m)->wall_offset, memory_order_relaxed);
}

int64_t strata__entry_gone_at(const struct memory *m, const struct entry *e)
{
    if (e->kind & KIND_FOREVER)
        return INT64_MAX;
    if ((e->kind & (KIND_META | KIND_FULL)) == 0)
        return e->deadline;
    strata_meta meta;
    strata__meta_load(m, e, &meta);
    return gone_at(&meta);
}
