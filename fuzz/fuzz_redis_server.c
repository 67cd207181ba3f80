/* fuzz_redis_server.c - a whole Redis layer, with its link and its threads, against a server that answers with the input.  Nothing is
 * demanded of the answers but that there is one: whatever comes, each call returns in its time, with a status that it may have,
 * and nothing is lost or read twice.
 *
 *   pieces, each | size 1; 255: all that follows | bytes |, one sent for each time the server was written to, or where nothing
 *   comes for a millisecond; then it hangs up */
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "strata/strata.h"

enum { CONNECTIONS = 16, ALL = 255, PATIENCE_MS = 1 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int condition)
{
    if (!condition)
        abort();
}

/* The server ------------------------------------------------------------------------------------------------------ */

static struct {
    pthread_mutex_t lock;
    const uint8_t *script; /* lock, as the next two */
    size_t size, at;
    char dir[64], path[96];
    struct pollfd fds[CONNECTIONS + 1]; /* the first listens */
    nfds_t count;
} server = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void take_apart(void)
{
    unlink(server.path);
    rmdir(server.dir);
}

/* 0: there is no more. */
static int send_piece(int fd)
{
    int sent = 0;
    pthread_mutex_lock(&server.lock);
    if (server.at < server.size) {
        size_t wanted = server.script[server.at++], left = server.size - server.at;
        size_t some = wanted == ALL || wanted > left ? left : wanted;
        /* What does not fit into the socket's buffer is cut off, as by a server that dies. */
        sent = some == 0 || send(fd, server.script + server.at, some, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)some;
        server.at += some;
    }
    pthread_mutex_unlock(&server.lock);
    return sent;
}

static void hang_up(nfds_t i)
{
    close(server.fds[i].fd);
    server.fds[i] = server.fds[--server.count];
}

static void serve(nfds_t i)
{
    static char read_and_forgotten[65536];
    int fd = server.fds[i].fd;
    if (recv(fd, read_and_forgotten, sizeof read_and_forgotten, MSG_DONTWAIT) <= 0 || !send_piece(fd))
        hang_up(i);
}

static void greet(void)
{
    int fd = accept(server.fds[0].fd, NULL, NULL);
    if (fd >= 0 && server.count <= CONNECTIONS)
        server.fds[server.count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
    else if (fd >= 0)
        close(fd);
}

static void *run_server(void *ctx)
{
    (void)ctx;
    for (;;) {
        int ready = poll(server.fds, server.count, server.count > 1 ? PATIENCE_MS : -1);
        demand(ready >= 0);
        for (nfds_t i = server.count - 1; i > 0; i--)
            if (server.fds[i].revents != 0)
                serve(i);
            else if (ready == 0 && !send_piece(server.fds[i].fd))
                hang_up(i);
        if (server.fds[0].revents != 0)
            greet();
    }
    return NULL;
}

static void start(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    pthread_t thread;
    snprintf(server.dir, sizeof server.dir, "/tmp/strata-fuzz-XXXXXX");
    demand(mkdtemp(server.dir) != NULL);
    snprintf(server.path, sizeof server.path, "%s/s", server.dir);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", server.path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    demand(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, CONNECTIONS) == 0);
    server.fds[0] = (struct pollfd){ .fd = fd, .events = POLLIN };
    server.count = 1;
    demand(atexit(take_apart) == 0);
    demand(pthread_create(&thread, NULL, run_server, NULL) == 0 && pthread_detach(thread) == 0);
}

/* The client ------------------------------------------------------------------------------------------------------ */

/* With a bus it takes two seconds to see that this server carries none. */
static strata *open_cache(int with_bus)
{
    char url[160];
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    snprintf(url, sizeof url, "unix://%s", server.path);
    const strata_redis_options redis = { .size = sizeof redis,
                                         .url = url,
                                         .prefix = "p:",
                                         .max_value_bytes = 1 << 16,
                                         .soft_timeout_ms = 10,
                                         .timeout_ms = 10,
                                         .connect_timeout_ms = 100,
                                         .connections = 1,
                                         .lease_wait_ms = 20,
                                         .breaker_failures = 3,
                                         .breaker_open_ms = 60000 };
    strata_layer *layers[] = { strata_redis_layer(&redis) };
    const strata_coherence_options coherence = { .size = sizeof coherence, .default_bus = with_bus ? 0 : STRATA_OFF };
    const strata_options options = {
        .size = sizeof options, .layers = layers, .layer_count = 1, .workers = 1, .coherence = &coherence
    };
    demand(strata_open(&cache, &options, &err) == STRATA_OK);
    return cache;
}

static int load(strata_load *to, strata_slice key, void *ctx)
{
    (void)ctx;
    return strata_load_copy(to, key.data, key.size);
}

/* Found or not, done or pending, or an error in words. */
static void check(int rc, const strata_error *err) { demand(rc >= 0 || err->message[0] != '\0'); }

static void ask(strata *cache)
{
    strata_error err = STRATA_ERROR_INIT;
    strata_item items[3] = { { .key = strata_str("a") }, { .key = strata_str("b") }, { .key = strata_str("c") } };
    strata_value *value = NULL;
    int rc = strata_get(cache, strata_str("k"), &value, &err);
    check(rc, &err);
    demand((value != NULL) == (rc == STRATA_OK || rc == STRATA_STALE));
    strata_value_unref(value);
    check(strata_get_many(cache, items, 3, &err), &err);
    for (size_t i = 0; i < 3; i++)
        strata_value_unref(items[i].value);
    check(strata_set(cache, strata_str("k"), strata_str("value"), NULL, &err), &err);
    /* The origin is well: there is a value, whatever the server says. */
    rc = strata_get_or_load(cache, strata_str("cold"), load, NULL, NULL, &value, &err);
    demand(rc == STRATA_OK || rc == STRATA_STALE || rc == STRATA_ABSENT);
    strata_value_unref(value);
    check(strata_delete(cache, strata_str("k"), &err), &err);
    check(strata_clear(cache, &err), &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int started;
    if (!started)
        start();
    started = 1;
    pthread_mutex_lock(&server.lock);
    server.script = data;
    server.size = size;
    server.at = 0;
    pthread_mutex_unlock(&server.lock);
    strata *cache = open_cache(size % 64 == 63);
    ask(cache);
    strata_close(cache);
    pthread_mutex_lock(&server.lock);
    server.size = 0;
    pthread_mutex_unlock(&server.lock);
    return 0;
}
