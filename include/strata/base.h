/* strata/base.h - the words every other header needs: export marks, slices, special numbers.
 * Part of the stable API. */
#ifndef STRATA_BASE_H
#define STRATA_BASE_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define STRATA_API __attribute__((visibility("default")))
#else
#define STRATA_API
#endif

#ifdef __cplusplus
#define STRATA_BEGIN_DECLS extern "C" {
#define STRATA_END_DECLS }
#else
#define STRATA_BEGIN_DECLS
#define STRATA_END_DECLS
#endif

/** In a policy or an option, 0 inherits (or takes the default) and STRATA_OFF switches off. */
#define STRATA_OFF (-1)
/** Switches on what was inherited as off.  For fields that are no duration. */
#define STRATA_ON 1
/** A duration without end. */
#define STRATA_FOREVER INT64_MAX

/** First field of every struct with a size, for designated initialisers: { STRATA_SIZED(type), .x = 1 }.  Does what the INIT
 *  macros do.  For C and C++20; in older C++ start from the INIT macro, or from {} and set size. */
#define STRATA_SIZED(type) .size = sizeof(type)

STRATA_BEGIN_DECLS

/** Bytes that somebody else owns.  Keys are slices: 1 to 1,024 bytes (see max_key_bytes), any content. */
typedef struct strata_slice {
    const void *data;
    size_t size; /**< bytes */
} strata_slice;

/* Conveniences of the header, not symbols of the library. */

/** The bytes of a C string without its NUL.  Borrows `text`. */
static inline strata_slice strata_str(const char *text)
{
    strata_slice s;
    s.data = text;
    s.size = text != NULL ? strlen(text) : 0;
    return s;
}

/** `size` bytes at `data`.  Borrows them. */
static inline strata_slice strata_bytes(const void *data, size_t size)
{
    strata_slice s;
    s.data = data;
    s.size = size;
    return s;
}

/** Most tags that an entry can have. */
#define STRATA_TAGS_MAX 10000
/** Bytes that the validator of an entry may have, and its last-modified. */
#define STRATA_VALIDATOR_MAX 512

STRATA_END_DECLS
#endif /* STRATA_BASE_H */
