/* key_notes.c - see key_notes.h.  Each part is sets of eight; the set comes from bits of the hash that the part does not. */
#include "src/policy/key_notes.h"

static struct key_note *set_of(struct key_notes *notes, uint32_t part, uint64_t hash)
{
    uint32_t sets = notes->part / KEY_NOTE_WAYS, set = (uint32_t)(hash >> 16) & (sets - 1);
    return &notes->notes[(size_t)part * notes->part + (size_t)set * KEY_NOTE_WAYS];
}

size_t strata__key_notes_size(uint32_t parts, uint32_t part)
{
    return sizeof(struct key_notes) + (size_t)parts * part * sizeof(struct key_note);
}

void strata__key_notes_init(struct key_notes *notes, uint32_t part) { notes->part = part; }

static int holds(const struct key_note *n, int64_t now) { return n->used && now < n->until_ms; }

struct key_note *strata__key_note_find(struct key_notes *notes, uint32_t part, uint64_t hash, int64_t now)
{
    struct key_note *set = set_of(notes, part, hash);
    for (int i = 0; i < KEY_NOTE_WAYS; i++)
        if (set[i].hash == hash && holds(&set[i], now))
            return &set[i];
    return NULL;
}

struct key_note *strata__key_note_make(struct key_notes *notes, uint32_t part, uint64_t hash, int64_t now)
{
    struct key_note *set = set_of(notes, part, hash), *first = NULL;
    for (int i = 0; i < KEY_NOTE_WAYS; i++) {
        if (set[i].hash == hash && holds(&set[i], now))
            return &set[i];
        if (first == NULL || (holds(first, now) && (!holds(&set[i], now) || set[i].until_ms < first->until_ms)))
            first = &set[i];
    }
    *first = (struct key_note){ .hash = hash, .used = 1 };
    return first;
}
