/* fuzz_bus_message.c - whatever comes over a bus is read or refused within its bounds, and what was read is written again as
 * something that reads the same.  Guessed checksums are never right: bytes are also read as the items of a message that has one. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/format/bus_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

static int same(strata_slice a, strata_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static void write_again(const struct bus_item *item, const struct bus_message *message)
{
    size_t room = BUS_MESSAGE_FRAME + strata__bus_item_size(item), cursor = 0;
    uint8_t *bytes = malloc(room);
    struct bus_message again;
    struct bus_item found;
    struct bus_writer w;
    if (bytes == NULL)
        return;
    strata__bus_write_begin(&w, bytes, room, message, (strata_slice){ "secret", 6 });
    demand(strata__bus_write_item(&w, item));
    size_t written = strata__bus_write_end(&w, message->sequence);
    demand(strata__bus_message_read(&again, (strata_slice){ bytes, written }, (strata_slice){ "secret", 6 }) ==
           FORMAT_OK);
    demand(again.channel == message->channel && again.sequence == message->sequence);
    demand(again.store_life == message->store_life && memcmp(again.sender, message->sender, BUS_NODE_ID) == 0);
    demand(strata__bus_item_next(&again, &cursor, &found) && found.kind == item->kind && found.version == item->version);
    demand(found.sent_ms == item->sent_ms && found.number == item->number && found.tag_count == item->tag_count);
    demand(found.ban == item->ban && found.soft == item->soft && found.all == item->all);
    demand(memcmp(found.peer, item->peer, BUS_NODE_ID) == 0);
    demand(same(found.key, item->key) && same(found.envelope, item->envelope) && same(found.text, item->text));
    for (uint32_t i = 0; i < found.tag_count; i++)
        demand(strata__bus_item_tag(&found, i) == item->tags[i]);
    free(bytes);
}

static void take_item(struct bus_item *item, const struct bus_message *message, const uint8_t *data, size_t size)
{
    uint64_t *tags = NULL;
    inside(item->key, data, size);
    inside(item->envelope, data, size);
    inside(item->text, data, size);
    inside((strata_slice){ item->tags_encoded, (size_t)8 * item->tag_count }, data, size);
    if (item->tag_count != 0) {
        tags = calloc(item->tag_count, sizeof *tags);
        if (tags == NULL)
            return;
        for (uint32_t i = 0; i < item->tag_count; i++)
            tags[i] = strata__bus_item_tag(item, i);
    }
    item->tags = tags;
    write_again(item, message);
    free(tags);
}

static void read_one(const uint8_t *data, size_t size)
{
    struct bus_message message;
    struct bus_item item;
    size_t cursor = 0;
    int verdict = strata__bus_message_read(&message, (strata_slice){ data, size }, (strata_slice){ NULL, 0 });
    demand(verdict == FORMAT_OK || verdict == FORMAT_FOREIGN || verdict == FORMAT_NEWER || verdict == FORMAT_CORRUPT);
    if (verdict != FORMAT_OK)
        return;
    while (strata__bus_item_next(&message, &cursor, &item))
        take_item(&item, &message, data, size);
    demand(cursor <= message.items.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct bus_message message = { .channel = 1, .sequence = 2, .store_life = 3 };
    struct bus_writer w;
    int verdict = strata__bus_message_read(&(struct bus_message){ 0 }, (strata_slice){ data, size },
                                           (strata_slice){ "secret", 6 });
    demand(verdict == FORMAT_FOREIGN || verdict == FORMAT_NEWER || verdict == BUS_MESSAGE_FORGED);
    read_one(data, size);
    uint8_t *copy = malloc(BUS_MESSAGE_FRAME + size);
    if (copy == NULL)
        return 0;
    strata__bus_write_begin(&w, copy, BUS_MESSAGE_FRAME + size, &message, (strata_slice){ NULL, 0 });
    if (size != 0)
        memcpy(copy + w.used, data, size);
    w.used += size;
    read_one(copy, strata__bus_write_end(&w, 2));
    free(copy);
    return 0;
}
