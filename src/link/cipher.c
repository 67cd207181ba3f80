/* cipher.c - see cipher.h: the one file that includes libcrypto's ciphers. */
#include "src/link/cipher.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

int strata__cipher_is_there(void) { return 1; }

int strata__cipher_random(void *out, size_t size) { return size <= INT_MAX && RAND_bytes(out, (int)size) == 1; }

static const uint8_t nonce[12];

int strata__cipher_seal(const uint8_t key[CIPHER_KEY], const strata_slice *also, size_t count, const void *in,
                        size_t size, void *out)
{
    EVP_CIPHER_CTX *c = size <= INT_MAX ? EVP_CIPHER_CTX_new() : NULL;
    uint8_t *at = out;
    int done = 0;
    int good = c != NULL && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1;
    for (size_t i = 0; good && i < count; i++)
        good = also[i].size == 0 || EVP_EncryptUpdate(c, NULL, &done, also[i].data, (int)also[i].size) == 1;
    if (good && size != 0)
        good = EVP_EncryptUpdate(c, at, &done, in, (int)size) == 1;
    good = good && EVP_EncryptFinal_ex(c, at + size, &done) == 1 &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, CIPHER_TAG, at + size) == 1;
    EVP_CIPHER_CTX_free(c);
    return good;
}

int strata__cipher_open(const uint8_t key[CIPHER_KEY], const strata_slice *also, size_t count, const void *in,
                        size_t size, void *out)
{
    EVP_CIPHER_CTX *c = size <= INT_MAX ? EVP_CIPHER_CTX_new() : NULL;
    uint8_t tag[CIPHER_TAG], nothing[CIPHER_TAG];
    int done = 0;
    for (size_t i = 0; i < sizeof tag; i++) /* the call takes no const */
        tag[i] = ((const uint8_t *)in + size)[i];
    int good = c != NULL && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1;
    for (size_t i = 0; good && i < count; i++)
        good = also[i].size == 0 || EVP_DecryptUpdate(c, NULL, &done, also[i].data, (int)also[i].size) == 1;
    if (good && size != 0)
        good = EVP_DecryptUpdate(c, out, &done, in, (int)size) == 1;
    good = good && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, CIPHER_TAG, tag) == 1 &&
           EVP_DecryptFinal_ex(c, nothing, &done) == 1;
    EVP_CIPHER_CTX_free(c);
    return good;
}
