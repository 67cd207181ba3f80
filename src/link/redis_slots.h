/* redis_slots.h - what a Redis Cluster says about itself: which slot a key is in, who serves which slot, and where else to ask.
 *
 * Pure: replies in, plain things out.  What a server says is input: whatever does not make sense is refused, and nothing of it
 * is kept. */
#ifndef STRATA_LINK_REDIS_SLOTS_H
#define STRATA_LINK_REDIS_SLOTS_H
#include <stddef.h>
#include <stdint.h>

#include "strata/base.h"
#include "strata/sys/allocator.h"

struct redisReply;

enum { REDIS_SLOTS = 16384, REDIS_HOST_ROOM = 256, REDIS_PLACES_MOST = 512 };
#define REDIS_NOBODY UINT16_MAX

/* Of the key, or of what stands in its first {braces}, where that is not empty. */
uint16_t strata__redis_slot(strata_slice key);

struct redis_place {
    char host[REDIS_HOST_ROOM]; /* never empty */
    uint16_t port;              /* never 0 */
};

struct redis_map {
    struct redis_place places[REDIS_PLACES_MOST]; /* masters and replicas */
    uint8_t is_master[REDIS_PLACES_MOST];
    size_t place_count;
    uint16_t owner[REDIS_SLOTS]; /* an index into places, or REDIS_NOBODY */
    size_t served;               /* slots that somebody owns */
};

/* The reply to CLUSTER SLOTS, of 3.0 to 8 and Valkey.  `asked` stands in for a host that the node does not know or say.
 * 1; 0: it is no such reply, *out is undefined then. */
int strata__redis_map_read(const struct redisReply *reply, const char *asked, struct redis_map *out);

enum redis_redirect { REDIS_STAYS, REDIS_MOVED, REDIS_ASK };

/* An error reply, "MOVED 3999 127.0.0.1:6381", "ASK ...": where to go. */
enum redis_redirect strata__redis_redirect(strata_slice text, const char *asked, uint16_t *out_slot,
                                           struct redis_place *out_place);

int strata__redis_same_place(const struct redis_place *a, const struct redis_place *b);

#endif /* STRATA_LINK_REDIS_SLOTS_H */
