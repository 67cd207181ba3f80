/* pattern.c - see pattern.h.
 *
 * Between two stars there is nothing to choose: what stands there fits at the first place where it can, and what comes after
 * has only more room then.  So a mismatch goes back to the last star, and moves it one byte on; an earlier one never. */
#include "src/policy/pattern.h"

/* The size of what stands at `at`: 2 for an escaped byte. */
static size_t step_size(const char *p, size_t size, size_t at) { return p[at] == '\\' && at + 1 < size ? 2 : 1; }

static int fits(const char *p, size_t size, size_t at, char byte)
{
    if (p[at] == '?')
        return 1;
    return p[at + step_size(p, size, at) - 1] == byte;
}

int strata__pattern_matches(strata_slice pattern, strata_slice key)
{
    const char *p = pattern.data, *k = key.data;
    size_t at = 0, i = 0, star = SIZE_MAX, star_key = 0;
    while (i < key.size) {
        if (at < pattern.size && p[at] == '*') {
            star = ++at;
            star_key = i;
        } else if (at < pattern.size && fits(p, pattern.size, at, k[i])) {
            at += step_size(p, pattern.size, at);
            i++;
        } else if (star != SIZE_MAX) {
            at = star;
            i = ++star_key;
        } else {
            return 0;
        }
    }
    while (at < pattern.size && p[at] == '*')
        at++;
    return at == pattern.size;
}

size_t strata__pattern_prefix(strata_slice pattern, char *out)
{
    const char *p = pattern.data;
    size_t n = 0;
    for (size_t at = 0; at < pattern.size && p[at] != '*' && p[at] != '?'; at += step_size(p, pattern.size, at))
        out[n++] = p[at + step_size(p, pattern.size, at) - 1];
    return n;
}

int strata__pattern_valid(strata_slice pattern)
{
    const char *p = pattern.data;
    size_t at = 0;
    while (at < pattern.size) {
        if (p[at] == '\\' && at + 1 == pattern.size)
            return 0;
        at += step_size(p, pattern.size, at);
    }
    return 1;
}
