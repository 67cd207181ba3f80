/* memory_watch.c - looking after the machine's memory, and taking less of it while it is short.
 *
 * Nobody waits for the kernel's word: what it counts is read when maintain() comes by, four times a second, and the difference
 * to the last time is as good as a poll trigger over that window, needs no thread and no right.  What to do is decided in
 * src/policy/pressure.c.  Doing it, in memory_shrink.c, takes as many calls as it takes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/format/kernel_text.h"
#include "src/layer/memory/memory_impl.h"
#include "src/layer/memory/memory_limit.h"
#include "src/os/os_memory.h"
#include "src/policy/pressure.h"
#include "strata/events.h"

static const char machine_file[] = "/proc/pressure/memory";

enum { PSI_ROOM = 512, FILE_ROOM = GROUP_ROOM + 32 };

struct memory_watch {
    struct pressure pressure; /* by who calls maintain() */
    struct memory_group group;
    int has_high; /* memory.high and memory.current of `group` are looked at, too */
    int failed;   /* the last look did */
    char file[FILE_ROOM];
    _Atomic(uint64_t) shrinks, grows, errors;
    _Atomic(int64_t) short_ms; /* the budget has been less than all of it since; INT64_MIN: it is all */
};

/* 0 or an errno. */
static int read_psi(const char *file, struct pressure_sample *s)
{
    char text[PSI_ROOM];
    size_t size = 0;
    int failed = strata__os_text_read(file, text, sizeof text, &size);
    if (failed != 0)
        return failed;
    return strata__kernel_psi(text, size, &s->some_us, &s->full_us) == 0 ? 0 : EBADMSG;
}

static int look(struct memory_watch *w, struct pressure_sample *s)
{
    s->high = UINT64_MAX;
    s->current = 0;
    if (w->has_high && (strata__memory_group_number(&w->group, "memory.high", &s->high) != 0 ||
                        strata__memory_group_number(&w->group, "memory.current", &s->current) != 0))
        s->high = UINT64_MAX; /* the group is gone, or moved: what PSI says still counts */
    return read_psi(w->file, s);
}

/* Of the group and those above it, the one whose memory.high is least; its own, where none has one. */
static void find_high(struct memory_watch *w)
{
    struct memory_group at = w->group;
    uint64_t least = UINT64_MAX, high;
    do
        if (strata__memory_group_number(&at, "memory.high", &high) == 0 && (high < least || !w->has_high)) {
            least = high;
            w->has_high = 1;
            w->group = at;
        }
    while (strata__memory_group_up(&at));
}

static int find_file(struct memory *m, struct memory_watch *w, struct pressure_sample *s)
{
    if (m->options.pressure_file != NULL) {
        snprintf(w->file, sizeof w->file, "%s", m->options.pressure_file);
        return read_psi(w->file, s);
    }
    if (w->group.version == 2) {
        snprintf(w->file, sizeof w->file, "%s/memory.pressure", w->group.dir);
        if (read_psi(w->file, s) == 0) {
            find_high(w);
            return 0;
        }
    }
    memcpy(w->file, machine_file, sizeof machine_file);
    return read_psi(w->file, s);
}

int strata__memory_watch_start(struct memory *m, strata_error *err)
{
    struct pressure_sample s;
    if (m->options.pressure != STRATA_ON)
        return STRATA_OK;
    struct memory_watch *w = strata__alloc_zero(m->mem, sizeof *w);
    if (w == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, m->base.name);
    atomic_init(&w->short_ms, INT64_MIN);
    strata__pressure_init(&w->pressure, (uint32_t)m->options.pressure_floor_percent * (PRESSURE_WHOLE / 100));
    int rc = m->options.pressure_file != NULL ? STRATA_OK : strata__memory_group(&w->group, m->mem);
    int code = rc == STRATA_OK ? find_file(m, w, &s) : 0;
    if (rc == STRATA_OK && code == 0) {
        m->watch = w;
        return STRATA_OK;
    }
    if (rc == STRATA_OK)
        rc = strata__fail_os(
            err, STRATA_EUNSUPPORTED, code, m->base.name,
            "pressure=on, but %.200s does not say how short memory is: a kernel from 4.20 on does, where it was "
            "not booted with psi=0; give pressure_file, or leave pressure off",
            w->file);
    else
        (void)strata__fail_plain(err, rc, m->base.name);
    strata__free(m->mem, w);
    return rc;
}

static void tell(struct memory *m, uint32_t kind, int status, const char *message)
{
    if (m->host->tell != NULL)
        m->host->tell(m->host, &m->base, kind, status, message);
}

static void tell_move(struct memory *m, const struct pressure *p, enum pressure_move move)
{
    char words[200];
    uint64_t bytes = strata__pressure_part(m->max_bytes, p->share);
    if (move == PRESSURE_GROW)
        snprintf(words, sizeof words,
                 "memory is not short: the budget grows to %" PRIu64 " bytes, %u.%u %% of max_bytes", bytes,
                 p->share / 10, p->share % 10);
    else
        snprintf(
            words, sizeof words,
            "memory is short (%s%u.%u %% of the time some wait for it, %u.%u %% all): the budget shrinks to %" PRIu64
            " bytes, %u.%u %% of max_bytes",
            p->over_high ? "memory.high is reached; " : "", p->some / 10, p->some % 10, p->full / 10, p->full % 10,
            bytes, p->share / 10, p->share % 10);
    tell(m, STRATA_EVENT_PRESSURE, STRATA_OK, words);
}

/* Said once, until it goes again. */
static void failed(struct memory *m, struct memory_watch *w, int code)
{
    char words[200 + FILE_ROOM];
    atomic_fetch_add_explicit(&w->errors, 1, memory_order_relaxed);
    if (w->failed)
        return;
    w->failed = 1;
    snprintf(words, sizeof words, "%.400s can't be read (%s): the budget stays as it is until it can", w->file,
             strerror(code));
    tell(m, STRATA_EVENT_ERROR, STRATA_EIO, words);
}

void strata__memory_watch(struct memory *m, int64_t now_ms)
{
    struct memory_watch *w = m->watch;
    struct pressure_sample s = { .now_ms = now_ms };
    int code = look(w, &s);
    if (code != 0) {
        failed(m, w, code);
    } else {
        w->failed = 0;
        enum pressure_move move = strata__pressure_tell(&w->pressure, &s);
        if (move != PRESSURE_HOLD) {
            atomic_fetch_add_explicit(move == PRESSURE_SHRINK ? &w->shrinks : &w->grows, 1, memory_order_relaxed);
            tell_move(m, &w->pressure, move);
            if (w->pressure.share == PRESSURE_WHOLE)
                atomic_store(&w->short_ms, INT64_MIN);
            else if (atomic_load(&w->short_ms) == INT64_MIN)
                atomic_store(&w->short_ms, now_ms);
        }
    }
    strata__memory_shrink(m, strata__pressure_part(m->max_bytes, w->pressure.share));
}

void strata__memory_health(strata_layer *layer, strata_part_health *out)
{
    struct memory *m = (struct memory *)(void *)layer;
    int64_t since = m->watch != NULL ? atomic_load(&m->watch->short_ms) : INT64_MIN;
    if (since == INT64_MIN)
        return;
    out->state = STRATA_HEALTH_LESS;
    out->since_ms = m->host->now_ms(m->host) - since;
    snprintf(out->words, sizeof out->words,
             "memory was short %" PRId64 " ms ago: it takes %" PRIu64 " of %" PRIu64 " bytes, and more once it is not",
             out->since_ms, out->budget_bytes, out->max_bytes);
}

void strata__memory_watch_stats(const struct memory *m, strata_layer_stats *out)
{
    struct memory_watch *w = m->watch;
    if (w == NULL)
        return;
    out->pressure_shrinks = atomic_load_explicit(&w->shrinks, memory_order_relaxed);
    out->pressure_grows = atomic_load_explicit(&w->grows, memory_order_relaxed);
    out->errors += atomic_load_explicit(&w->errors, memory_order_relaxed);
}
