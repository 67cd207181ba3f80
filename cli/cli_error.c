/* cli_error.c - see cli_error.h. */
#include "cli/cli_error.h"

#include <stdarg.h>
#include <stdio.h>

int cli_fail(strata_error *err, int status, const char *where, const char *format, ...)
{
    va_list args;

    if (err == NULL)
        return status;
    err->status = status;
    err->os_errno = 0;
    snprintf(err->where, sizeof err->where, "%s", where);
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return status;
}

int cli_usage(const char *format, ...)
{
    va_list args;

    fputs("strata: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return CLI_USAGE;
}

int cli_report(const strata_error *err)
{
    const char *words = err->message[0] != '\0' ? err->message : strata_status_text(err->status);

    if (err->where[0] != '\0')
        fprintf(stderr, "strata: %s: %s\n", err->where, words);
    else
        fprintf(stderr, "strata: %s\n", words);
    return err->status == STRATA_EINVAL ? CLI_USAGE : CLI_FAILED;
}
