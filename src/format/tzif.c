/* tzif.c - see tzif.h.
 *
 *   "TZif" version 15 unused bytes, six counts of 4 bytes: isutcnt isstdcnt leapcnt timecnt typecnt charcnt
 *   timecnt moments of 4 bytes; timecnt kinds of 1; typecnt of { offset: 4, is summer: 1, name: 1 }; charcnt bytes of names;
 *   leapcnt of 8; isstdcnt; isutcnt
 *   the header again, and the same with moments (and those of leap seconds) of 8 bytes
 *   '\n' rule '\n'
 *
 * Numbers are big-endian.  The first part is for programs of before 2005, and is skipped. */
#include "src/format/tzif.h"

#include <string.h>

enum { HEADER = 44, KIND_SIZE = 6 };

struct counts {
    size_t utc, standard, leap, time, type, chars;
};

static uint64_t big_endian(const unsigned char *p, size_t bytes)
{
    uint64_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        n = n << 8 | p[i];
    return n;
}

static int read_header(const unsigned char *p, size_t left, struct counts *out)
{
    size_t n[6];
    if (left < HEADER || memcmp(p, "TZif", 4) != 0 || p[4] < '2')
        return 0;
    for (size_t i = 0; i < 6; i++) {
        n[i] = (size_t)big_endian(p + 20 + 4 * i, 4);
        if (n[i] > 1 << 20) /* no sum overflows */
            return 0;
    }
    *out = (struct counts){ n[0], n[1], n[2], n[3], n[4], n[5] };
    return 1;
}

static size_t body_size(const struct counts *c, size_t moment)
{
    return c->time * (moment + 1) + c->type * KIND_SIZE + c->chars + c->leap * (moment + 4) + c->standard + c->utc;
}

/* Moments rise, and kinds are among those that there are. */
static int is_sound(const struct tzif *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->kinds[i] >= t->kind_count || (i > 0 && strata__tzif_moment(t, i) <= strata__tzif_moment(t, i - 1)))
            return 0;
    for (size_t i = 0; i < t->kind_count; i++) {
        int32_t offset = (int32_t)(uint32_t)big_endian(t->offsets + i * KIND_SIZE, 4);
        if (offset < -26 * 3600 || offset > 26 * 3600)
            return 0;
    }
    return t->kind_count > 0;
}

int strata__tzif_read(const void *bytes, size_t size, struct tzif *out)
{
    const unsigned char *p = bytes, *end = p + size;
    struct counts c;
    if (!read_header(p, size, &c) || (size_t)(end - p) - HEADER < body_size(&c, 4))
        return 0;
    p += HEADER + body_size(&c, 4);
    if (!read_header(p, (size_t)(end - p), &c) || (size_t)(end - p) - HEADER < body_size(&c, 8))
        return 0;
    p += HEADER;
    *out = (struct tzif){
        .moments = p, .kinds = p + c.time * 8, .offsets = p + c.time * 9, .count = c.time, .kind_count = c.type
    };
    p += body_size(&c, 8);
    if (p == end || *p++ != '\n')
        return 0;
    const unsigned char *line_end = memchr(p, '\n', (size_t)(end - p));
    if (line_end == NULL || !is_sound(out))
        return 0;
    out->rule = (const char *)p;
    out->rule_size = (size_t)(line_end - p);
    return 1;
}

int64_t strata__tzif_moment(const struct tzif *t, size_t i) { return (int64_t)big_endian(t->moments + 8 * i, 8); }

static int64_t offset_of(const struct tzif *t, size_t kind)
{
    return (int32_t)(uint32_t)big_endian(t->offsets + kind * KIND_SIZE, 4);
}

int64_t strata__tzif_offset(const struct tzif *t, size_t i) { return offset_of(t, t->kinds[i]); }
int64_t strata__tzif_first_offset(const struct tzif *t) { return offset_of(t, 0); }
