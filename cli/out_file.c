/* out_file.c - see out_file.h. */
#include "cli/out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli_error.h"

/* One that is not there is made, and removed.  Where a link leads nowhere, what it names is made, and stays: to remove the link would
 * be worse. */
static int probe(const char *path, int there)
{
    int fd = there ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

    if (fd >= 0)
        unlink(path);
    else if (there || errno == EEXIST)
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

int out_file_check(const char *path, const char *where, strata_error *err)
{
    struct stat is;
    int there = stat(path, &is) == 0, failed;

    if (there && !S_ISREG(is.st_mode) &&
        !S_ISDIR(is.st_mode)) /* who reads a pipe would take opening it for all there is */
        failed = access(path, W_OK) == 0 ? 0 : errno;
    else
        failed = probe(path, there);
    return failed == 0 ? STRATA_OK
                       : cli_fail(err, STRATA_EIO, where, "%.180s cannot be written: %s", path, strerror(failed));
}

int out_file_same(const char *out, const char *in)
{
    struct stat one, other;
    int read = strcmp(in, "-") == 0 ? fstat(STDIN_FILENO, &other) : stat(in, &other);

    return read == 0 && stat(out, &one) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}
