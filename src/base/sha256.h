/* sha256.h - SHA-256 (FIPS 180-4) and HMAC-SHA256 (RFC 2104): what messages between nodes are signed with.  Here, so that a
 * build without a TLS library has it, too. */
#ifndef STRATA_BASE_SHA256_H
#define STRATA_BASE_SHA256_H
#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, SHA256_BLOCK = 64 };

/* For bytes that come in pieces. */
struct sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[SHA256_BLOCK]; /* bytes % SHA256_BLOCK of them are filled */
};
void strata__sha256_start(struct sha256 *sum);
void strata__sha256_add(struct sha256 *sum, const void *data, size_t size);
void strata__sha256_end(struct sha256 *sum, uint8_t out[SHA256_BYTES]);

/* HMAC of bytes that come in pieces. */
struct hmac_sha256 {
    struct sha256 inner;
    uint8_t key[SHA256_BLOCK];
};
void strata__hmac_start(struct hmac_sha256 *hmac, const void *key, size_t key_size);
void strata__hmac_add(struct hmac_sha256 *hmac, const void *data, size_t size);
void strata__hmac_end(struct hmac_sha256 *hmac, uint8_t out[SHA256_BYTES]);
void strata__hmac_sha256(const void *key, size_t key_size, const void *data, size_t size, uint8_t out[SHA256_BYTES]);

/* 1: these bytes are equal.  Takes as long wherever they differ, so that nobody learns from the time how far a guess was right. */
int strata__same_secret(const void *a, const void *b, size_t size);

#endif /* STRATA_BASE_SHA256_H */
