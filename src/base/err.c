/* err.c - statuses in words. */
#include "src/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fill(strata_error *err, int status, int os_errno, const char *where, const char *format, va_list args)
{
    if (err == NULL)
        return;
    err->status = status;
    err->os_errno = os_errno;
    snprintf(err->where, sizeof err->where, "%s", where);
    vsnprintf(err->message, sizeof err->message, format, args);
}

int strata__fail(strata_error *err, int status, const char *where, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(err, status, 0, where, format, args);
    va_end(args);
    return status;
}

int strata__fail_os(strata_error *err, int status, int os_errno, const char *where, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(err, status, os_errno, where, format, args);
    va_end(args);
    return status;
}

int strata__fail_plain(strata_error *err, int status, const char *where)
{
    if (err != NULL && err->status != status)
        strata__fail(err, status, where, "%s", strata_status_text(status));
    return status;
}

void strata__bug(const char *file, int line, const char *what)
{
    /* The one place that writes anywhere: the process is about to end, and the reason must not be lost. */
    fprintf(stderr, "strata: bug at %s:%d: %s\n", file, line, what);
    abort();
}

const char *strata_status_text(int status)
{
#define CASE(name, number, sentence) \
    case number: return sentence;
    switch (status) {
        STRATA_STATUS_MAP(CASE)
    default: return "unknown status";
    }
#undef CASE
}

const char *strata_status_name(int status)
{
#define CASE(name, number, sentence) \
    case number: return #name;
    switch (status) {
        STRATA_STATUS_MAP(CASE)
    default: return "UNKNOWN";
    }
#undef CASE
}
