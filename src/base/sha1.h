/* sha1.h - SHA-1 (FIPS 180-4), as what a Redis server calls a script by.  Not for anything that somebody could want to forge. */
#ifndef STRATA_BASE_SHA1_H
#define STRATA_BASE_SHA1_H
#include <stddef.h>

/* 40 hexadecimal digits and a NUL. */
void strata__sha1_hex(const void *data, size_t size, char out[41]);

#endif /* STRATA_BASE_SHA1_H */
