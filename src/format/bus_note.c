/* bus_note.c - see the picture in bus_note.h. */
#include "src/format/bus_note.h"

#include <string.h>

#include "src/base/hash.h"
#include "src/format/le.h"

enum { MAGIC = 'n', VERSION = 1, HEAD = 12, LIFE = 12, BUS = 12, NODE = BUS_NODE_ID + 8 };

uint64_t strata__note_kind(const char *kind) { return strata__hash(kind, strlen(kind), 0); }

size_t strata__note_size(const struct bus_note *note)
{
    size_t size = HEAD + (size_t)note->lives * LIFE;
    for (uint32_t i = 0; i < note->buses; i++)
        size += BUS + note->bus[i].cursor.size + (size_t)note->bus[i].nodes * NODE;
    return size;
}

static uint8_t *put_bus(uint8_t *at, const struct note_bus *bus)
{
    strata__le64_put(at, bus->kind);
    at[8] = (uint8_t)bus->cursor.size;
    at[9] = 0;
    at[10] = (uint8_t)bus->nodes;
    at[11] = (uint8_t)(bus->nodes >> 8);
    at += BUS;
    memcpy(at, bus->cursor.data, bus->cursor.size);
    at += bus->cursor.size;
    if (bus->nodes != 0)
        memcpy(at, bus->encoded, (size_t)bus->nodes * NODE);
    return at + (size_t)bus->nodes * NODE;
}

void strata__note_write(void *out, const struct bus_note *note)
{
    uint8_t *at = out;
    at[0] = MAGIC;
    at[1] = VERSION;
    at[2] = (uint8_t)note->buses;
    at[3] = (uint8_t)note->lives;
    strata__le64_put(at + 4, note->channel);
    at += HEAD;
    for (uint32_t i = 0; i < note->lives; i++, at += LIFE) {
        strata__le64_put(at, note->life[i].life);
        strata__le32_put(at + 8, note->life[i].position);
    }
    for (uint32_t i = 0; i < note->buses; i++)
        at = put_bus(at, &note->bus[i]);
}

void strata__note_put_node(uint8_t *out, const uint8_t id[BUS_NODE_ID], uint64_t number)
{
    memcpy(out, id, BUS_NODE_ID);
    strata__le64_put(out + BUS_NODE_ID, number);
}

uint64_t strata__note_number(const struct note_bus *bus, uint32_t i)
{
    return strata__le64(bus->encoded + (size_t)i * NODE + BUS_NODE_ID);
}

const uint8_t *strata__note_id(const struct note_bus *bus, uint32_t i) { return bus->encoded + (size_t)i * NODE; }

/* What is behind it; NULL: the bytes end before it does. */
static const uint8_t *take_bus(struct note_bus *out, const uint8_t *at, const uint8_t *end)
{
    if (end - at < BUS)
        return NULL;
    out->kind = strata__le64(at);
    out->cursor.size = at[8];
    out->nodes = at[10] | (uint32_t)at[11] << 8;
    at += BUS;
    size_t left = (size_t)(end - at);
    if (out->nodes > NOTE_NODES || left < out->cursor.size || left - out->cursor.size < (size_t)out->nodes * NODE)
        return NULL;
    out->cursor.data = at;
    out->encoded = at + out->cursor.size;
    return out->encoded + (size_t)out->nodes * NODE;
}

int strata__note_read(struct bus_note *out, strata_slice bytes)
{
    const uint8_t *at = bytes.data, *end = at + bytes.size;
    memset(out, 0, sizeof *out);
    if (bytes.size < HEAD || at[0] != MAGIC || at[1] == 0)
        return FORMAT_CORRUPT;
    if (at[1] > VERSION)
        return FORMAT_NEWER;
    uint32_t buses = at[2], lives = at[3];
    if (buses > NOTE_BUSES || lives > NOTE_LIVES || bytes.size < HEAD + (size_t)lives * LIFE)
        return FORMAT_CORRUPT;
    out->channel = strata__le64(at + 4);
    at += HEAD;
    for (uint32_t i = 0; i < lives; i++, at += LIFE)
        out->life[i] = (struct note_life){ strata__le64(at), strata__le32(at + 8) };
    for (uint32_t i = 0; i < buses && at != NULL; i++)
        at = take_bus(&out->bus[i], at, end);
    if (at != end)
        return FORMAT_CORRUPT;
    out->buses = buses;
    out->lives = lives;
    return FORMAT_OK;
}
