/* fake_server.c - see fake_server.h. */
#include "tests/support/fake_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void run(void *ctx)
{
    struct fake_server *f = ctx;
    for (int nth = 0;; nth++) {
        int fd = accept(f->listen_fd, NULL, NULL);
        if (fd < 0 || atomic_load(&f->stopping)) {
            if (fd >= 0)
                (void)close(fd);
            return;
        }
        atomic_store(&f->fd, fd);
        if (!atomic_load(&f->stopping))
            f->serve(f, fd, nth);
        atomic_store(&f->fd, -1);
        (void)close(fd);
    }
}

void fake_server_start(struct fake_server *f, void (*serve)(struct fake_server *f, int fd, int nth), void *ctx)
{
    struct sockaddr_in name = { .sin_family = AF_INET };
    socklen_t size = sizeof name;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    f->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    f->serve = serve;
    f->ctx = ctx;
    atomic_init(&f->fd, -1);
    atomic_init(&f->stopping, 0);
    if (f->listen_fd < 0 || bind(f->listen_fd, (struct sockaddr *)(void *)&name, sizeof name) != 0 ||
        getsockname(f->listen_fd, (struct sockaddr *)(void *)&name, &size) != 0 || listen(f->listen_fd, 16) != 0 ||
        strata__os_thread_start(&f->thread, "fake-server", run, f) != 0) {
        perror("fake_server");
        abort();
    }
    f->port = ntohs(name.sin_port);
}

void fake_server_stop(struct fake_server *f)
{
    atomic_store(&f->stopping, 1);
    (void)shutdown(f->listen_fd, SHUT_RDWR);
    int fd = atomic_load(&f->fd);
    if (fd >= 0)
        (void)shutdown(fd, SHUT_RDWR);
    strata__os_thread_join(&f->thread);
    (void)close(f->listen_fd);
}

/* A line without its CR LF. */
static int read_line(int fd, char *out, size_t room)
{
    size_t size = 0;
    for (;;) {
        char byte;
        if (recv(fd, &byte, 1, 0) != 1)
            return 0;
        if (byte == '\n')
            break;
        if (size + 1 < room && byte != '\r')
            out[size++] = byte;
    }
    out[size] = '\0';
    return 1;
}

static int read_argument(int fd, char *out, size_t room)
{
    char line[32];
    if (!read_line(fd, line, sizeof line) || line[0] != '$')
        return 0;
    size_t size = strtoul(line + 1, NULL, 10);
    for (size_t i = 0; i < size + 2; i++) {
        char byte;
        if (recv(fd, &byte, 1, 0) != 1)
            return 0;
        if (i < size && i + 1 < room)
            out[i] = byte;
    }
    out[size < room ? size : room - 1] = '\0';
    return 1;
}

int fake_read_command(int fd, char name[32], char key[32])
{
    char line[32], other[32];
    name[0] = key[0] = '\0';
    if (!read_line(fd, line, sizeof line) || line[0] != '*')
        return 0;
    unsigned long count = strtoul(line + 1, NULL, 10);
    for (unsigned long i = 0; i < count; i++)
        if (!read_argument(fd, i == 0 ? name : i == 1 ? key : other, 32))
            return 0;
    return 1;
}

int fake_send(int fd, const char *text) { return send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text); }

int fake_greet(int fd)
{
    char name[32], key[32];
    return fake_read_command(fd, name, key) && strcmp(name, "PING") == 0 && fake_send(fd, "+PONG\r\n");
}

void fake_ignore(int fd)
{
    char bytes[256];
    while (recv(fd, bytes, sizeof bytes, 0) > 0)
        ;
}
