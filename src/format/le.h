/* le.h - little-endian numbers at any address.  Compilers make one instruction of each. */
#ifndef STRATA_FORMAT_LE_H
#define STRATA_FORMAT_LE_H
#include <stdint.h>

static inline void strata__le16_put(uint8_t *at, uint16_t n)
{
    at[0] = (uint8_t)n;
    at[1] = (uint8_t)(n >> 8);
}

static inline void strata__le32_put(uint8_t *at, uint32_t n)
{
    strata__le16_put(at, (uint16_t)n);
    strata__le16_put(at + 2, (uint16_t)(n >> 16));
}

static inline void strata__le64_put(uint8_t *at, uint64_t n)
{
    strata__le32_put(at, (uint32_t)n);
    strata__le32_put(at + 4, (uint32_t)(n >> 32));
}

static inline uint16_t strata__le16(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }

static inline uint32_t strata__le32(const uint8_t *at)
{
    return (uint32_t)strata__le16(at) | (uint32_t)strata__le16(at + 2) << 16;
}

static inline uint64_t strata__le64(const uint8_t *at)
{
    return (uint64_t)strata__le32(at) | (uint64_t)strata__le32(at + 4) << 32;
}

#endif /* STRATA_FORMAT_LE_H */
