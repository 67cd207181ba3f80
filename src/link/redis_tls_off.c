/* redis_tls_off.c - built where OpenSSL is not: nothing can be opened, and the words say which cmake option brings it. */
#include "src/base/err.h"
#include "src/link/redis_tls.h"

int strata__redis_tls_built_in(void) { return 0; }

int strata__redis_tls_open(struct redis_tls **out, const struct redis_tls_options *options, strata_error *err)
{
    *out = NULL;
    return strata__fail(err, STRATA_EUNSUPPORTED, options->name,
                        "this build of strata has no OpenSSL, so no rediss://: build it with -DSTRATA_WITH_TLS=ON");
}

static void never(const void *session)
{
    if (session != NULL)
        STRATA_BUG("a TLS session in a build without OpenSSL");
}

void strata__redis_tls_free(struct redis_tls *tls) { never(tls); }

struct redis_session *strata__redis_session_new(const struct redis_tls *tls, const strata_allocator *mem,
                                                const char *host)
{
    (void)mem;
    (void)host;
    never(tls);
    return NULL;
}

void strata__redis_session_free(struct redis_session *s) { never(s); }

int strata__redis_session_is_whole(struct redis_session *s)
{
    never(s);
    return 1;
}

int strata__redis_session_shake(struct redis_session *s, int fd, short *out_events)
{
    (void)fd;
    *out_events = 0;
    never(s);
    return 0;
}

int strata__redis_session_seal(struct redis_session *s, struct redis_buffer *buffer)
{
    (void)buffer;
    never(s);
    return 0;
}

int strata__redis_session_owes(const struct redis_session *s)
{
    never(s);
    return 0;
}

int strata__redis_session_read(struct redis_session *s, int fd, char *out, size_t size, size_t *out_got, int *out_more)
{
    (void)fd;
    (void)out;
    (void)size;
    *out_got = 0;
    *out_more = 0;
    never(s);
    return 0;
}

void strata__redis_session_goodbye(struct redis_session *s, int fd)
{
    (void)fd;
    never(s);
}

const char *strata__redis_session_why(const struct redis_session *s)
{
    never(s);
    return "";
}
