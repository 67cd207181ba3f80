/* os_wake_eventfd.c - os_wake.h with one eventfd: Linux. */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "src/os/os_fault.h"
#include "src/os/os_wake.h"

int strata__os_wake_init(struct os_wake *wake)
{
    int failed = strata__os_fault("eventfd");
    int fd = failed != 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return failed != 0 ? failed : errno;
    wake->read_fd = fd;
    wake->write_fd = fd;
    atomic_init(&wake->raised, 0);
    return 0;
}

void strata__os_wake_deinit(struct os_wake *wake) { (void)close(wake->read_fd); }
