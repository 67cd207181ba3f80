/* entry_notes.h - what stands beside a value in strata_op.tags: the numbers of its tags, and behind them what the origin calls this
 * version of it.
 *
 *   | tag_count numbers of 64 bits | magic, 6 bytes | size of the validator, 2 bytes | validator | last modified, to the end |
 *
 * Where the size of the value says that nothing stands behind the numbers, there is no validator.  Where tags are unknown (NULL,
 * with a tag_count above 0), neither is a validator: a loader asks without one then. */
#ifndef STRATA_LAYER_ENTRY_NOTES_H
#define STRATA_LAYER_ENTRY_NOTES_H
#include <stddef.h>
#include <stdint.h>

#include "src/format/envelope.h"
#include "src/layer/value_impl.h"

struct entry_note {
    strata_slice validator, last_modified; /* each at most STRATA_VALIDATOR_MAX bytes; both empty: nothing is known */
};

enum { ENTRY_NOTE_HEAD = 8, ENTRY_NOTE_MOST = ENTRY_NOTE_HEAD + 2 * STRATA_VALIDATOR_MAX };

/* Bytes behind the numbers. */
static inline size_t entry_note_size(const struct strata_value *tags, uint32_t tag_count)
{
    size_t numbers = (size_t)tag_count * sizeof(uint64_t);
    return tags != NULL && tags->size > numbers ? tags->size - numbers : 0;
}

/* Is it as a layer was given it?  The magic tells a note from numbers that a layer has miscounted. */
int strata__entry_notes_valid(const struct strata_value *tags, uint32_t tag_count);
/* What is noted of a valid one; empty slices where that is nothing. */
struct entry_note strata__entry_note(const struct strata_value *tags, uint32_t tag_count);
/* Numbers and note; `note` may be NULL.  NULL: there is nothing to say, or no memory. */
struct strata_value *strata__entry_notes_new(const struct strata_allocator *mem, const uint64_t *ids,
                                             uint32_t tag_count, const struct entry_note *note);

/* For an envelope, and from one.  Tags that are unknown are one without bytes; what is no number is unknown, as are all without
 * memory, and a validator goes with them. */
void strata__entry_notes_pack(const struct strata_value *tags, uint32_t tag_count, struct envelope *envelope);
struct strata_value *strata__entry_notes_unpack(const struct strata_allocator *mem, const struct envelope *envelope);

#endif /* STRATA_LAYER_ENTRY_NOTES_H */
