/* strata/error.h - what a call answers: a number, and words if they are wanted.  Part of the stable API. */
#ifndef STRATA_ERROR_H
#define STRATA_ERROR_H
#include "strata/base.h"
STRATA_BEGIN_DECLS

/* X(name, number, sentence).  0 is done, > 0 is news that is no error, < 0 is an error.
 * Numbers are frozen once released. */
#define STRATA_STATUS_MAP(X)                                                                           \
    X(OK, 0, "done")                                                                                   \
    X(MISS, 1, "no layer holds the key")                                                               \
    X(STALE, 2, "a value past its freshness was served")                                               \
    X(PENDING, 3, "accepted, and not finished yet")                                                    \
    X(AGAIN, 4, "not now: try again later")                                                            \
    X(ABSENT, 5, "the origin says that there is no such thing")                                        \
    X(EINVAL, -1, "an argument or option is wrong")                                                    \
    X(ENOMEM, -2, "out of memory")                                                                     \
    X(ECLOSED, -3, "the cache is closed")                                                              \
    X(EFORKED, -4, "the cache was opened before fork(): call strata_reopen() in the child")            \
    X(ETIMEDOUT, -5, "a time limit passed")                                                            \
    X(ELOADER, -6, "the loader failed, or returned without a result")                                  \
    X(EALREADY, -7, "the load was completed before")                                                   \
    X(EDEADLOCK, -8, "the key is being loaded by the loader that asks for it")                         \
    X(EBUSY, -9, "a bounded queue or table is full")                                                   \
    X(EKEYSIZE, -10, "the key is empty or longer than max_key_bytes")                                  \
    X(EVALUESIZE, -11, "the value is larger than max_value_bytes")                                     \
    X(EUNSUPPORTED, -12, "not built in, or not offered by this layer")                                 \
    X(ELAYER, -13, "a layer failed")                                                                   \
    X(EIO, -14, "an input or output error")                                                            \
    X(ECANCELED, -15, "cancelled")                                                                     \
    X(ECODEC, -16, "a codec could not encode or decode the value")                                     \
    X(EEXIST, -17, "it exists already")                                                                \
    X(EBREAKER, -18, "loads failed too often in a row: a breaker keeps the loader from being called")    \
    X(ECONFLICT, -19, "something else is there than the write was to replace")                           \
    X(ELIMIT, -20, "a limit of loads is reached, and this one may not wait, or no longer")

#define STRATA_STATUS_CONSTANT_(name, number, sentence) STRATA_##name = number,
/** Statuses.  Functions return them as int. */
enum { STRATA_STATUS_MAP(STRATA_STATUS_CONSTANT_) STRATA_STATUS_END_ = 1000 };
#undef STRATA_STATUS_CONSTANT_

/** Words for what went wrong.  Owned by the caller, on the stack; valid when a call returned < 0. */
typedef struct strata_error {
    int status;        /**< the same number as the call returned */
    int os_errno;      /**< errno of the system call behind it, or 0 */
    char where[64];    /**< which part: "memory", "loader", "url", "key", an option's name */
    char message[256]; /**< what happened and what to do, one line, always NUL-terminated */
} strata_error;

/** An error without content. */
#define STRATA_ERROR_INIT { 0, 0, { 0 }, { 0 } }

/** The sentence of a status, "no layer holds the key".  Static text, never NULL. */
STRATA_API const char *strata_status_text(int status);

/** The name of a status, "MISS" or "EINVAL"; "UNKNOWN" for others.  Static text, never NULL. */
STRATA_API const char *strata_status_name(int status);

STRATA_END_DECLS
#endif /* STRATA_ERROR_H */
