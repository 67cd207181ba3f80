/* temp_dir.c - see temp_dir.h. */
#include "tests/support/temp_dir.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 512, NAMES_MOST = 8192 };

static void die(const char *what, const char *path)
{
    fprintf(stderr, "%s: ", path);
    perror(what);
    abort();
}

void temp_dir_make(char *out, size_t size)
{
    const char *base = getenv("TMPDIR");
    snprintf(out, size, "%s/strata-test-XXXXXX", base != NULL && base[0] != '\0' ? base : "/tmp");
    if (mkdtemp(out) == NULL)
        die("mkdtemp", out);
}

size_t temp_dir_list(const char *path, char names[][64], size_t most)
{
    DIR *dir = opendir(path);
    size_t n = 0;
    const struct dirent *e;
    if (dir == NULL)
        die("opendir", path);
    while ((e = readdir(dir)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && n < most)
            snprintf(names[n++], 64, "%.63s", e->d_name);
    closedir(dir);
    return n;
}

/* Calls each(path of the file, its name, ctx). */
static void each_file(const char *path, void (*each)(const char *file, const char *name, void *ctx), void *ctx)
{
    char(*names)[64] = calloc(NAMES_MOST, sizeof *names);
    char file[PATH_ROOM];
    if (names == NULL)
        abort();
    size_t n = temp_dir_list(path, names, NAMES_MOST);
    for (size_t i = 0; i < n; i++) {
        snprintf(file, sizeof file, "%s/%s", path, names[i]);
        each(file, names[i], ctx);
    }
    free(names);
}

static void remove_file(const char *file, const char *name, void *ctx)
{
    (void)name;
    (void)ctx;
    if (unlink(file) != 0)
        die("unlink", file);
}

void temp_dir_remove(const char *path)
{
    each_file(path, remove_file, NULL);
    if (rmdir(path) != 0)
        die("rmdir", path);
}

static void add_size(const char *file, const char *name, void *ctx)
{
    struct stat s;
    (void)name;
    if (lstat(file, &s) == 0)
        *(unsigned long long *)ctx += (unsigned long long)s.st_size;
}

unsigned long long temp_dir_bytes(const char *path)
{
    unsigned long long bytes = 0;
    each_file(path, add_size, &bytes);
    return bytes;
}

static void copy_file(const char *file, const char *name, void *ctx)
{
    char to[PATH_ROOM], bytes[65536];
    size_t got;
    snprintf(to, sizeof to, "%s/%s", (const char *)ctx, name);
    FILE *in = fopen(file, "rb"), *out = fopen(to, "wb");
    if (in == NULL || out == NULL)
        die("copy", file);
    while ((got = fread(bytes, 1, sizeof bytes, in)) != 0)
        if (fwrite(bytes, 1, got, out) != got)
            die("fwrite", to);
    fclose(in);
    fclose(out);
}

void temp_dir_copy(const char *from, const char *to) { each_file(from, copy_file, (void *)(size_t)to); }
