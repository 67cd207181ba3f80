/* redis_words.c - see redis_words.h. */
#include "src/layer/redis/redis_words.h"

#include <string.h>

#include "src/base/err.h"

/* What an error reply begins with, and what there is to do. */
struct refusal {
    const char *code, *advice;
    int status;
};

#define CLUSTER_ADVICE "a node of a Cluster: write redis+cluster:// into url; if that is there, look at CLUSTER NODES"

static const struct refusal refusals[] = {
    { "WRONGTYPE", "another program keeps something else there: give the cache a prefix of its own", STRATA_ELAYER },
    { "OOM", "raise the server's maxmemory, or let it evict (maxmemory-policy)", STRATA_ELAYER },
    { "NOPERM", "let the user do this (ACL SETUSER), with the keys of the prefix", STRATA_ELAYER },
    { "READONLY", "it is a replica: write the primary's address into url", STRATA_ELAYER },
    { "LOADING", "it reads its data after a start: wait", STRATA_EIO },
    { "MASTERDOWN", "it is a replica without its primary: write the primary's address into url", STRATA_EIO },
    { "MISCONF", "it cannot save its data: look at the server's log and disk", STRATA_ELAYER },
    { "NOREPLICAS", "it has too few replicas that are well (min-replicas-to-write)", STRATA_ELAYER },
    { "NOAUTH", "write the password into url", STRATA_ELAYER },
    { "WRONGPASS", "write the right password into url", STRATA_ELAYER },
    { "MOVED", CLUSTER_ADVICE, STRATA_ELAYER },
    { "ASK", CLUSTER_ADVICE, STRATA_ELAYER },
    { "CLUSTERDOWN", "the cluster has no primary for some slots: look at CLUSTER INFO and CLUSTER NODES", STRATA_EIO },
    { "CROSSSLOT", CLUSTER_ADVICE, STRATA_ELAYER },
    { "TRYAGAIN", "its slot is just being moved to another node: try again", STRATA_ELAYER },
    { "ERR unknown command", "an old server, or renamed commands; for UNLINK there is use_del", STRATA_ELAYER },
    { "BUSY", "a script of another program keeps it busy: look at the server", STRATA_EIO },
};

static const struct refusal *find_refusal(strata_slice text)
{
    static const struct refusal other = { "", "look at the server", STRATA_ELAYER };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        size_t length = strlen(refusals[i].code);
        if (text.size >= length && memcmp(text.data, refusals[i].code, length) == 0 &&
            (text.size == length || ((const char *)text.data)[length] == ' '))
            return &refusals[i];
    }
    return &other;
}

strata_slice strata__redis_of_script(strata_slice text)
{
    static const char old[] = "ERR Error running script", place[] = "@user_script: ";
    const char *bytes = text.data;
    size_t from = 0;
    if (text.size < sizeof old - 1 || memcmp(bytes, old, sizeof old - 1) != 0)
        return text;
    for (size_t i = 0; i + sizeof place - 1 <= text.size; i++)
        if (memcmp(bytes + i, place, sizeof place - 1) == 0)
            from = i + sizeof place - 1;
    size_t at = from;
    while (from != 0 && at < text.size && bytes[at] >= '0' && bytes[at] <= '9')
        at++;
    if (at == from || text.size - at < 3 || memcmp(bytes + at, ": ", 2) != 0)
        return text;
    at += 2;
    at += bytes[at] == '-';
    return strata_bytes(bytes + at, text.size - at);
}

int strata__redis_refused(const char *name, const char *command, strata_slice text, strata_error *err)
{
    enum { SHOWN = 90 }; /* so that the advice fits behind it */
    text = strata__redis_of_script(text);
    const struct refusal *known = find_refusal(text);
    return strata__fail(err, known->status, name, "%s was refused: \"%.*s\": %s", command,
                        (int)(text.size < SHOWN ? text.size : SHOWN), (const char *)text.data, known->advice);
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
