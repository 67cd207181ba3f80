/* redis_secure.c - the options of TLS: for a URL that begins with rediss, and for no other. */
#include "src/base/err.h"
#include "src/layer/redis/redis_layer_impl.h"

/* One that is set, and means nothing without TLS; NULL: none. */
static const char *stray(const strata_redis_options *o)
{
    return o->tls_ca_file != NULL        ? "tls_ca_file"
           : o->tls_ca_dir != NULL       ? "tls_ca_dir"
           : o->tls_cert_file != NULL    ? "tls_cert_file"
           : o->tls_key_file != NULL     ? "tls_key_file"
           : o->tls_server_name != NULL  ? "tls_server_name"
           : o->tls_verify == STRATA_OFF ? "tls_verify"
                                         : NULL;
}

int strata__redis_secure_check(const struct redis_layer *r, strata_error *err)
{
    const strata_redis_options *o = &r->options;
    const char *option = stray(o);
    if (!r->url.tls && option != NULL)
        return strata__fail(err, STRATA_EINVAL, option,
                            "%s is set, and url is none of TLS: write rediss:// instead of redis://, or take it out",
                            option);
    if (r->url.tls && strata__redis_built_in() && !strata__redis_tls_built_in())
        return strata__fail(err, STRATA_EUNSUPPORTED, "url",
                            "this build of strata has no OpenSSL, so no rediss://: build it with -DSTRATA_WITH_TLS=ON");
    if ((o->tls_cert_file != NULL) != (o->tls_key_file != NULL))
        return strata__fail(err, STRATA_EINVAL, o->tls_cert_file != NULL ? "tls_key_file" : "tls_cert_file",
                            "a certificate of ours needs both tls_cert_file and tls_key_file: set the other, too");
    return STRATA_OK;
}

int strata__redis_secure_open(struct redis_layer *r, strata_error *err)
{
    const strata_redis_options *o = &r->options;
    const struct redis_tls_options options = { .name = r->base.name,
                                               .ca_file = o->tls_ca_file,
                                               .ca_dir = o->tls_ca_dir,
                                               .cert_file = o->tls_cert_file,
                                               .key_file = o->tls_key_file,
                                               .server_name = o->tls_server_name,
                                               .verify = o->tls_verify != STRATA_OFF };
    return r->url.tls && strata__redis_built_in() ? strata__redis_tls_open(&r->tls, &options, err) : STRATA_OK;
}
