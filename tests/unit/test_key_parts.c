/* test_key_parts.c - keys of parts: different parts make different keys, and what was put in comes out. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/hash.h"
#include "strata/strata.h"
#include "tests/support/cmocka_all.h"

/* A row of parts, as it was drawn. */
enum { MOST = 5, ROUNDS = 200000 };
struct row {
    size_t count;
    struct drawn {
        int type;
        uint64_t number; /* int, uint, bits of a real, flag, count of a list */
        char text[6];
        size_t size;
    } parts[MOST];
};

static uint64_t seed = 20261121;
static uint64_t draw(uint64_t below) { return strata__hash(&seed, sizeof seed, seed++ * 2 + 1) % below; }

/* Few letters, and those that the form itself is made of, so that rows come close to each other. */
static struct drawn draw_part(void)
{
    static const char letters[] = "s1:i-02dtfnl";
    static const int64_t ints[] = { 0, 1, -1, 2, 10, 12, INT64_MAX, INT64_MIN };
    static const double reals[] = { 0.0, 1.0, -1.0, 0.1, 1e300, 5e-324 };
    struct drawn part = { .type = (int)draw(7) + 1 };
    if (part.type == STRATA_PART_TEXT) {
        part.size = draw(sizeof part.text + 1);
        for (size_t i = 0; i < part.size; i++)
            part.text[i] = letters[draw(sizeof letters)]; /* its NUL, too */
    } else if (part.type == STRATA_PART_INT) {
        part.number = (uint64_t)ints[draw(8)];
    } else if (part.type == STRATA_PART_UINT) {
        part.number = (UINT64_C(1) << 63) + draw(3);
    } else if (part.type == STRATA_PART_REAL) {
        memcpy(&part.number, &reals[draw(6)], sizeof part.number);
    } else if (part.type == STRATA_PART_FLAG) {
        part.number = draw(2);
    } else if (part.type == STRATA_PART_LIST) {
        part.number = draw(3);
    }
    return part;
}

static void add(strata_key *key, const struct drawn *part)
{
    double real;
    memcpy(&real, &part->number, sizeof real);
    switch (part->type) {
    case STRATA_PART_TEXT: strata_key_text(key, strata_bytes(part->text, part->size)); break;
    case STRATA_PART_INT: strata_key_int(key, (int64_t)part->number); break;
    case STRATA_PART_UINT: strata_key_uint(key, part->number); break;
    case STRATA_PART_REAL: strata_key_real(key, real); break;
    case STRATA_PART_FLAG: strata_key_flag(key, (int)part->number); break;
    case STRATA_PART_NONE: strata_key_none(key); break;
    default: strata_key_list(key, (uint32_t)part->number);
    }
}

static void draw_row(struct row *row, strata_key *key)
{
    *row = (struct row){ .count = draw(MOST + 1) };
    strata_key_begin(key);
    for (size_t i = 0; i < row->count; i++) {
        row->parts[i] = draw_part();
        add(key, &row->parts[i]);
    }
}

static int same_part(const struct drawn *a, const struct drawn *b)
{
    return a->type == b->type && a->number == b->number && a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

static int same_row(const struct row *a, const struct row *b, size_t count)
{
    if (a->count < count || b->count < count)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (!same_part(&a->parts[i], &b->parts[i]))
            return 0;
    return 1;
}

static void different_parts_make_different_keys(void **state)
{
    size_t equal = 0, within = 0;
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct row a, b;
        strata_key x, y;
        draw_row(&a, &x);
        draw_row(&b, &y);
        strata_slice s = strata_key_slice(&x), t = strata_key_slice(&y);
        int equal_keys = s.size == t.size && memcmp(s.data, t.data, s.size) == 0;
        assert_int_equal(equal_keys, a.count == b.count && same_row(&a, &b, a.count));
        /* And a key is the beginning of another where its parts are. */
        int begins = s.size <= t.size && memcmp(s.data, t.data, s.size) == 0;
        assert_int_equal(begins, same_row(&a, &b, a.count));
        equal += (size_t)equal_keys;
        within += begins && !equal_keys;
    }
    assert_true(equal > 100 && within > 100); /* both were met */
}

static void what_was_put_in_comes_out(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS / 10; round++) {
        struct row row;
        strata_key key;
        strata_key_part part;
        draw_row(&row, &key);
        strata_slice rest = strata_key_slice(&key);
        for (size_t i = 0; i < row.count; i++) {
            const struct drawn *in = &row.parts[i];
            uint64_t bits;
            assert_int_equal(strata_key_next(&rest, &part), STRATA_OK);
            assert_int_equal(part.type, in->type);
            memcpy(&bits, &part.real, sizeof bits);
            assert_int_equal(part.text.size, in->size);
            assert_memory_equal(part.text.size ? part.text.data : "", in->text, in->size);
            assert_true(in->type != STRATA_PART_INT || part.integer == (int64_t)in->number);
            assert_true(in->type != STRATA_PART_UINT || (part.uinteger == in->number && part.integer == 0));
            assert_true(in->type != STRATA_PART_REAL || bits == in->number);
            assert_true(in->type != STRATA_PART_FLAG || (uint64_t)part.flag == in->number);
            assert_true(in->type != STRATA_PART_LIST || part.count == in->number);
        }
        assert_int_equal(strata_key_next(&rest, &part), STRATA_MISS);
    }
}

static void assert_key(const strata_key *key, const char *text)
{
    strata_slice s = strata_key_slice(key);
    assert_int_equal(s.size, strlen(text));
    assert_memory_equal(s.data, text, s.size);
}

static void keys_look_as_the_header_says(void **state)
{
    strata_key key;
    (void)state;
    strata_key_begin(&key);
    strata_key_text(&key, strata_str("orders"));
    strata_key_int(&key, 42);
    strata_key_int(&key, -7);
    strata_key_real(&key, 1.5);
    strata_key_flag(&key, 2);
    strata_key_flag(&key, 0);
    strata_key_none(&key);
    strata_key_list(&key, 2);
    assert_key(&key, "s6:ordersi42:i-7:d3ff8000000000000:t:f:n:l2:");
    strata_key_begin(&key);
    strata_key_int(&key, INT64_MIN);
    strata_key_uint(&key, UINT64_MAX);
    strata_key_text(&key, strata_bytes(NULL, 0));
    assert_key(&key, "i-9223372036854775808:i18446744073709551615:s0:");
}

static void equal_numbers_are_one_part(void **state)
{
    strata_key a, b;
    double none;
    uint64_t bits = UINT64_C(0xfff0000000000001); /* no number, of another kind */
    (void)state;
    memcpy(&none, &bits, sizeof none);
    strata_key_begin(&a);
    strata_key_int(&a, 5);
    strata_key_real(&a, 0.0);
    strata_key_real(&a, (double)NAN);
    strata_key_begin(&b);
    strata_key_uint(&b, 5);
    strata_key_real(&b, -0.0);
    strata_key_real(&b, none);
    assert_memory_equal(a.data, b.data, a.used);
    assert_int_equal(a.used, b.used);
}

static void what_does_not_fit_is_no_key(void **state)
{
    static char long_text[STRATA_KEY_ROOM];
    strata_key key;
    strata *cache;
    strata_value *value;
    (void)state;
    strata_key_begin(&key);
    assert_int_equal(strata_key_text(&key, strata_bytes(long_text, STRATA_KEY_ROOM - 6)), STRATA_OK); /* "s1018:" */
    assert_int_equal(strata_key_slice(&key).size, STRATA_KEY_ROOM);
    assert_int_equal(strata_key_none(&key), STRATA_EKEYSIZE);
    assert_int_equal(strata_key_slice(&key).size, 0);
    strata_key_begin(&key);
    assert_int_equal(strata_key_text(&key, strata_bytes(long_text, STRATA_KEY_ROOM - 5)), STRATA_EKEYSIZE);
    assert_int_equal(strata_key_int(&key, 1), STRATA_EKEYSIZE); /* though that would fit: it would be another key */
    assert_int_equal(strata_key_text(&key, strata_bytes(long_text, SIZE_MAX)), STRATA_EKEYSIZE);
    assert_int_equal(strata_open_url(&cache, "memory:?max_bytes=1mb", NULL, NULL), STRATA_OK);
    assert_int_equal(strata_get(cache, strata_key_slice(&key), &value, NULL), STRATA_EKEYSIZE);
    strata_close(cache);
}

static void other_forms_are_refused(void **state)
{
    static const char *const bad[] = { "x",
                                       "s",
                                       "s:",
                                       "s1",
                                       "s1:",
                                       "s01:a",
                                       "s-1:a",
                                       "s2:a",
                                       "i",
                                       "i:",
                                       "i01:",
                                       "i-0:",
                                       "i-:",
                                       "i+1:",
                                       "i1",
                                       "i1 :",
                                       "i--1:",
                                       "t",
                                       "f",
                                       "n",
                                       "t1:",
                                       "tt",
                                       "l:",
                                       "l-1:",
                                       "l4294967296:",
                                       "i18446744073709551616:",
                                       "i-9223372036854775809:",
                                       "s99999999999999999999:a",
                                       "d3ff8:",
                                       "d3FF8000000000000:",
                                       "d8000000000000000:",
                                       "d7ff8000000000001:",
                                       "d3ff8000000000000",
                                       "dg000000000000000:" };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        strata_slice rest = strata_str(bad[i]);
        strata_key_part part;
        assert_int_equal(strata_key_next(&rest, &part), STRATA_EINVAL);
        assert_ptr_equal(rest.data, bad[i]);
        assert_int_equal(part.type, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(different_parts_make_different_keys), cmocka_unit_test(what_was_put_in_comes_out),
        cmocka_unit_test(keys_look_as_the_header_says),        cmocka_unit_test(equal_numbers_are_one_part),
        cmocka_unit_test(what_does_not_fit_is_no_key),         cmocka_unit_test(other_forms_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
