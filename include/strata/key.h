/* strata/key.h - keys of several parts, each with its type, so that no two lists of parts make one key.
 * Part of the stable API.
 *
 *   strata_key key;
 *   strata_key_begin(&key);
 *   strata_key_text(&key, strata_str("orders"));
 *   strata_key_int(&key, 42);
 *   strata_get(cache, strata_key_slice(&key), &value, &err);
 *
 * The text "1" and the number 1 differ, and so do "a", "b:c" and "a:b", "c".  The key of some parts is a prefix of the key of the same
 * parts and more, and of no other: strata_ban_prefix() takes all orders, and not those of "orders2".
 * A loader takes the parts out of its key again: strata_key_next().
 *
 * How a key looks: each part is a letter, what belongs to it, and a colon.
 *   text     s6:orders                the number of bytes, a colon, and the bytes, as they are
 *   int      i42:  i-7:               a whole number of 64 bits, signed or not
 *   real     d3ff8000000000000:       a double, by its bits; 0.0 and -0.0 are one, and so are all that are no number
 *   flag     t:  f:
 *   none     n:                       what is not there
 *   list     l2:                      the next two parts (or lists) belong together */
#ifndef STRATA_KEY_H
#define STRATA_KEY_H
#include "strata/base.h"
#include "strata/error.h"
STRATA_BEGIN_DECLS

/** Bytes that a key of parts can have: as many as keys may, where max_key_bytes says nothing else. */
#define STRATA_KEY_ROOM 1024

/** A key that is being made, on the stack.  Threads: one at a time.  Its fields are for strata_key_slice(). */
typedef struct strata_key {
    uint32_t used;
    int32_t failed; /**< 1: a part had no room */
    char data[STRATA_KEY_ROOM];
} strata_key;

/** Begin, with no part.  Before any other call. */
STRATA_API void strata_key_begin(strata_key *key);

/* One more part.  @return STRATA_OK; STRATA_EKEYSIZE where there is no room for it: then it stays so, and the slice is empty, which
 * every call of a cache refuses with STRATA_EKEYSIZE, too.  So it is enough to look there. */

/** A text, or any bytes; also none. */
STRATA_API int strata_key_text(strata_key *key, strata_slice text);
/** A whole number.  The same one is the same part, signed or not. */
STRATA_API int strata_key_int(strata_key *key, int64_t number);
STRATA_API int strata_key_uint(strata_key *key, uint64_t number);
/** A double.  1.0 is not the same part as the whole number 1. */
STRATA_API int strata_key_real(strata_key *key, double number);
/** Yes (any but 0) or no. */
STRATA_API int strata_key_flag(strata_key *key, int flag);
/** Something that is not there: not the same as an empty text. */
STRATA_API int strata_key_none(strata_key *key);
/** A list begins: the next `count` parts are its own; a list among them counts as one. */
STRATA_API int strata_key_list(strata_key *key, uint32_t count);

/** The key, for a call.  Borrows `key`.  Empty where a part had no room. */
static inline strata_slice strata_key_slice(const strata_key *key)
{
    return strata_bytes(key->data, key->failed ? 0 : key->used);
}

/** What a part is. */
enum {
    STRATA_PART_TEXT = 1,
    STRATA_PART_INT = 2,  /**< a whole number that fits into 64 bits with a sign */
    STRATA_PART_UINT = 3, /**< one above that */
    STRATA_PART_REAL = 4,
    STRATA_PART_FLAG = 5,
    STRATA_PART_NONE = 6,
    STRATA_PART_LIST = 7
};

/** A part that was read.  What does not belong to its type is 0. */
typedef struct strata_key_part {
    int32_t type;         /**< STRATA_PART_ */
    int32_t flag;         /**< 1 or 0 */
    strata_slice text;    /**< borrowed from the key */
    int64_t integer;      /**< of STRATA_PART_INT */
    uint64_t uinteger;    /**< of STRATA_PART_UINT, and of STRATA_PART_INT that is not below 0 */
    double real;
    uint32_t count;       /**< of a list */
    uint32_t reserved;    /**< 0 */
} strata_key_part;

/**
 * Take the first part off `rest`, which begins as the whole key: a loader's, for example.
 * @return STRATA_OK; STRATA_MISS: there is none left; STRATA_EINVAL: it is no key of parts, and `rest` stays as it is.  What is accepted
 *         is what the calls above write, byte for byte.
 */
STRATA_API int strata_key_next(strata_slice *rest, strata_key_part *out);

STRATA_END_DECLS
#endif /* STRATA_KEY_H */
