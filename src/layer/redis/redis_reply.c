/* redis_reply.c - see redis_reply.h. */
#include "src/layer/redis/redis_reply.h"

#include <string.h>

#include "src/base/err.h"

/* What an error reply begins with, and what there is to do. */
static const struct {
    const char *code, *advice;
} advices[] = {
    { "WRONGTYPE", "another program keeps something else there: give the cache a prefix of its own" },
    { "OOM", "raise the server's maxmemory, or let it evict (maxmemory-policy)" },
    { "READONLY", "it is a replica: write the primary's address into url" },
    { "LOADING", "it reads its data after a start: wait" },
    { "MASTERDOWN", "it is a replica without its primary: write the primary's address into url" },
    { "MISCONF", "it cannot save its data: look at the server's log and disk" },
    { "NOREPLICAS", "it has too few replicas that are well (min-replicas-to-write)" },
    { "NOAUTH", "write the password into url" },
    { "WRONGPASS", "write the right password into url" },
    { "NOPERM", "let the user do this (ACL SETUSER), with the keys of the prefix" },
    { "MOVED", "it belongs to a cluster, which is not supported yet: use a server that stands alone" },
    { "ASK", "it belongs to a cluster, which is not supported yet: use a server that stands alone" },
    { "CLUSTERDOWN", "it belongs to a cluster, which is not supported yet: use a server that stands alone" },
    { "CROSSSLOT", "it belongs to a cluster, which is not supported yet: use a server that stands alone" },
    { "TRYAGAIN", "it belongs to a cluster, which is not supported yet: use a server that stands alone" },
    { "ERR unknown command", "a server before 4.0, or one with renamed commands; for UNLINK there is use_del" },
    { "BUSY", "a script of another program keeps it busy: look at the server" },
};

static const char *advice_of(strata_slice text)
{
    for (size_t i = 0; i < sizeof advices / sizeof advices[0]; i++) {
        size_t length = strlen(advices[i].code);
        if (text.size >= length && memcmp(text.data, advices[i].code, length) == 0 &&
            (text.size == length || ((const char *)text.data)[length] == ' '))
            return advices[i].advice;
    }
    return "look at the server";
}

/* It answers everything so: as good as away. */
static int serves_nobody(strata_slice text)
{
    static const char *const codes[] = { "LOADING ", "BUSY ", "MASTERDOWN ", "CLUSTERDOWN " };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (text.size >= strlen(codes[i]) && memcmp(text.data, codes[i], strlen(codes[i])) == 0)
            return 1;
    return 0;
}

int strata__redis_refused(const char *name, const char *command, strata_slice text, strata_error *err)
{
    enum { SHOWN = 90 }; /* so that the advice fits behind it */
    int status = serves_nobody(text) ? STRATA_EIO : STRATA_ELAYER;
    return strata__fail(err, status, name, "%s was refused: \"%.*s\": %s", command,
                        (int)(text.size < SHOWN ? text.size : SHOWN), (const char *)text.data, advice_of(text));
}

size_t strata__redis_glob_prefix(strata_slice prefix, char *out)
{
    const char *bytes = prefix.data;
    size_t used = 0;
    for (size_t i = 0; i < prefix.size; i++) {
        /* Not memchr on a text: a key may hold NULs, and they are none of these. */
        if (bytes[i] != '\0' && strchr("*?[]^-\\", bytes[i]) != NULL)
            out[used++] = '\\';
        out[used++] = bytes[i];
    }
    out[used++] = '*';
    return used;
}

int64_t strata__redis_ttl_ms(int64_t expires_ms, int64_t now_ms)
{
    int64_t left;
    if (expires_ms == STRATA_FOREVER)
        return STRATA_FOREVER;
    if (__builtin_sub_overflow(expires_ms, now_ms, &left))
        return expires_ms > now_ms ? STRATA_FOREVER : 0;
    /* The server adds its clock, and refuses what overflows then; nobody will miss the end of what lasts so long. */
    return left <= 0 ? 0 : left >= INT64_MAX / 2 ? STRATA_FOREVER : left;
}
