/* entry_notes.c - see entry_notes.h. */
#include "src/layer/entry_notes.h"

#include <string.h>

#include "src/layer/value_impl.h"

static const unsigned char magic[6] = { 0xf5, 'v', 'a', 'l', 'i', 'd' };
enum { SIZE_AT = sizeof magic };

static size_t note_bytes(const struct entry_note *note)
{
    size_t size = note != NULL ? note->validator.size + note->last_modified.size : 0;
    return size != 0 ? ENTRY_NOTE_HEAD + size : 0;
}

static size_t validator_size(const unsigned char *note)
{
    return (size_t)note[SIZE_AT] | (size_t)note[SIZE_AT + 1] << 8;
}

int strata__entry_notes_valid(const struct strata_value *tags, uint32_t tag_count)
{
    size_t numbers = (size_t)tag_count * sizeof(uint64_t);
    if (tags == NULL || tags->size == numbers)
        return 1;
    if (tags->size < numbers + ENTRY_NOTE_HEAD || tags->size > numbers + ENTRY_NOTE_MOST)
        return 0;
    const unsigned char *note = (const unsigned char *)tags->data + numbers;
    return memcmp(note, magic, sizeof magic) == 0 && validator_size(note) <= tags->size - numbers - ENTRY_NOTE_HEAD;
}

struct entry_note strata__entry_note(const struct strata_value *tags, uint32_t tag_count)
{
    struct entry_note note = { { NULL, 0 }, { NULL, 0 } };
    size_t bytes = entry_note_size(tags, tag_count);
    if (bytes < ENTRY_NOTE_HEAD)
        return note;
    const unsigned char *at = (const unsigned char *)tags->data + (size_t)tag_count * sizeof(uint64_t);
    size_t size = validator_size(at);
    note.validator = strata_bytes(at + ENTRY_NOTE_HEAD, size);
    note.last_modified = strata_bytes(at + ENTRY_NOTE_HEAD + size, bytes - ENTRY_NOTE_HEAD - size);
    return note;
}

static unsigned char *put(unsigned char *at, strata_slice bytes)
{
    if (bytes.size != 0)
        memcpy(at, bytes.data, bytes.size);
    return at + bytes.size;
}

static struct strata_value *notes_new(const struct strata_allocator *mem, uint32_t tag_count,
                                      const struct entry_note *note, uint64_t **out_ids)
{
    size_t numbers = (size_t)tag_count * sizeof(uint64_t), bytes = note_bytes(note);
    void *room;
    *out_ids = NULL;
    struct strata_value *all = numbers + bytes != 0 ? strata__value_new(mem, numbers + bytes, &room) : NULL;
    if (all == NULL)
        return NULL;
    *out_ids = room;
    if (bytes != 0) {
        unsigned char *at = (unsigned char *)room + numbers;
        memcpy(at, magic, sizeof magic);
        at[SIZE_AT] = (unsigned char)note->validator.size;
        at[SIZE_AT + 1] = (unsigned char)(note->validator.size >> 8);
        (void)put(put(at + ENTRY_NOTE_HEAD, note->validator), note->last_modified);
    }
    return all;
}

struct strata_value *strata__entry_notes_new(const struct strata_allocator *mem, const uint64_t *ids,
                                             uint32_t tag_count, const struct entry_note *note)
{
    uint64_t *room;
    struct strata_value *all = notes_new(mem, tag_count, note, &room);
    if (all != NULL && tag_count != 0)
        memcpy(room, ids, (size_t)tag_count * sizeof *ids);
    return all;
}

void strata__entry_notes_pack(const struct strata_value *tags, uint32_t tag_count, struct envelope *e)
{
    struct entry_note note = strata__entry_note(tags, tag_count);
    e->etag = note.validator;
    e->last_modified = note.last_modified;
    e->tag_count = tag_count;
    if (tag_count != 0 && tags != NULL) {
        e->tag_ids = tags->data;
    } else if (tag_count != 0) {
        e->tag_count = 1;
        e->tags_encoded = strata_bytes("", 1); /* a size of 0, and no bytes */
    }
}

struct strata_value *strata__entry_notes_unpack(const struct strata_allocator *mem, const struct envelope *e)
{
    struct entry_note note = { e->etag, e->last_modified };
    uint64_t *ids;
    if (e->tag_count > STRATA_TAGS_MAX)
        return NULL;
    /* Longer than any of ours: a stranger's.  It is only worth a question more. */
    if (note.validator.size > STRATA_VALIDATOR_MAX || note.last_modified.size > STRATA_VALIDATOR_MAX)
        note.validator.size = note.last_modified.size = 0;
    struct strata_value *all = notes_new(mem, e->tag_count, &note, &ids);
    if (all == NULL || e->tag_count == 0 || strata__envelope_tag_ids(e, ids))
        return all;
    strata_value_unref(all);
    return NULL;
}
