/* dictionaries.h - families of small values that are alike, and dictionaries trained of them. */
#ifndef STRATA_TESTS_DICTIONARIES_H
#define STRATA_TESTS_DICTIONARIES_H
#include <stddef.h>
#include <stdint.h>

enum { DICTIONARY_VALUE = 400, DICTIONARY_BYTES = 8192, DICTIONARY_FAMILIES = 2 };

/* The i-th value of a family, at most DICTIONARY_VALUE bytes; its size. */
size_t dictionary_value(char *out, int family, unsigned i);
/* The dictionary of a family, at most DICTIONARY_BYTES; its size.  Aborts where it cannot be made. */
size_t dictionary_train(int family, void *out);
/* The same as a file; its id. */
uint64_t dictionary_file(int family, const char *path);

#endif /* STRATA_TESTS_DICTIONARIES_H */
