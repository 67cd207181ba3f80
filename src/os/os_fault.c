/* os_fault.c - see os_fault.h. */
#include "src/os/os_fault.h"

_Atomic(const struct os_fault_hook *) strata__os_fault_hook;

void strata__os_fault_set(const struct os_fault_hook *hook)
{
    /* Release: whoever sees the hook sees its fields. */
    atomic_store_explicit(&strata__os_fault_hook, hook, memory_order_release);
}
