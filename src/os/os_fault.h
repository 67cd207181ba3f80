/* os_fault.h - where tests make the system fail.
 *
 * Every wrapper in src/os asks strata__os_fault("name of the call") before it makes the call.  Unset, which is always in
 * production, that is one relaxed load and a branch that is never taken. */
#ifndef STRATA_OS_FAULT_H
#define STRATA_OS_FAULT_H
#include <stdatomic.h>
#include <stddef.h>

/* Answers 0 to let the call happen, or the errno that it shall fail with.  Called from any thread. */
struct os_fault_hook {
    int (*decide)(const char *call, void *ctx);
    void *ctx;
};

extern _Atomic(const struct os_fault_hook *) strata__os_fault_hook;

/* `hook` is borrowed until it is replaced; NULL takes it away.  For tests alone. */
void strata__os_fault_set(const struct os_fault_hook *hook);

/* The errno to fail with instead of making `call`, or 0. */
static inline int strata__os_fault(const char *call)
{
    /* Acquire: the hook's fields were written by the test's thread. */
    const struct os_fault_hook *hook = atomic_load_explicit(&strata__os_fault_hook, memory_order_acquire);
    return hook == NULL ? 0 : hook->decide(call, hook->ctx);
}

#endif /* STRATA_OS_FAULT_H */
