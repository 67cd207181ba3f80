/* redis_target.h - which server a bus talks to, and how: a URL, the options of TLS and the Sentinels' password, checked and kept
 * for as long as links are open to it.
 *
 * The Redis layer has its own copies of these options and shares the check alone. */
#ifndef STRATA_LINK_REDIS_TARGET_H
#define STRATA_LINK_REDIS_TARGET_H
#include "src/link/redis_link.h"
#include "src/link/redis_tls.h"
#include "src/link/redis_url.h"

/* As the fields of that name in strata_redis_options; NULL and 0 take the defaults. */
struct redis_target_options {
    const char *url;
    const char *sentinel_user, *sentinel_password;
    const char *tls_ca_file, *tls_ca_dir, *tls_cert_file, *tls_key_file, *tls_server_name;
    int32_t tls_verify;
};

struct redis_target {
    struct redis_url url;            /* points into `texts` */
    struct redis_tls_options secure; /* its texts, too */
    const char *sentinel_user, *sentinel_password;
    char *texts;
    struct redis_tls *tls; /* NULL: none, or not open */
};

/* Are these options of TLS for this URL?  STRATA_OK; STRATA_EINVAL, STRATA_EUNSUPPORTED with words that name the option. */
int strata__redis_tls_check(const struct redis_url *url, const struct redis_tls_options *o, strata_error *err);

/* Takes the URL apart, checks, and copies.  STRATA_OK; STRATA_EINVAL, STRATA_EUNSUPPORTED, STRATA_ENOMEM; deinit() in any case. */
int strata__redis_target_init(struct redis_target *t, const struct redis_target_options *options, strata_error *err);
void strata__redis_target_deinit(struct redis_target *t);
/* Reads the certificates; `name` is that of the bus, for words.  STRATA_OK, < 0 with words. */
int strata__redis_target_open(struct redis_target *t, const char *name, strata_error *err);
/* Once no link is open to it.  In a child after fork: forget t->tls instead, another thread may have held its locks. */
void strata__redis_target_close(struct redis_target *t);
/* What a link to it is opened with; the caller adds the rest: name, connections, times, bounds, callbacks, mem. */
struct redis_link_options strata__redis_target_link(const struct redis_target *t);

#endif /* STRATA_LINK_REDIS_TARGET_H */
