/* fuzz_bus_note.c - what a directory keeps of the buses is read or refused within its bounds, and what was read is written again as it
 * was, but for the byte that says nothing; cut by a byte, or longer by one, it is refused. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/format/bus_note.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int condition)
{
    if (!condition)
        abort();
}

static void inside(const void *from, size_t count, const uint8_t *data, size_t size)
{
    const uint8_t *at = from;
    demand(count == 0 || (at >= data && count <= size && at + count <= data + size));
}

/* Where the byte of a bus is that says nothing. */
static void clear_unused(uint8_t *bytes, const struct bus_note *note, const uint8_t *data)
{
    for (uint32_t i = 0; i < note->buses; i++)
        bytes[(const uint8_t *)note->bus[i].cursor.data - data - 3] = 0;
}

static void write_again(const struct bus_note *note, const uint8_t *data, size_t size)
{
    struct bus_note again;
    uint8_t *bytes = malloc(size + 1), *was = malloc(size);
    demand(strata__note_size(note) == size);
    if (bytes != NULL && was != NULL) {
        memcpy(was, data, size);
        clear_unused(was, note, data);
        strata__note_write(bytes, note);
        demand(memcmp(bytes, was, size) == 0);
        bytes[size] = 0;
        demand(strata__note_read(&again, strata_bytes(bytes, size - 1)) == FORMAT_CORRUPT);
        demand(strata__note_read(&again, strata_bytes(bytes, size + 1)) == FORMAT_CORRUPT);
    }
    free(bytes);
    free(was);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bus_note note;
    int verdict = strata__note_read(&note, strata_bytes(data, size));
    demand(verdict == FORMAT_OK || verdict == FORMAT_NEWER || verdict == FORMAT_CORRUPT);
    if (verdict != FORMAT_OK)
        return 0;
    demand(note.buses <= NOTE_BUSES && note.lives <= NOTE_LIVES && size <= NOTE_MOST);
    for (uint32_t i = 0; i < note.buses; i++) {
        const struct note_bus *bus = &note.bus[i];
        demand(bus->nodes <= NOTE_NODES && bus->cursor.size <= NOTE_CURSOR);
        inside(bus->cursor.data, bus->cursor.size, data, size);
        for (uint32_t n = 0; n < bus->nodes; n++) {
            inside(strata__note_id(bus, n), BUS_NODE_ID, data, size);
            (void)strata__note_number(bus, n);
        }
    }
    write_again(&note, data, size);
    return 0;
}
