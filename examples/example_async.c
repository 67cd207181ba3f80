/* example_async.c - strata in an event loop: calls return at once, and their results are collected where poll() says
 * that some wait.  A hundred callers ask for ten cold keys: the loader runs ten times. */
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strata/strata.h>

enum { CALLERS = 100, KEYS = 10 };

static atomic_int loads;

/* Runs on a worker. */
static int load_page(strata_load *load, strata_slice key, void *ctx)
{
    char text[64];
    (void)ctx;
    atomic_fetch_add(&loads, 1);
    return strata_load_copy(
        load, text, (size_t)snprintf(text, sizeof text, "contents of %.*s", (int)key.size, (const char *)key.data));
}

struct tally {
    int served, failed;
};

/* Runs in strata_queue_run(), on the loop's own thread: no lock is needed. */
static void on_page(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct tally *tally = ctx;
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", err->where, err->message);
        tally->failed++;
        return;
    }
    if (tally->served++ == 0)
        printf("the first: %.*s\n", (int)strata_value_size(value), (const char *)strata_value_data(value));
    strata_value_unref(value);
}

int main(void)
{
    strata *cache = NULL;
    strata_queue *queue = NULL;
    strata_error err;
    struct tally tally = { 0, 0 };

    int status = strata_open_url(&cache, "memory:?max_bytes=16mb", NULL, &err);
    if (status >= 0)
        status = strata_queue_open(&queue, &err);
    for (int i = 0; i < CALLERS && status >= 0; i++) {
        char key[32];
        snprintf(key, sizeof key, "page:%d", i % KEYS); /* copied by the call */
        status = strata_get_or_load_async(cache, strata_str(key), load_page, NULL, NULL, queue, on_page, &tally, &err);
    }
    if (status < 0)
        fprintf(stderr, "%s: %s\n", err.where, err.message);

    /* The loop: your own descriptors would stand beside this one. */
    struct pollfd fds[] = { { .fd = strata_queue_fd(queue), .events = POLLIN } };
    while (status >= 0 && tally.served + tally.failed < CALLERS && poll(fds, 1, -1) > 0)
        strata_queue_run(queue, 0);
    printf("%d served, %d loads\n", tally.served, atomic_load(&loads));

    strata_close(cache);
    strata_queue_close(queue);
    return status < 0 || tally.served != CALLERS || atomic_load(&loads) != KEYS;
}
