/* key_set.h - how many different keys there are: a set of 64-bit hashes, 8 to 16 bytes a key.
 * Two keys of one hash would count as one: at 10 million keys that happens once in 370,000 traces. */
#ifndef STRATA_CLI_KEY_SET_H
#define STRATA_CLI_KEY_SET_H
#include <stddef.h>
#include <stdint.h>

struct key_set {
    uint64_t *slots; /* 0 is empty */
    size_t room;     /* a power of two */
    size_t count;
};

/* Zeroed storage is an empty set.  0, or -1 out of memory. */
int key_set_add(struct key_set *set, const void *key, size_t size);
void key_set_deinit(struct key_set *set);

#endif /* STRATA_CLI_KEY_SET_H */
