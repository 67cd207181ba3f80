/* redis_url.h - the URL of one server, taken apart.
 *
 *   redis://[[user]:password@]host[:port][/database]        host may be [an IPv6 address]; empty is 127.0.0.1
 *   unix://[[user]:password@]/path/to/socket
 *
 * Each part is percent-decoded after it was cut out, so that a password may hold every character.  Pure.  No error ever
 * quotes what may be a password. */
#ifndef STRATA_LAYER_REDIS_URL_H
#define STRATA_LAYER_REDIS_URL_H
#include <stdint.h>

#include "strata/error.h"

#define REDIS_URL_DEFAULT "redis://127.0.0.1:6379"

/* Texts point into what was parsed, or are static. */
struct redis_url {
    const char *host;        /* or NULL, and */
    const char *socket_path; /* this */
    const char *user;        /* NULL none */
    const char *password;    /* NULL none */
    uint32_t port;
    uint32_t database;
};

/* `text` is cut and decoded in place, and must live as long as *out.  STRATA_OK; STRATA_EINVAL; STRATA_EUNSUPPORTED (TLS,
 * Sentinel, Cluster). */
int strata__redis_url_parse(char *text, struct redis_url *out, strata_error *err);

#endif /* STRATA_LAYER_REDIS_URL_H */
