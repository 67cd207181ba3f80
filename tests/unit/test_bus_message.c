/* test_bus_message.c - messages between nodes: their documented bytes, and what a damaged, cut, newer, foreign or forged one is called. */
#include <string.h>

#include "tests/support/cmocka_all.h"
#include "tests/support/doc_vector.h"

#include "src/base/hash.h"
#include "src/base/sha256.h"
#include "src/format/bus_message.h"

static const char plain_vector[] =
    "ce 01 01 2c f667d50249f90a46 000102030405060708090a0b0c0d0e0f 0700000000000000 0807060504030201 "
    "01 00 03 02 d00f 04 13 f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f087172a 05 0c 808081b184e99103036b6579 "
    "06 05 00036b6579 07 05 09036b6579 08 10 09036b65790aca0100050068656c6c6f 09 07 01050400010061 "
    "0a 09 010006000475736572 0a 09 020107016103752a72 0a 0e 0301000161018877665544332211 "
    "0a 1e 0400ffffffffffffffffff01000288776655443322110100000000000000 02 00 660364d0";
static const char signed_vector[] =
    "ce 01 02 24 f667d50249f90a46 000102030405060708090a0b0c0d0e0f 0100000000000000 05 03 00016b 9e8df326 "
    "95b1aec0f586e83d56df80feff2e8d3481197ef6d1c0c6948333b9790329308c";
static const strata_slice secret = { "correct horse", 13 };
static const uint64_t tags[] = { 0x1122334455667788u, 1 };

static strata_slice text(const char *of) { return (strata_slice){ of, strlen(of) }; }

static struct bus_message a_message(void)
{
    struct bus_message m = { .channel = strata__bus_channel(text("app:")), .store_life = 0x0102030405060708u };
    for (uint8_t i = 0; i < BUS_NODE_ID; i++)
        m.sender[i] = i;
    return m;
}

static size_t one_of_each(struct bus_item *out)
{
    const struct bus_item items[] = {
        { .kind = BUS_ITEM_HELLO },
        { .kind = BUS_ITEM_HEARTBEAT, .sent_ms = 1000 },
        { .kind = BUS_ITEM_ACK, .sent_ms = -1476, .number = 42 },
        { .kind = BUS_ITEM_DELETE, .version = 1767225600000000u, .key = text("key") },
        { .kind = BUS_ITEM_EXPIRE, .key = text("key") },
        { .kind = BUS_ITEM_SET, .version = 9, .key = text("key") },
        { .kind = BUS_ITEM_VALUE, .version = 9, .key = text("key"), .envelope = { "\xca\x01\x00\x05\x00hello", 10 } },
        { .kind = BUS_ITEM_CLEAR,
          .all = 1,
          .version = 5,
          .key = { "\x00\x01\x00"
                   "a",
                   4 } },
        { .kind = BUS_ITEM_BAN, .ban = BUS_BAN_PREFIX, .version = 6, .text = text("user") },
        { .kind = BUS_ITEM_BAN, .ban = BUS_BAN_PATTERN, .soft = 1, .version = 7, .key = text("a"), .text = text("u*r") },
        { .kind = BUS_ITEM_BAN, .ban = BUS_BAN_TAGS_ANY, .soft = 1, .key = text("a"), .tags = tags, .tag_count = 1 },
        { .kind = BUS_ITEM_BAN, .ban = BUS_BAN_TAGS_ALL, .version = UINT64_MAX, .tags = tags, .tag_count = 2 },
        { .kind = BUS_ITEM_GOODBYE },
    };
    memcpy(out, items, sizeof items);
    memset(out[2].peer, 0xF0, BUS_NODE_ID);
    return sizeof items / sizeof items[0];
}

static size_t write_all(uint8_t *out, size_t room, uint64_t sequence, strata_slice with)
{
    struct bus_item items[16];
    struct bus_message m = a_message();
    struct bus_writer w;
    size_t count = one_of_each(items);
    strata__bus_write_begin(&w, out, room, &m, with);
    for (size_t i = 0; i < count; i++)
        assert_true(strata__bus_write_item(&w, &items[i]));
    assert_int_equal(w.count, count);
    return strata__bus_write_end(&w, sequence);
}

static int verdict_of(const void *bytes, size_t size, strata_slice with)
{
    struct bus_message m;
    return strata__bus_message_read(&m, (strata_slice){ bytes, size }, with);
}

static void same_slice(strata_slice a, strata_slice b)
{
    assert_int_equal(a.size, b.size);
    if (a.size != 0)
        assert_memory_equal(a.data, b.data, a.size);
}

static void same_item(const struct bus_item *a, const struct bus_item *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->ban, b->ban);
    assert_int_equal(a->soft, b->soft);
    assert_int_equal(a->all, b->all);
    assert_memory_equal(a->peer, b->peer, BUS_NODE_ID);
    assert_int_equal(a->sent_ms, b->sent_ms);
    assert_int_equal(a->number, b->number);
    assert_int_equal(a->version, b->version);
    same_slice(a->key, b->key);
    same_slice(a->envelope, b->envelope);
    same_slice(a->text, b->text);
    assert_int_equal(a->tag_count, b->tag_count);
    for (uint32_t i = 0; i < a->tag_count; i++)
        assert_int_equal(strata__bus_item_tag(b, i), a->tags[i]);
}

static void read_all(const void *bytes, size_t size, uint64_t sequence, strata_slice with)
{
    struct bus_item items[16], item;
    struct bus_message m, expected = a_message();
    size_t count = one_of_each(items), cursor = 0, i = 0;
    assert_int_equal(strata__bus_message_read(&m, (strata_slice){ bytes, size }, with), FORMAT_OK);
    assert_int_equal(m.channel, expected.channel);
    assert_memory_equal(m.sender, expected.sender, BUS_NODE_ID);
    assert_int_equal(m.sequence, sequence);
    assert_int_equal(m.store_life, expected.store_life);
    assert_int_equal(m.unknown, 0);
    for (; strata__bus_item_next(&m, &cursor, &item); i++)
        same_item(&items[i], &item);
    assert_int_equal(i, count);
}

static void everything(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    size_t size = write_all(bytes, sizeof bytes, 7, (strata_slice){ NULL, 0 });
    read_all(bytes, size, 7, (strata_slice){ NULL, 0 });
    doc_vector_check(plain_vector, bytes, size);
    size = write_all(bytes, sizeof bytes, UINT64_MAX, secret);
    read_all(bytes, size, UINT64_MAX, secret);
    /* Who has no secret reads it all the same: it trusts anybody. */
    read_all(bytes, size, UINT64_MAX, (strata_slice){ NULL, 0 });
}

static size_t write_signed(uint8_t *out, size_t room, strata_slice with)
{
    struct bus_message m = a_message();
    struct bus_item item = { .kind = BUS_ITEM_DELETE, .key = text("k") };
    struct bus_writer w;
    m.store_life = 0;
    strata__bus_write_begin(&w, out, room, &m, with);
    assert_true(strata__bus_write_item(&w, &item));
    return strata__bus_write_end(&w, 1);
}

static void signed_one(void **state)
{
    (void)state;
    uint8_t bytes[256];
    doc_vector_check(signed_vector, bytes, write_signed(bytes, sizeof bytes, secret));
}

/* The same message goes out again under another number, as what is tried again does. */
static void numbered_again(void **state)
{
    (void)state;
    uint8_t bytes[256];
    struct bus_message m = a_message();
    struct bus_writer w;
    strata__bus_write_begin(&w, bytes, sizeof bytes, &m, secret);
    for (uint64_t sequence = 1; sequence < 4; sequence++) {
        size_t size = strata__bus_write_end(&w, sequence);
        assert_int_equal(strata__bus_message_read(&m, (strata_slice){ bytes, size }, secret), FORMAT_OK);
        assert_int_equal(m.sequence, sequence);
    }
}

static void cut_anywhere(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    size_t size = write_all(bytes, sizeof bytes, 7, (strata_slice){ NULL, 0 });
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(verdict_of(bytes, cut, (strata_slice){ NULL, 0 }), cut < 3 ? FORMAT_FOREIGN : FORMAT_CORRUPT);
    size = write_all(bytes, sizeof bytes, 7, secret);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(verdict_of(bytes, cut, secret), cut < 3 ? FORMAT_FOREIGN : BUS_MESSAGE_FORGED);
    bytes[size] = 0;
    assert_int_equal(verdict_of(bytes, size + 1, secret), BUS_MESSAGE_FORGED);
}

static void flipped_anywhere(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    const strata_slice with[] = { { NULL, 0 }, secret };
    for (size_t w = 0; w < 2; w++) {
        size_t size = write_all(bytes, sizeof bytes, 7, with[w]);
        for (size_t bit = 0; bit < 8 * size; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_not_equal(verdict_of(bytes, size, with[w]), FORMAT_OK);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_int_equal(verdict_of(bytes, size, with[w]), FORMAT_OK);
    }
}

static void forged(void **state)
{
    (void)state;
    uint8_t bytes[256];
    size_t size = write_signed(bytes, sizeof bytes, (strata_slice){ NULL, 0 });
    assert_int_equal(verdict_of(bytes, size, secret), BUS_MESSAGE_FORGED);
    size = write_signed(bytes, sizeof bytes, text("another secret"));
    assert_int_equal(verdict_of(bytes, size, secret), BUS_MESSAGE_FORGED);
    assert_int_equal(verdict_of(bytes, size, text("another secret")), FORMAT_OK);
    /* The flag is signed, too: it can't be taken away. */
    bytes[2] = 0;
    assert_int_equal(verdict_of(bytes, size - SHA256_BYTES, secret), BUS_MESSAGE_FORGED);
}

static void foreign_and_newer(void **state)
{
    (void)state;
    uint8_t bytes[256];
    const strata_slice none = { NULL, 0 };
    size_t size = write_signed(bytes, sizeof bytes, none);
    assert_int_equal(verdict_of("{\"key\":\"a\"}", 11, none), FORMAT_FOREIGN);
    assert_int_equal(verdict_of("", 0, none), FORMAT_FOREIGN);
    assert_int_equal(verdict_of(NULL, 0, none), FORMAT_FOREIGN);
    bytes[1] = 2;
    assert_int_equal(verdict_of(bytes, size, none), FORMAT_NEWER);
    bytes[1] = 0;
    assert_int_equal(verdict_of(bytes, size, none), FORMAT_FOREIGN);
    bytes[1] = 1;
    bytes[2] = 0x80;
    assert_int_equal(verdict_of(bytes, size, none), FORMAT_NEWER);
}

/* A message with these bytes as its items, and so many more in its header. */
static size_t with_items(uint8_t *out, const char *items, size_t size, uint8_t more_header)
{
    struct bus_message m = a_message();
    struct bus_writer w;
    m.store_life = 0;
    strata__bus_write_begin(&w, out, 1024, &m, (strata_slice){ NULL, 0 });
    memset(out + w.used, 0xEE, more_header);
    out[3] = (uint8_t)(out[3] + more_header);
    w.used += more_header;
    if (size != 0)
        memcpy(out + w.used, items, size);
    w.used += size;
    return strata__bus_write_end(&w, 1);
}

static void newer_parts_are_passed_over(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    /* an unknown kind below 128, one above, a delete whose body is longer, a ban of an unknown kind */
    static const char items[] = "\x40\x02xx"
                                "\xc8\x01y"
                                "\x05\x05\x00\x01kzz"
                                "\x0a\x03\x77\x00\x00";
    struct bus_message m;
    struct bus_item item;
    size_t cursor = 0, size = with_items(bytes, items, sizeof items - 1, 3);
    int verdict = strata__bus_message_read(&m, (strata_slice){ bytes, size }, (strata_slice){ NULL, 0 });
    /* the ban is cut in its namespace: 3 bytes hold no text */
    assert_int_equal(verdict, FORMAT_CORRUPT);
    static const char whole[] = "\x40\x02xx"
                                "\xc8\x01y"
                                "\x05\x05\x00\x01kzz"
                                "\x0a\x04\x77\x00\x00\x00";
    size = with_items(bytes, whole, sizeof whole - 1, 3);
    assert_int_equal(strata__bus_message_read(&m, (strata_slice){ bytes, size }, (strata_slice){ NULL, 0 }), FORMAT_OK);
    assert_int_equal(m.unknown, 2);
    assert_true(strata__bus_item_next(&m, &cursor, &item));
    assert_int_equal(item.kind, BUS_ITEM_DELETE);
    same_slice(item.key, text("k"));
    assert_false(strata__bus_item_next(&m, &cursor, &item));
}

static void lies_about_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *items;
        size_t size;
    } bad[] = {
        { "\x05", 1 },                                          /* a kind alone */
        { "\x05\x80", 2 },                                      /* half a size */
        { "\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11 }, /* 2^64 - 1 bytes */
        { "\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11 }, /* more than 64 bits */
        { "\x05\x03\x00\x02k", 5 },                             /* a key beyond its item */
        { "\x04\x03"
          "abc",
          5 },                                                                      /* a peer cut */
        { "\x0a\x07\x03\x00\x00\x00\xff\xff\x03", 9 },                              /* tags that are not there */
        { "\x0a\x0e\x03\x00\x00\x00\x81\x80\x80\x80\x80\x80\x80\x80\x20\x00", 16 }, /* count * 8 overflows */
        { "\x00", 1 },
    };
    uint8_t bytes[1024];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t size = with_items(bytes, bad[i].items, bad[i].size, 0);
        assert_int_equal(verdict_of(bytes, size, (strata_slice){ NULL, 0 }), FORMAT_CORRUPT);
    }
    for (unsigned header = 0; header < 256; header++) {
        struct bus_writer w = { bytes, with_items(bytes, "", 0, 0) - 4, 0, 0, { NULL, 0 } };
        bytes[3] = (uint8_t)header;
        assert_int_equal(verdict_of(bytes, strata__bus_write_end(&w, 1), (strata_slice){ NULL, 0 }),
                         header == 36 ? FORMAT_OK : FORMAT_CORRUPT);
    }
}

/* What does not fit leaves the message as it was; what strata__bus_item_size() says is what it takes. */
static void says_when_it_is_full(void **state)
{
    (void)state;
    static const char key[300];
    uint8_t bytes[2048];
    struct bus_message m = a_message();
    struct bus_writer w;
    for (size_t size = 0; size < sizeof key; size++) {
        struct bus_item item = { .kind = BUS_ITEM_SET, .version = size, .key = { key, size } };
        size_t takes = strata__bus_item_size(&item);
        memset(bytes, 0xEE, sizeof bytes);
        strata__bus_write_begin(&w, bytes, BUS_MESSAGE_FRAME + 2 * takes - 1, &m, secret);
        assert_true(strata__bus_write_item(&w, &item));
        assert_false(strata__bus_write_item(&w, &item));
        assert_int_equal(w.count, 1);
        assert_int_equal(strata__bus_write_end(&w, 1), BUS_MESSAGE_FRAME + takes);
        assert_int_equal(bytes[BUS_MESSAGE_FRAME + takes], 0xEE);
        strata__bus_write_begin(&w, bytes, BUS_MESSAGE_FRAME + takes, &m, secret);
        assert_true(strata__bus_write_item(&w, &item));
        assert_int_equal(verdict_of(bytes, strata__bus_write_end(&w, 1), secret), FORMAT_OK);
    }
}

static void channels_differ(void **state)
{
    (void)state;
    assert_int_equal(strata__bus_channel(text("app:")), strata__bus_channel(text("app:")));
    assert_int_not_equal(strata__bus_channel(text("app:")), strata__bus_channel(text("app2:")));
    assert_int_not_equal(strata__bus_channel(text("")), strata__bus_channel(text("app:")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything),        cmocka_unit_test(signed_one),
        cmocka_unit_test(numbered_again),    cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(flipped_anywhere),  cmocka_unit_test(forged),
        cmocka_unit_test(foreign_and_newer), cmocka_unit_test(newer_parts_are_passed_over),
        cmocka_unit_test(lies_about_sizes),  cmocka_unit_test(says_when_it_is_full),
        cmocka_unit_test(channels_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
