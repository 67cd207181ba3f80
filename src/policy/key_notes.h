/* key_notes.h - a table of notes about keys, of fixed size: each holds until a moment, and where there is no room for one more, the
 * one that would end first goes.  A key is known by its hash; two of the same share a note.
 * Pure: time is an argument; who calls sees to it that a part is used by one thread at a time. */
#ifndef STRATA_POLICY_KEY_NOTES_H
#define STRATA_POLICY_KEY_NOTES_H
#include <stddef.h>
#include <stdint.h>

struct key_note {
    uint64_t hash;
    int64_t until_ms; /* there is none from then on */
    int64_t from_ms;  /* the caller's */
    uint32_t count;   /* the caller's */
    uint32_t used;    /* 0: never */
};

enum { KEY_NOTE_WAYS = 8 };

struct key_notes {
    uint32_t part; /* notes of each; a power of two, at least KEY_NOTE_WAYS */
    struct key_note notes[];
};

size_t strata__key_notes_size(uint32_t parts, uint32_t part);
/* Of zeroed memory. */
void strata__key_notes_init(struct key_notes *notes, uint32_t part);
/* The key's note that holds now, or NULL. */
struct key_note *strata__key_note_find(struct key_notes *notes, uint32_t part, uint64_t hash, int64_t now);
/* The same, or a new one: until_ms, from_ms and count are 0.  The caller says until when it holds. */
struct key_note *strata__key_note_make(struct key_notes *notes, uint32_t part, uint64_t hash, int64_t now);

#endif /* STRATA_POLICY_KEY_NOTES_H */
