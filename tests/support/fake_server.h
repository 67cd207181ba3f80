/* fake_server.h - a TCP server that does what no real one does on demand: the test's own function talks to each connection.
 *
 * A thread accepts connections of 127.0.0.1 one after the other, calls serve() with each, and closes it then. */
#ifndef STRATA_TESTS_FAKE_SERVER_H
#define STRATA_TESTS_FAKE_SERVER_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "src/os/os_thread.h"

struct fake_server {
    struct os_thread thread;
    int listen_fd;
    uint16_t port;
    /* nth is 0 for the first connection. */
    void (*serve)(struct fake_server *f, int fd, int nth);
    void *ctx;
    _Atomic(int) fd; /* of the connection that is served, or -1 */
    _Atomic(int) stopping;
};

void fake_server_start(struct fake_server *f, void (*serve)(struct fake_server *f, int fd, int nth), void *ctx);
/* The connection that is being served ends: reads of it return, as do waits. */
void fake_server_stop(struct fake_server *f);

/* Reads one command: 1; its first two arguments, cut to their room, with a NUL.  0: the other side has closed. */
int fake_read_command(int fd, char name[32], char key[32]);
int fake_send(int fd, const char *text);
/* Reads a PING and answers it. */
int fake_greet(int fd);
/* Answers nothing more, until the other side closes. */
void fake_ignore(int fd);

#endif /* STRATA_TESTS_FAKE_SERVER_H */
