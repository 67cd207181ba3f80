/* reclaim.c - see reclaim.h.  The slow halves: joining, scanning, waiting for the last pin. */
#include "src/os/reclaim.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#if defined(__linux__)
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(__SANITIZE_THREAD__)
#define FENCED_ALWAYS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FENCED_ALWAYS 1
#endif
#endif
#ifndef FENCED_ALWAYS
#define FENCED_ALWAYS 0
#endif

_Thread_local struct reclaim_record *strata__reclaim_mine __attribute__((tls_model("initial-exec")));
_Thread_local struct reclaim_record *strata__reclaim_quick __attribute__((tls_model("initial-exec")));
_Thread_local struct reclaim_record *strata__reclaim_own __attribute__((tls_model("initial-exec")));
int strata__reclaim_fenced = 1; /* until membarrier is known to work; only ever goes to 0, before the first join */
_Atomic(uint32_t) strata__reclaim_waiting = RECLAIM_FENCED;

/* Guards the list of waiters, the cell map and joining.  Nothing is called under it but malloc. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct reclaim_record *) records; /* push-only */
static _Atomic(uint64_t) quiesces_begun;         /* the number of the latest */
static _Atomic(uint64_t) quiesces_over;          /* the highest number of one that succeeded */
static struct reclaim_waiter *waiters;
static uint32_t cells_taken;
static pthread_key_t exit_key;
static int exit_seen; /* 1: there was a key left for us; 0: a record is not passed on when its thread ends */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int barrier_call(int command)
{
#if defined(__linux__) && defined(SYS_membarrier)
    return (int)syscall(SYS_membarrier, command, 0, 0);
#else
    (void)command;
    return -1;
#endif
}

static int barrier_register(void)
{
#if defined(__linux__) && defined(SYS_membarrier)
    return barrier_call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
#else
    return -1;
#endif
}

/* Make every reader's stores up to now visible, and its later loads later. */
static void heavy_fence(void)
{
    atomic_thread_fence(memory_order_seq_cst);
#if defined(__linux__) && defined(SYS_membarrier)
    if (!strata__reclaim_fenced)
        barrier_call(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
#endif
}

static void forget_touches(struct reclaim_record *r)
{
    for (int i = 0; i < RECLAIM_TOUCH_OWNERS; i++)
        atomic_store(&r->touches[i].owner, NULL);
}

static void thread_exit(void *mine)
{
    struct reclaim_record *r = mine;
    strata__reclaim_mine = NULL;
    strata__reclaim_quick = strata__reclaim_own = NULL;
    forget_touches(r);
    os_watch_unmark(r->watched);
    atomic_store_explicit(&r->owned, 0, memory_order_release);
}

/* By its thread: of the clock. */
static void know_nothing(struct reclaim_record *r)
{
    os_bound_forget(&r->bound);
    os_watch_unmark(r->watched);
}

/* Before fork the lock is taken, so that the child finds its lists whole; other threads' records are nobody's then. */
static void fork_prepare(void) { pthread_mutex_lock(&lock); }
static void fork_parent(void) { pthread_mutex_unlock(&lock); }

static void fork_child(void)
{
    barrier_register();
    for (struct reclaim_record *r = atomic_load(&records); r != NULL; r = r->next) {
        if (r == strata__reclaim_mine) {
            know_nothing(r); /* how long it took to begin here is no break of its own */
            continue;
        }
        uint64_t s = atomic_load(&r->section);
        atomic_store(&r->section, s + (s & 1));
        forget_touches(r);
        atomic_store(&r->owned, 0);
    }
    pthread_mutex_unlock(&lock);
}

/* Its counters are another thread's from now on. */
static void cell_left(void) { strata__reclaim_own = NULL; }

static void init(void)
{
    strata__counter_when_left(cell_left);
    exit_seen = pthread_key_create(&exit_key, thread_exit) == 0;
    pthread_atfork(fork_prepare, fork_parent, fork_child);
    if (!FENCED_ALWAYS && barrier_register() == 0) {
        strata__reclaim_fenced = 0;
        atomic_fetch_sub(&strata__reclaim_waiting, RECLAIM_FENCED);
    }
}

/* The slots of a new block join the circle behind `last`; NULL: they are the first. */
static void link_pins(struct reclaim_block *b, struct reclaim_pin *last)
{
    struct reclaim_pin *first = last != NULL ? last->next : &b->pins[0];
    for (uint32_t i = 0; i < RECLAIM_PINS; i++)
        b->pins[i].handle[3] = RECLAIM_HANDLE, b->pins[i].next = i + 1 < RECLAIM_PINS ? &b->pins[i + 1] : first;
    if (last != NULL)
        last->next = &b->pins[0];
}

static struct reclaim_record *adopt(void)
{
    for (struct reclaim_record *r = atomic_load(&records); r != NULL; r = r->next) {
        uint32_t nobody = 0;
        if (atomic_compare_exchange_strong_explicit(&r->owned, &nobody, 1, memory_order_acquire, memory_order_relaxed))
            return r;
    }
    return NULL;
}

struct reclaim_record *strata__reclaim_join(void)
{
    pthread_once(&once, init);
    pthread_mutex_lock(&lock);
    struct reclaim_record *r = adopt();
    if (r == NULL) {
        /* Not from a cache's allocator: a record outlives every cache. */
        void *p = NULL;
        if (posix_memalign(&p, 64, sizeof *r) == 0) {
            r = p;
            memset(r, 0, sizeof *r);
            link_pins(&r->block, NULL);
            r->hint = r->after = &r->block.pins[0];
            atomic_init(&r->section, 2); /* not 0: that section would be timed, see hit_line.h */
            atomic_store(&r->owned, 1);
            r->next = atomic_load(&records);
            atomic_store_explicit(&records, r, memory_order_release);
        }
    }
    pthread_mutex_unlock(&lock);
    if (r != NULL) {
        r->watched = strata__os_watch_word(&r->watch);
        know_nothing(r);
        strata__reclaim_mine = r;
        strata__reclaim_quick = strata__reclaim_fenced ? NULL : r;
        uint32_t cell = counter_index();
        r->cell = cell * (uint32_t)sizeof(struct counter_cell);
        strata__reclaim_own = cell < COUNTER_OWNED ? strata__reclaim_quick : NULL;
        if (exit_seen)
            (void)pthread_setspecific(exit_key, r);
    }
    return r;
}

static struct reclaim_block *add_block(struct reclaim_record *r)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, sizeof(struct reclaim_block)) != 0)
        return NULL;
    struct reclaim_block *more = p, *last = &r->block, *next;
    memset(more, 0, sizeof *more);
    while ((next = atomic_load_explicit(&last->next, memory_order_acquire)) != NULL)
        last = next;
    link_pins(more, r->after);
    atomic_store_explicit(&last->next, more, memory_order_release);
    return more;
}

/* On from where the search before this one ended: a thread that takes very many passes by each of them once. */
struct reclaim_pin *strata__reclaim_more_pins(struct reclaim_record *r)
{
    struct reclaim_pin *p = r->after;
    while (atomic_load_explicit(&p->address, memory_order_acquire) != 0) {
        p = p->next;
        if (p != r->after)
            continue;
        struct reclaim_block *more = add_block(r);
        if (more == NULL)
            return NULL;
        p = &more->pins[0];
    }
    r->hint = p;
    r->after = p->next;
    return p;
}

static uint64_t section_of(struct reclaim_record *r) { return atomic_load_explicit(&r->section, memory_order_acquire); }

/* 1 when the record's thread has been outside since that was its section. */
static int has_left(struct reclaim_record *r, uint64_t first, int insist)
{
    if ((first & 1) == 0 || r == strata__reclaim_mine)
        return 1;
    /* A section lasts some ten nanoseconds, unless its thread was put to sleep inside. */
    for (int tries = 0; tries < 200 || insist; tries++) {
        if (section_of(r) != first)
            return 1;
        if (tries > 100)
            sched_yield();
    }
    return 0;
}

int strata__reclaim_quiesce(int insist)
{
    uint64_t mine = atomic_fetch_add(&quiesces_begun, 1) + 1;
    heavy_fence();
    for (struct reclaim_record *r = atomic_load_explicit(&records, memory_order_acquire); r != NULL; r = r->next)
        if (!has_left(r, section_of(r), insist))
            return 0;
    uint64_t over = atomic_load_explicit(&quiesces_over, memory_order_relaxed);
    while (over < mine && !atomic_compare_exchange_weak_explicit(&quiesces_over, &over, mine, memory_order_acq_rel,
                                                                 memory_order_relaxed))
        continue;
    return 1;
}

int strata__reclaim_walk(struct reclaim_walk *w)
{
    if (!w->begun) {
        heavy_fence();
        *w = (struct reclaim_walk){ .at = atomic_load_explicit(&records, memory_order_acquire), .begun = 1 };
    }
    for (; w->at != NULL; w->at = w->at->next, w->section = 0) {
        if (w->section == 0)
            w->section = section_of(w->at);
        if (!has_left(w->at, w->section, 0))
            return 0;
    }
    return 1;
}

/* Who unlinks fences before it looks, and a quiesce() after it counted itself: one that is not in the stamp finds every
 * reader that could still see what was unlinked. */
uint64_t strata__reclaim_stamp(void)
{
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load(&quiesces_begun);
}

int strata__reclaim_passed(uint64_t stamp)
{
    return atomic_load_explicit(&quiesces_over, memory_order_acquire) > stamp;
}

void strata__reclaim_each_pin(void (*each)(uintptr_t address, void *ctx), void *ctx)
{
    struct reclaim_record *r = atomic_load_explicit(&records, memory_order_acquire);
    for (; r != NULL; r = r->next)
        for (struct reclaim_block *b = &r->block; b != NULL; b = atomic_load_explicit(&b->next, memory_order_acquire))
            for (int i = 0; i < RECLAIM_PINS; i++) {
                uintptr_t a = atomic_load_explicit(&b->pins[i].address, memory_order_acquire);
                if (a != 0)
                    each(a, ctx);
            }
}

struct range {
    uintptr_t low, high;
    int found;
};

static void in_range(uintptr_t address, void *ctx)
{
    struct range *range = ctx;
    if (address >= range->low && address < range->high)
        range->found = 1;
}

static int is_pinned(const struct reclaim_waiter *w)
{
    struct range range = { w->low, w->high, 0 };
    strata__reclaim_each_pin(in_range, &range);
    return range.found;
}

/* Take the waiters that are free out of the list.  A dropper sees `waiting` or we see its pin gone: both fence. */
static struct reclaim_waiter *collect_free_locked(void)
{
    struct reclaim_waiter *out = NULL, **link = &waiters;
    while (*link != NULL) {
        struct reclaim_waiter *w = *link;
        if (is_pinned(w)) {
            link = &w->next;
            continue;
        }
        *link = w->next;
        w->next = out;
        out = w;
        atomic_fetch_sub(&strata__reclaim_waiting, 1);
    }
    return out;
}

static void finish(struct reclaim_waiter *list)
{
    while (list != NULL) {
        struct reclaim_waiter *w = list;
        list = w->next;
        w->done(w);
    }
}

void strata__reclaim_pin_dropped(void)
{
    if (strata__reclaim_fenced)
        atomic_thread_fence(memory_order_seq_cst);
    if ((atomic_load_explicit(&strata__reclaim_waiting, memory_order_relaxed) & ~RECLAIM_FENCED) == 0)
        return;
    pthread_mutex_lock(&lock);
    struct reclaim_waiter *list = collect_free_locked();
    pthread_mutex_unlock(&lock);
    finish(list);
}

void strata__reclaim_when_unpinned(struct reclaim_waiter *w)
{
    pthread_once(&once, init);
    pthread_mutex_lock(&lock);
    w->next = waiters;
    waiters = w;
    atomic_fetch_add(&strata__reclaim_waiting, 1);
    pthread_mutex_unlock(&lock);
    strata__reclaim_quiesce(1);
    strata__reclaim_pin_dropped();
}

int strata__reclaim_age_bounds(int64_t now_ms)
{
    struct reclaim_record *first = atomic_load_explicit(&records, memory_order_acquire);
    for (struct reclaim_record *r = first; r != NULL; r = r->next)
        os_bound_age(&r->bound, now_ms);
    return first != NULL;
}

int strata__reclaim_cell_new(void)
{
    int cell = -1;
    /* When a layer is made, not at its first read: to register with a kernel takes 10 ms and more once there are threads. */
    pthread_once(&once, init);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < RECLAIM_CELLS && cell < 0; i++)
        if ((cells_taken & (1u << i)) == 0)
            cell = i;
    if (cell >= 0)
        cells_taken |= 1u << cell;
    pthread_mutex_unlock(&lock);
    return cell;
}

void strata__reclaim_cell_free(int cell)
{
    if (cell < 0)
        return;
    pthread_mutex_lock(&lock);
    for (struct reclaim_record *r = atomic_load(&records); r != NULL; r = r->next)
        for (unsigned w = 0; w < RECLAIM_CELL_WORDS; w++)
            atomic_store_explicit(&r->cells[cell][w], 0, memory_order_relaxed);
    cells_taken &= ~(1u << cell);
    pthread_mutex_unlock(&lock);
}

uint64_t strata__reclaim_cell_sum(int cell, unsigned word)
{
    uint64_t sum = 0;
    struct reclaim_record *r = atomic_load_explicit(&records, memory_order_acquire);
    for (; r != NULL; r = r->next)
        sum += atomic_load_explicit(&r->cells[cell][word], memory_order_relaxed);
    return sum;
}

void strata__reclaim_forget_touches(const void *owner)
{
    struct reclaim_record *r = atomic_load_explicit(&records, memory_order_acquire);
    for (; r != NULL; r = r->next)
        for (int i = 0; i < RECLAIM_TOUCH_OWNERS; i++) {
            void *expected = (void *)(uintptr_t)owner;
            atomic_compare_exchange_strong(&r->touches[i].owner, &expected, NULL);
        }
}
