/* nats_url.h - where NATS servers are, taken apart.
 *
 *   nats://[[user:]password@]host[:port][,host[:port]...][/]    without ':' before the '@' it is a token
 *
 * tls instead of nats: over TLS.  Each part is percent-decoded after it was cut out.  Pure.  No error ever quotes what may be a
 * password. */
#ifndef STRATA_BUS_NATS_URL_H
#define STRATA_BUS_NATS_URL_H
#include <stddef.h>
#include <stdint.h>

#include "strata/error.h"

#define NATS_URL_DEFAULT "nats://127.0.0.1:4222"

enum { NATS_URL_HOSTS = 32, NATS_HOST_BYTES = 255 };

struct nats_host {
    const char *host;
    uint32_t port;
};

/* Texts point into what was parsed, or are static. */
struct nats_url {
    int tls;
    const char *user; /* NULL none; with password */
    const char *password;
    const char *token;
    size_t host_count; /* at least 1 */
    struct nats_host hosts[NATS_URL_HOSTS];
};

/* `text` is cut and decoded in place, and must live as long as *out.  STRATA_OK, STRATA_EINVAL. */
int strata__nats_url_parse(char *text, struct nats_url *out, strata_error *err);
/* "host:port" or "[::1]:port", in place. */
int strata__nats_host_parse(char *text, struct nats_host *out, strata_error *err);

#endif /* STRATA_BUS_NATS_URL_H */
