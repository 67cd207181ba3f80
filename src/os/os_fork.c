/* os_fork.c - see os_fork.h. */
#include "src/os/os_fork.h"

#include <pthread.h>

#include "src/os/os_fault.h"

_Atomic(uint32_t) strata__os_forks;

static void in_child(void) { atomic_fetch_add_explicit(&strata__os_forks, 1, memory_order_relaxed); }

int strata__os_fork_watch(void)
{
    /* No lock: a fork while it is held would leave it held in the child for ever.  Two first callers at once register
     * twice, and each fork then counts for two, which is as good: all that matters is that the number differs. */
    static _Atomic(uint32_t) watching;
    if (atomic_load_explicit(&watching, memory_order_relaxed))
        return 0;
    int failed = strata__os_fault("pthread_atfork");
    if (failed == 0)
        failed = pthread_atfork(NULL, NULL, in_child);
    if (failed == 0)
        atomic_store_explicit(&watching, 1, memory_order_relaxed);
    return failed;
}
