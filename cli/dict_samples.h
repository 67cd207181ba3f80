/* dict_samples.h - what `strata dict train` learns from: files of a directory, or lines of a file. */
#ifndef STRATA_CLI_DICT_SAMPLES_H
#define STRATA_CLI_DICT_SAMPLES_H
#include <stddef.h>
#include <stdint.h>

#include "strata/strata.h"

/* All zero is empty. */
struct dict_samples {
    strata_slice *list; /* into `bytes`, once all are read */
    size_t count, room;
    char *bytes;
    size_t used, bytes_room;
    uint64_t left_out; /* there was no room for them */
};

/* `path`: a directory, each file a sample, by name; a file, or "-", each line one.  Stops at `most` bytes and counts the rest; of
 * a file it takes the first 128 KiB.  STRATA_OK; STRATA_EINVAL, STRATA_EIO, STRATA_ENOMEM with words. */
int dict_samples_read(struct dict_samples *samples, const char *path, uint64_t most, strata_error *err);
void dict_samples_free(struct dict_samples *samples);

#endif /* STRATA_CLI_DICT_SAMPLES_H */
