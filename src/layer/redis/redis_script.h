/* redis_script.h - the script that writes, leases and deletes in the server, where it can compare: docs/decisions/0007.
 *
 * What stands under a data key is told apart by its first two bytes (docs/formats.md): an envelope, a lease, a tombstone; anything
 * else is foreign.  The store's life stands in a key of its own.  Pure: texts and names. */
#ifndef STRATA_LAYER_REDIS_SCRIPT_H
#define STRATA_LAYER_REDIS_SCRIPT_H
#include <stdint.h>

#include "strata/base.h"

enum { REDIS_TOKEN = 16, REDIS_LIFE = 8, REDIS_SHA = 41, REDIS_LEASE_HEAD = 43, REDIS_TOMBSTONE = 18 };
enum { REDIS_IS_LEASE = 0xcb, REDIS_IS_TOMBSTONE = 0xcc }; /* first bytes; the second is 1 */

enum redis_script_code { /* the first of a reply */
                         SCRIPT_DONE = 0,
                         SCRIPT_ENTRY = 1,   /* lease: there is one */
                         SCRIPT_HELD = 2,    /* lease: another has it */
                         SCRIPT_FOREIGN = 3, /* lease, delete: somebody else's value, which was left alone */
                         SCRIPT_REFUSED = 4  /* something has come between */
};

strata_slice strata__redis_script(void);
/* What EVALSHA calls it: 40 digits and a NUL. */
void strata__redis_script_sha(char out[REDIS_SHA]);

#endif /* STRATA_LAYER_REDIS_SCRIPT_H */
