/* doc_vector.h - test vectors stand in the tests and in docs/formats.md, and must be the same in both. */
#ifndef STRATA_TESTS_DOC_VECTOR_H
#define STRATA_TESTS_DOC_VECTOR_H
#include <stddef.h>
#include <stdint.h>

/* Fails the test unless bytes are `hex` (lower case, spaces and line ends anywhere), and docs/formats.md has `hex`. */
void doc_vector_check(const char *hex, const void *bytes, size_t size);
/* The bytes of `hex`, which the document must have, too; returns how many.  Fails the test where they exceed `room`. */
size_t doc_vector_bytes(const char *hex, uint8_t *out, size_t room);

#endif /* STRATA_TESTS_DOC_VECTOR_H */
