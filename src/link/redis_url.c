/* redis_url.c - see redis_url.h. */
#include "src/link/redis_url.h"

#include <string.h>

#include "src/base/err.h"
#include "src/base/percent.h"

#define WHERE "url"
enum { REDIS_PORT = 6379, SENTINEL_PORT = 26379 };
#define EXAMPLE "\"redis://:password@host:6379/0\""

/* Digits alone, at most `most`. */
static int read_number(const char *text, uint32_t most, uint32_t *out)
{
    uint64_t n = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && n <= most; at++)
        n = n * 10 + (uint64_t)(*at - '0');
    if (at == text || *at != '\0' || n > most)
        return 0;
    *out = (uint32_t)n;
    return 1;
}

static int parse_user(char *text, struct redis_url *out, strata_error *err)
{
    char *password = strchr(text, ':');
    if (password == NULL)
        return strata__fail(
            err, STRATA_EINVAL, WHERE,
            "there is no ':' before the '@', so that a password cannot be told from a user: write " EXAMPLE
            " or \"redis://user:password@host\"");
    *password++ = '\0';
    int rc = strata__percent_decode_part(text, "the user", err);
    if (rc == STRATA_OK)
        rc = strata__percent_decode_part(password, "the password", err);
    if (rc == STRATA_OK && password[0] == '\0')
        rc = strata__fail(err, STRATA_EINVAL, WHERE, "the password is empty: write " EXAMPLE ", or take the '@' out");
    out->user = text[0] != '\0' ? text : NULL;
    out->password = password;
    return rc;
}

/* Cut off at the last '@' before the path: a password that was not encoded may contain others. */
static int take_user(char **text, struct redis_url *out, strata_error *err)
{
    char *path = strchr(*text, '/');
    char *at = strrchr(*text, '@');
    if (at == NULL)
        return STRATA_OK;
    if (path != NULL && path < at)
        return strata__fail(
            err, STRATA_EINVAL, WHERE,
            "there is a '/' before the '@': write it as %%2F in a password, and an '@' in a path as %%40");
    *at = '\0';
    int rc = parse_user(*text, out, err);
    *text = at + 1;
    return rc;
}

/* out->port is set, to the default. */
static int parse_host(char *text, struct redis_host *out, strata_error *err)
{
    char *port = strrchr(text, ':');
    if (text[0] == '[') {
        char *end = strchr(++text, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return strata__fail(err, STRATA_EINVAL, WHERE,
                                "an address in brackets ends with ']' or \"]:port\": write \"redis://[::1]:6379\"");
        port = end[1] == ':' ? end + 1 : NULL;
        *end = '\0';
    } else if (port != NULL && strchr(text, ':') != port) {
        return strata__fail(err, STRATA_EINVAL, WHERE,
                            "the host has several ':': write an IPv6 address in brackets, as \"redis://[::1]:6379\"");
    }
    if (port != NULL) {
        *port++ = '\0';
        if (!read_number(port, 65535, &out->port) || out->port == 0)
            return strata__fail(err, STRATA_EINVAL, WHERE,
                                "the port is no number from 1 to 65535: write \"redis://host:6379\"; a ':' or '@' of a "
                                "password is written as %%3A, %%40");
    }
    int rc = strata__percent_decode_part(text, "the host", err);
    out->host = text[0] != '\0' ? text : "127.0.0.1";
    return rc;
}

static int parse_database(const char *text, struct redis_url *out, strata_error *err)
{
    if (text == NULL || text[0] == '\0' || read_number(text, INT32_MAX, &out->database))
        return STRATA_OK;
    return strata__fail(err, STRATA_EINVAL, WHERE,
                        "what follows the last '/' is no number of a database: write " EXAMPLE);
}

/* Cuts `text` at its first '/': what follows, or NULL. */
static char *cut_path(char *text)
{
    char *path = strchr(text, '/');
    if (path != NULL)
        *path++ = '\0';
    return path;
}

static int parse_tcp(char *text, struct redis_url *out, strata_error *err)
{
    struct redis_host one = { NULL, REDIS_PORT };
    int rc = take_user(&text, out, err);
    if (rc != STRATA_OK)
        return rc;
    rc = parse_database(cut_path(text), out, err);
    if (rc == STRATA_OK && strchr(text, ',') != NULL)
        rc = strata__fail(err, STRATA_EINVAL, WHERE,
                          "several hosts belong to a Cluster, \"redis+cluster://a:6379,b:6379\", or are Sentinels, "
                          "\"redis+sentinel://a:26379,b:26379/master\"");
    if (rc == STRATA_OK)
        rc = parse_host(text, &one, err);
    out->host = one.host;
    out->port = one.port;
    return rc;
}

static int parse_hosts(char *text, uint32_t port, struct redis_url *out, strata_error *err)
{
    int rc = STRATA_OK;
    while (rc == STRATA_OK && text != NULL) {
        char *next = strchr(text, ',');
        if (next != NULL)
            *next++ = '\0';
        if (out->host_count == REDIS_URL_HOSTS)
            return strata__fail(err, STRATA_EINVAL, WHERE, "there are more than %d hosts: a few of them will do",
                                REDIS_URL_HOSTS);
        if (text[0] == '\0' && (next != NULL || out->host_count != 0))
            return strata__fail(err, STRATA_EINVAL, WHERE, "there is nothing on one side of a ',': write \"a:1,b:2\"");
        struct redis_host *host = &out->hosts[out->host_count++];
        host->port = port;
        rc = parse_host(text, host, err);
        text = next;
    }
    return rc;
}

static int check_database(const struct redis_url *url, strata_error *err)
{
    if (url->database == 0)
        return STRATA_OK;
    return strata__fail(err, STRATA_EINVAL, WHERE,
                        "a Cluster has no database but 0: take the number away, and tell caches apart by their prefix");
}

static int parse_cluster(char *text, struct redis_url *out, strata_error *err)
{
    out->topology = REDIS_CLUSTER;
    int rc = take_user(&text, out, err);
    if (rc == STRATA_OK)
        rc = parse_database(cut_path(text), out, err);
    if (rc == STRATA_OK)
        rc = check_database(out, err);
    return rc == STRATA_OK ? parse_hosts(text, REDIS_PORT, out, err) : rc;
}

static int parse_sentinel(char *text, struct redis_url *out, strata_error *err)
{
    out->topology = REDIS_SENTINEL;
    int rc = take_user(&text, out, err);
    char *name = rc == STRATA_OK ? cut_path(text) : NULL;
    if (rc == STRATA_OK && (name == NULL || name[0] == '\0' || name[0] == '/'))
        rc = strata__fail(err, STRATA_EINVAL, WHERE,
                          "there is no name of a master behind the Sentinels: write "
                          "\"redis+sentinel://a:26379,b:26379/master\", as in their \"sentinel monitor\"");
    if (rc == STRATA_OK)
        rc = parse_database(cut_path(name), out, err);
    if (rc == STRATA_OK)
        rc = strata__percent_decode_part(name, "the master's name", err);
    out->master_name = name;
    return rc == STRATA_OK ? parse_hosts(text, SENTINEL_PORT, out, err) : rc;
}

static int parse_unix(char *text, struct redis_url *out, strata_error *err)
{
    int rc = take_user(&text, out, err);
    if (rc == STRATA_OK && text[0] != '/')
        rc = strata__fail(err, STRATA_EINVAL, WHERE,
                          "a socket's path begins with '/': write \"unix:///run/redis/redis.sock\"");
    if (rc == STRATA_OK)
        rc = strata__percent_decode_part(text, "the path", err);
    out->socket_path = text;
    return rc;
}

static const struct scheme {
    const char *name;
    int (*parse)(char *text, struct redis_url *out, strata_error *err);
    int tls;
} schemes[] = {
    { "redis", parse_tcp, 0 },
    { "unix", parse_unix, 0 },
    { "redis+cluster", parse_cluster, 0 },
    { "redis-cluster", parse_cluster, 0 },
    { "redis+sentinel", parse_sentinel, 0 },
    { "redis-sentinel", parse_sentinel, 0 },
    { "rediss", parse_tcp, 1 },
    { "rediss+cluster", parse_cluster, 1 },
    { "rediss+sentinel", parse_sentinel, 1 },
};

static int refuse_scheme(strata_error *err)
{
    return strata__fail(err, STRATA_EINVAL, WHERE,
                        "a Redis URL begins with redis://, rediss:// or unix://: write " EXAMPLE
                        " or \"unix:///run/redis/redis.sock\"; or with redis+cluster:// or redis+sentinel://");
}

static const struct scheme *find_scheme(const char *name)
{
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (strcmp(schemes[i].name, name) == 0)
            return &schemes[i];
    return NULL;
}

int strata__redis_url_parse(char *text, struct redis_url *out, strata_error *err)
{
    memset(out, 0, sizeof *out);
    out->port = REDIS_PORT;
    char *rest = strchr(text, ':');
    if (rest == NULL)
        return refuse_scheme(err);
    *rest++ = '\0';
    const struct scheme *scheme = find_scheme(text);
    if (scheme == NULL)
        return refuse_scheme(err);
    if (strchr(rest, '?') != NULL)
        return strata__fail(err, STRATA_EINVAL, WHERE,
                            "there is a '?': options have fields of their own; one in a password is written as %%3F");
    if (strncmp(rest, "//", 2) == 0)
        rest += 2;
    else if (scheme->parse != parse_unix && rest[0] != '\0')
        return refuse_scheme(err);
    out->tls = scheme->tls;
    return scheme->parse(rest, out, err);
}

int strata__redis_url_cluster(struct redis_url *url, strata_error *err)
{
    if (url->topology == REDIS_CLUSTER)
        return STRATA_OK;
    if (url->topology != REDIS_ALONE || url->socket_path != NULL)
        return strata__fail(
            err, STRATA_EINVAL, "cluster",
            "the nodes of a Cluster have hosts and ports: write \"redis+cluster://a:6379,b:6379\" into url");
    url->topology = REDIS_CLUSTER;
    url->hosts[0] = (struct redis_host){ url->host, url->port };
    url->host_count = 1;
    url->host = NULL;
    return check_database(url, err);
}
