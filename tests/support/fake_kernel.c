/* fake_kernel.c - see fake_kernel.h. */
#include "tests/support/fake_kernel.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/os/os_memory.h"
#include "tests/support/temp_dir.h"

void fake_kernel_make(struct fake_kernel *k)
{
    temp_dir_make(k->root, sizeof k->root);
    strata__os_text_root_set(k->root);
}

static void full_path(const struct fake_kernel *k, const char *path, char out[1024])
{
    if ((size_t)snprintf(out, 1024, "%s%s", k->root, path) >= 1024)
        abort();
}

void fake_kernel_says(const struct fake_kernel *k, const char *path, const char *text)
{
    char whole[1024];
    full_path(k, path, whole);
    for (char *at = whole + strlen(k->root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(whole, 0700);
        *at = '/';
    }
    FILE *f = fopen(whole, "w");
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0)
        abort();
}

void fake_kernel_forgets(const struct fake_kernel *k, const char *path)
{
    char whole[1024];
    full_path(k, path, whole);
    if (unlink(whole) != 0)
        abort();
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

void fake_kernel_remove(struct fake_kernel *k)
{
    strata__os_text_root_set(NULL);
    if (nftw(k->root, remove_one, 8, FTW_DEPTH | FTW_PHYS) != 0)
        abort();
}
