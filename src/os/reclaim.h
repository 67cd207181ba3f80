/* reclaim.h - safe memory reclamation for readers that take no lock.
 *
 * Each thread has one record.  A reader brackets its search with enter and leave (two plain stores to its own line),
 * and protects what it found by writing its address into one of its pin slots before it leaves.  A writer that
 * unlinked something may free it once (1) every record that was inside a section when it looked has left it, and (2)
 * no pin slot holds the address.  The readers' stores need no fence: the writer makes them visible with
 * membarrier(2) (asymmetric fences, as liburcu's "membarrier" flavour); where that is missing, and under the thread
 * sanitizer, readers pay for a full fence.
 *
 * The idea is Michael's hazard pointers (2004) plus a section that also protects tables.  Records and their pin blocks
 * are process-wide and type-stable: never freed, only passed on to another thread, so that a pin may be given back by
 * any thread, and after its owner is gone. */
#ifndef STRATA_OS_RECLAIM_H
#define STRATA_OS_RECLAIM_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/compare.h"
#include "src/base/counter.h"
#include "src/os/os_bound.h"
#include "src/os/os_watch.h"

enum {
    RECLAIM_PINS = 32,       /* pin slots in one block; more blocks are chained when a thread holds more */
    RECLAIM_CELLS = 32,      /* counter cells of a record: one for each counted object that could get one */
    RECLAIM_CELL_WORDS = 8,  /* 64-bit counters in a cell: one cache line */
    RECLAIM_TOUCHES = 64,    /* hits a thread remembers for policies that order by use */
    RECLAIM_TOUCH_OWNERS = 4 /* for so many layers at once */
};

/* The third word of a handle is 0 while its slot is free, and the fourth says what it is and that it has one holder (value_impl.h): as
 * in one that is handed out, so that a hit need not write them. */
#define RECLAIM_ALONE ((UINT32_C(1) << 31) | 1)
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define RECLAIM_HANDLE ((uint64_t)RECLAIM_ALONE << 32 | 1)
#else
#define RECLAIM_HANDLE (UINT64_C(1) << 32 | RECLAIM_ALONE)
#endif

/* A pin: the handle that the reader's user holds, and the address it protects.  One cache line. */
struct reclaim_pin {
    _Alignas(64) uint64_t handle[6]; /* the user's: a struct strata_value */
    _Atomic(uintptr_t) address;      /* 0: the slot is free */
    struct reclaim_pin *next;        /* all slots of a record are a circle; its thread's */
};

struct reclaim_block {
    struct reclaim_pin pins[RECLAIM_PINS];
    _Atomic(struct reclaim_block *) next;
};

/* Hits on one layer. */
struct reclaim_touches {
    _Atomic(void *) owner; /* whose they are; NULL: free.  Others may only set it to NULL */
    uint32_t count;
    uint64_t hashes[RECLAIM_TOUCHES];
};

/* What one thread writes while it reads.  The first line is touched by every hit. */
struct reclaim_record {
    _Alignas(64) _Atomic(uint64_t) section; /* odd while inside */
    struct reclaim_pin *hint;               /* the pin slot to try first; set while `owned` */
    struct os_bound bound;                  /* what its thread knows of the clock, */
    _Atomic(int64_t) *watched; /* and where it sees whether it ran without a break since; set while `owned` */
    uint32_t cell;             /* where its thread counts in an array of counter_cell, in bytes */
    _Atomic(uint32_t) owned;   /* 1: a living thread has it */
    struct reclaim_pin *after; /* where to look on when the hint is taken */
    struct os_watch watch;
    struct reclaim_record *next; /* list of all; set once */
    uint32_t touch_turn;         /* whose touches are given up next */
    struct reclaim_touches touches[RECLAIM_TOUCH_OWNERS];
    _Alignas(64) _Atomic(uint64_t) cells[RECLAIM_CELLS][RECLAIM_CELL_WORDS];
    struct reclaim_block block;
};

extern _Thread_local struct reclaim_record *strata__reclaim_mine __attribute__((tls_model("initial-exec")));
/* The same record where readers need no fence of their own, else NULL: one test instead of two on the shortest path. */
extern _Thread_local struct reclaim_record *strata__reclaim_quick __attribute__((tls_model("initial-exec")));
/* The same record where its thread has a cell in counters of its own, too (counter.h): for `cell`. */
extern _Thread_local struct reclaim_record *strata__reclaim_own __attribute__((tls_model("initial-exec")));
extern int strata__reclaim_fenced
    __attribute__((visibility("hidden"))); /* 1: readers must fence themselves; set at first use */
/* Owners that wait for their last pin, and RECLAIM_FENCED with them while readers must fence: who gives a pin back asks once. */
extern _Atomic(uint32_t) strata__reclaim_waiting __attribute__((visibility("hidden")));
#define RECLAIM_FENCED (UINT32_C(1) << 31)

/* This thread's record, made or adopted on first use.  NULL: out of memory. */
struct reclaim_record *strata__reclaim_join(void);
/* A free pin slot where the hint was taken; NULL: out of memory. */
struct reclaim_pin *strata__reclaim_more_pins(struct reclaim_record *record);
/* The slow half of giving back a pin, while some owner waits or a fence is needed. */
void strata__reclaim_pin_dropped(void);

static inline struct reclaim_record *reclaim_self(void)
{
    struct reclaim_record *r = strata__reclaim_mine;
    return __builtin_expect(r != NULL, 1) ? r : strata__reclaim_join();
}

/* In and out of a section, where readers need no fence of their own. */
static inline void reclaim_step(struct reclaim_record *r) { counter_step(&r->section); }

static inline void reclaim_enter(struct reclaim_record *r)
{
    uint64_t s = atomic_load_explicit(&r->section, memory_order_relaxed);
    /* An exchange where fences are needed anyway: the thread sanitizer does not understand bare fences.  The fence all the
     * same: elsewhere than on x86 an exchange lets later loads pass its store. */
    if (__builtin_expect(strata__reclaim_fenced, 0)) {
        atomic_exchange_explicit(&r->section, s + 1, memory_order_seq_cst);
        atomic_thread_fence(memory_order_seq_cst);
    } else {
        atomic_store_explicit(&r->section, s + 1, memory_order_relaxed);
    }
    atomic_signal_fence(memory_order_seq_cst);
}

/* Release: whoever sees the section closed also sees the pin, and our last reads are over. */
static inline void reclaim_leave(struct reclaim_record *r)
{
    uint64_t s = atomic_load_explicit(&r->section, memory_order_relaxed);
    atomic_store_explicit(&r->section, s + 1, memory_order_release);
}

/* Inside a section.  The caller fills handle and address.  NULL: out of memory. */
static inline struct reclaim_pin *reclaim_slot(struct reclaim_record *r)
{
    struct reclaim_pin *p = r->hint;
    if (__builtin_expect(atomic_load_explicit(&p->address, memory_order_acquire) == 0, 1))
        return p;
    return strata__reclaim_more_pins(r);
}

static inline void reclaim_protect(struct reclaim_pin *p, const void *address)
{
    atomic_store_explicit(&p->address, (uintptr_t)address, memory_order_release);
}

/* Give a pin back; from any thread. */
static inline void reclaim_drop(struct reclaim_pin *p)
{
    atomic_store_explicit(&p->address, 0, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    if (__builtin_expect(!word32_is(&strata__reclaim_waiting, 0), 0))
        strata__reclaim_pin_dropped();
}

/* This thread's touches for `owner`; of NULL, free ones.  NULL: there are none. */
static inline struct reclaim_touches *reclaim_touches_of(struct reclaim_record *r, const void *owner)
{
    for (int i = 0; i < RECLAIM_TOUCH_OWNERS; i++)
        if (atomic_load_explicit(&r->touches[i].owner, memory_order_relaxed) == owner)
            return &r->touches[i];
    return NULL;
}

/* Writers ---------------------------------------------------------------------------------------------------- */

/* After the caller unlinked things: wait a moment until no reader can still be looking at them without a pin.
 * 1: none can; 0: some thread is inside a section for longer: try again later.  With `insist`, yields until 1. */
int strata__reclaim_quiesce(int insist);
/* The same in as many calls as it takes: each takes up where the one before it was, so that threads which are inside again and again
 * hold it up once at most.  Zeros at first. */
struct reclaim_walk {
    struct reclaim_record *at;
    uint64_t section; /* of that record, when it was found inside; 0: not looked at */
    int begun;
};
/* 1: no thread is in a section any more that it was in when the walk began; 0: ask again. */
int strata__reclaim_walk(struct reclaim_walk *walk);
/* One quiesce() serves everybody who unlinked something before it began: take a stamp after unlinking; once it has
 * passed, some quiesce() that began later has succeeded. */
uint64_t strata__reclaim_stamp(void);
int strata__reclaim_passed(uint64_t stamp);
/* Call each(address, ctx) for every address that is pinned now.  After a quiesce(). */
void strata__reclaim_each_pin(void (*each)(uintptr_t address, void *ctx), void *ctx);

/* When nothing in [low, high) is pinned any more, call done(ctx): at once, or when the last pin is given back. */
struct reclaim_waiter {
    uintptr_t low, high;
    void (*done)(struct reclaim_waiter *waiter);
    struct reclaim_waiter *next;
};
void strata__reclaim_when_unpinned(struct reclaim_waiter *waiter);

/* The exact moment; and this thread knows a bound again, which holds as long as it runs without a break. */
static inline int64_t reclaim_renew_bound(struct reclaim_record *r)
{
    os_watch_mark(r->watched, &r->watch); /* before the clock is read */
    return strata__os_bound_renew(&r->bound);
}

/* Does what this thread knows, which was read before, still hold?  After a break it does while the second is the same, and is marked anew. */
static inline int reclaim_bound_holds(struct reclaim_record *r)
{
    if (os_watch_unbroken(r->watched, &r->watch))
        return 1;
    os_watch_mark(r->watched, &r->watch);
    if (os_bound_is_of(&r->bound, os_bound_second()))
        return 1;
    os_bound_forget(&r->bound); /* it must not be taken for one of this mark */
    return 0;
}

/* Forget what threads know of the clock that is old.  1: there are threads that may come to know some. */
int strata__reclaim_age_bounds(int64_t now_ms);

/* A counter cell for an object; -1: all are taken (count in a shared cell of your own then). */
int strata__reclaim_cell_new(void);
void strata__reclaim_cell_free(int cell);
/* The sum over all threads of one word. */
uint64_t strata__reclaim_cell_sum(int cell, unsigned word);
/* Forget remembered hits of an owner that closes. */
void strata__reclaim_forget_touches(const void *owner);

#endif /* STRATA_OS_RECLAIM_H */
