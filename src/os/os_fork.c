/* os_fork.c - see os_fork.h. */
#include "src/os/os_fork.h"

#include <pthread.h>

#include "src/os/os_fault.h"

_Atomic(uint32_t) strata__os_forks;

static void in_child(void)
{
    atomic_fetch_add_explicit(&strata__os_forks, 1, memory_order_relaxed);
}

int strata__os_fork_watch(void)
{
    /* A handler cannot be taken back, so it is registered once; a failure is forgotten, and the next caller tries again. */
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static int watching;
    pthread_mutex_lock(&lock);
    int failed = 0;
    if (!watching) {
        failed = strata__os_fault("pthread_atfork");
        if (failed == 0)
            failed = pthread_atfork(NULL, NULL, in_child);
        watching = failed == 0;
    }
    pthread_mutex_unlock(&lock);
    return failed;
}
