/* fuzz_key_parts.c - a key is read part by part, within its bytes, or refused; and what was read makes the same key again, byte for
 * byte: there is one form of it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "strata/key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int again(strata_key *key, const strata_key_part *part)
{
    switch (part->type) {
    case STRATA_PART_TEXT: return strata_key_text(key, part->text);
    case STRATA_PART_INT: return strata_key_int(key, part->integer);
    case STRATA_PART_UINT: return strata_key_uint(key, part->uinteger);
    case STRATA_PART_REAL: return strata_key_real(key, part->real);
    case STRATA_PART_FLAG: return strata_key_flag(key, part->flag);
    case STRATA_PART_NONE: return strata_key_none(key);
    case STRATA_PART_LIST: return strata_key_list(key, part->count);
    default: abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    strata_slice rest = strata_bytes(data, size < STRATA_KEY_ROOM ? size : STRATA_KEY_ROOM);
    strata_key key;
    strata_key_part part;
    int status;
    strata_key_begin(&key);
    while ((status = strata_key_next(&rest, &part)) == STRATA_OK)
        if (again(&key, &part) != STRATA_OK)
            abort();
    strata_slice made = strata_key_slice(&key);
    if (status != STRATA_MISS && status != STRATA_EINVAL)
        abort();
    if (made.size + rest.size > size || (made.size != 0 && memcmp(made.data, data, made.size) != 0))
        abort();
    return 0;
}
