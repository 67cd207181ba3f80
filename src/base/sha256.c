/* sha256.c - see sha256.h: block by block, the last one or two with the padding. */
#include "src/base/sha256.h"

#include <string.h>

enum { LENGTH_AT = 56, ROUNDS = 64 };

static const uint32_t round_constants[ROUNDS] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
    0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
    0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
    0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
    0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
    0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
    0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u,
};

static uint32_t turn(uint32_t n, unsigned by) { return n >> by | n << (32 - by); }

static void schedule(uint32_t w[ROUNDS], const uint8_t *block)
{
    for (size_t i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (size_t i = 16; i < ROUNDS; i++) {
        uint32_t a = turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t b = turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + a + w[i - 7] + b;
    }
}

static void take_block(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[ROUNDS], s[8];
    schedule(w, block);
    memcpy(s, state, sizeof s);
    for (size_t i = 0; i < ROUNDS; i++) {
        uint32_t one = turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25);
        uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
        uint32_t next = s[7] + one + choice + round_constants[i] + w[i];
        uint32_t two = turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22);
        uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        memmove(s + 1, s, 7 * sizeof s[0]);
        s[4] += next;
        s[0] = next + two + majority;
    }
    for (size_t i = 0; i < 8; i++)
        state[i] += s[i];
}

void strata__sha256_start(struct sha256 *sum)
{
    static const uint32_t first[8] = { 0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
                                       0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u };
    memcpy(sum->state, first, sizeof first);
    sum->bytes = 0;
}

void strata__sha256_add(struct sha256 *sum, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size > 0) {
        size_t filled = (size_t)(sum->bytes % SHA256_BLOCK), taken = SHA256_BLOCK - filled;
        taken = taken < size ? taken : size;
        memcpy(sum->block + filled, at, taken);
        sum->bytes += taken;
        at += taken;
        size -= taken;
        if (sum->bytes % SHA256_BLOCK == 0)
            take_block(sum->state, sum->block);
    }
}

void strata__sha256_end(struct sha256 *sum, uint8_t out[SHA256_BYTES])
{
    static const uint8_t padding[SHA256_BLOCK] = { 0x80 };
    uint8_t length[8];
    size_t filled = (size_t)(sum->bytes % SHA256_BLOCK);
    for (size_t i = 0; i < 8; i++)
        length[i] = (uint8_t)(sum->bytes * 8 >> (56 - 8 * i));
    strata__sha256_add(sum, padding, (filled < LENGTH_AT ? LENGTH_AT : LENGTH_AT + SHA256_BLOCK) - filled);
    strata__sha256_add(sum, length, sizeof length);
    for (size_t i = 0; i < SHA256_BYTES; i++)
        out[i] = (uint8_t)(sum->state[i / 4] >> (24 - 8 * (i % 4)));
}

static void start_padded(struct sha256 *sum, const uint8_t key[SHA256_BLOCK], uint8_t pad)
{
    uint8_t block[SHA256_BLOCK];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = key[i] ^ pad;
    strata__sha256_start(sum);
    strata__sha256_add(sum, block, sizeof block);
}

void strata__hmac_start(struct hmac_sha256 *hmac, const void *key, size_t key_size)
{
    memset(hmac->key, 0, sizeof hmac->key);
    if (key_size > sizeof hmac->key) {
        strata__sha256_start(&hmac->inner);
        strata__sha256_add(&hmac->inner, key, key_size);
        strata__sha256_end(&hmac->inner, hmac->key);
    } else if (key_size != 0) {
        memcpy(hmac->key, key, key_size);
    }
    start_padded(&hmac->inner, hmac->key, 0x36);
}

void strata__hmac_add(struct hmac_sha256 *hmac, const void *data, size_t size)
{
    strata__sha256_add(&hmac->inner, data, size);
}

void strata__hmac_end(struct hmac_sha256 *hmac, uint8_t out[SHA256_BYTES])
{
    strata__sha256_end(&hmac->inner, out);
    start_padded(&hmac->inner, hmac->key, 0x5c);
    strata__sha256_add(&hmac->inner, out, SHA256_BYTES);
    strata__sha256_end(&hmac->inner, out);
}

void strata__hmac_sha256(const void *key, size_t key_size, const void *data, size_t size, uint8_t out[SHA256_BYTES])
{
    struct hmac_sha256 hmac;
    strata__hmac_start(&hmac, key, key_size);
    strata__hmac_add(&hmac, data, size);
    strata__hmac_end(&hmac, out);
}

int strata__same_secret(const void *a, const void *b, size_t size)
{
    const volatile uint8_t *one = a, *other = b;
    uint8_t different = 0;
    for (size_t i = 0; i < size; i++)
        different |= (uint8_t)(one[i] ^ other[i]);
    return different == 0;
}
