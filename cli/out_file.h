/* out_file.h - files that a command writes in the end: that they cannot be written is said before the work, not after it. */
#ifndef STRATA_CLI_OUT_FILE_H
#define STRATA_CLI_OUT_FILE_H
#include "strata/error.h"

/* Could it be written, as far as can be told now?  Nothing that is there is touched, and nothing is left that was not,
 * but an empty file where a link leads to none yet.  STRATA_OK or STRATA_EIO. */
int out_file_check(const char *path, const char *where, strata_error *err);

/* Would what is read be written over?  `in` may be "-": standard input. */
int out_file_same(const char *out, const char *in);

#endif /* STRATA_CLI_OUT_FILE_H */
