/* bus_note.h - what a durable layer keeps of the buses, for the cache that opens it next: where each of them stood when everything
 * before was carried out in that layer, which of its entries that was true of, and up to which number each node had been heard.
 *
 *   | 'n' | version 1 | buses 1 | lives 1 | channel 8 | lives: life 8, position 4 | buses ... |
 *   a bus: | kind 8 | cursor size 1 | 0 | nodes 2 | cursor | nodes: id 16, number 8 |
 *
 * Little-endian.  Who keeps it adds a checksum.  Pure: nothing is allocated, slices point into the bytes. */
#ifndef STRATA_FORMAT_BUS_NOTE_H
#define STRATA_FORMAT_BUS_NOTE_H
#include <stddef.h>
#include <stdint.h>

#include "src/format/bus_message.h"

enum { NOTE_BUSES = 4, NOTE_LIVES = 16, NOTE_NODES = 1024, NOTE_CURSOR = 255 };
enum { NOTE_MOST = 12 + 12 * NOTE_LIVES + NOTE_BUSES * (12 + NOTE_CURSOR + 24 * NOTE_NODES) };

/* As the number of a node: it is the one that kept the note, which has carried out itself what it said. */
#define NOTE_SELF UINT64_MAX

/* Entries that were stored in this life, and born at this position or later, have lost nothing up to the cursors. */
struct note_life {
    uint64_t life;
    uint32_t position;
};

struct note_bus {
    uint64_t kind; /* strata__note_kind() */
    strata_slice cursor;
    uint32_t nodes;
    const uint8_t *encoded; /* 24 bytes each: strata__note_node() */
};

struct bus_note {
    uint64_t channel;
    uint32_t buses, lives;
    struct note_life life[NOTE_LIVES]; /* the latest first */
    struct note_bus bus[NOTE_BUSES];
};

uint64_t strata__note_kind(const char *kind);
size_t strata__note_size(const struct bus_note *note);
/* Write strata__note_size() bytes. */
void strata__note_write(void *out, const struct bus_note *note);
/* One of the nodes of a bus, as they stand in `encoded`. */
void strata__note_put_node(uint8_t *out, const uint8_t id[BUS_NODE_ID], uint64_t number);
uint64_t strata__note_number(const struct note_bus *bus, uint32_t i);
const uint8_t *strata__note_id(const struct note_bus *bus, uint32_t i);
/* @return FORMAT_OK, FORMAT_NEWER, FORMAT_CORRUPT. */
int strata__note_read(struct bus_note *out, strata_slice bytes);

#endif /* STRATA_FORMAT_BUS_NOTE_H */
