/* nats_url.c - see nats_url.h. */
#include "src/bus/nats/nats_url.h"

#include <string.h>

#include "src/base/err.h"
#include "src/base/percent.h"

#define WHERE "url"
#define EXAMPLE "\"nats://user:password@host:4222\""
enum { NATS_PORT = 4222 };

static int parse_user(char *text, struct nats_url *out, strata_error *err)
{
    char *password = strchr(text, ':');
    if (password == NULL) {
        out->token = text;
        if (text[0] == '\0')
            return strata__fail(err, STRATA_EINVAL, WHERE, "there is nothing before the '@': write " EXAMPLE);
        return strata__percent_decode_part(text, "the token", err);
    }
    *password++ = '\0';
    out->user = text;
    out->password = password;
    int rc = strata__percent_decode_part(text, "the user", err);
    if (rc == STRATA_OK)
        rc = strata__percent_decode_part(password, "the password", err);
    if (rc == STRATA_OK && text[0] == '\0')
        rc = strata__fail(err, STRATA_EINVAL, WHERE, "the user is empty: write " EXAMPLE ", or \"nats://token@host\"");
    return rc;
}

static int read_port(const char *text, uint32_t *out)
{
    uint32_t n = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && n <= UINT16_MAX; at++)
        n = n * 10 + (uint32_t)(*at - '0');
    *out = n;
    return at != text && *at == '\0' && n >= 1 && n <= UINT16_MAX;
}

int strata__nats_host_parse(char *text, struct nats_host *out, strata_error *err)
{
    char *port = strrchr(text, ':');
    out->port = NATS_PORT;
    if (text[0] == '[') {
        char *end = strchr(++text, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return strata__fail(err, STRATA_EINVAL, WHERE,
                                "an address in brackets ends with ']' or \"]:port\": write \"nats://[::1]:4222\"");
        port = end[1] == ':' ? end + 1 : NULL;
        *end = '\0';
    } else if (port != NULL && strchr(text, ':') != port) {
        return strata__fail(err, STRATA_EINVAL, WHERE,
                            "the host has several ':': write an IPv6 address in brackets, as \"nats://[::1]:4222\"");
    }
    if (port != NULL) {
        *port++ = '\0';
        if (!read_port(port, &out->port))
            return strata__fail(err, STRATA_EINVAL, WHERE,
                                "the port is no number from 1 to 65535: write \"nats://host:4222\"; a ':' or '@' of a "
                                "password is written as %%3A, %%40");
    }
    int rc = strata__percent_decode_part(text, "the host", err);
    if (rc == STRATA_OK && strlen(text) > NATS_HOST_BYTES)
        rc = strata__fail(err, STRATA_EINVAL, WHERE, "a host has more than %d bytes", NATS_HOST_BYTES);
    out->host = text[0] != '\0' ? text : "127.0.0.1";
    return rc;
}

static int parse_hosts(char *text, struct nats_url *out, strata_error *err)
{
    int rc = STRATA_OK;
    while (rc == STRATA_OK && text != NULL) {
        char *next = strchr(text, ',');
        if (next != NULL)
            *next++ = '\0';
        if (out->host_count == NATS_URL_HOSTS)
            return strata__fail(err, STRATA_EINVAL, WHERE, "there are more than %d hosts: a few of them will do",
                                NATS_URL_HOSTS);
        if (text[0] == '\0' && (next != NULL || out->host_count != 0))
            return strata__fail(err, STRATA_EINVAL, WHERE, "there is nothing on one side of a ',': write \"a:1,b:2\"");
        rc = strata__nats_host_parse(text, &out->hosts[out->host_count++], err);
        text = next;
    }
    return rc;
}

int strata__nats_url_parse(char *text, struct nats_url *out, strata_error *err)
{
    memset(out, 0, sizeof *out);
    int plain = strncmp(text, "nats://", 7) == 0, secure = strncmp(text, "tls://", 6) == 0;
    if (!plain && !secure)
        return strata__fail(err, STRATA_EINVAL, WHERE,
                            "a NATS URL begins with nats:// or, for TLS, tls://: write " EXAMPLE);
    out->tls = secure;
    char *rest = text + (secure ? 6 : 7);
    if (strchr(rest, '?') != NULL)
        return strata__fail(err, STRATA_EINVAL, WHERE,
                            "there is a '?': options have fields of their own; one in a password is written as %%3F");
    /* The last '@': a password that was not encoded may contain others. */
    char *at = strrchr(rest, '@');
    if (at != NULL) {
        *at = '\0';
        int rc = parse_user(rest, out, err);
        if (rc < 0)
            return rc;
        rest = at + 1;
    }
    char *path = strchr(rest, '/');
    if (path != NULL && path[1] != '\0')
        return strata__fail(err, STRATA_EINVAL, WHERE,
                            "something follows the hosts: the subject has a field of its own; a '/' in a password is "
                            "written as %%2F");
    if (path != NULL)
        *path = '\0';
    return parse_hosts(rest, out, err);
}
