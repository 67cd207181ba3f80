/* no_breaks.h - for who is stopped after each instruction: the thread's mark stands all the same (os_watch.h). */
#ifndef STRATA_TESTS_NO_BREAKS_H
#define STRATA_TESTS_NO_BREAKS_H
#include "src/os/reclaim.h"

/* The calling thread is told of no break from now on. */
static inline void hide_breaks(void)
{
    static _Atomic(int64_t) word;
    struct reclaim_record *r = strata__reclaim_mine;
    if (r != NULL && r->watched != &r->watch.none)
        r->watched = &word;
}

#endif /* STRATA_TESTS_NO_BREAKS_H */
