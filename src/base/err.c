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
    int size = vsnprintf(err->message, sizeof err->message, format, args);
    if (size < 0 || (size_t)size < sizeof err->message)
        return;
    /* It ends with a whole word, and says that there was more. */
    size_t end = sizeof err->message - sizeof "...";
    while (end > sizeof err->message / 2 && err->message[end] != ' ')
        end--;
    memcpy(err->message + end, "...", sizeof "...");
}

/* strerror_r() is one of two functions. */
static const char *reason_of_pointer(const char *reason, const char *room)
{
    (void)room;
    return reason;
}

static const char *reason_of_code(int failed, const char *room) { return failed == 0 ? room : ""; }

#define SYSTEM_REASON(code, room) \
    _Generic(strerror_r((code), (room), sizeof(room)), char *: reason_of_pointer, int: reason_of_code)( \
        strerror_r((code), (room), sizeof(room)), (room))

/* The system's own words, at the end; they stay whole where the message is cut. */
static void add_reason(strata_error *err)
{
    char room[96] = "", text[100];
    const char *reason = SYSTEM_REASON(err->os_errno, room);
    int length = reason[0] != '\0' ? snprintf(text, sizeof text, " (%s)", reason) : 0;
    if (length <= 0 || (size_t)length >= sizeof text)
        return;
    size_t at = strlen(err->message), most = sizeof err->message - 1 - (size_t)length;
    memcpy(err->message + (at < most ? at : most), text, (size_t)length + 1);
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
    if (err != NULL && os_errno > 0)
        add_reason(err);
    return status;
}

int strata__fail_plain(strata_error *err, int status, const char *where)
{
    if (err != NULL && err->status != status)
        strata__fail(err, status, where, "%s", strata_status_text(status));
    return status;
}

void strata__words_fit(char *out, size_t room, const char *words)
{
    static const char gap[] = "... ";
    size_t size = strlen(words);
    if (size < room || room <= 2 * sizeof gap) {
        snprintf(out, room, "%s", words);
        return;
    }
    size_t head = (room - sizeof gap) / 3, at = size - (room - sizeof gap - head);
    for (size_t i = head; i > head / 2; i--) /* whole words, where there are */
        if (words[i] == ' ') {
            head = i;
            break;
        }
    for (size_t i = at; i < at + (size - at) / 2; i++)
        if (words[i - 1] == ' ') {
            at = i;
            break;
        }
    memcpy(out, words, head);
    memcpy(out + head, gap, sizeof gap - 1);
    memcpy(out + head + sizeof gap - 1, words + at, size - at + 1);
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
