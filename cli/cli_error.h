/* cli_error.h - how the command speaks of failures.
 *
 * Exit codes: 0 done, 1 it did not work, 2 the command line is wrong.  Every message names the part or option and says
 * what to do.  Words travel in a strata_error up to the command, which prints them once. */
#ifndef STRATA_CLI_ERROR_H
#define STRATA_CLI_ERROR_H
#include "strata/error.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* Fill *err (may be NULL) and return `status`. */
int cli_fail(strata_error *err, int status, const char *where, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Print "strata: ..." on stderr; returns CLI_USAGE. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Print "strata: where: message" on stderr; returns CLI_FAILED, or CLI_USAGE for STRATA_EINVAL. */
int cli_report(const strata_error *err);

#endif /* STRATA_CLI_ERROR_H */
