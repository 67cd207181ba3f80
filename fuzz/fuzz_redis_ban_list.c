/* fuzz_redis_ban_list.c - the list of bans that a Redis answers with.  The first eight bytes of the input are what the node knew before;
 * the others are the list, as it is and with right checksums in its records.  Whatever it says, what is known never goes back, and
 * what was not understood is banned as a whole. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/format/ban_record.h"
#include "src/format/le.h"
#include "src/layer/redis/redis_call.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/layer/redis/redis_list.h"

enum { HEAD = 18, EVERYTHING = 5 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t told_most, all_before;

static void demand(int condition)
{
    if (!condition)
        abort();
}

static void told_ban(struct strata_layer_host *host, const strata_ban_op *ban)
{
    (void)host;
    static volatile uint64_t sum; /* all of it can be read */
    sum = ban->kind + ban->soft;
    demand(ban->store_position != 0 && ban->tag_count <= STRATA_TAGS_MAX);
    demand(ban->life == 0 && ban->position == 0 && ban->wall_ms == 0);
    for (uint32_t i = 0; i < ban->tag_count; i++)
        sum += ban->tags[i];
    for (size_t i = 0; i < ban->text.size; i++)
        sum += ((const uint8_t *)ban->text.data)[i];
    for (size_t i = 0; i < ban->prefix.size; i++)
        sum += ((const uint8_t *)ban->prefix.data)[i];
    if (ban->store_position > told_most)
        told_most = ban->store_position;
    if (ban->kind == EVERYTHING && ban->prefix.size == 0 && ban->store_position > all_before)
        all_before = ban->store_position;
}

/* Are there whole records from the head to the end? */
static int is_whole(const uint8_t *list, size_t size)
{
    static uint64_t tags[STRATA_TAGS_MAX];
    size_t at = HEAD, used;
    strata_ban_op ban;
    while (size - at > 8 && strata__ban_record_read(&ban, tags, list + at + 8, size - at - 8, &used) == FORMAT_OK)
        at += 8 + used;
    return at == size;
}

static void read_list(uint64_t known, const uint8_t *list, size_t size)
{
    struct redis_layer *r = calloc(1, sizeof *r);
    struct strata_layer_host *host = calloc(1, sizeof *host);
    struct redis_told told = { .has_list = 1, .store_us = 77, .list = strata_bytes(list, size) };
    if (r != NULL && host != NULL) {
        host->ban = told_ban;
        host->mem = r->mem = &strata__malloc;
        r->host = host;
        atomic_store(&r->list.known, known);
        told_most = all_before = 0;
        strata__redis_list_came(r, &told);
        uint64_t now = atomic_load(&r->list.known);
        demand(now >= known && atomic_load(&host->store_position) <= now);
        int has_head = size >= HEAD && list[0] == 0xce && list[1] == 1;
        uint64_t last = has_head ? strata__le64(list + 2) : 0;
        demand(!has_head || last <= known || now == last);
        demand(!has_head || last <= known || is_whole(list, size) || all_before >= last);
        demand(!has_head || strata__le64(list + 10) <= known || all_before >= strata__le64(list + 10));
        demand(has_head || known == 0 || (all_before != 0) == (size != 0)); /* none was there when that was asked */
        strata__redis_list_deinit(r);
    }
    free(r);
    free(host);
}

static void mend(uint8_t *list, size_t size)
{
    size_t at = HEAD;
    while (at + 8 + BAN_RECORD_HEAD <= size) {
        uint8_t *record = list + at + 8;
        size_t all = strata__le32(record);
        if (all < BAN_RECORD_HEAD || all > size - at - 8)
            return;
        strata__le64_put(record + 4, strata__hash(record + 12, all - 12, 0));
        at += 8 + all;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8)
        return 0;
    uint64_t known = strata__le64(data);
    read_list(known, data + 8, size - 8);
    uint8_t *copy = malloc(size);
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    mend(copy + 8, size - 8);
    read_list(known, copy + 8, size - 8);
    free(copy);
    return 0;
}
