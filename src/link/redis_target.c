/* redis_target.c - see redis_target.h. */
#include "src/link/redis_target.h"

#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"

/* One that is set, and means nothing without TLS; NULL: none. */
static const char *stray(const struct redis_tls_options *o)
{
    return o->ca_file != NULL       ? "tls_ca_file"
           : o->ca_dir != NULL      ? "tls_ca_dir"
           : o->cert_file != NULL   ? "tls_cert_file"
           : o->key_file != NULL    ? "tls_key_file"
           : o->server_name != NULL ? "tls_server_name"
           : !o->verify             ? "tls_verify"
                                    : NULL;
}

int strata__redis_tls_check(const struct redis_url *url, const struct redis_tls_options *o, strata_error *err)
{
    const char *option = stray(o);
    if (!url->tls && option != NULL)
        return strata__fail(err, STRATA_EINVAL, option,
                            "%s is set, and url is none of TLS: write rediss:// instead of redis://, or take it out",
                            option);
    if (url->tls && strata__redis_built_in() && !strata__redis_tls_built_in())
        return strata__fail(err, STRATA_EUNSUPPORTED, "url",
                            "this build of strata has no OpenSSL, so no rediss://: build it with -DSTRATA_WITH_TLS=ON");
    if ((o->cert_file != NULL) != (o->key_file != NULL))
        return strata__fail(err, STRATA_EINVAL, o->cert_file != NULL ? "tls_key_file" : "tls_cert_file",
                            "a certificate of ours needs both tls_cert_file and tls_key_file: set the other, too");
    return STRATA_OK;
}

static size_t size_of(const char *text) { return text != NULL ? strlen(text) + 1 : 0; }

static char *keep(char **at, const char *text)
{
    if (text == NULL)
        return NULL;
    char *copy = memcpy(*at, text, size_of(text));
    *at += size_of(text);
    return copy;
}

/* Copies every text; `*out_url` is that of the URL, to be cut up.  0: no memory. */
static int keep_texts(struct redis_target *t, const struct redis_target_options *o, char **out_url)
{
    const char *url = o->url != NULL ? o->url : REDIS_URL_DEFAULT;
    char *at = t->texts = strata__alloc(NULL, size_of(url) + size_of(o->sentinel_user) + size_of(o->sentinel_password) +
                                                  size_of(o->tls_ca_file) + size_of(o->tls_ca_dir) +
                                                  size_of(o->tls_cert_file) + size_of(o->tls_key_file) +
                                                  size_of(o->tls_server_name));
    if (at == NULL)
        return 0;
    *out_url = keep(&at, url);
    t->sentinel_user = keep(&at, o->sentinel_user);
    t->sentinel_password = keep(&at, o->sentinel_password);
    t->secure = (struct redis_tls_options){ .ca_file = keep(&at, o->tls_ca_file),
                                            .ca_dir = keep(&at, o->tls_ca_dir),
                                            .cert_file = keep(&at, o->tls_cert_file),
                                            .key_file = keep(&at, o->tls_key_file),
                                            .server_name = keep(&at, o->tls_server_name),
                                            .verify = o->tls_verify != STRATA_OFF };
    return 1;
}

int strata__redis_target_init(struct redis_target *t, const struct redis_target_options *options, strata_error *err)
{
    char *url;
    memset(t, 0, sizeof *t);
    if (!keep_texts(t, options, &url))
        return strata__fail(err, STRATA_ENOMEM, "url", "no memory for url and paths: free some");
    int rc = strata__redis_url_parse(url, &t->url, err);
    if (rc != STRATA_OK)
        return rc;
    if (t->sentinel_user != NULL && t->sentinel_password == NULL)
        return strata__fail(err, STRATA_EINVAL, "sentinel_user",
                            "a user without a password: set sentinel_password, too");
    if (t->sentinel_password != NULL && t->url.topology != REDIS_SENTINEL)
        return strata__fail(err, STRATA_EINVAL, "sentinel_password",
                            "there are no Sentinels: write \"redis+sentinel://a:26379,b:26379/master\" into url");
    return strata__redis_tls_check(&t->url, &t->secure, err);
}

void strata__redis_target_deinit(struct redis_target *t)
{
    strata__free(NULL, t->texts);
    t->texts = NULL;
}

int strata__redis_target_open(struct redis_target *t, const char *name, strata_error *err)
{
    struct redis_tls_options options = t->secure;
    options.name = name;
    return t->url.tls && strata__redis_built_in() ? strata__redis_tls_open(&t->tls, &options, err) : STRATA_OK;
}

void strata__redis_target_close(struct redis_target *t)
{
    strata__redis_tls_free(t->tls);
    t->tls = NULL;
}

struct redis_link_options strata__redis_target_link(const struct redis_target *t)
{
    return (struct redis_link_options){ .topology = t->url.topology,
                                        .hosts = t->url.hosts,
                                        .host_count = t->url.host_count,
                                        .master_name = t->url.master_name,
                                        .sentinel_user = t->sentinel_user,
                                        .sentinel_password = t->sentinel_password,
                                        .host = t->url.host,
                                        .socket_path = t->url.socket_path,
                                        .port = t->url.port,
                                        .user = t->url.user,
                                        .password = t->url.password,
                                        .tls = t->tls,
                                        .database = t->url.database };
}
