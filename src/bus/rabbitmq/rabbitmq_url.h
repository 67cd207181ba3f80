/* rabbitmq_url.h - "amqp://[user:password@]host[:port][/vhost]" taken apart; amqps is the same over TLS.
 *
 * host may be [an IPv6 address]; empty is 127.0.0.1.  Each part is percent-decoded after it was cut out.  No vhost, or an empty one, is
 * "/".  Pure.  No error ever quotes what may be a password. */
#ifndef STRATA_BUS_RABBITMQ_URL_H
#define STRATA_BUS_RABBITMQ_URL_H
#include <stdint.h>

#include "strata/error.h"

#define RABBITMQ_URL_DEFAULT "amqp://guest:guest@127.0.0.1:5672"

/* Texts point into what was parsed, or are static. */
struct rabbitmq_url {
    int tls;
    const char *host, *vhost;
    const char *user, *password; /* "guest" both where it has none */
    uint32_t port;
};

/* `text` is cut and decoded in place, and must live as long as *out.  STRATA_OK, STRATA_EINVAL. */
int strata__rabbitmq_url_parse(char *text, struct rabbitmq_url *out, strata_error *err);

#endif /* STRATA_BUS_RABBITMQ_URL_H */
