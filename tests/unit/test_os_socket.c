/* test_os_socket.c - connecting, reading, writing and waiting without ever blocking. */
#include "tests/support/cmocka_all.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "src/os/os_socket.h"
#include "tests/support/fault_nth.h"

static int listen_here(uint16_t *out_port)
{
    struct sockaddr_in name = { .sin_family = AF_INET };
    socklen_t size = sizeof name;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)(void *)&name, sizeof name), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)(void *)&name, &size), 0);
    assert_int_equal(listen(fd, 4), 0);
    *out_port = ntohs(name.sin_port);
    return fd;
}

static int connect_to(uint16_t port)
{
    struct os_address address;
    size_t count;
    const char *why;
    int fd;
    assert_int_equal(strata__os_resolve("127.0.0.1", port, &address, 1, &count, &why), 0);
    assert_int_equal(count, 1);
    int answer = strata__os_socket_connect(&address, &fd);
    assert_true(answer == 0 || answer == EINPROGRESS);
    struct pollfd ready = { fd, POLLOUT, 0 };
    assert_int_equal(strata__os_poll(&ready, 1, -1), 1);
    return fd;
}

static void there_and_back(void **state)
{
    uint16_t port;
    size_t moved;
    char bytes[8];
    (void)state;
    int server = listen_here(&port), fd = connect_to(port);
    assert_int_equal(strata__os_socket_connected(fd), 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    int on = 0;
    socklen_t size = sizeof on;
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
    assert_true(on);
    assert_int_equal(strata__os_socket_read(fd, bytes, sizeof bytes, &moved), EAGAIN);
    int other = accept(server, NULL, NULL);
    assert_int_equal(strata__os_socket_write(fd, "hello", 5, &moved), 0);
    assert_int_equal(moved, 5);
    assert_int_equal(recv(other, bytes, 5, MSG_WAITALL), 5);
    assert_int_equal(send(other, "you", 3, 0), 3);
    struct pollfd ready[2] = { { -1, POLLIN, 0 }, { fd, POLLIN, 0 } };
    assert_int_equal(strata__os_poll(ready, 2, INT64_MAX), 1);
    assert_int_equal(ready[0].revents, 0);
    assert_int_equal(strata__os_socket_read(fd, bytes, sizeof bytes, &moved), 0);
    assert_int_equal(moved, 3);
    assert_memory_equal(bytes, "you", 3);
    strata__os_socket_shutdown(fd);
    assert_int_equal(strata__os_socket_read(fd, bytes, sizeof bytes, &moved), 0);
    assert_int_equal(moved, 0);
    assert_int_equal(strata__os_socket_write(fd, "x", 1, &moved), EPIPE); /* and no signal */
    strata__os_socket_close(fd);
    strata__os_socket_close(-1);
    (void)close(other);
    (void)close(server);
}

static void full(void **state)
{
    static const char zeros[65536];
    uint16_t port;
    size_t moved;
    (void)state;
    int server = listen_here(&port), fd = connect_to(port), failed;
    do
        failed = strata__os_socket_write(fd, zeros, sizeof zeros, &moved);
    while (failed == 0);
    assert_int_equal(failed, EAGAIN);
    struct pollfd ready = { fd, POLLOUT, 0 };
    assert_int_equal(strata__os_poll(&ready, 1, 0), 0);
    strata__os_socket_close(fd);
    (void)close(server);
}

static void refused(void **state)
{
    uint16_t port;
    (void)state;
    (void)close(listen_here(&port));
    struct os_address address;
    size_t count;
    const char *why;
    int fd;
    assert_int_equal(strata__os_resolve("127.0.0.1", port, &address, 1, &count, &why), 0);
    int failed = strata__os_socket_connect(&address, &fd);
    if (failed == EINPROGRESS) {
        struct pollfd ready = { fd, POLLOUT, 0 };
        assert_int_equal(strata__os_poll(&ready, 1, -1), 1);
        failed = strata__os_socket_connected(fd);
        strata__os_socket_close(fd);
    }
    assert_int_equal(failed, ECONNREFUSED);
}

static void addresses(void **state)
{
    struct os_address address[4];
    size_t count;
    const char *why;
    int fd;
    (void)state;
    assert_int_equal(strata__os_resolve("::1", 1, address, 4, &count, &why), 0);
    assert_int_equal(address[0].where.ss_family, AF_INET6);
    assert_int_not_equal(strata__os_resolve("no such host", 1, address, 4, &count, &why), 0);
    assert_int_equal(count, 0);
    assert_true(strlen(why) > 0);
    char path[300];
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    assert_int_equal(strata__os_address_unix(path, address), ENAMETOOLONG);
    assert_int_equal(strata__os_address_unix("/nonexistent/socket", address), 0);
    assert_int_equal(strata__os_socket_connect(address, &fd), ENOENT);
    assert_int_equal(fd, -1);
}

static void what_fails_is_said(void **state)
{
    struct os_address address;
    struct fault_nth fault;
    size_t count, moved;
    const char *why;
    char byte;
    uint16_t port;
    int none;
    (void)state;
    int server = listen_here(&port), fd = connect_to(port);
    assert_int_equal(strata__os_resolve("127.0.0.1", port, &address, 1, &count, &why), 0);
    fault_nth_set(&fault, "socket", 1, EMFILE);
    assert_int_equal(strata__os_socket_connect(&address, &none), EMFILE);
    fault_nth_set(&fault, "connect", 1, ENETUNREACH);
    assert_int_equal(strata__os_socket_connect(&address, &none), ENETUNREACH);
    assert_int_equal(none, -1);
    fault_nth_set(&fault, "getsockopt", 1, EBADF);
    assert_int_equal(strata__os_socket_connected(fd), EBADF);
    fault_nth_set(&fault, "getaddrinfo", 1, ENOMEM);
    assert_int_equal(strata__os_resolve("127.0.0.1", port, &address, 1, &count, &why), ENOMEM);
    fault_nth_set(&fault, "recv", 1, ECONNRESET);
    assert_int_equal(strata__os_socket_read(fd, &byte, 1, &moved), ECONNRESET);
    fault_nth_set(&fault, "send", 1, EPIPE);
    assert_int_equal(strata__os_socket_write(fd, "x", 1, &moved), EPIPE);
    fault_nth_set(&fault, "poll", 1, EINTR);
    struct pollfd ready = { fd, POLLOUT, POLLOUT };
    assert_int_equal(strata__os_poll(&ready, 1, -1), 0);
    assert_int_equal(ready.revents, 0);
    fault_nth_clear();
    strata__os_socket_close(fd);
    (void)close(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(full),
        cmocka_unit_test(refused),
        cmocka_unit_test(addresses),
        cmocka_unit_test(what_fails_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
