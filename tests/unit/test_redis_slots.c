/* test_redis_slots.c - which slot a key is in, and what a Cluster says of itself: maps and redirections, of all ages, and what
 * is none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/base/mem.h"
#include "src/link/redis_link_impl.h"
#include "src/link/redis_slots.h"

static void slots_are_the_servers(void **state)
{
    /* As CLUSTER KEYSLOT of a server answers. */
    static const struct {
        const char *key;
        uint16_t slot;
    } known[] = { { "", 0 },
                  { "a", 15495 },
                  { "foo", 12182 },
                  { "123456789", 12739 },
                  { "{user1000}.following", 3443 },
                  { "{user1000}.followers", 3443 },
                  { "user1000", 3443 },
                  { "foo{}{bar}", 8363 },
                  { "foo{{bar}}zap", 4015 },
                  { "foo{bar}{zap}", 5061 },
                  { "bar", 5061 },
                  { "{bar", 4015 } };
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strata__redis_slot(strata_str(known[i].key)) != known[i].slot)
            fail_msg("%s: %u, not %u", known[i].key, strata__redis_slot(strata_str(known[i].key)), known[i].slot);
    static const char binary[] = "\xff\0{\0}\x80"; /* the tag is one NUL */
    assert_int_equal(strata__redis_slot(strata_bytes(binary, 6)), 0);
}

/* What the text of RESP says. */
static int read_map(const char *text, struct redis_map *map)
{
    struct redis_replies replies = { .mem = &strata__malloc };
    struct redisReader *reader = strata__redis_reader_new(&replies);
    struct redisReply *reply = NULL;
    const char *why;
    assert_true(strata__redis_reader_feed(reader, text, strlen(text)));
    assert_int_equal(strata__redis_reader_next(reader, &reply, &why), 1);
    int good = strata__redis_map_read(reply, "seed", map);
    strata__redis_reply_free(reply);
    strata__redis_reader_free(reader);
    return good;
}

#define ID "$2\r\nid\r\n"

static void maps_of_all_ages(void **state)
{
    (void)state;
    struct redis_map *map = malloc(sizeof *map);
    assert_non_null(map);
    /* 3.0: host and port alone; the first slots are served by the node that was asked, which does not know its name. */
    assert_true(read_map("*2\r\n"
                         "*4\r\n:0\r\n:8191\r\n*2\r\n$0\r\n\r\n:7000\r\n*2\r\n$1\r\nr\r\n:7003\r\n"
                         "*3\r\n:8192\r\n:16383\r\n*2\r\n$1\r\nb\r\n:7001\r\n",
                         map));
    assert_int_equal(map->served, REDIS_SLOTS);
    assert_int_equal(map->place_count, 3);
    assert_string_equal(map->places[map->owner[0]].host, "seed");
    assert_int_equal(map->places[map->owner[8191]].port, 7000);
    assert_string_equal(map->places[map->owner[8192]].host, "b");
    assert_true(map->is_master[map->owner[0]]);
    assert_false(map->is_master[1]);
    /* 7: an id, metadata, nil for a host that is not known; a gap. */
    assert_true(
        read_map("*1\r\n*3\r\n:5\r\n:6\r\n*4\r\n$-1\r\n:7000\r\n" ID "*2\r\n$8\r\nhostname\r\n$1\r\nx\r\n", map));
    assert_int_equal(map->served, 2);
    assert_int_equal(map->owner[4], REDIS_NOBODY);
    assert_string_equal(map->places[map->owner[5]].host, "seed");
    /* A master without an address yet serves nobody; its replicas are known. */
    assert_true(read_map("*1\r\n*4\r\n:0\r\n:1\r\n*3\r\n$1\r\n?\r\n:7000\r\n" ID "*3\r\n$1\r\nr\r\n:7001\r\n" ID, map));
    assert_int_equal(map->served, 0);
    assert_int_equal(map->place_count, 1);
    assert_true(read_map("*0\r\n", map));
    assert_int_equal(map->served, 0);
    free(map);
}

static void what_is_no_map(void **state)
{
    static const char *const wrong[] = {
        "-ERR no\r\n",
        ":1\r\n",
        "$-1\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*0\r\n",
        "*1\r\n*2\r\n:0\r\n:1\r\n",
        "*1\r\n*3\r\n:-1\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:2\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n$1\r\n0\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n$1\r\na\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n$1\r\na\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n:1\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:65536\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:-1\r\n",
    };
    (void)state;
    struct redis_map *map = malloc(sizeof *map);
    assert_non_null(map);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (read_map(wrong[i], map))
            fail_msg("%zu: it is none", i);
    free(map);
}

static void redirections(void **state)
{
    static const struct {
        const char *text;
        enum redis_redirect kind;
        uint16_t slot;
        const char *host;
        uint16_t port;
    } known[] = {
        { "MOVED 3999 127.0.0.1:6381", REDIS_MOVED, 3999, "127.0.0.1", 6381 },
        { "ASK 0 host.example:1", REDIS_ASK, 0, "host.example", 1 },
        { "MOVED 16383 ::1:6381", REDIS_MOVED, 16383, "::1", 6381 },
        { "MOVED 1 :6381", REDIS_MOVED, 1, "seed", 6381 },
        { "MOVED 16384 a:1", REDIS_STAYS, 0, NULL, 0 },
        { "MOVED -1 a:1", REDIS_STAYS, 0, NULL, 0 },
        { "MOVED 1 a:0", REDIS_STAYS, 0, NULL, 0 },
        { "MOVED 1 a:65536", REDIS_STAYS, 0, NULL, 0 },
        { "MOVED 1 a", REDIS_STAYS, 0, NULL, 0 },
        { "MOVED 1 ?:6381", REDIS_STAYS, 0, NULL, 0 },
        { "MOVED 1", REDIS_STAYS, 0, NULL, 0 },
        { "MOVED ", REDIS_STAYS, 0, NULL, 0 },
        { "MOVED  a:1", REDIS_STAYS, 0, NULL, 0 },
        { "ASKING 1 a:1", REDIS_STAYS, 0, NULL, 0 },
        { "moved 1 a:1", REDIS_STAYS, 0, NULL, 0 },
        { "", REDIS_STAYS, 0, NULL, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct redis_place place;
        uint16_t slot;
        enum redis_redirect kind = strata__redis_redirect(strata_str(known[i].text), "seed", &slot, &place);
        if (kind != known[i].kind)
            fail_msg("%s: %d", known[i].text, (int)kind);
        if (kind == REDIS_STAYS)
            continue;
        assert_int_equal(slot, known[i].slot);
        assert_string_equal(place.host, known[i].host);
        assert_int_equal(place.port, known[i].port);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_the_servers),
        cmocka_unit_test(maps_of_all_ages),
        cmocka_unit_test(what_is_no_map),
        cmocka_unit_test(redirections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
