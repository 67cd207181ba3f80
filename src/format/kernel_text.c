/* kernel_text.c - see kernel_text.h. */
#include "src/format/kernel_text.h"

#include <string.h>

/* A part of the text, not ended by a zero byte. */
struct part {
    const char *at;
    size_t size;
};

static int is(struct part p, const char *word) { return p.size == strlen(word) && memcmp(p.at, word, p.size) == 0; }

/* What stands before `mark`; `rest` goes on behind it.  0 where nothing is left. */
static int take(struct part *rest, char mark, struct part *out)
{
    if (rest->size == 0)
        return 0;
    const char *end = memchr(rest->at, mark, rest->size);
    *out = (struct part){ rest->at, end != NULL ? (size_t)(end - rest->at) : rest->size };
    size_t gone = out->size + (end != NULL);
    rest->at += gone;
    rest->size -= gone;
    return 1;
}

static int read_number(struct part p, uint64_t *out)
{
    uint64_t n = 0;
    for (size_t i = 0; i < p.size; i++)
        if (p.at[i] < '0' || p.at[i] > '9' || __builtin_mul_overflow(n, (uint64_t)10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(p.at[i] - '0'), &n))
            return -1;
    *out = n;
    return p.size != 0 ? 0 : -1;
}

int strata__kernel_number(const char *text, size_t size, uint64_t *out)
{
    struct part rest = { text, size }, line;
    if (!take(&rest, '\n', &line))
        return -1;
    if (is(line, "max")) {
        *out = UINT64_MAX;
        return 0;
    }
    return read_number(line, out);
}

/* "total=123" of a line whose first word was taken. */
static int read_total(struct part line, uint64_t *out)
{
    struct part word;
    while (take(&line, ' ', &word))
        if (word.size > 6 && memcmp(word.at, "total=", 6) == 0)
            return read_number((struct part){ word.at + 6, word.size - 6 }, out);
    return -1;
}

int strata__kernel_psi(const char *text, size_t size, uint64_t *out_some_us, uint64_t *out_full_us)
{
    struct part rest = { text, size }, line, word;
    uint64_t some = 0, full = 0;
    int has_some = 0;
    while (take(&rest, '\n', &line)) {
        if (!take(&line, ' ', &word))
            continue;
        if (is(word, "some")) {
            if (read_total(line, &some) != 0)
                return -1;
            has_some = 1;
        } else if (is(word, "full") && read_total(line, &full) != 0) {
            return -1;
        }
    }
    if (!has_some)
        return -1;
    *out_some_us = some;
    *out_full_us = full;
    return 0;
}

static int copy(struct part p, char *out, size_t room)
{
    if (p.size == 0 || p.size >= room)
        return -1;
    memcpy(out, p.at, p.size);
    out[p.size] = '\0';
    return 0;
}

static int lists(struct part words, const char *word)
{
    struct part one;
    while (take(&words, ',', &one))
        if (is(one, word))
            return 1;
    return 0;
}

/* Lines are "number:controllers:path"; version 2 has the number 0 and no controllers.  Where a controller is bound to a
 * hierarchy of version 1, it is not in the other one. */
int strata__kernel_cgroup(const char *text, size_t size, char *out, size_t room)
{
    struct part rest = { text, size }, line, number, controllers, found = { NULL, 0 };
    int version = 0;
    while (take(&rest, '\n', &line)) {
        if (!take(&line, ':', &number) || !take(&line, ':', &controllers) || line.size == 0)
            continue;
        if (lists(controllers, "memory")) {
            version = 1;
            found = line;
            break;
        }
        if (is(number, "0") && controllers.size == 0) {
            version = 2;
            found = line;
        }
    }
    return version != 0 && found.at[0] == '/' && copy(found, out, room) == 0 ? version : 0;
}

/* Blanks and the like stand there as \040, in octal. */
static int copy_decoded(struct part p, char *out, size_t room)
{
    size_t used = 0;
    for (size_t i = 0; i < p.size; i++) {
        char c = p.at[i];
        if (c == '\\' && i + 3 < p.size) {
            unsigned value = 0;
            for (size_t k = 1; k <= 3; k++) {
                unsigned digit = (unsigned)(p.at[i + k] - '0');
                if (digit > 7)
                    return -1;
                value = value * 8 + digit;
            }
            c = (char)value;
            i += 3;
        }
        if (used + 1 >= room || c == '\0')
            return -1;
        out[used++] = c;
    }
    out[used] = '\0';
    return used != 0 ? 0 : -1;
}

/* "31 23 0:28 root at options tags... - type source superoptions" */
static int is_mount(struct part line, int version, struct part *out_root, struct part *out_at)
{
    struct part word, type, source;
    for (int i = 0; i < 3; i++)
        if (!take(&line, ' ', &word))
            return 0;
    if (!take(&line, ' ', out_root) || !take(&line, ' ', out_at))
        return 0;
    do
        if (!take(&line, ' ', &word))
            return 0;
    while (!is(word, "-"));
    if (!take(&line, ' ', &type) || !take(&line, ' ', &source))
        return 0;
    return version == 2 ? is(type, "cgroup2") : is(type, "cgroup") && lists(line, "memory");
}

int strata__kernel_cgroup_mount(const char *text, size_t size, int version, char *out_root, char *out_at, size_t room)
{
    struct part rest = { text, size }, line, root, at;
    while (take(&rest, '\n', &line))
        if (is_mount(line, version, &root, &at) && copy_decoded(root, out_root, room) == 0 &&
            copy_decoded(at, out_at, room) == 0)
            return 0;
    return -1;
}
