/* options.h - one row for each field of each options struct.
 *
 * A row says what a field is called, where it lies, what it may be and what 0 stands for.  From the rows come the
 * check of what a caller gave, the reading of "name=value" in a stack's URL, and help texts; a test proves that no field
 * lacks its row.  Structs are sized (libbpf's scheme): a shorter one is an older caller's, the rest is zero; a longer one
 * is a newer caller's, and fine as long as what this library does not know is zero. */
#ifndef STRATA_POLICY_OPTIONS_H
#define STRATA_POLICY_OPTIONS_H
#include <stddef.h>
#include <stdint.h>

#include "strata/error.h"

enum option_type {
    OPTION_SIZE_FIELD, /* size_t: sizeof the struct itself */
    OPTION_U32,        /* a plain number */
    OPTION_U64,
    OPTION_COUNT,    /* size_t */
    OPTION_BYTES32,  /* uint32_t; in text with a unit */
    OPTION_BYTES,    /* uint64_t; in text with a unit */
    OPTION_DURATION, /* int64_t milliseconds, STRATA_OFF, STRATA_FOREVER; in text with a unit, "off", "forever" */
    OPTION_SWITCH,   /* int32_t: STRATA_ON, STRATA_OFF; in text "on", "off" */
    OPTION_PERCENT,  /* int32_t: a share of 100, STRATA_OFF; in text "20%", "off" */
    OPTION_TIMES,    /* int32_t: how many, STRATA_OFF; in text "3", "off" */
    OPTION_ENUM,     /* int32_t: one of `words` */
    OPTION_STRING,   /* const char *: at most `max` bytes, and not empty */
    OPTION_TEXT,     /* the same, and may be empty where code gives it */
    OPTION_POINTER   /* anything else that only code can give */
};

struct option_word {
    const char *name; /* NULL ends the list */
    int32_t number;
};

struct option_row {
    const char *name;
    size_t offset;
    enum option_type type;
    int64_t min; /* 0 is always allowed besides: it takes the default, or inherits */
    uint64_t max;
    int64_t preset;                  /* what 0 stands for; 0 where 0 means 0 */
    const struct option_word *words; /* for OPTION_ENUM */
    const char *help;                /* one line, no full stop */
};

struct option_rows {
    const char *what; /* "strata_policy": shown in errors */
    const char *init; /* how to start one: "STRATA_POLICY_INIT" */
    size_t size;      /* sizeof the struct */
    const struct option_row *rows;
    size_t count;
};

extern const struct option_rows strata__coherence_rows;        /* strata_coherence_options */
extern const struct option_rows strata__disk_rows;             /* strata_disk_options */
extern const struct option_rows strata__memory_rows;           /* strata_memory_options */
extern const struct option_rows strata__cache_option_rows;     /* strata_options */
extern const struct option_rows strata__namespace_option_rows; /* strata_namespace_options */
extern const struct option_rows strata__policy_rows;           /* strata_policy */
extern const struct option_rows strata__rabbitmq_rows;         /* strata_rabbitmq_options */
extern const struct option_rows strata__redis_rows;            /* strata_redis_options */
extern const struct option_rows strata__redis_bus_rows;        /* strata_redis_bus_options */
extern const struct option_rows strata__redis_tracking_rows;   /* strata_redis_tracking_options */
extern const struct option_rows strata__snapshot_rows;         /* strata_snapshot_options */
extern const struct option_rows strata__warm_rows;             /* strata_warm_options */
extern const struct option_rows strata__nats_rows;             /* strata_nats_options */

/* Bounds of strata_memory_options.max_bytes: beyond 255 GiB a 32-bit reference would need steps that an entry's six bits of slack
 * cannot tell. */
#define STRATA__MEMORY_LEAST ((uint64_t)64 << 10)
#define STRATA__MEMORY_MOST ((uint64_t)255 << 30)

/* How many bytes a field of this type takes. */
size_t strata__option_width(enum option_type type);

/* Copy what this library knows of `given` (given_size is what the caller wrote into its size field) to out_known,
 * known_size == rows->size, the rest zero, its size field known_size; and check it against the rows.
 * STRATA_OK, or STRATA_EINVAL that names the field, its bounds and what was given. */
int strata__options_check(const struct option_rows *rows, const void *given, size_t given_size, void *out_known,
                          size_t known_size, strata_error *err);

/* Put the presets where fields are 0. */
void strata__options_fill(const struct option_rows *rows, void *known);

/* Set one field from text.  `where` names the part for errors ("memory").  A string is borrowed: the field points to
 * `value`.  STRATA_OK, STRATA_EINVAL (unknown name: lists the allowed ones; no unit; out of bounds...). */
int strata__option_set(const struct option_rows *rows, void *known, const char *where, const char *name,
                       const char *value, strata_error *err);

/* 1 where a struct that is longer than we know has only zeros from `from` on. */
int strata__tail_is_zero(const void *given, size_t from, size_t size);

#endif /* STRATA_POLICY_OPTIONS_H */
