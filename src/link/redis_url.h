/* redis_url.h - the URL of a server, of a Cluster or of what Sentinels watch over, taken apart.
 *
 *   redis://[[user]:password@]host[:port][/database]        host may be [an IPv6 address]; empty is 127.0.0.1
 *   unix://[[user]:password@]/path/to/socket
 *   redis+cluster://[[user]:password@]host[:port][,host[:port]...][/]       nodes to ask for the map of slots
 *   redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/master[/database]
 *                                                           Sentinels; user and password are the master's
 *
 * rediss instead of redis: over TLS.
 * Each part is percent-decoded after it was cut out, so that a password may hold every character.  Pure.  No error ever
 * quotes what may be a password. */
#ifndef STRATA_LINK_REDIS_URL_H
#define STRATA_LINK_REDIS_URL_H
#include <stdint.h>

#include "src/link/redis_link.h"
#include "strata/error.h"

#define REDIS_URL_DEFAULT "redis://127.0.0.1:6379"

enum { REDIS_URL_HOSTS = 32 };

/* Texts point into what was parsed, or are static. */
struct redis_url {
    enum redis_topology topology;
    int tls;                 /* the scheme's first part is rediss */
    const char *host;        /* REDIS_ALONE: this, or NULL, and */
    const char *socket_path; /* this */
    const char *user;        /* NULL none */
    const char *password;    /* NULL none */
    const char *master_name; /* REDIS_SENTINEL */
    uint32_t port;           /* of host */
    uint32_t database;
    size_t host_count; /* 0 for REDIS_ALONE */
    struct redis_host hosts[REDIS_URL_HOSTS];
};

/* `text` is cut and decoded in place, and must live as long as *out.  STRATA_OK; STRATA_EINVAL; */
int strata__redis_url_parse(char *text, struct redis_url *out, strata_error *err);
/* Its server is a node of a Cluster, says somebody else.  STRATA_OK, STRATA_EINVAL. */
int strata__redis_url_cluster(struct redis_url *url, strata_error *err);

#endif /* STRATA_LINK_REDIS_URL_H */
