/* nats_greeting.c - what a NATS server says first: INFO {"server_id":"...","version":"2.9.10",...}.
 *
 * nats.c reads it and keeps it to itself; so it is asked for once more, on a connection that ends right after it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/link/nats_link.h"
#include "src/os/os_clock.h"
#include "src/os/os_socket.h"

/* Reads until the line is there, or the time is over. */
static void read_line(int fd, int64_t until_ms, char *line, size_t size)
{
    size_t have = 0, got = 0;
    line[0] = '\0';
    while (have + 1 < size && strchr(line, '\n') == NULL) {
        struct pollfd poll = { .fd = fd, .events = POLLIN };
        int64_t left = until_ms - strata__os_now_ms();
        if (left <= 0 || strata__os_poll(&poll, 1, left) <= 0 ||
            strata__os_socket_read(fd, line + have, size - 1 - have, &got) != 0 || got == 0)
            return;
        have += got;
        line[have] = '\0';
    }
}

static void take_version(const char *line, char *out, size_t size)
{
    static const char key[] = "\"version\":\"";
    const char *at = strncmp(line, "INFO ", 5) == 0 ? strstr(line, key) : NULL;
    const char *from = at != NULL ? at + sizeof key - 1 : NULL;
    size_t length = from != NULL ? strcspn(from, "\"\r\n") : 0;
    if (length > 0 && from[length] == '"')
        snprintf(out, size, "NATS %.*s", (int)(length < 32 ? length : 32), from);
}

void strata__nats_greeting(const char *host, uint32_t port, int64_t timeout_ms, char *out, size_t size)
{
    struct os_address address;
    char line[4096];
    const char *why;
    size_t count = 0;
    int fd = -1;
    int64_t until_ms = strata__os_now_ms() + timeout_ms;
    out[0] = '\0';
    if (strata__os_resolve(host, (uint16_t)port, &address, 1, &count, &why) != 0 || count == 0)
        return;
    (void)strata__os_socket_connect(&address, &fd);
    if (fd < 0)
        return;
    read_line(fd, until_ms, line, sizeof line);
    strata__os_socket_reset(fd);
    take_version(line, out, size);
}
