/* option_text.c - one option from text: "max_bytes=64mb".
 *
 * Sizes and durations need their unit, so that nobody wonders whether 64 was meant in bytes or in megabytes. */
#include "src/policy/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/base/err.h"
#include "strata/base.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = { { "b", 1 },
                                          { "kb", (uint64_t)1 << 10 },
                                          { "mb", (uint64_t)1 << 20 },
                                          { "gb", (uint64_t)1 << 30 },
                                          { "tb", (uint64_t)1 << 40 },
                                          { NULL, 0 } };
static const struct unit duration_units[] = { { "ms", 1 },      { "s", 1000 },     { "m", 60000 },
                                              { "h", 3600000 }, { "d", 86400000 }, { NULL, 0 } };

/* The place of one value, for errors. */
struct place {
    const struct option_row *row;
    const char *where;
    const char *value;
    strata_error *err;
};

/* Show at most this much of what the user wrote. */
#define SHOWN "%.60s"

/* The digits at the start of `text`.  NULL: there are none, or they do not fit. */
static const char *read_digits(const char *text, uint64_t *out)
{
    const char *at = text;
    uint64_t number = 0;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(number, (uint64_t)10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number))
            return NULL;
    *out = number;
    return at != text ? at : NULL;
}

static int fail_number(const struct place *p, const char *kind, const char *example)
{
    return strata__fail(p->err, STRATA_EINVAL, p->where, "%s=" SHOWN " is no %s that fits: write %s=%s", p->row->name,
                        p->value, kind, p->row->name, example);
}

static int read_with_unit(const struct place *p, const struct unit *units, const char *example, const char *names,
                          uint64_t *out)
{
    uint64_t number;
    const char *rest = read_digits(p->value, &number);
    if (rest == NULL)
        return fail_number(p, "whole number with a unit", example);
    if (*rest == '\0')
        return strata__fail(p->err, STRATA_EINVAL, p->where,
                            "%s=" SHOWN " has no unit: write %s=%" PRIu64 "%s (units: %s)", p->row->name, p->value,
                            p->row->name, number, example + strspn(example, "0123456789"), names);
    for (; units->name != NULL; units++) {
        if (strcasecmp(rest, units->name) != 0)
            continue;
        if (__builtin_mul_overflow(number, units->factor, out))
            return strata__fail(p->err, STRATA_EINVAL, p->where,
                                "%s=" SHOWN " is too large: write a smaller one, as "
                                "%s=%s",
                                p->row->name, p->value, p->row->name, example);
        return STRATA_OK;
    }
    return strata__fail(p->err, STRATA_EINVAL, p->where,
                        "%s=" SHOWN ": no such unit as \"%.20s\"; write %s=%s (units: %s)", p->row->name, p->value,
                        rest, p->row->name, example, names);
}

static int read_duration(const struct place *p, int64_t *out)
{
    uint64_t ms;
    if (strcmp(p->value, "off") == 0) {
        *out = STRATA_OFF;
        return STRATA_OK;
    }
    if (strcmp(p->value, "forever") == 0) {
        *out = STRATA_FOREVER;
        return STRATA_OK;
    }
    int rc = read_with_unit(p, duration_units, "500ms", "ms, s, m, h, d; or off, forever", &ms);
    if (rc < 0)
        return rc;
    if (ms >= (uint64_t)STRATA_FOREVER)
        return strata__fail(p->err, STRATA_EINVAL, p->where, "%s=" SHOWN " is too long: write %s=forever", p->row->name,
                            p->value, p->row->name);
    *out = (int64_t)ms;
    return STRATA_OK;
}

static int read_switch(const struct place *p, int64_t *out)
{
    int on = strcmp(p->value, "on") == 0;
    if (!on && strcmp(p->value, "off") != 0)
        return strata__fail(p->err, STRATA_EINVAL, p->where, "%s=" SHOWN ": write %s=on or %s=off", p->row->name,
                            p->value, p->row->name, p->row->name);
    *out = on ? STRATA_ON : STRATA_OFF;
    return STRATA_OK;
}

/* A share, or, without its sign, how many. */
static int read_percent(const struct place *p, int64_t *out)
{
    int is_share = p->row->type == OPTION_PERCENT;
    uint64_t number;
    if (strcmp(p->value, "off") == 0) {
        *out = STRATA_OFF;
        return STRATA_OK;
    }
    const char *rest = read_digits(p->value, &number);
    if (rest == NULL || strcmp(rest, is_share ? "%" : "") != 0 || number > p->row->max)
        return is_share ? fail_number(p, "share", "20%") : fail_number(p, "number", "20, or off");
    *out = (int64_t)number;
    return STRATA_OK;
}

static int read_word(const struct place *p, int64_t *out)
{
    char names[160] = "";
    size_t used = 0;
    for (const struct option_word *w = p->row->words; w->name != NULL; w++) {
        if (strcmp(p->value, w->name) == 0) {
            *out = w->number;
            return STRATA_OK;
        }
        int n = snprintf(names + used, sizeof names - used, "%s%s", used != 0 ? ", " : "", w->name);
        if (n > 0 && (size_t)n < sizeof names - used)
            used += (size_t)n;
    }
    return strata__fail(p->err, STRATA_EINVAL, p->where, "%s=" SHOWN ": write one of %s", p->row->name, p->value, names);
}

static int read_plain(const struct place *p, uint64_t *out)
{
    const char *rest = read_digits(p->value, out);
    if (rest == NULL || *rest != '\0')
        return fail_number(p, "whole number", "100");
    return STRATA_OK;
}

static int is_writable(const struct option_row *row)
{
    return row->type != OPTION_POINTER && row->type != OPTION_SIZE_FIELD && strcmp(row->name, "reserved") != 0;
}

enum { NAME_ROOM = 32, NEAR = 2 };

/* Letters to change, add or take out to make one of the other. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_ROOM + 1], width = strlen(b);
    if (strlen(a) > NAME_ROOM || width > NAME_ROOM)
        return SIZE_MAX;
    for (size_t j = 0; j <= width; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < width; j++) {
            size_t best = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            best = diagonal + 1 < best ? diagonal + 1 : best;
            row[j + 1] = row[j] + 1 < best ? row[j] + 1 : best;
        }
    }
    return row[width];
}

/* The one that was meant, if one is near; or NULL. */
static const char *nearest(const struct option_rows *rows, const char *name)
{
    const char *found = NULL;
    size_t least = strlen(name) > NEAR ? NEAR + 1 : 0;
    for (size_t i = 0; i < rows->count; i++) {
        size_t far = is_writable(&rows->rows[i]) ? distance(name, rows->rows[i].name) : SIZE_MAX;
        if (far < least) {
            least = far;
            found = rows->rows[i].name;
        }
    }
    return found;
}

/* All of them, and "..." where there are more than a message holds: that is why commas stand there without blanks, and little of
 * what was given is shown.  Before them the one that was meant. */
static int fail_unknown(const struct option_rows *rows, const char *where, const char *name, strata_error *err)
{
    char names[sizeof err->message] = "";
    size_t used = 0, all = 0, shown = strlen(name) < 20 ? strlen(name) : 20;
    const char *near = nearest(rows, name);
    size_t room = sizeof names - sizeof "no such parameter as \"\"; known: " - shown;
    room -= near != NULL ? strlen(near) + sizeof ": is it ?" : 0;
    for (size_t i = 0; i < rows->count; i++)
        all += is_writable(&rows->rows[i]) ? strlen(rows->rows[i].name) + 1 : 0;
    for (size_t i = 0; i < rows->count; i++) {
        const struct option_row *row = &rows->rows[i];
        if (!is_writable(row))
            continue;
        if (all > room + 1 && used + strlen(row->name) + sizeof ",..." > room) {
            (void)snprintf(names + used, sizeof names - used, ",...");
            break;
        }
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used != 0 ? "," : "", row->name);
    }
    return strata__fail(err, STRATA_EINVAL, where, "no such parameter as \"%.20s\"%s%s%s; known: %s", name,
                        near != NULL ? ": is it " : "", near != NULL ? near : "", near != NULL ? "?" : "", names);
}

static const struct option_row *find_row(const struct option_rows *rows, const char *name)
{
    for (size_t i = 0; i < rows->count; i++) {
        const struct option_row *row = &rows->rows[i];
        if (is_writable(row) && strcmp(row->name, name) == 0)
            return row;
    }
    return NULL;
}

/* Bounds as the user writes them: sizes with their unit, exactly. */
static void show_bytes(char *out, size_t room, uint64_t bytes)
{
    const struct unit *best = size_units;
    for (const struct unit *u = size_units; u->name != NULL; u++)
        if (bytes % u->factor == 0)
            best = u;
    snprintf(out, room, "%" PRIu64 "%s", bytes / best->factor, best->name);
}

/* 0 takes the default, here as in the struct. */
static int check_bounds(const struct place *p, uint64_t number)
{
    char low[32], high[32];
    int sized = p->row->type == OPTION_BYTES || p->row->type == OPTION_BYTES32;
    if ((number >= (uint64_t)p->row->min && number <= p->row->max) || number == 0)
        return STRATA_OK;
    if (sized) {
        show_bytes(low, sizeof low, (uint64_t)p->row->min);
        show_bytes(high, sizeof high, p->row->max);
    } else {
        snprintf(low, sizeof low, "%" PRId64, p->row->min);
        snprintf(high, sizeof high, "%" PRIu64, p->row->max);
    }
    return strata__fail(p->err, STRATA_EINVAL, p->where, "%s=" SHOWN " is out of bounds: write %s to %s", p->row->name,
                        p->value, low, high);
}

static void store_number(const struct option_row *row, void *known, uint64_t number)
{
    char *at = (char *)known + row->offset;
    if (strata__option_width(row->type) == 4) {
        uint32_t low = (uint32_t)number;
        memcpy(at, &low, 4);
    } else {
        memcpy(at, &number, sizeof number);
    }
}

static int set_string(const struct place *p, void *known)
{
    size_t length = strlen(p->value);
    if (length == 0 || length > p->row->max)
        return strata__fail(p->err, STRATA_EINVAL, p->where, "%s has %zu bytes: write 1 to %" PRIu64, p->row->name,
                            length, p->row->max);
    memcpy((char *)known + p->row->offset, &p->value, sizeof p->value);
    return STRATA_OK;
}

/* "max_bytes=25%" is "max_percent=25%", where there is such a row; else NULL. */
static const struct option_row *share_row(const struct option_rows *rows, const struct option_row *row,
                                          const char *value)
{
    char name[NAME_ROOM];
    size_t length = strlen(row->name), size = strlen(value);
    const size_t ending = sizeof "_bytes" - 1;
    if (row->type != OPTION_BYTES || size == 0 || value[size - 1] != '%' || length < ending ||
        strcmp(row->name + length - ending, "_bytes") != 0)
        return NULL;
    int n = snprintf(name, sizeof name, "%.*s_percent", (int)(length - ending), row->name);
    return n > 0 && (size_t)n < sizeof name ? find_row(rows, name) : NULL;
}

int strata__option_set(const struct option_rows *rows, void *known, const char *where, const char *name,
                       const char *value, strata_error *err)
{
    const struct place p = { find_row(rows, name), where, value, err };
    uint64_t number = 0;
    int64_t signed_number = 0;
    int rc;
    if (p.row == NULL)
        return fail_unknown(rows, where, name, err);
    const struct option_row *share = share_row(rows, p.row, value);
    if (share != NULL)
        return strata__option_set(rows, known, where, share->name, value, err);
    switch (p.row->type) {
    case OPTION_STRING:
    case OPTION_TEXT: return set_string(&p, known);
    case OPTION_DURATION:
    case OPTION_SWITCH:
    case OPTION_PERCENT:
    case OPTION_TIMES:
    case OPTION_ENUM:
        rc = p.row->type == OPTION_DURATION ? read_duration(&p, &signed_number)
             : p.row->type == OPTION_SWITCH ? read_switch(&p, &signed_number)
             : p.row->type == OPTION_ENUM   ? read_word(&p, &signed_number)
                                            : read_percent(&p, &signed_number);
        if (rc == STRATA_OK)
            store_number(p.row, known, (uint64_t)signed_number);
        return rc;
    case OPTION_BYTES:
    case OPTION_BYTES32: rc = read_with_unit(&p, size_units, "64mb", "b, kb, mb, gb, tb", &number); break;
    default: rc = read_plain(&p, &number); break;
    }
    if (rc == STRATA_OK)
        rc = check_bounds(&p, number);
    if (rc == STRATA_OK)
        store_number(p.row, known, number);
    return rc;
}
