/* out_file.h - files that a command writes in the end: that they cannot be written is said before the work, not after it. */
#ifndef STRATA_CLI_OUT_FILE_H
#define STRATA_CLI_OUT_FILE_H
#include "strata/error.h"

/* Could it be written, as far as can be told now?  Nothing is left there that was not, and nothing that was is touched.
 * STRATA_OK or STRATA_EIO. */
int out_file_check(const char *path, const char *where, strata_error *err);

/* Are both names of one file? */
int out_file_same(const char *a, const char *b);

#endif /* STRATA_CLI_OUT_FILE_H */
