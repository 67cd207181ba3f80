/* test_key_notes.c - notes about keys: against a slow model, as far as there is room; and what goes where there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "src/base/hash.h"
#include "src/policy/key_notes.h"

enum { PARTS = 2, PART = 16 };

static struct key_notes *make(void)
{
    struct key_notes *n = calloc(1, strata__key_notes_size(PARTS, PART));
    assert_non_null(n);
    strata__key_notes_init(n, PART);
    return n;
}

/* Eight keys of each of the four sets fit: the table is a map from keys to notes that end. */
static void test_as_a_map(void **state)
{
    (void)state;
    struct key_notes *notes = make();
    struct {
        int64_t until;
        uint32_t count;
    } model[32] = { 0 };
    uint64_t r = 1;
    for (int64_t now = 1; now < 20000; now++) {
        r = strata__mix64(r);
        uint32_t k = (uint32_t)(r % 32), part = k % 2;
        uint64_t hash = (uint64_t)(k >> 1 & 1) << 16 | (uint64_t)k << 20;
        struct key_note *found = strata__key_note_find(notes, part, hash, now);
        assert_true((found != NULL) == (model[k].until > now));
        if (found != NULL)
            assert_int_equal(found->count, model[k].count);
        if (r >> 32 & 1) {
            struct key_note *n = strata__key_note_make(notes, part, hash, now);
            assert_int_equal(n->hash, hash);
            assert_int_equal(n->count, model[k].until > now ? model[k].count : 0);
            n->count += 1;
            n->until_ms = model[k].until = now + (int64_t)(r >> 40 & 255);
            model[k].count = n->count;
        }
    }
    free(notes);
}

/* In a full set the one that would end first goes, and it alone; of those that have ended any. */
static void test_a_full_set(void **state)
{
    (void)state;
    struct key_notes *notes = make();
    for (uint64_t k = 0; k < KEY_NOTE_WAYS; k++)
        strata__key_note_make(notes, 1, k << 20, 0)->until_ms = 100 + (int64_t)(k ^ 3);
    strata__key_note_make(notes, 1, 99 << 20, 0)->until_ms = 500; /* takes the place of key 3 */
    for (uint64_t k = 0; k < KEY_NOTE_WAYS; k++)
        assert_int_equal(strata__key_note_find(notes, 1, k << 20, 0) == NULL, k == 3);
    assert_non_null(strata__key_note_find(notes, 1, 99 << 20, 499));
    assert_null(strata__key_note_find(notes, 1, 99 << 20, 500));
    assert_null(strata__key_note_find(notes, 0, 99 << 20, 0));       /* another part's */
    strata__key_note_make(notes, 1, 100 << 20, 104)->until_ms = 600; /* five have ended by then */
    assert_non_null(strata__key_note_find(notes, 1, 99 << 20, 104));
    assert_non_null(strata__key_note_find(notes, 1, 4 << 20, 104));
    assert_non_null(strata__key_note_find(notes, 1, 5 << 20, 104));
    free(notes);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_as_a_map), cmocka_unit_test(test_a_full_set) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
