/* dict_samples.c - see dict_samples.h.  While they come, a sample's data is its offset: the block that holds them moves. */
#include "cli/dict_samples.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli_error.h"

enum { FILE_MOST = 128 * 1024 };

#define WHERE "dict"

static int fail_memory(strata_error *err)
{
    return cli_fail(err, STRATA_ENOMEM, WHERE, "no memory for the samples: give fewer of them");
}

static int fail_read(const char *path, strata_error *err)
{
    return cli_fail(err, STRATA_EIO, WHERE, "%.180s: %s", path, strerror(errno));
}

/* Doubles the room of an array until `wanted` fit.  0: no memory. */
static int grow(void **array, size_t *room, size_t wanted, size_t each)
{
    size_t more = *room != 0 ? *room : 1024;
    void *moved;

    if (wanted <= *room)
        return 1;
    while (more < wanted)
        more *= 2;
    moved = realloc(*array, more * each);
    if (moved == NULL)
        return 0;
    *array = moved;
    *room = more;
    return 1;
}

/* The bytes stand behind what is used. */
static int keep(struct dict_samples *s, size_t size, uint64_t most, strata_error *err)
{
    void *list = s->list;

    if (size == 0)
        return STRATA_OK;
    if (s->used + size > most) {
        s->left_out++;
        return STRATA_OK;
    }
    if (!grow(&list, &s->room, s->count + 1, sizeof *s->list))
        return fail_memory(err);
    s->list = list;
    s->list[s->count].data = NULL;
    s->list[s->count++].size = size;
    s->used += size;
    return STRATA_OK;
}

static int reserve(struct dict_samples *s, size_t more)
{
    void *bytes = s->bytes;
    int grown = grow(&bytes, &s->bytes_room, s->used + more, 1);

    s->bytes = bytes;
    return grown;
}

static int read_file(struct dict_samples *s, const char *path, uint64_t most, strata_error *err)
{
    FILE *file = fopen(path, "rb");
    size_t got;
    int rc;

    if (file == NULL)
        return fail_read(path, err);
    if (!reserve(s, FILE_MOST)) {
        fclose(file);
        return fail_memory(err);
    }
    got = fread(s->bytes + s->used, 1, FILE_MOST, file);
    rc = ferror(file) ? fail_read(path, err) : keep(s, got, most, err);
    fclose(file);
    return rc;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static int is_shown(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static int read_directory(struct dict_samples *s, const char *path, uint64_t most, strata_error *err)
{
    struct dirent **entries;
    int count = scandir(path, &entries, is_shown, by_name);
    int i, rc = STRATA_OK;

    if (count < 0)
        return fail_read(path, err);
    for (i = 0; i < count; i++) {
        char name[4096];
        struct stat stat_of;
        int size = snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);

        if (rc == STRATA_OK && size > 0 && (size_t)size < sizeof name && stat(name, &stat_of) == 0 &&
            S_ISREG(stat_of.st_mode))
            rc = read_file(s, name, most, err);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static int read_lines(struct dict_samples *s, FILE *file, const char *path, uint64_t most, strata_error *err)
{
    char *line = NULL;
    size_t room = 0;
    int rc = STRATA_OK;

    while (rc == STRATA_OK) {
        ssize_t length = getline(&line, &room, file);

        if (length < 0) {
            if (!feof(file)) /* a line without end is no error of the file's */
                rc = errno == ENOMEM ? fail_memory(err) : fail_read(path, err);
            break;
        }
        while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
            length--;
        if (!reserve(s, (size_t)length)) {
            rc = fail_memory(err);
            break;
        }
        if (length > 0)
            memcpy(s->bytes + s->used, line, (size_t)length);
        rc = keep(s, (size_t)length, most, err);
    }
    free(line);
    return rc;
}

int dict_samples_read(struct dict_samples *s, const char *path, uint64_t most, strata_error *err)
{
    struct stat stat_of;
    size_t i, at = 0;
    int rc;

    if (strcmp(path, "-") == 0) {
        rc = read_lines(s, stdin, "standard input", most, err);
    } else if (stat(path, &stat_of) != 0) {
        rc = fail_read(path, err);
    } else if (S_ISDIR(stat_of.st_mode)) {
        rc = read_directory(s, path, most, err);
    } else {
        FILE *file = fopen(path, "rb");

        rc = file != NULL ? read_lines(s, file, path, most, err) : fail_read(path, err);
        if (file != NULL)
            fclose(file);
    }
    for (i = 0; rc == STRATA_OK && i < s->count; i++) {
        s->list[i].data = s->bytes + at;
        at += s->list[i].size;
    }
    return rc;
}

void dict_samples_free(struct dict_samples *s)
{
    free(s->list);
    free(s->bytes);
    memset(s, 0, sizeof *s);
}
