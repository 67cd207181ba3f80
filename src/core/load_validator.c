/* load_validator.c - conditional loads: what the origin calls the version that is held, for the loader to ask by, and what it calls
 * the one that it gives. */
#include "src/core/flight.h"
#include "src/layer/entry_notes.h"

int strata_load_set_validator(strata_load *load, strata_slice validator, strata_slice last_modified)
{
    struct entry_note note = { validator, last_modified };
    if (load == NULL || validator.size > STRATA_VALIDATOR_MAX || last_modified.size > STRATA_VALIDATOR_MAX ||
        (validator.data == NULL && validator.size != 0) || (last_modified.data == NULL && last_modified.size != 0))
        return STRATA_EINVAL;
    if (atomic_load(&load->claimed))
        return STRATA_EALREADY;
    strata_value *notes = strata__entry_notes_new(flight_of_load(load)->mem, NULL, 0, &note);
    if (notes == NULL && validator.size + last_modified.size != 0)
        return STRATA_ENOMEM;
    strata_value_unref(load->notes);
    load->notes = notes;
    load->has_notes = 1;
    return STRATA_OK;
}

int strata_load_validator(const strata_load *load, strata_slice *out_validator, strata_slice *out_last_modified)
{
    struct entry_note note = { { NULL, 0 }, { NULL, 0 } };
    if (load != NULL) {
        const struct held *held = &flight_of_load(load)->previous;
        /* Without a value there is nothing that an answer "not modified" could keep. */
        if (held->there && held->value != NULL)
            note = strata__entry_note(held->tags, held->meta.tag_count);
    }
    if (out_validator != NULL)
        *out_validator = note.validator;
    if (out_last_modified != NULL)
        *out_last_modified = note.last_modified;
    return note.validator.size + note.last_modified.size != 0 ? STRATA_OK : STRATA_MISS;
}
