/* os_wake.c - the half of os_wake.h that every system shares; making the descriptors is in os_wake_eventfd.c or
 * os_wake_pipe.c.
 *
 * `raised` decides who writes.  Clear drains the descriptor before it lowers `raised`: the other way round a signal could
 * come in between, be drained, and leave `raised` up with a quiet descriptor, which nobody would ever write to again. */
#include "src/os/os_wake.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "src/os/os_clock.h"

void strata__os_wake_signal(struct os_wake *wake)
{
    /* Release: the work that was queued is visible to who sees it lowered again; acquire: after that one's drain. */
    if (atomic_exchange_explicit(&wake->raised, 1, memory_order_acq_rel) != 0)
        return;
    const uint64_t one = 1; /* an eventfd wants eight bytes; a pipe does not mind */
    while (write(wake->write_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    /* EAGAIN cannot matter: then it is readable already. */
}

void strata__os_wake_clear(struct os_wake *wake)
{
    char bytes[64];
    ssize_t got;
    do
        got = read(wake->read_fd, bytes, sizeof bytes);
    while (got == (ssize_t)sizeof bytes || (got < 0 && errno == EINTR));
    atomic_exchange_explicit(&wake->raised, 0, memory_order_acq_rel);
}

int strata__os_wake_wait(struct os_wake *wake, int64_t deadline_us)
{
    struct pollfd fd = { wake->read_fd, POLLIN, 0 };
    for (;;) {
        int timeout = -1;
        if (deadline_us != INT64_MAX) {
            int64_t left = deadline_us - strata__os_now_us();
            /* Rounded up, so as not to spin through the last millisecond. */
            int64_t left_ms = left > 0 ? left / 1000 + 1 : 0;
            timeout = left_ms < INT_MAX ? (int)left_ms : INT_MAX;
        }
        int ready = poll(&fd, 1, timeout);
        if (ready > 0)
            return 0;
        if (ready == 0 && timeout >= 0 && strata__os_now_us() >= deadline_us)
            return 1;
        /* EINTR, or poll's clock ran ahead: look at the time again. */
    }
}
