/* os_socket.c - see os_socket.h. */
#include "src/os/os_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "src/os/os_fault.h"

#if !defined(MSG_NOSIGNAL)
#define MSG_NOSIGNAL 0 /* macOS: SO_NOSIGPIPE, below */
#endif

static int lookup_errno(int answer)
{
    switch (answer) {
    case EAI_SYSTEM: return errno != 0 ? errno : EIO;
    case EAI_MEMORY: return ENOMEM;
    case EAI_AGAIN: return EAGAIN;
    default: return ENOENT;
    }
}

int strata__os_resolve(const char *host, uint16_t port, struct os_address *out, size_t most, size_t *out_count,
                       const char **out_why)
{
    *out_count = 0;
    *out_why = "";
    int failed = strata__os_fault("getaddrinfo");
    if (failed != 0)
        return failed;
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    char service[8];
    (void)snprintf(service, sizeof service, "%u", (unsigned)port);
    int answer = getaddrinfo(host, service, &hints, &found);
    if (answer != 0) {
        *out_why = gai_strerror(answer);
        return lookup_errno(answer);
    }
    for (const struct addrinfo *one = found; one != NULL && *out_count < most; one = one->ai_next) {
        if (one->ai_addrlen > sizeof out->where)
            continue;
        memcpy(&out[*out_count].where, one->ai_addr, one->ai_addrlen);
        out[(*out_count)++].size = one->ai_addrlen;
    }
    freeaddrinfo(found);
    return *out_count > 0 ? 0 : ENOENT;
}

int strata__os_address_unix(const char *path, struct os_address *out)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    size_t size = strlen(path);
    if (size >= sizeof name.sun_path)
        return ENAMETOOLONG;
    memcpy(name.sun_path, path, size + 1);
    memcpy(&out->where, &name, sizeof name);
    out->size = sizeof name;
    return 0;
}

/* A child that another thread is just about to execute must not inherit it, where the system can promise that. */
static int make_socket(int family)
{
#if defined(SOCK_CLOEXEC)
    return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
#else
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd >= 0) {
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    }
    return fd;
#endif
}

/* None of these is worth failing for. */
static void tune(int fd, int family)
{
    const int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
#if defined(SO_NOSIGPIPE)
    (void)setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
}

int strata__os_socket_connect(const struct os_address *address, int *out_fd)
{
    *out_fd = -1;
    int failed = strata__os_fault("socket");
    if (failed != 0)
        return failed;
    int fd = make_socket(address->where.ss_family);
    if (fd < 0)
        return errno;
    tune(fd, address->where.ss_family);
    failed = strata__os_fault("connect");
    if (failed == 0 && connect(fd, (const struct sockaddr *)(const void *)&address->where, address->size) != 0)
        failed = errno == EINTR ? EINPROGRESS : errno;
    if (failed != 0 && failed != EINPROGRESS)
        (void)close(fd);
    else
        *out_fd = fd;
    return failed;
}

int strata__os_socket_connected(int fd)
{
    int failed = strata__os_fault("getsockopt");
    if (failed != 0)
        return failed;
    int decided = 0;
    socklen_t size = sizeof decided;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &decided, &size) != 0 ? errno : decided;
}

int strata__os_socket_read(int fd, void *out, size_t size, size_t *out_got)
{
    *out_got = 0;
    int failed = strata__os_fault("recv");
    if (failed != 0)
        return failed;
    size = strata__os_fault_cut("recv", size);
    ssize_t got;
    do
        got = recv(fd, out, size, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EWOULDBLOCK ? EAGAIN : errno;
    *out_got = (size_t)got;
    return 0;
}

int strata__os_socket_write(int fd, const void *bytes, size_t size, size_t *out_put)
{
    *out_put = 0;
    int failed = strata__os_fault("send");
    if (failed != 0)
        return failed;
    size = strata__os_fault_cut("send", size);
    ssize_t put;
    do
        put = send(fd, bytes, size, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    if (put < 0)
        return errno == EWOULDBLOCK ? EAGAIN : errno;
    *out_put = (size_t)put;
    return 0;
}

void strata__os_socket_room(int fd, size_t bytes)
{
    int size = bytes < INT_MAX ? (int)bytes : INT_MAX;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

int strata__os_socket_again(int fd) { return strata__os_fault("fcntl") != 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0); }

void strata__os_socket_shutdown(int fd) { (void)shutdown(fd, SHUT_RDWR); }

void strata__os_socket_finish(int fd) { (void)shutdown(fd, SHUT_WR); }

void strata__os_socket_reset(int fd)
{
    const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
    if (fd < 0)
        return;
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    strata__os_socket_close(fd);
}

void strata__os_socket_close(int fd)
{
    if (fd >= 0)
        (void)close(fd);
}

int strata__os_poll(struct pollfd *fds, size_t count, int64_t timeout_ms)
{
    int timeout = timeout_ms < 0 ? -1 : timeout_ms < INT_MAX ? (int)timeout_ms : INT_MAX;
    int ready = strata__os_fault("poll") != 0 ? -1 : poll(fds, (nfds_t)count, timeout);
    if (ready >= 0)
        return ready;
    for (size_t i = 0; i < count; i++)
        fds[i].revents = 0; /* they are what they were before */
    return 0;
}
