/* example_disk.c - memory over a disk: what was loaded is there again when the program starts the next time. */
#define _DEFAULT_SOURCE /* mkdtemp() and the like, also with -std=c11 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strata/strata.h>
#include <unistd.h>

static int loads; /* of the slow origin */

static int load_page(strata_load *load, strata_slice key, void *ctx)
{
    char page[64];
    (void)ctx;
    loads++;
    int size = snprintf(page, sizeof page, "<p>%.*s</p>", (int)key.size, (const char *)key.data);
    return strata_load_copy(load, page, (size_t)size);
}

static int open_cache(strata **out, const char *path, strata_error *err)
{
    /* [readme] */
    strata_memory_options memory = { STRATA_SIZED(strata_memory_options), .max_bytes = 64u << 20 };
    strata_disk_options disk = { STRATA_SIZED(strata_disk_options), .path = path, .max_bytes = 4ull << 30,
                                 .sync = STRATA_SYNC_CLOSE };
    strata_layer *layers[] = { strata_memory_layer(&memory), strata_disk_layer(&disk) };
    strata_options options = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = 2 };
    int status = strata_open(out, &options, err);
    /* [/readme] */
    return status;
}

/* One life of the program: 0 if everything was answered. */
static int live(const char *path)
{
    strata *cache;
    strata_value *page = NULL;
    strata_error err;
    int status = open_cache(&cache, path, &err);

    for (int i = 0; status == STRATA_OK && i < 1000; i++) {
        char key[24];
        snprintf(key, sizeof key, "page:%d", i);
        status = strata_get_or_load(cache, strata_str(key), load_page, NULL, NULL, &page, &err);
        strata_value_unref(page);
    }
    strata_layer_stats disk = STRATA_LAYER_STATS_INIT;
    if (status == STRATA_OK && strata_stats_layer(cache, 1, &disk) == STRATA_OK)
        printf("%llu answers from the disk, %d loads so far\n", (unsigned long long)disk.hits, loads);
    else
        fprintf(stderr, "%s: %s\n", err.where, err.message);
    strata_close(cache); /* what is on its way to the disk gets there first */
    return status;
}

/* `strata disk stats` in a few lines. */
static int describe(const char *path)
{
    strata_disk_report report = STRATA_DISK_REPORT_INIT;
    strata_error err;
    int status = strata_disk_inspect(path, NULL, &report, &err);
    if (status == STRATA_OK)
        printf("%llu entries, %llu bytes, %s\n", (unsigned long long)report.entries, (unsigned long long)report.bytes,
               report.closed_cleanly ? "closed cleanly" : "not closed");
    else
        fprintf(stderr, "%s: %s\n", err.where, err.message);
    return status;
}

/* A program would keep it, of course. */
static void remove_all(const char *path)
{
    DIR *list = opendir(path);
    for (struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;)
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(list), entry->d_name, 0);
    if (list != NULL)
        closedir(list);
    rmdir(path);
}

int main(void)
{
    char path[] = "/tmp/strata-example-XXXXXX";
    if (mkdtemp(path) == NULL) {
        perror(path);
        return 1;
    }
    int failed = live(path) != STRATA_OK || describe(path) != STRATA_OK || live(path) != STRATA_OK;
    remove_all(path);
    if (!failed && loads != 1000)
        fprintf(stderr, "%d loads: the second life should have needed none\n", loads);
    return failed || loads != 1000;
}
