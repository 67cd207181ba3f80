/* os_fault.h - where tests make the system fail.
 *
 * Every wrapper in src/os asks strata__os_fault("name of the call") before it makes the call.  Unset, which is always in
 * production, that is one relaxed load and a branch that is never taken. */
#ifndef STRATA_OS_FAULT_H
#define STRATA_OS_FAULT_H
#include <stdatomic.h>
#include <stddef.h>

/* Called from any thread. */
struct os_fault_hook {
    /* 0 lets the call happen, otherwise the errno that it shall fail with. */
    int (*decide)(const char *call, void *ctx);
    void *ctx;
    /* NULL, or: of `size` bytes asked for, how many the call shall move at once.  0: the end of the file, a full disk. */
    size_t (*cut)(const char *call, size_t size, void *ctx);
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

/* How many of `size` bytes the call is to be made with. */
static inline size_t strata__os_fault_cut(const char *call, size_t size)
{
    const struct os_fault_hook *hook = atomic_load_explicit(&strata__os_fault_hook, memory_order_acquire);
    if (hook == NULL || hook->cut == NULL)
        return size;
    size_t cut = hook->cut(call, size, hook->ctx);
    return cut < size ? cut : size;
}

#endif /* STRATA_OS_FAULT_H */
