/* os_watch.c - see os_watch.h: which word is a thread's, and whether it is one that the kernel clears. */
#include "src/os/os_watch.h"

#include <assert.h>
#include <pthread.h>
#include <stddef.h>
#include <time.h>

#include "src/os/os_fault.h"

#if defined(__linux__) && defined(__x86_64__) && defined(__LP64__) && defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 35)
#define HAS_RSEQ 1
#endif
#endif

#ifdef HAS_RSEQ
#include <sys/rseq.h>

static_assert(offsetof(struct os_watch, start) == offsetof(struct rseq_cs, start_ip) &&
                  offsetof(struct os_watch, length) == offsetof(struct rseq_cs, post_commit_offset) &&
                  offsetof(struct os_watch, abort) == offsetof(struct rseq_cs, abort_ip) &&
                  offsetof(struct os_watch, code) == offsetof(struct os_watch, signature) + 4 &&
                  offsetof(struct os_watch, signature) >= sizeof(struct rseq_cs),
              "the kernel reads it");

/* The thread's area, which is at a fixed distance of where its local variables are.  NULL: glibc could not register it. */
static struct rseq *area(void)
{
    char *self;
    __asm__("movq %%fs:0, %0" : "=r"(self));
    struct rseq *r = (struct rseq *)(void *)(self + __rseq_offset);
    return (int32_t)__atomic_load_n(&r->cpu_id, __ATOMIC_RELAXED) >= 0 ? r : NULL;
}

static _Atomic(int64_t) *word_of(struct rseq *r) { return (_Atomic(int64_t) *)(void *)&r->rseq_cs; }

static _Atomic(int64_t) *set_up(struct os_watch *w, struct rseq *r)
{
    w->version = w->flags = 0;
    w->signature = RSEQ_SIG;
    w->abort = (uintptr_t)w->code;
    w->start = (uintptr_t)w->code + 8;
    w->length = 4;
    os_watch_unmark(word_of(r));
    return word_of(r);
}

/* Is it as it is described, that a sleep ends a mark?  The calling thread's, which is left with none. */
static int sleep_ends_it(struct rseq *r)
{
    static struct os_watch trial; /* never freed */
    enum { TRIES = 5, SLEEP_NS = 100000 };
    _Atomic(int64_t) *word = set_up(&trial, r);
    int stood = 0;
    for (int i = 0; i < TRIES && !stood; i++) {
        os_watch_mark(word, &trial);
        nanosleep(&(struct timespec){ .tv_nsec = SLEEP_NS }, NULL);
        stood = os_watch_unbroken(word, &trial);
    }
    os_watch_unmark(word);
    return !stood;
}

static int works;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* An area of more than 32 bytes is one whose word is left alone: linux/rseq.h. */
static void find_out(void)
{
    struct rseq *r = __rseq_size != 0 && __rseq_size <= 32 ? area() : NULL;
    works = r != NULL && sleep_ends_it(r);
}

int strata__os_watch_works(void)
{
    pthread_once(&once, find_out);
    return works && strata__os_fault("rseq") == 0;
}

#else

int strata__os_watch_works(void) { return 0; }

#endif

_Atomic(int64_t) *strata__os_watch_word(struct os_watch *w)
{
    atomic_store_explicit(&w->none, 0, memory_order_relaxed);
#ifdef HAS_RSEQ
    struct rseq *r = strata__os_watch_works() ? area() : NULL;
    if (r != NULL)
        return set_up(w, r);
#endif
    return &w->none;
}
