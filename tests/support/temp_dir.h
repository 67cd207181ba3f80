/* temp_dir.h - directories that go away with what is in them. */
#ifndef STRATA_TESTS_TEMP_DIR_H
#define STRATA_TESTS_TEMP_DIR_H
#include <stddef.h>

/* A new empty one, mode 0700, under $TMPDIR or /tmp.  Aborts where that fails. */
void temp_dir_make(char *out, size_t size);
/* With all files in it (it has no directories). */
void temp_dir_remove(const char *path);
/* The files in it but the directory's own; how many. */
size_t temp_dir_list(const char *path, char names[][64], size_t most);
/* All their sizes. */
unsigned long long temp_dir_bytes(const char *path);
/* A copy of every file of one in another one. */
void temp_dir_copy(const char *from, const char *to);

#endif /* STRATA_TESTS_TEMP_DIR_H */
