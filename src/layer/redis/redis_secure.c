/* redis_secure.c - the options of TLS: for a URL that begins with rediss, and for no other. */
#include "src/layer/redis/redis_layer_impl.h"
#include "src/link/redis_target.h"

static struct redis_tls_options tls_options(const struct redis_layer *r)
{
    const strata_redis_options *o = &r->options;
    return (struct redis_tls_options){ .name = r->base.name,
                                       .ca_file = o->tls_ca_file,
                                       .ca_dir = o->tls_ca_dir,
                                       .cert_file = o->tls_cert_file,
                                       .key_file = o->tls_key_file,
                                       .server_name = o->tls_server_name,
                                       .verify = o->tls_verify != STRATA_OFF };
}

int strata__redis_secure_check(const struct redis_layer *r, strata_error *err)
{
    const struct redis_tls_options options = tls_options(r);
    return strata__redis_tls_check(&r->url, &options, err);
}

int strata__redis_secure_open(struct redis_layer *r, strata_error *err)
{
    const struct redis_tls_options options = tls_options(r);
    return r->url.tls && strata__redis_built_in() ? strata__redis_tls_open(&r->tls, &options, err) : STRATA_OK;
}
