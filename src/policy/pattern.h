/* pattern.h - does a key match a pattern?  `*` is any bytes, also none; `?` one byte; `\` takes the next one as it is.
 *
 * No memory, and nothing is gone back over: time is that of the key and the pattern, as long as no more than 64 tokens stand between two stars; a
 * longer segment costs a byte of the key as often as it has 64 tokens, or a part of them.  test_pattern.c counts it. */
#ifndef STRATA_POLICY_PATTERN_H
#define STRATA_POLICY_PATTERN_H
#include "strata/base.h"

int strata__pattern_matches(strata_slice pattern, strata_slice key);
/* The same; *out_steps is how many tokens and bytes were looked at, each time they were. */
int strata__pattern_counted(strata_slice pattern, strata_slice key, uint64_t *out_steps);
/* The bytes that every key that matches begins with are written to `out`, which has room for pattern.size; how many. */
size_t strata__pattern_prefix(strata_slice pattern, char *out);
/* 0: it ends in a `\` that escapes nothing. */
int strata__pattern_valid(strata_slice pattern);

#endif /* STRATA_POLICY_PATTERN_H */
