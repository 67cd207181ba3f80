/* cipher_off.c - a build without libcrypto. */
#include "src/link/cipher.h"

int strata__cipher_is_there(void) { return 0; }

int strata__cipher_random(void *out, size_t size)
{
    (void)out, (void)size;
    return 0;
}

int strata__cipher_seal(const uint8_t key[CIPHER_KEY], const strata_slice *also, size_t count, const void *in,
                        size_t size, void *out)
{
    (void)key, (void)also, (void)count, (void)in, (void)size, (void)out;
    return 0;
}

int strata__cipher_open(const uint8_t key[CIPHER_KEY], const strata_slice *also, size_t count, const void *in,
                        size_t size, void *out)
{
    (void)key, (void)also, (void)count, (void)in, (void)size, (void)out;
    return 0;
}
