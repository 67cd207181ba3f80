/* pattern.h - does a key match a pattern?  `*` is any bytes, also none; `?` one byte; `\` takes the next one as it is.
 *
 * Time is at most pattern times key, whatever stands in them, and no memory: the last star alone is ever gone back to. */
#ifndef STRATA_POLICY_PATTERN_H
#define STRATA_POLICY_PATTERN_H
#include "strata/base.h"

int strata__pattern_matches(strata_slice pattern, strata_slice key);
/* The bytes that every key that matches begins with are written to `out`, which has room for pattern.size; how many. */
size_t strata__pattern_prefix(strata_slice pattern, char *out);
/* 0: it ends in a `\` that escapes nothing. */
int strata__pattern_valid(strata_slice pattern);

#endif /* STRATA_POLICY_PATTERN_H */
