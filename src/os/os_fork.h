/* os_fork.h - has this process been forked since?
 *
 * A number that every fork() raises in the child.  What was opened under another number belongs to an ancestor: its
 * threads do not exist here. */
#ifndef STRATA_OS_FORK_H
#define STRATA_OS_FORK_H
#include <stdatomic.h>
#include <stdint.h>

extern _Atomic(uint32_t) strata__os_forks __attribute__((visibility("hidden")));

/* Begin to count; more than once is fine.  Before the first thing that must notice a fork.  0 or an errno. */
int strata__os_fork_watch(void);

static inline uint32_t strata__os_fork_generation(void)
{
    /* Relaxed: it changes in the child's only thread, before anything else runs there. */
    return atomic_load_explicit(&strata__os_forks, memory_order_relaxed);
}

#endif /* STRATA_OS_FORK_H */
