/* test_bus_note.c - what a durable layer keeps of the buses: it comes back as it was, the same bytes as docs/formats.md has, and whatever is
 * cut or bent is read within its bounds. */
#include "src/format/bus_note.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/doc_vector.h"

static const char vector[] = "6e 01 01 01 0807060504030201 1122334455667788 05000000 "
                             "6f48c51e78f7ff34 03 00 0200 352d31 "
                             "000102030405060708090a0b0c0d0e0f ffffffffffffffff "
                             "101112131415161718191a1b1c1d1e1f 0700000000000000";

static size_t example(uint8_t *out)
{
    uint8_t nodes[48], id[BUS_NODE_ID];
    struct bus_note note = { .channel = 0x0102030405060708, .buses = 1, .lives = 1 };
    for (uint8_t i = 0; i < BUS_NODE_ID; i++)
        id[i] = i;
    strata__note_put_node(nodes, id, NOTE_SELF);
    for (uint8_t i = 0; i < BUS_NODE_ID; i++)
        id[i] = (uint8_t)(16 + i);
    strata__note_put_node(nodes + 24, id, 7);
    note.life[0] = (struct note_life){ 0x8877665544332211, 5 };
    note.bus[0] = (struct note_bus){ strata__note_kind("redis_stream"), strata_str("5-1"), 2, nodes };
    strata__note_write(out, &note);
    return strata__note_size(&note);
}

static void test_it_comes_back(void **state)
{
    uint8_t bytes[256];
    struct bus_note note;
    size_t size = example(bytes);
    (void)state;
    doc_vector_check(vector, bytes, size);
    assert_int_equal(strata__note_read(&note, strata_bytes(bytes, size)), FORMAT_OK);
    assert_int_equal(note.channel, 0x0102030405060708);
    assert_int_equal(note.buses, 1);
    assert_int_equal(note.lives, 1);
    assert_true(note.life[0].life == 0x8877665544332211 && note.life[0].position == 5);
    assert_true(note.bus[0].kind == strata__note_kind("redis_stream") && note.bus[0].nodes == 2);
    assert_memory_equal(note.bus[0].cursor.data, "5-1", 3);
    assert_true(strata__note_number(&note.bus[0], 0) == NOTE_SELF && strata__note_number(&note.bus[0], 1) == 7);
    assert_int_equal(strata__note_id(&note.bus[0], 1)[15], 31);
}

static void test_what_is_cut_or_bent(void **state)
{
    uint8_t bytes[256], bent[256];
    struct bus_note note;
    size_t size = example(bytes);
    (void)state;
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(strata__note_read(&note, strata_bytes(bytes, cut)), FORMAT_CORRUPT);
    for (size_t at = 0; at < size; at++)
        for (unsigned with = 0; with < 256; with++) {
            memcpy(bent, bytes, size);
            bent[at] = (uint8_t)with;
            int rc = strata__note_read(&note, strata_bytes(bent, size));
            if (rc != FORMAT_OK)
                continue;
            assert_true(note.buses <= NOTE_BUSES && note.lives <= NOTE_LIVES);
            assert_int_equal(strata__note_size(&note), size);
        }
    memcpy(bent, bytes, size);
    bent[1] = 2;
    assert_int_equal(strata__note_read(&note, strata_bytes(bent, size)), FORMAT_NEWER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_comes_back),
        cmocka_unit_test(test_what_is_cut_or_bent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
