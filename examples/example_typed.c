/* example_typed.c - a cache of decoded structs: a hit in memory hands out the struct itself, and nothing is parsed.
 *
 * The codec is told once, when the cache is opened.  Layers below the memory hold bytes: what comes up from the disk is decoded
 * once, on its way into the memory. */
#define _DEFAULT_SOURCE /* mkdtemp() and the like, also with -std=c11 */
#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <strata/strata.h>
#include <string.h>
#include <unistd.h>

struct user {
    int id;
    char name[32];
    size_t score_count;
    double scores[]; /* as many as there are */
};

static atomic_int loads, decodes;

static size_t user_bytes(size_t scores) { return sizeof(struct user) + scores * sizeof(double); }

/* The codec ------------------------------------------------------------------------------------------------------- */

/* Bytes: id, name, scores.  Here as they stand in memory; what other machines read wants an order of bytes and a version. */
static int encode_user(const void *object, void *out, size_t room, size_t *out_size, void *ctx)
{
    const struct user *user = object;
    (void)ctx;
    *out_size = sizeof user->id + sizeof user->name + user->score_count * sizeof(double);
    if (*out_size > room)
        return STRATA_AGAIN;
    char *at = out;
    memcpy(at, &user->id, sizeof user->id);
    memcpy(at + sizeof user->id, user->name, sizeof user->name);
    memcpy(at + sizeof user->id + sizeof user->name, user->scores, user->score_count * sizeof(double));
    return STRATA_OK;
}

/* What comes from a disk or a server is input, and is looked at before it is believed. */
static int decode_user(const void *data, size_t size, void **out_object, void *ctx)
{
    const size_t head = sizeof(int) + sizeof((struct user *)0)->name;
    (void)ctx;
    if (size < head || (size - head) % sizeof(double) != 0)
        return STRATA_ECODEC;
    size_t count = (size - head) / sizeof(double);
    struct user *user = malloc(user_bytes(count));
    if (user == NULL)
        return STRATA_ENOMEM;
    memcpy(&user->id, data, sizeof user->id);
    memcpy(user->name, (const char *)data + sizeof user->id, sizeof user->name);
    user->name[sizeof user->name - 1] = '\0';
    user->score_count = count;
    memcpy(user->scores, (const char *)data + head, count * sizeof(double));
    atomic_fetch_add(&decodes, 1);
    *out_object = user;
    return STRATA_OK;
}

static void free_user(void *object, void *ctx)
{
    (void)ctx;
    free(object);
}

static size_t cost_of_user(const void *object, void *ctx)
{
    (void)ctx;
    return user_bytes(((const struct user *)object)->score_count);
}

static const strata_codec user_codec = { STRATA_SIZED(strata_codec), .id = 1,
                                         .name = "user-1",           .encode = encode_user,
                                         .decode = decode_user,      .free = free_user,
                                         .cost = cost_of_user };

/* The program ----------------------------------------------------------------------------------------------------- */

static int load_user(strata_load *load, strata_slice key, void *ctx)
{
    struct user *user = malloc(user_bytes(3));
    (void)ctx;
    if (user == NULL)
        return STRATA_ENOMEM;
    user->id = (int)key.size;
    snprintf(user->name, sizeof user->name, "%.*s", (int)key.size, (const char *)key.data);
    user->score_count = 3;
    memcpy(user->scores, (double[]){ 1.5, 2.5, 3.5 }, 3 * sizeof(double));
    atomic_fetch_add(&loads, 1);
    return strata_load_object(load, user);
}

static int ask(strata *cache, int times)
{
    strata_error err;
    for (int i = 0; i < times; i++) {
        strata_value *value = NULL;
        int status = strata_get_or_load(cache, strata_str("ada"), load_user, NULL, NULL, &value, &err);
        if (status < 0) {
            fprintf(stderr, "%s: %s\n", err.where, err.message);
            return status;
        }
        const struct user *user = strata_value_object(value); /* lent, as long as the value is held */
        if (i == 0)
            printf("%s has %zu scores, the last is %.1f\n", user->name, user->score_count, user->scores[2]);
        strata_value_unref(value);
    }
    return STRATA_OK;
}

static int live(const char *path)
{
    strata_disk_options disk = { STRATA_SIZED(strata_disk_options), .path = path, .max_bytes = 64u << 20 };
    strata_layer *layers[] = { strata_memory_layer(NULL), strata_disk_layer(&disk) };
    strata_options options = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = 2, .codec = &user_codec };
    strata *cache;
    strata_error err;
    int status = strata_open(&cache, &options, &err);
    if (status < 0)
        fprintf(stderr, "%s: %s\n", err.where, err.message);
    else
        status = ask(cache, 1000);
    strata_close(cache);
    printf("so far: %d loads, %d decoded\n", atomic_load(&loads), atomic_load(&decodes));
    return status;
}

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
    int failed = live(path) < 0 || live(path) < 0; /* the second life finds it on the disk */
    remove_all(path);
    return failed || atomic_load(&loads) != 1 || atomic_load(&decodes) != 1;
}
