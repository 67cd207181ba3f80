/* fault_nth.h - make the n-th call of one system call fail. */
#ifndef TESTS_SUPPORT_FAULT_NTH_H
#define TESTS_SUPPORT_FAULT_NTH_H
#include <stdatomic.h>
#include <string.h>

#include "src/os/os_fault.h"

struct fault_nth {
    struct os_fault_hook hook;
    const char *call;
    int nth; /* from 1; 0 never */
    int os_errno;
    _Atomic(int) seen;
};

static inline int fault_nth_decide(const char *call, void *ctx)
{
    struct fault_nth *fault = ctx;
    if (strcmp(call, fault->call) != 0)
        return 0;
    return atomic_fetch_add(&fault->seen, 1) + 1 == fault->nth ? fault->os_errno : 0;
}

/* In force until fault_nth_clear(); `fault` stays where it is. */
static inline void fault_nth_set(struct fault_nth *fault, const char *call, int nth, int os_errno)
{
    fault->hook.decide = fault_nth_decide;
    fault->hook.ctx = fault;
    fault->hook.cut = NULL;
    fault->call = call;
    fault->nth = nth;
    fault->os_errno = os_errno;
    atomic_init(&fault->seen, 0);
    strata__os_fault_set(&fault->hook);
}

static inline void fault_nth_clear(void) { strata__os_fault_set(NULL); }

#endif /* TESTS_SUPPORT_FAULT_NTH_H */
