/* replay.c - runs a fuzz target over files, without a fuzzer: seeds and past crashes stay tested under every compiler.
 *
 * Arguments are files or folders (one level).  A target that crashes takes the process with it, which is the failure;
 * a folder that is missing or empty is one too, because it would test nothing. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 1: was run; 0: is no readable file. */
static int replay_file(const char *path)
{
    static uint8_t room[1u << 20];
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return 0;
    size_t size = fread(room, 1, sizeof room, file);
    int bad = ferror(file);
    fclose(file);
    if (bad)
        return 0;
    /* An exact copy on the heap, so that a sanitizer sees a read past the end. */
    uint8_t *copy = malloc(size != 0 ? size : 1);
    if (copy == NULL)
        return 0;
    for (size_t i = 0; i < size; i++)
        copy[i] = room[i];
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return 1;
}

static size_t replay(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        return (size_t)replay_file(path);
    size_t count = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char name[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        count += (size_t)replay_file(name);
    }
    closedir(folder);
    return count;
}

int main(int argc, char **argv)
{
    int empty = argc < 2;
    for (int i = 1; i < argc; i++) {
        size_t count = replay(argv[i]);
        printf("%s: %zu inputs\n", argv[i], count);
        empty |= count == 0;
    }
    if (empty)
        fprintf(stderr, "nothing to replay: give files or folders with inputs\n");
    return empty;
}
