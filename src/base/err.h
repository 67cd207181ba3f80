/* err.h - filling a caller's strata_error. */
#ifndef STRATA_BASE_ERR_H
#define STRATA_BASE_ERR_H
#include "strata/error.h"

/* Fill *err (which may be NULL) and return `status`.  Set once, at the origin: say what happened and what to do.
 * `where` is the part or the option; the message is cut at its room. */
int strata__fail(strata_error *err, int status, const char *where, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same with errno of the system call behind it, whose meaning is added to the words: "... (No space left on device)". */
int strata__fail_os(strata_error *err, int status, int os_errno, const char *where, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* Fill with the status' own sentence, if nothing has been said yet. */
int strata__fail_plain(strata_error *err, int status, const char *where);

/* Copy words to where there may not be room for all of them: then the middle is left out, for the beginning says who it was, and the end
 * what to do. */
void strata__words_fit(char *out, size_t room, const char *words);

/* A broken invariant of our own: says where, and aborts. */
#define STRATA_BUG(what) strata__bug(__FILE__, __LINE__, (what))
_Noreturn void strata__bug(const char *file, int line, const char *what);

#endif /* STRATA_BASE_ERR_H */
