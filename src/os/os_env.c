/* os_env.c - see os_env.h. */
#include "src/os/os_env.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/os/os_fault.h"

const char *strata__os_env(const char *name)
{
    if (strata__os_fault("getenv") != 0)
        return NULL;
#if defined(__GLIBC__)
    return secure_getenv(name);
#else
    return issetugid() ? NULL : getenv(name);
#endif
}

void strata__os_stderr(const char *text, size_t size)
{
    while (size != 0 && strata__os_fault("write") == 0) {
        ssize_t done = write(STDERR_FILENO, text, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return;
        text += done;
        size -= (size_t)done;
    }
}
