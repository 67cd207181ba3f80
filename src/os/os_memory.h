/* os_memory.h - how much memory there is, and the kernel's small text files that say how it goes with it. */
#ifndef STRATA_OS_MEMORY_H
#define STRATA_OS_MEMORY_H
#include <stddef.h>
#include <stdint.h>

/* Of the machine, in bytes.  0 or an errno. */
int strata__os_memory_total(uint64_t *out);

/* A file of /proc or /sys, whole: at most `room` bytes, which no zero byte ends.  0 or an errno; EFBIG: there is more. */
int strata__os_text_read(const char *path, char *out, size_t room, size_t *out_size);

/* For tests: what stands before such paths, NULL nothing.  Borrowed until it is replaced. */
void strata__os_text_root_set(const char *dir);

#endif /* STRATA_OS_MEMORY_H */
