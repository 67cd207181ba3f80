/* snapshot_half.c - another thread's part of an import: the second half of each block's entries, by the short way.
 *
 * It is offered to a worker.  Where none has begun it when the caller is done with the first half, the caller takes it back, so that an
 * import never waits for a free worker; one that has begun calls no user, and is soon done.  What needs a flight, and what is damaged,
 * it leaves to the caller. */
#include "src/core/snapshot_import_impl.h"

/* Fewer entries are not worth waking anybody. */
enum { LEAST = 512, LEFT_FIRST = 64 };

enum half_state { HALF_IDLE, HALF_OFFERED, HALF_TAKEN, HALF_DONE };

struct import_half {
    struct task task;
    _Atomic(uint32_t) refs; /* the import's, and one for each time that it is posted */
    _Atomic(int) state;     /* enum half_state */
    _Atomic(int) posted;    /* a worker will come */
    const strata_allocator *mem;
    struct executor *ex;
    struct parker parker; /* the caller's, while it waits */
    struct import part;   /* what take_entry() and those below it need of one */
    const uint8_t *at;    /* the next entry, */
    uint32_t count;       /* and how many there are from there on */
    const uint8_t **left; /* entries that need a flight */
    size_t left_count, left_room;
};

static struct import_half *half_of(struct import *part)
{
    return (struct import_half *)(void *)((char *)part - offsetof(struct import_half, part));
}

static void half_unref(struct import_half *h)
{
    if (atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) != 1)
        return;
    strata__free(h->mem, (void *)(uintptr_t)h->left);
    strata__free(h->mem, h);
}

/* Acquire and release: who changes the state has seen what was written before, and shows what it wrote. */
static int half_moves(struct import_half *h, int from, int to)
{
    return atomic_compare_exchange_strong(&h->state, &from, to);
}

static void run_half(struct task *task)
{
    struct import_half *h = (struct import_half *)(void *)((char *)task - offsetof(struct import_half, task));
    atomic_store(&h->posted, 0); /* from here on another may come */
    if (half_moves(h, HALF_OFFERED, HALF_TAKEN)) {
        h->count -= strata__import_run(&h->part, &h->at, h->count);
        struct executor *ex = h->ex;
        atomic_store(&h->state, HALF_DONE);
        ex_unpark(ex, &h->parker);
    }
    half_unref(h);
}

void strata__half_new(struct import *m)
{
    const strata_snapshot_options *o = &m->call.options;
    const strata_allocator *mem = m->call.root->mem;
    if (o->max_entries != 0 || o->max_bytes != 0 || o->open_namespaces == STRATA_ON ||
        !strata__import_may_be_quick(m->call.cache))
        return;
    struct import_half *h = strata__alloc_zero(mem, sizeof *h);
    if (h == NULL)
        return;
    atomic_init(&h->refs, 1);
    h->task.run = run_half;
    h->mem = mem;
    h->ex = m->call.root->ex;
    m->half = h;
}

void strata__half_free(struct import *m)
{
    if (m->half != NULL)
        half_unref(m->half);
    m->half = NULL;
}

int strata__half_leave(struct import *part, const uint8_t *at)
{
    struct import_half *h = half_of(part);
    if (h->left_count == h->left_room) {
        size_t room = h->left_room != 0 ? h->left_room * 2 : LEFT_FIRST;
        const uint8_t **more = strata__realloc_array(h->mem, (void *)(uintptr_t)h->left, room, sizeof *more);
        if (more == NULL)
            return 0;
        h->left = more;
        h->left_room = room;
    }
    h->left[h->left_count++] = at;
    return 1;
}

static void post(struct import_half *h)
{
    if (atomic_exchange(&h->posted, 1) != 0)
        return;
    atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
    if (ex_post(h->ex, &h->task) == STRATA_OK)
        return;
    atomic_store(&h->posted, 0);
    half_unref(h);
}

uint32_t strata__half_offer(struct import *m, const uint8_t *at, uint32_t count)
{
    struct import_half *h = m->half;
    const uint32_t own = count - count / 2;
    if (h == NULL || count < LEAST)
        return count;
    for (uint32_t i = 0; i < own; i++)
        if (strata__stream_entry_skip(&at, m->block_end) != FORMAT_OK)
            return count;
    h->part.call = m->call;
    h->part.call.report = (strata_snapshot_report)STRATA_SNAPSHOT_REPORT_INIT;
    h->part.call.err = NULL;
    h->part.rc = STRATA_OK;
    h->part.is_half = 1;
    h->part.block_end = m->block_end;
    h->at = at;
    h->count = count - own;
    h->left_count = 0;
    atomic_store(&h->state, HALF_OFFERED);
    post(h);
    return own;
}

static void add_report(strata_snapshot_report *to, const strata_snapshot_report *part)
{
    to->entries += part->entries;
    to->bytes += part->bytes;
    to->expired += part->expired;
    to->banned += part->banned;
    to->kept += part->kept;
    to->not_open += part->not_open;
    to->outside += part->outside;
    to->refused += part->refused;
    to->failed += part->failed;
}

void strata__half_finish(struct import *m, const uint8_t **at)
{
    struct import_half *h = m->half;
    if (!half_moves(h, HALF_OFFERED, HALF_IDLE)) {
        while (atomic_load(&h->state) != HALF_DONE)
            (void)ex_park(h->ex, &h->parker, INT64_MAX);
        atomic_store(&h->state, HALF_IDLE);
        add_report(&m->call.report, &h->part.call.report);
        if (h->part.rc != STRATA_OK && m->rc == STRATA_OK)
            strata__import_no_memory(m);
        for (size_t i = 0; i < h->left_count; i++) {
            const uint8_t *one = h->left[i];
            (void)strata__import_run(m, &one, 1);
        }
    }
    *at = h->at;
    (void)strata__import_run(m, at, h->count);
}
