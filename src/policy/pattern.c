/* pattern.c - see pattern.h.
 *
 * Between two stars there is nothing to choose: what stands there fits at the first place where it can, and what comes after has
 * only more room then.  What stands before the first star and behind the last is compared where it must stand; each segment between
 * is looked for from the end of the one before.
 *
 * A segment is looked for by Shift-And: bit i of a word says that the last i + 1 bytes fit the first i + 1 tokens of the segment, so
 * a byte of the key is a shift and an and, whatever `?` there are.  Of a longer segment each piece of 64 tokens is looked for in turn, at a
 * window of places at once, and a place stays if all pieces fit there. */
#include "src/policy/pattern.h"

#include <string.h>

enum { PIECE = 64, PLACES = 1024 };

struct matcher {
    const unsigned char *p; /* the pattern */
    size_t size;
    uint64_t masks[256]; /* by byte: the tokens of the piece that it fits; all 0 between two pieces */
    uint64_t any;        /* those that are `?` */
    uint64_t steps;
};

/* So many tokens, which begin here. */
struct segment {
    size_t at, count;
};

/* The bytes of the token at `at`: 2 for an escaped one. */
static size_t token_size(const unsigned char *p, size_t size, size_t at)
{
    return p[at] == '\\' && at + 1 < size ? 2 : 1;
}

static int fits(const struct matcher *m, size_t at, unsigned char byte)
{
    return m->p[at] == '?' || m->p[at + token_size(m->p, m->size, at) - 1] == byte;
}

/* Up to the next star or the end; *out_end is there. */
static struct segment segment_at(struct matcher *m, size_t at, size_t *out_end)
{
    struct segment s = { at, 0 };
    for (; at < m->size && m->p[at] != '*'; at += token_size(m->p, m->size, at))
        s.count++;
    m->steps += s.count + 1;
    *out_end = at;
    return s;
}

static int fits_here(struct matcher *m, struct segment s, const unsigned char *key)
{
    size_t at = s.at;
    for (size_t i = 0; i < s.count; i++, at += token_size(m->p, m->size, at)) {
        m->steps++;
        if (!fits(m, at, key[i]))
            return 0;
    }
    return 1;
}

/* The first tokens from `at` on are the piece; returns where the next ones begin. */
static size_t put_piece(struct matcher *m, size_t at, size_t count)
{
    m->any = 0;
    for (size_t i = 0; i < count; i++, at += token_size(m->p, m->size, at)) {
        if (m->p[at] == '?')
            m->any |= (uint64_t)1 << i;
        else
            m->masks[m->p[at + token_size(m->p, m->size, at) - 1]] |= (uint64_t)1 << i;
    }
    m->steps += count;
    return at;
}

static void take_piece(struct matcher *m, size_t at, size_t count)
{
    for (size_t i = 0; i < count; i++, at += token_size(m->p, m->size, at))
        m->masks[m->p[at + token_size(m->p, m->size, at) - 1]] = 0;
    m->steps += count;
}

/* Behind the first place where a segment of one piece stands; NULL: nowhere. */
static const unsigned char *find_short(struct matcher *m, struct segment s, const unsigned char *key,
                                       const unsigned char *end)
{
    const uint64_t last = (uint64_t)1 << (s.count - 1);
    uint64_t state = 0;
    (void)put_piece(m, s.at, s.count);
    while (key < end && (state & last) == 0) {
        state = (state << 1 | 1) & (m->masks[*key++] | m->any);
        m->steps++;
    }
    take_piece(m, s.at, s.count);
    return (state & last) != 0 ? key : NULL;
}

/* Of `places` places from key on, those where the piece that was put does not stand lose their bit. */
static void strike_out(struct matcher *m, size_t count, const unsigned char *key, size_t places, uint64_t *stands)
{
    const uint64_t last = (uint64_t)1 << (count - 1);
    uint64_t state = 0;
    for (size_t i = 0; i < places + count - 1; i++) {
        state = (state << 1 | 1) & (m->masks[key[i]] | m->any);
        if (i + 1 >= count && (state & last) == 0)
            stands[(i + 1 - count) / 64] &= ~((uint64_t)1 << (i + 1 - count) % 64);
    }
    m->steps += places + count - 1;
}

/* The first of `places` places where all pieces stand; `places`: at none. */
static size_t find_in_window(struct matcher *m, struct segment s, const unsigned char *key, size_t places)
{
    uint64_t stands[PLACES / 64];
    size_t at = s.at;
    memset(stands, 0xff, sizeof stands);
    for (size_t done = 0; done < s.count; done += PIECE) {
        size_t count = s.count - done < PIECE ? s.count - done : PIECE;
        size_t next = put_piece(m, at, count);
        strike_out(m, count, key + done, places, stands);
        take_piece(m, at, count);
        at = next;
    }
    for (size_t i = 0; i < places; i += 64) {
        m->steps++;
        size_t at_bit = stands[i / 64] != 0 ? i + (size_t)__builtin_ctzll(stands[i / 64]) : places;
        if (at_bit < places)
            return at_bit;
    }
    return places;
}

static const unsigned char *find(struct matcher *m, struct segment s, const unsigned char *key, const unsigned char *end)
{
    if (s.count <= PIECE)
        return find_short(m, s, key, end);
    while ((size_t)(end - key) >= s.count) {
        size_t places = (size_t)(end - key) - s.count + 1;
        places = places < PLACES ? places : PLACES;
        size_t found = find_in_window(m, s, key, places);
        if (found < places)
            return key + found + s.count;
        key += places;
    }
    return NULL;
}

/* Where the last segment begins: behind the last star. */
static struct segment last_segment(struct matcher *m, size_t at)
{
    struct segment s;
    do
        s = segment_at(m, at + 1, &at);
    while (at < m->size);
    return s;
}

static int match(struct matcher *m, strata_slice slice)
{
    const unsigned char *key = slice.data, *end = key + slice.size;
    size_t star;
    struct segment first = segment_at(m, 0, &star);
    if (first.count > slice.size || !fits_here(m, first, key))
        return 0;
    if (star == m->size)
        return first.count == slice.size;
    struct segment last = last_segment(m, star);
    key += first.count;
    if (last.count > (size_t)(end - key) || !fits_here(m, last, end - last.count))
        return 0;
    end -= last.count;
    if (star + 1 < last.at)
        memset(m->masks, 0, sizeof m->masks);
    while (star + 1 < last.at && key != NULL) {
        struct segment s = segment_at(m, star + 1, &star);
        if (s.count != 0)
            key = find(m, s, key, end);
    }
    return key != NULL;
}

int strata__pattern_counted(strata_slice pattern, strata_slice key, uint64_t *out_steps)
{
    struct matcher m; /* most patterns need no masks */
    m.p = pattern.data;
    m.size = pattern.size;
    m.steps = 0;
    int matches = match(&m, strata_bytes(key.size != 0 ? key.data : "", key.size));
    *out_steps = m.steps;
    return matches;
}

int strata__pattern_matches(strata_slice pattern, strata_slice key)
{
    uint64_t steps;
    return strata__pattern_counted(pattern, key, &steps);
}

size_t strata__pattern_prefix(strata_slice pattern, char *out)
{
    const unsigned char *p = pattern.data;
    size_t n = 0;
    for (size_t at = 0; at < pattern.size && p[at] != '*' && p[at] != '?'; at += token_size(p, pattern.size, at))
        out[n++] = (char)p[at + token_size(p, pattern.size, at) - 1];
    return n;
}

int strata__pattern_valid(strata_slice pattern)
{
    const unsigned char *p = pattern.data;
    size_t at = 0;
    while (at < pattern.size) {
        if (p[at] == '\\' && at + 1 == pattern.size)
            return 0;
        at += token_size(p, pattern.size, at);
    }
    return 1;
}
