/* options.c - checking options structs by their rows. */
#include "src/policy/options.h"

#include <inttypes.h>
#include <string.h>

#include "src/base/err.h"
#include "strata/base.h"

/* No options struct will ever be larger; a larger "size" is a struct that was never initialised. */
enum { LARGEST_STRUCT = 4096 };

size_t strata__option_width(enum option_type type)
{
    switch (type) {
    case OPTION_U32:
    case OPTION_BYTES32:
    case OPTION_SWITCH:
    case OPTION_PERCENT:
    case OPTION_TIMES:
    case OPTION_ENUM: return 4;
    case OPTION_U64:
    case OPTION_BYTES:
    case OPTION_DURATION: return 8;
    case OPTION_SIZE_FIELD:
    case OPTION_COUNT: return sizeof(size_t);
    case OPTION_STRING:
    case OPTION_TEXT:
    case OPTION_POINTER: return sizeof(void *);
    }
    STRATA_BUG("no such option type");
}

int strata__tail_is_zero(const void *given, size_t from, size_t size)
{
    const unsigned char *bytes = given;
    for (size_t i = from; i < size; i++)
        if (bytes[i] != 0)
            return 0;
    return 1;
}

static int is_signed(enum option_type type)
{
    return type == OPTION_DURATION || type == OPTION_SWITCH || type == OPTION_PERCENT || type == OPTION_TIMES ||
           type == OPTION_ENUM;
}

/* A signed field as it is; an unsigned one through its two's complement. */
static int64_t read_number(const struct option_row *row, const void *options)
{
    const char *at = (const char *)options + row->offset;
    if (strata__option_width(row->type) == 4) {
        int32_t s;
        uint32_t u;
        memcpy(&s, at, 4);
        memcpy(&u, at, 4);
        return is_signed(row->type) ? s : (int64_t)u;
    }
    int64_t wide;
    memcpy(&wide, at, sizeof wide);
    return wide;
}

static void write_number(const struct option_row *row, void *options, int64_t number)
{
    char *at = (char *)options + row->offset;
    if (strata__option_width(row->type) == 4) {
        uint32_t low = (uint32_t)(uint64_t)number;
        memcpy(at, &low, 4);
    } else {
        memcpy(at, &number, sizeof number);
    }
}

static int fail_bounds(const struct option_rows *rows, const struct option_row *row, int64_t given, strata_error *err)
{
    const char *name = row->name;
    if (row->type == OPTION_DURATION && row->min > 0)
        return strata__fail(err, STRATA_EINVAL, name,
                            "%s.%s is %" PRId64 ": give %" PRId64 " to %" PRIu64 " milliseconds, or 0 for the default",
                            rows->what, name, given, row->min, row->max);
    if (row->type == OPTION_DURATION && row->max < (uint64_t)STRATA_FOREVER)
        return strata__fail(err, STRATA_EINVAL, name,
                            "%s.%s is %" PRId64 ": give 1 to %" PRIu64 " milliseconds, 0 for the default, or "
                            "STRATA_OFF (-1)",
                            rows->what, name, given, row->max);
    if (row->type == OPTION_DURATION)
        return strata__fail(err, STRATA_EINVAL, name,
                            "%s.%s is %" PRId64 ": give milliseconds above 0, 0 for the default, "
                            "STRATA_OFF (-1) or STRATA_FOREVER",
                            rows->what, name, given);
    if (row->type == OPTION_SWITCH)
        return strata__fail(err, STRATA_EINVAL, name,
                            "%s.%s is %" PRId64 ": give STRATA_ON (1), STRATA_OFF (-1), or 0 for "
                            "the default",
                            rows->what, name, given);
    if (is_signed(row->type))
        return strata__fail(err, STRATA_EINVAL, name,
                            "%s.%s is %" PRId64 ": give one from %" PRId64 " to %" PRIu64 ", or 0 "
                            "for the default",
                            rows->what, name, given, row->min, row->max);
    return strata__fail(err, STRATA_EINVAL, name,
                        "%s.%s is %" PRIu64 ": give %" PRId64 " to %" PRIu64 ", or 0 for the "
                        "default",
                        rows->what, name, (uint64_t)given, row->min, row->max);
}

static int check_string(const struct option_rows *rows, const struct option_row *row, const void *known,
                        strata_error *err)
{
    const char *text;
    memcpy(&text, (const char *)known + row->offset, sizeof text);
    if (text == NULL)
        return STRATA_OK;
    size_t length = strnlen(text, (size_t)row->max + 1);
    if (length == 0 && row->type == OPTION_STRING)
        return strata__fail(err, STRATA_EINVAL, row->name,
                            "%s.%s is an empty text: give 1 to %" PRIu64 " bytes, or NULL for "
                            "the default",
                            rows->what, row->name, row->max);
    if (length > row->max)
        return strata__fail(err, STRATA_EINVAL, row->name, "%s.%s is longer than %" PRIu64 " bytes: give a shorter one",
                            rows->what, row->name, row->max);
    return STRATA_OK;
}

static int check_row(const struct option_rows *rows, const struct option_row *row, const void *known, strata_error *err)
{
    if (row->type == OPTION_SIZE_FIELD || row->type == OPTION_POINTER)
        return STRATA_OK;
    if (row->type == OPTION_STRING || row->type == OPTION_TEXT)
        return check_string(rows, row, known, err);
    int64_t number = read_number(row, known);
    if (number == 0)
        return STRATA_OK;
    int good = is_signed(row->type) ? number >= row->min && (number < 0 || (uint64_t)number <= row->max)
                                    : (uint64_t)number >= (uint64_t)row->min && (uint64_t)number <= row->max;
    return good ? STRATA_OK : fail_bounds(rows, row, number, err);
}

int strata__options_check(const struct option_rows *rows, const void *given, size_t given_size, void *out_known,
                          size_t known_size, strata_error *err)
{
    if (known_size != rows->size)
        STRATA_BUG("options rows and struct disagree");
    if (given_size < sizeof(size_t) || given_size > LARGEST_STRUCT)
        return strata__fail(err, STRATA_EINVAL, "size", "%s.size is %zu, which it cannot be: start the struct from %s",
                            rows->what, given_size, rows->init);
    if (given_size > known_size && !strata__tail_is_zero(given, known_size, given_size))
        return strata__fail(err, STRATA_EINVAL, "size",
                            "%s uses a field that this strata does not know: the program was "
                            "built against a newer strata; install that one, or build again",
                            rows->what);
    memset(out_known, 0, known_size);
    memcpy(out_known, given, given_size < known_size ? given_size : known_size);
    memcpy(out_known, &known_size, sizeof known_size); /* its own size field comes first, in every struct */
    for (size_t i = 0; i < rows->count; i++) {
        int rc = check_row(rows, &rows->rows[i], out_known, err);
        if (rc < 0)
            return rc;
    }
    return STRATA_OK;
}

void strata__options_fill(const struct option_rows *rows, void *known)
{
    for (size_t i = 0; i < rows->count; i++) {
        const struct option_row *row = &rows->rows[i];
        if (row->preset != 0 && read_number(row, known) == 0)
            write_number(row, known, row->preset);
    }
}
