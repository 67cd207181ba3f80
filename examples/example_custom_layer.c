/* example_custom_layer.c - a layer of your own: files in a folder, through the blocking adapter.
 *
 * A store is four functions.  Each file holds the meta that strata gave, then the value; strata decides by the meta
 * whether it is fresh, so that the store need not think about time.  (A file's name is the key in hexadecimal.) */
#define _DEFAULT_SOURCE /* mkdtemp() and the like, also with -std=c11 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <strata/strata.h>
#include <string.h>
#include <unistd.h>

struct folder {
    char path[64];
};

static int file_path(const struct folder *folder, strata_slice key, char out[256])
{
    int n = snprintf(out, 256, "%s/", folder->path);
    for (size_t i = 0; i < key.size && n < 250; i++)
        n += snprintf(out + n, 256 - (size_t)n, "%02x", ((const unsigned char *)key.data)[i]);
    return n < 250; /* a longer key is not stored here: that is a miss, and no error */
}

static int folder_get(void *ctx, strata_slice key, strata_op *op)
{
    char path[256];
    strata_meta meta;
    FILE *file = file_path(ctx, key, path) ? fopen(path, "rb") : NULL;
    if (file == NULL)
        return STRATA_MISS;
    long length = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    size_t size = length >= (long)sizeof meta ? (size_t)length - sizeof meta : 0;
    char *data = malloc(size + 1);
    rewind(file);
    int whole = data != NULL && fread(&meta, sizeof meta, 1, file) == 1 && fread(data, 1, size, file) == size;
    int status = whole ? strata_op_found(op, data, size, &meta) : STRATA_EIO;
    free(data);
    fclose(file);
    return status;
}

static int folder_put(void *ctx, strata_slice key, strata_slice data, const strata_meta *meta, int64_t ttl_ms)
{
    char path[256], draft[260];
    (void)ttl_ms; /* a sweeper could use it to delete old files */
    if (!file_path(ctx, key, path))
        return STRATA_AGAIN;
    snprintf(draft, sizeof draft, "%s.tmp", path);
    FILE *file = fopen(draft, "wb");
    int good = file != NULL && fwrite(meta, sizeof *meta, 1, file) == 1 &&
               fwrite(data.data, 1, data.size, file) == data.size;
    good = file != NULL && fclose(file) == 0 && good;
    if (good && rename(draft, path) == 0)
        return STRATA_OK; /* whole, or not at all: */
    remove(draft);
    remove(path); /* nor what was there before, which would be served */
    return STRATA_EIO;
}

static int folder_remove(void *ctx, strata_slice key)
{
    char path[256];
    if (file_path(ctx, key, path))
        remove(path);
    return STRATA_OK;
}

static int folder_clear(void *ctx, strata_slice prefix)
{
    struct folder *folder = ctx;
    char path[256], file[512];
    if (!file_path(folder, prefix, path))
        return STRATA_OK; /* no key so long is here */
    const char *hex = path + strlen(folder->path) + 1;
    DIR *dir = opendir(folder->path);
    if (dir == NULL)
        return STRATA_EIO;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.' && strncmp(entry->d_name, hex, strlen(hex)) == 0) {
            snprintf(file, sizeof file, "%s/%s", folder->path, entry->d_name);
            remove(file);
        }
    closedir(dir);
    return STRATA_OK;
}

static const strata_blocking_ops folder_ops = { STRATA_SIZED(strata_blocking_ops), .get = folder_get, .put = folder_put,
                                                .remove = folder_remove, .clear = folder_clear };

/* The rest uses it. -------------------------------------------------------------------------------------------- */

static int load_square(strata_load *load, strata_slice key, void *ctx)
{
    char text[32] = "";
    memcpy(text, key.data, key.size < sizeof text ? key.size : 0); /* a key has no NUL at its end */
    int n = (int)strtol(text, NULL, 10);
    ++*(int *)ctx;
    return strata_load_copy(load, text, (size_t)snprintf(text, sizeof text, "%d", n * n));
}

static int show(strata *cache, const char *key, int *loads)
{
    strata_value *v = NULL;
    strata_error err;
    int status = strata_get_or_load(cache, strata_str(key), load_square, loads, NULL, &v, &err);
    if (status < 0)
        fprintf(stderr, "%s: %s\n", err.where, err.message);
    else
        printf("%s squared is %.*s (%d loads so far)\n", key, (int)strata_value_size(v),
               (const char *)strata_value_data(v), *loads);
    strata_value_unref(v);
    return status;
}

int main(void)
{
    struct folder folder = { "/tmp/strata_example_XXXXXX" };
    strata_error err;
    int loads = 0, status = STRATA_OK;
    if (mkdtemp(folder.path) == NULL)
        return 1;

    /* Twice: the second cache, which has a memory layer in front, finds what the first one left in the folder. */
    for (int round = 0; round < 2 && status >= 0; round++) {
        strata *cache = NULL;
        strata_layer *layers[2];
        size_t count = 0;
        if (round == 1)
            layers[count++] = strata_memory_layer(NULL);
        layers[count++] = strata_blocking_layer("folder", STRATA_LAYER_DURABLE, &folder_ops, &folder);
        const strata_options options = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = count };
        status = strata_open(&cache, &options, &err);
        if (status < 0) {
            fprintf(stderr, "%s: %s\n", err.where, err.message);
            break;
        }
        status = show(cache, "12", &loads);
        show(cache, "12", &loads);
        if (round == 1) {
            strata_set(cache, strata_str("13"), strata_str("169"), NULL, NULL);
            strata_delete(cache, strata_str("12"), NULL);
            strata_clear(cache, NULL);
        }
        strata_close(cache);
    }
    int empty = rmdir(folder.path) == 0; /* the delete took one file, the clear the other */
    return status < 0 || loads != 1 || !empty;
}
