/* key_set.c - see key_set.h.  Open addressing, linear probing, at most half full. */
#include "cli/key_set.h"

#include <stdlib.h>

/* FNV-1a with splitmix64's finaliser behind it; never 0. */
static uint64_t hash_key(const unsigned char *key, size_t size)
{
    uint64_t h = 0xcbf29ce484222325u;
    size_t i;

    for (i = 0; i < size; i++)
        h = (h ^ key[i]) * 0x100000001b3u;
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
    h ^= h >> 31;
    return h != 0 ? h : 1;
}

static int insert(struct key_set *set, uint64_t hash)
{
    size_t at = (size_t)hash & (set->room - 1);

    while (set->slots[at] != 0) {
        if (set->slots[at] == hash)
            return 0;
        at = (at + 1) & (set->room - 1);
    }
    set->slots[at] = hash;
    return 1;
}

static int grow(struct key_set *set)
{
    struct key_set larger = { NULL, set->room != 0 ? set->room * 2 : 4096, set->count };
    size_t i;

    larger.slots = calloc(larger.room, sizeof *larger.slots);
    if (larger.slots == NULL)
        return -1;
    for (i = 0; i < set->room; i++)
        if (set->slots[i] != 0)
            insert(&larger, set->slots[i]);
    free(set->slots);
    *set = larger;
    return 0;
}

int key_set_add(struct key_set *set, const void *key, size_t size)
{
    if (set->count * 2 >= set->room && grow(set) != 0)
        return -1;
    set->count += (size_t)insert(set, hash_key(key, size));
    return 0;
}

void key_set_deinit(struct key_set *set)
{
    free(set->slots);
    set->slots = NULL;
    set->room = set->count = 0;
}
