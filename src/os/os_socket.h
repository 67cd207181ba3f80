/* os_socket.h - stream sockets of a client, which never block, and waiting for several of them.
 *
 * Calls answer 0 or an errno. */
#ifndef STRATA_OS_SOCKET_H
#define STRATA_OS_SOCKET_H
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct os_address {
    struct sockaddr_storage where;
    socklen_t size;
};

/* What a name stands for, in the order in which to try; at most `most`, and at least one where it answers 0.  Asks the name
 * servers unless it is written in numbers, which takes as long as it takes.  *out_why: words of the system, static. */
int strata__os_resolve(const char *host, uint16_t port, struct os_address *out, size_t most, size_t *out_count,
                       const char **out_why);
/* ENAMETOOLONG: a socket's path has about a hundred bytes. */
int strata__os_address_unix(const char *path, struct os_address *out);

/* 0: connected; EINPROGRESS: *out_fd becomes writable when it is decided.  Close-on-exec, without Nagle's delay, with
 * keep-alive.  *out_fd is -1 otherwise. */
int strata__os_socket_connect(const struct os_address *address, int *out_fd);
/* How it was decided. */
int strata__os_socket_connected(int fd);
/* *out_got 0: the other side has closed.  EAGAIN: nothing is there. */
int strata__os_socket_read(int fd, void *out, size_t size, size_t *out_got);
/* EAGAIN: there is no room.  Never raises SIGPIPE. */
int strata__os_socket_write(int fd, const void *bytes, size_t size, size_t *out_put);
/* Ask the kernel to take at least so many bytes before it says EAGAIN. */
void strata__os_socket_room(int fd, size_t bytes);
/* Another descriptor of the same socket, which stays when the first is closed; close-on-exec.  -1: there is none to be had. */
int strata__os_socket_again(int fd);
/* Whoever waits for it wakes, and reads its end. */
void strata__os_socket_shutdown(int fd);
/* Nothing more is written; what was, is delivered, and then the other side reads the end. */
void strata__os_socket_finish(int fd);
/* Close it, and what the other side has not got yet is thrown away.  -1 is a no-op, here and below. */
void strata__os_socket_reset(int fd);
void strata__os_socket_close(int fd);

/* Sleep until one of them is ready, or for timeout_ms (< 0: without an end).  Those with fd -1 are left out.  How many are
 * ready, in their revents; 0 also for a signal. */
int strata__os_poll(struct pollfd *fds, size_t count, int64_t timeout_ms);

#endif /* STRATA_OS_SOCKET_H */
