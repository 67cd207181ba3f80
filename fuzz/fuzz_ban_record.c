/* fuzz_ban_record.c - a ban as a directory and a shared store keep it is read or refused within its bounds, and what was read is written
 * again as it was; a list of them is read to its end or to what is damaged.  Guessed checksums are never right: bytes are also
 * read as a record, and as the items of one, that has a right one.  What was read is a ban to the cache, or none. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/core/bans.h"
#include "src/format/ban_record.h"
#include "src/format/le.h"
#include "src/loop/executor_sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t tags[STRATA_TAGS_MAX];

static void demand(int condition)
{
    if (!condition)
        abort();
}

static void inside(strata_slice slice, const uint8_t *data, size_t size)
{
    const uint8_t *at = slice.data;
    demand(slice.size == 0 || (at >= data && slice.size <= size && at + slice.size <= data + size));
}

static void write_again(const strata_ban_op *ban, const uint8_t *data, size_t used)
{
    uint8_t *bytes = malloc(used);
    uint64_t *more = malloc(sizeof tags);
    strata_ban_op again;
    size_t size;
    demand(strata__ban_record_size(ban) == used);
    if (bytes != NULL && more != NULL) {
        strata__ban_record_write(bytes, ban);
        demand(strata__ban_record_read(&again, more, bytes, used, &size) == FORMAT_OK && size == used);
        demand(again.kind == ban->kind && again.position == ban->position && again.life == ban->life);
        demand(again.wall_ms == ban->wall_ms && again.store_position == ban->store_position);
        demand(again.tag_count == ban->tag_count && memcmp(more, ban->tags, ban->tag_count * sizeof *more) == 0);
        demand(memcmp(bytes + BAN_RECORD_HEAD, data + BAN_RECORD_HEAD, used - BAN_RECORD_HEAD) == 0);
        demand(strata__ban_record_read(&again, more, bytes, used - 1, &size) == FORMAT_END);
    }
    free(bytes);
    free(more);
}

static strata *open_cache(void)
{
    struct executor *ex;
    strata *cache;
    strata_error err;
    strata_options options = STRATA_OPTIONS_INIT;
    strata_memory_options m = { .size = sizeof m, .max_bytes = 1 << 20 };
    strata_layer *layer = strata_memory_layer(&m);
    options.layers = &layer;
    options.layer_count = 1;
    demand(strata__executor_sim_new(&ex, NULL, 1, &err) == STRATA_OK);
    demand(strata__open_with(&cache, &options, ex, &err) == STRATA_OK);
    return cache;
}

/* As it comes from a layer: the cache judges by it from then on, whatever it says. */
static void obey(strata **cache, const strata_ban_op *ban)
{
    if (*cache == NULL)
        *cache = open_cache();
    strata_value *value;
    strata_layer_host *host = &(*cache)->root->host;
    strata_slice tag[1] = { { "tag", 3 } }, key = { "user:1", 6 };
    demand(strata_set_tagged(*cache, key, key, tag, 1, NULL, NULL) == STRATA_OK);
    host->ban(host, ban);
    int rc = strata_get(*cache, key, &value, NULL);
    demand(rc == STRATA_OK || rc == STRATA_MISS);
    strata_value_unref(value);
}

/* Records, one after the other, as in the file "bans". */
static void read_list(const uint8_t *data, size_t size)
{
    strata_ban_op ban;
    size_t at = 0, used = 0;
    strata *cache = NULL;
    int verdict;
    while ((verdict = strata__ban_record_read(&ban, tags, data + at, size - at, &used)) == FORMAT_OK) {
        demand(used >= BAN_RECORD_HEAD && used <= size - at && ban.tag_count <= STRATA_TAGS_MAX);
        inside(ban.prefix, data + at, used);
        inside(ban.text, data + at, used);
        write_again(&ban, data + at, used);
        obey(&cache, &ban);
        at += used;
    }
    demand(verdict == FORMAT_END || verdict == FORMAT_CORRUPT);
    strata_close(cache);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_list(data, size);
    if (size < BAN_RECORD_HEAD)
        return 0;
    uint8_t *copy = malloc(size);
    if (copy == NULL)
        return 0;
    /* What it says of its size stays, where that can be; else it is what there is. */
    memcpy(copy, data, size);
    size_t all = strata__le32(copy);
    if (all < BAN_RECORD_HEAD || all > size)
        strata__le32_put(copy, (uint32_t)(all = size));
    strata__le64_put(copy + 4, strata__hash(copy + 12, all - 12, 0));
    read_list(copy, size);
    free(copy);
    return 0;
}
