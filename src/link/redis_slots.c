/* redis_slots.c - see redis_slots.h. */
#include "src/link/redis_slots.h"

#include <string.h>

#include "src/link/redis_link.h"

/* CRC16 of XMODEM: polynomial 1021, nothing reflected, starts at 0.  Four bits at a time: a table of 32 bytes stays in the
 * cache beside everything else, and a key is short. */
static uint16_t crc16(const unsigned char *bytes, size_t size)
{
    static const uint16_t table[16] = { 0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
                                        0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef };
    unsigned crc = 0;
    for (size_t i = 0; i < size; i++) {
        crc = (crc << 4 & 0xffff) ^ table[(crc >> 12) ^ (bytes[i] >> 4)];
        crc = (crc << 4 & 0xffff) ^ table[(crc >> 12) ^ (bytes[i] & 15)];
    }
    return (uint16_t)crc;
}

uint16_t strata__redis_slot(strata_slice key)
{
    const unsigned char *bytes = key.data;
    const unsigned char *open = key.size != 0 ? memchr(bytes, '{', key.size) : NULL;
    if (open != NULL) {
        const unsigned char *tag = open + 1;
        size_t left = key.size - (size_t)(tag - bytes);
        const unsigned char *close = left != 0 ? memchr(tag, '}', left) : NULL;
        if (close != NULL && close != tag)
            return crc16(tag, (size_t)(close - tag)) % REDIS_SLOTS;
    }
    return crc16(bytes, key.size) % REDIS_SLOTS;
}

int strata__redis_same_place(const struct redis_place *a, const struct redis_place *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* "?": it has a host name, and does not know it. */
static int put_host(strata_slice host, const char *asked, struct redis_place *out)
{
    if (host.size == 0)
        host = strata_str(asked);
    if (host.size == 0 || host.size >= sizeof out->host || memchr(host.data, '\0', host.size) != NULL ||
        (host.size == 1 && *(const char *)host.data == '?'))
        return 0;
    memcpy(out->host, host.data, host.size);
    out->host[host.size] = '\0';
    return 1;
}

/* [host, port, ...]: 1; 0: no place that can be used; -1: no place at all. */
static int read_place(const struct redisReply *reply, const char *asked, struct redis_place *out)
{
    if (strata__redis_kind(reply) != REDIS_IS_ARRAY || strata__redis_count(reply) < 2)
        return -1;
    const struct redisReply *host = strata__redis_at(reply, 0), *port = strata__redis_at(reply, 1);
    enum redis_reply_kind kind = strata__redis_kind(host);
    if ((kind != REDIS_IS_TEXT && kind != REDIS_IS_NIL) || strata__redis_kind(port) != REDIS_IS_INTEGER ||
        strata__redis_integer(port) < 0 || strata__redis_integer(port) > UINT16_MAX)
        return -1;
    out->port = (uint16_t)strata__redis_integer(port);
    strata_slice text = kind == REDIS_IS_TEXT ? strata__redis_text(host) : strata_bytes(NULL, 0);
    return out->port != 0 && put_host(text, asked, out);
}

/* Its index; REDIS_NOBODY: there is no room. */
static uint16_t add_place(struct redis_map *map, const struct redis_place *place)
{
    size_t i = 0;
    while (i < map->place_count && !strata__redis_same_place(&map->places[i], place))
        i++;
    if (i == REDIS_PLACES_MOST)
        return REDIS_NOBODY;
    if (i == map->place_count) {
        map->places[i] = *place;
        map->is_master[i] = 0;
        map->place_count++;
    }
    return (uint16_t)i;
}

/* [first, last, master, replica...]: 0 where it is none. */
static int read_range(const struct redisReply *range, const char *asked, struct redis_map *map)
{
    if (strata__redis_kind(range) != REDIS_IS_ARRAY || strata__redis_count(range) < 3 ||
        strata__redis_kind(strata__redis_at(range, 0)) != REDIS_IS_INTEGER ||
        strata__redis_kind(strata__redis_at(range, 1)) != REDIS_IS_INTEGER)
        return 0;
    int64_t first = strata__redis_integer(strata__redis_at(range, 0));
    int64_t last = strata__redis_integer(strata__redis_at(range, 1));
    if (first < 0 || last < first || last >= REDIS_SLOTS)
        return 0;
    for (size_t i = 2; i < strata__redis_count(range); i++) {
        struct redis_place place;
        int good = read_place(strata__redis_at(range, i), asked, &place);
        if (good < 0)
            return 0;
        uint16_t index = good ? add_place(map, &place) : REDIS_NOBODY;
        if (i > 2 || index == REDIS_NOBODY)
            continue;
        map->is_master[index] = 1;
        for (int64_t slot = first; slot <= last; slot++) {
            map->served += map->owner[slot] == REDIS_NOBODY;
            map->owner[slot] = index;
        }
    }
    return 1;
}

int strata__redis_map_read(const struct redisReply *reply, const char *asked, struct redis_map *out)
{
    out->place_count = out->served = 0;
    for (size_t i = 0; i < REDIS_SLOTS; i++)
        out->owner[i] = REDIS_NOBODY;
    if (strata__redis_kind(reply) != REDIS_IS_ARRAY)
        return 0;
    for (size_t i = 0; i < strata__redis_count(reply); i++)
        if (!read_range(strata__redis_at(reply, i), asked, out))
            return 0;
    return 1;
}

/* Digits, and nothing else up to `end`. */
static int read_number(const char *at, const char *end, unsigned most, unsigned *out)
{
    unsigned n = 0;
    if (at == end)
        return 0;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return 0;
        n = n * 10 + (unsigned)(*at - '0');
        if (n > most)
            return 0;
    }
    *out = n;
    return 1;
}

/* The last colon: an IPv6 address stands there without brackets. */
static const char *last_colon(const char *at, const char *end)
{
    while (end > at)
        if (*--end == ':')
            return end;
    return NULL;
}

enum redis_redirect strata__redis_redirect(strata_slice text, const char *asked, uint16_t *out_slot,
                                           struct redis_place *out_place)
{
    static const char moved[] = "MOVED ", ask[] = "ASK ";
    const char *at = text.data, *end = at + text.size;
    enum redis_redirect kind = REDIS_STAYS;
    if (text.size > sizeof moved - 1 && memcmp(at, moved, sizeof moved - 1) == 0) {
        kind = REDIS_MOVED;
        at += sizeof moved - 1;
    } else if (text.size > sizeof ask - 1 && memcmp(at, ask, sizeof ask - 1) == 0) {
        kind = REDIS_ASK;
        at += sizeof ask - 1;
    }
    const char *blank = kind != REDIS_STAYS ? memchr(at, ' ', (size_t)(end - at)) : NULL;
    const char *colon = blank != NULL ? last_colon(blank + 1, end) : NULL;
    unsigned slot, port;
    if (colon == NULL || !read_number(at, blank, REDIS_SLOTS - 1, &slot) ||
        !read_number(colon + 1, end, UINT16_MAX, &port) || port == 0 ||
        !put_host(strata_bytes(blank + 1, (size_t)(colon - blank - 1)), asked, out_place))
        return REDIS_STAYS;
    out_place->port = (uint16_t)port;
    *out_slot = (uint16_t)slot;
    return kind;
}
