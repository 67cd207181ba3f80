/* sha1.c - see sha1.h: block by block, the last one or two with the padding. */
#include "src/base/sha1.h"

#include <stdint.h>
#include <string.h>

enum { BLOCK = 64, LENGTH_AT = 56 };

static uint32_t roll(uint32_t n, unsigned by) { return n << by | n >> (32 - by); }

static uint32_t mixed(size_t round, const uint32_t s[5])
{
    if (round < 20)
        return ((s[1] & s[2]) | (~s[1] & s[3])) + 0x5a827999u;
    if (round < 40)
        return (s[1] ^ s[2] ^ s[3]) + 0x6ed9eba1u;
    if (round < 60)
        return ((s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3])) + 0x8f1bbcdcu;
    return (s[1] ^ s[2] ^ s[3]) + 0xca62c1d6u;
}

static void take_block(uint32_t state[5], const uint8_t *block)
{
    uint32_t w[80], s[5];
    for (size_t i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (size_t i = 16; i < 80; i++)
        w[i] = roll(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    memcpy(s, state, sizeof s);
    for (size_t i = 0; i < 80; i++) {
        uint32_t next = roll(s[0], 5) + mixed(i, s) + s[4] + w[i];
        s[4] = s[3];
        s[3] = s[2];
        s[2] = roll(s[1], 30);
        s[1] = s[0];
        s[0] = next;
    }
    for (size_t i = 0; i < 5; i++)
        state[i] += s[i];
}

void strata__sha1_hex(const void *data, size_t size, char out[41])
{
    static const char digits[] = "0123456789abcdef";
    uint32_t state[5] = { 0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u, 0xc3d2e1f0u };
    uint8_t last[2 * BLOCK] = { 0 };
    const uint8_t *at = data;
    size_t left = size;
    for (; left >= BLOCK; left -= BLOCK, at += BLOCK)
        take_block(state, at);
    if (left > 0)
        memcpy(last, at, left);
    last[left] = 0x80;
    uint8_t *end = left < LENGTH_AT ? last : last + BLOCK;
    for (size_t i = 0; i < 8; i++)
        end[LENGTH_AT + i] = (uint8_t)((uint64_t)size * 8 >> (56 - 8 * i));
    take_block(state, last);
    if (end != last)
        take_block(state, end);
    for (size_t i = 0; i < 40; i++)
        out[i] = digits[state[i / 8] >> (28 - 4 * (i % 8)) & 15];
    out[40] = '\0';
}
