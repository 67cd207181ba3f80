/* redis_bans.c - see redis_bans.h. */
#include "src/layer/redis/redis_bans.h"

#include <string.h>

#include "src/base/mem.h"

static int begins_with(const void *key, size_t size, const struct redis_ban *ban)
{
    return size >= ban->prefix_size && (ban->prefix_size == 0 || memcmp(key, ban->prefix, ban->prefix_size) == 0);
}

/* Those that the new one says better.  Their prefixes go into `gone`. */
static uint32_t drop_covered_locked(struct redis_bans *bans, const struct redis_ban *ban, char **gone)
{
    uint32_t kept = 0, dropped = 0;
    for (uint32_t i = 0; i < bans->count; i++) {
        struct redis_ban *old = &bans->list[i];
        if (old->life == ban->life && old->position <= ban->position && begins_with(old->prefix, old->prefix_size, ban))
            gone[dropped++] = old->prefix;
        else
            bans->list[kept++] = *old;
    }
    bans->count = kept;
    return dropped;
}

/* All of one life into one.  Another life's, which ended, go.  Returns as drop_covered_locked(). */
static uint32_t fold_locked(struct redis_bans *bans, struct redis_ban *ban, char **gone)
{
    for (uint32_t i = 0; i < bans->count; i++) {
        gone[i] = bans->list[i].prefix;
        if (bans->list[i].life == ban->life && bans->list[i].position > ban->position)
            ban->position = bans->list[i].position;
    }
    uint32_t dropped = bans->count;
    gone[dropped++] = ban->prefix;
    ban->prefix = NULL;
    ban->prefix_size = 0;
    bans->count = 0;
    return dropped;
}

static void raise_locked(struct redis_bans *bans, uint32_t position)
{
    if (position > atomic_load_explicit(&bans->newest, memory_order_relaxed))
        atomic_store_explicit(&bans->newest, position, memory_order_release);
}

/* Not while another one is at work, which may have a lower position. */
static void came_to_locked(struct redis_bans *bans, uint32_t position)
{
    if (position > bans->farthest)
        bans->farthest = position;
    if (bans->sweeping == 0)
        atomic_store_explicit(&bans->swept, bans->farthest, memory_order_release);
}

void strata__redis_bans_swept(struct redis_bans *bans, uint32_t position)
{
    os_lock_take(&bans->lock);
    bans->sweeping--;
    came_to_locked(bans, position);
    os_lock_give(&bans->lock);
}

void strata__redis_bans_raise(struct redis_bans *bans, uint32_t position)
{
    os_lock_take(&bans->lock);
    raise_locked(bans, position);
    came_to_locked(bans, position);
    os_lock_give(&bans->lock);
}

void strata__redis_ban(struct redis_bans *bans, const strata_allocator *mem, const strata_clear_op *what)
{
    char *gone[REDIS_BANS_MOST + 1];
    struct redis_ban ban = { what->life, NULL, what->all ? 0 : what->prefix.size, what->position };
    if (ban.prefix_size != 0)
        ban.prefix = strata__alloc(mem, ban.prefix_size);
    if (ban.prefix != NULL)
        memcpy(ban.prefix, what->prefix.data, ban.prefix_size);
    else
        ban.prefix_size = 0;
    os_lock_take(&bans->lock);
    uint32_t dropped = drop_covered_locked(bans, &ban, gone);
    if (bans->count == REDIS_BANS_MOST)
        dropped = fold_locked(bans, &ban, gone);
    bans->list[bans->count++] = ban;
    raise_locked(bans, ban.position);
    bans->sweeping++;
    os_lock_give(&bans->lock);
    while (dropped > 0)
        strata__free(mem, gone[--dropped]);
}

int strata__redis_banned(struct redis_bans *bans, strata_slice key, uint64_t life, uint32_t position)
{
    /* Relaxed: a put that comes at the same time as the clear may count as before it; its cache removes it again. */
    if (position >= atomic_load_explicit(&bans->newest, memory_order_relaxed))
        return 0;
    int banned = 0;
    os_lock_take(&bans->lock);
    for (uint32_t i = 0; i < bans->count && !banned; i++)
        banned = bans->list[i].life == life && position < bans->list[i].position &&
                 begins_with(key.data, key.size, &bans->list[i]);
    os_lock_give(&bans->lock);
    return banned;
}

void strata__redis_bans_deinit(struct redis_bans *bans, const strata_allocator *mem)
{
    for (uint32_t i = 0; i < bans->count; i++)
        strata__free(mem, bans->list[i].prefix);
    memset(bans, 0, sizeof *bans);
}
