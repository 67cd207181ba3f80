/* example_prefork.c - a server whose parent opens cache and socket, and whose children serve.
 *
 *   example_prefork [redis://127.0.0.1:6379]        or STRATA_REDIS_URL in the environment
 *
 * A cache has threads, and threads do not survive a fork: each child calls strata_reopen() first, and then has a cache of its own,
 * empty but for what shared layers hold.  With a Redis below the memory the children load a key once for all of them.
 * The parent is the client here: it asks, counts, and ends the children by closing a pipe. */
#define _DEFAULT_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strata/strata.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 3, REQUESTS = 60, KEYS = 5 };

static int loads; /* of this process */

static int load_page(strata_load *load, strata_slice key, void *ctx)
{
    char page[64];
    (void)ctx;
    loads++;
    return strata_load_copy(load, page,
                            (size_t)snprintf(page, sizeof page, "page of %.*s", (int)key.size, (const char *)key.data));
}

/* A line with a key, a line with its page. */
static void serve(int client, strata *cache)
{
    char key[32];
    strata_value *page = NULL;
    strata_error err;
    ssize_t size = read(client, key, sizeof key);
    if (size > 0 &&
        strata_get_or_load(cache, strata_bytes(key, (size_t)size), load_page, NULL, NULL, &page, &err) >= 0 &&
        write(client, strata_value_data(page), strata_value_size(page)) < 0)
        perror("write");
    strata_value_unref(page);
    close(client);
}

/* Until the parent closes its end of `life`. */
static int be_child(int listener, int life, strata *cache)
{
    strata_error err;
    if (strata_reopen(cache, &err) < 0) {
        fprintf(stderr, "%s: %s\n", err.where, err.message);
        return 1;
    }
    struct pollfd fds[] = { { .fd = life, .events = POLLIN }, { .fd = listener, .events = POLLIN } };
    while (poll(fds, 2, -1) > 0 && fds[0].revents == 0) {
        int client = fds[1].revents != 0 ? accept(listener, NULL, NULL) : -1;
        if (client >= 0) /* another child may have been faster */
            serve(client, cache);
    }
    strata_close(cache);
    return loads; /* for the parent to add up */
}

static int listen_somewhere(struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK,
                    0); /* so that nobody waits in accept() for what another one took */
    *address = (struct sockaddr_in){ .sin_family = AF_INET };
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)address, size) != 0 || listen(fd, REQUESTS) != 0 ||
        getsockname(fd, (struct sockaddr *)address, &size) != 0) {
        perror("listen");
        exit(1);
    }
    return fd;
}

static int ask(const struct sockaddr_in *address, int number)
{
    char key[32], page[64] = "";
    int fd = socket(AF_INET, SOCK_STREAM, 0), size = snprintf(key, sizeof key, "key:%d", number);
    int good = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 &&
               write(fd, key, (size_t)size) == size && read(fd, page, sizeof page - 1) > 0 && strstr(page, key) != NULL;
    close(fd);
    return good;
}

int main(int argc, char **argv)
{
    const char *redis = argc > 1 ? argv[1] : getenv("STRATA_REDIS_URL");
    char layers[256] = "memory:?max_bytes=16mb";
    int life[2], served = 0, all_loads = 0;
    struct sockaddr_in address;
    strata *cache;
    strata_error err;
    pid_t children[CHILDREN];

    if (redis != NULL)
        snprintf(layers, sizeof layers, "memory:?max_bytes=16mb | %s?prefix=strata-prefork:", redis);
    if (pipe(life) != 0 || strata_open_url(&cache, layers, NULL, &err) < 0 ||
        (redis != NULL && strata_clear(cache, &err) < 0)) {
        fprintf(stderr, "%s: %s\n", err.where, err.message);
        return 1;
    }
    int listener = listen_somewhere(&address);
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            close(life[1]);
            _exit(be_child(listener, life[0], cache));
        }
    }
    for (int i = 0; i < REQUESTS; i++)
        served += ask(&address, i % KEYS);
    close(life[1]);
    for (int i = 0; i < CHILDREN; i++) {
        int status = 0;
        waitpid(children[i], &status, 0);
        all_loads += WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
    }
    strata_close(cache); /* the parent's own, which served nothing */
    printf("%d of %d requests served by %d processes, %d loads of %d keys\n", served, REQUESTS, CHILDREN, all_loads,
           KEYS);
    return served != REQUESTS || all_loads < KEYS || all_loads > KEYS * CHILDREN;
}
