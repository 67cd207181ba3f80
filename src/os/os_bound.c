/* os_bound.c - see os_bound.h: where it is worth it, and the one way to set a pair. */
#include "src/os/os_bound.h"

#include "src/os/os_clock.h"

/* glibc binds time() to the kernel's page on this processor, a call of nine instructions; elsewhere it may be the whole clock. */
#if defined(__linux__) && defined(__x86_64__) && defined(__GLIBC__)
#include <sys/auxv.h>

int strata__os_bound_usable(void)
{
    /* Where that page is hidden (tools that run programs for themselves, some sandboxes) it is a system call. */
    return getauxval(AT_SYSINFO_EHDR) != 0;
}
#else
int strata__os_bound_usable(void) { return 0; }
#endif

int64_t strata__os_bound_renew(struct os_bound *b)
{
    int64_t second = os_bound_second(), now = strata__os_now_ms();
    os_bound_set(b, second, now);
    return now;
}
