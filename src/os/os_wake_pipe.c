/* os_wake_pipe.c - os_wake.h with a pipe: wherever there is no eventfd. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "src/os/os_fault.h"
#include "src/os/os_wake.h"

static int prepare(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? errno : 0;
}

int strata__os_wake_init(struct os_wake *wake)
{
    int fds[2];
    int failed = strata__os_fault("pipe");
    if (failed != 0)
        return failed;
    if (pipe(fds) != 0)
        return errno;
    failed = prepare(fds[0]);
    if (failed == 0)
        failed = prepare(fds[1]);
    if (failed != 0) {
        (void)close(fds[0]);
        (void)close(fds[1]);
        return failed;
    }
    wake->read_fd = fds[0];
    wake->write_fd = fds[1];
    atomic_init(&wake->raised, 0);
    return 0;
}

void strata__os_wake_deinit(struct os_wake *wake)
{
    (void)close(wake->write_fd);
    (void)close(wake->read_fd);
}
