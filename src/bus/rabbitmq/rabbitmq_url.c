/* rabbitmq_url.c - see rabbitmq_url.h. */
#include "src/bus/rabbitmq/rabbitmq_url.h"

#include <string.h>

#include "src/base/err.h"
#include "src/base/percent.h"

#define WHERE "url"
#define EXAMPLE "\"amqp://user:password@host:5672/vhost\""
enum { AMQP_PORT = 5672, AMQPS_PORT = 5671, VHOST_MOST = 255, CREDENTIAL_MOST = 255 };

static int parse_user(char *text, struct rabbitmq_url *out, strata_error *err)
{
    char *password = strchr(text, ':');
    if (password == NULL || password == text || password[1] == '\0')
        return strata__fail(err, STRATA_EINVAL, WHERE,
                            "before the '@' stand a user, ':' and a password, none of them empty: write " EXAMPLE);
    *password++ = '\0';
    int rc = strata__percent_decode_part(text, "the user", err);
    if (rc == STRATA_OK)
        rc = strata__percent_decode_part(password, "the password", err);
    if (rc == STRATA_OK && (strlen(text) > CREDENTIAL_MOST || strlen(password) > CREDENTIAL_MOST))
        rc = strata__fail(err, STRATA_EINVAL, WHERE, "user and password have at most %d bytes each", CREDENTIAL_MOST);
    out->user = text;
    out->password = password;
    return rc;
}

static int parse_port(const char *text, uint32_t *out, strata_error *err)
{
    uint32_t n = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && n <= 65535; at++)
        n = n * 10 + (uint32_t)(*at - '0');
    if (at == text || *at != '\0' || n == 0 || n > 65535)
        return strata__fail(err, STRATA_EINVAL, WHERE,
                            "the port is no number from 1 to 65535: write " EXAMPLE "; a ':' or '@' of a password is "
                            "written as %%3A, %%40");
    *out = n;
    return STRATA_OK;
}

static int parse_host(char *text, struct rabbitmq_url *out, strata_error *err)
{
    char *port = strrchr(text, ':');
    int rc = STRATA_OK;
    if (strchr(text, ',') != NULL)
        return strata__fail(err, STRATA_EINVAL, WHERE,
                            "there is one host, without a ',': put a name for all nodes of "
                            "a cluster before them, or a balancer");
    if (text[0] == '[') {
        char *end = strchr(++text, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return strata__fail(err, STRATA_EINVAL, WHERE,
                                "an address in brackets ends with ']' or \"]:port\": write \"amqp://[::1]:5672\"");
        port = end[1] == ':' ? end + 1 : NULL;
        *end = '\0';
    } else if (port != NULL && strchr(text, ':') != port) {
        return strata__fail(err, STRATA_EINVAL, WHERE,
                            "the host has several ':': write an IPv6 address in brackets, as \"amqp://[::1]:5672\"");
    }
    if (port != NULL) {
        *port++ = '\0';
        rc = parse_port(port, &out->port, err);
    }
    if (rc == STRATA_OK)
        rc = strata__percent_decode_part(text, "the host", err);
    out->host = text[0] != '\0' ? text : "127.0.0.1";
    return rc;
}

static int parse_vhost(char *text, struct rabbitmq_url *out, strata_error *err)
{
    if (text == NULL || text[0] == '\0')
        return STRATA_OK;
    if (strchr(text, '/') != NULL)
        return strata__fail(err, STRATA_EINVAL, WHERE, "the vhost has a '/': write it as %%2F, in a password too");
    int rc = strata__percent_decode_part(text, "the vhost", err);
    if (rc == STRATA_OK && strlen(text) > VHOST_MOST)
        rc = strata__fail(err, STRATA_EINVAL, WHERE, "the vhost has more than %d bytes", VHOST_MOST);
    out->vhost = text;
    return rc;
}

static int parse_scheme(char **text, struct rabbitmq_url *out, strata_error *err)
{
    static const char plain[] = "amqp://", tls[] = "amqps://";
    out->tls = strncmp(*text, tls, sizeof tls - 1) == 0;
    if (!out->tls && strncmp(*text, plain, sizeof plain - 1) != 0)
        return strata__fail(err, STRATA_EINVAL, WHERE, "it begins with amqp:// or amqps://: write " EXAMPLE);
    *text += out->tls ? sizeof tls - 1 : sizeof plain - 1;
    return STRATA_OK;
}

int strata__rabbitmq_url_parse(char *text, struct rabbitmq_url *out, strata_error *err)
{
    *out = (struct rabbitmq_url){ .vhost = "/", .user = "guest", .password = "guest" };
    int rc = parse_scheme(&text, out, err);
    if (rc != STRATA_OK)
        return rc;
    out->port = out->tls ? AMQPS_PORT : AMQP_PORT;
    char *path = strchr(text, '/');
    char *at = strrchr(text, '@'); /* a password that was not encoded may contain others */
    if (at != NULL && path != NULL && path < at)
        return strata__fail(err, STRATA_EINVAL, WHERE,
                            "there is a '/' before the '@': write it as %%2F in a password, and an '@' in a vhost as "
                            "%%40");
    if (path != NULL)
        *path++ = '\0';
    if (at != NULL) {
        *at = '\0';
        rc = parse_user(text, out, err);
        text = at + 1;
    }
    if (rc == STRATA_OK)
        rc = parse_host(text, out, err);
    return rc == STRATA_OK ? parse_vhost(path, out, err) : rc;
}
