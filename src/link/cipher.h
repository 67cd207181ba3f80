/* cipher.h - AES-256-GCM, of libcrypto's where that is built in. */
#ifndef STRATA_LINK_CIPHER_H
#define STRATA_LINK_CIPHER_H
#include <stddef.h>
#include <stdint.h>

#include "strata/base.h"

enum { CIPHER_KEY = 32, CIPHER_TAG = 16 };

/* 1: it is built in. */
int strata__cipher_is_there(void);
/* Unpredictable bytes.  1; 0: there are none. */
int strata__cipher_random(void *out, size_t size);
/* `key` is used for this one message, so the nonce is zero.  `also` are authenticated with it, in pieces.  Writes size + CIPHER_TAG
 * bytes.  1; 0: out of memory. */
int strata__cipher_seal(const uint8_t key[CIPHER_KEY], const strata_slice *also, size_t count, const void *in,
                        size_t size, void *out);
/* `size` is that of the message, without its tag behind it.  1; 0: it is another one than was sealed, or out of memory. */
int strata__cipher_open(const uint8_t key[CIPHER_KEY], const strata_slice *also, size_t count, const void *in,
                        size_t size, void *out);

#endif /* STRATA_LINK_CIPHER_H */
