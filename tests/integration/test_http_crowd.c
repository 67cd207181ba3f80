/* test_http_crowd.c - variants of one target, and many who ask at once, of the HTTP cache of examples/http. */
#include "tests/integration/http_world.h"

#include <pthread.h>

enum { CROWD = 40 };

/* Vary ---------------------------------------------------------------------------------------------------------- */

static void variants_stand_side_by_side(void **state)
{
    struct world w;
    (void)state;
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "max-age=60", "Vary", "Accept-Language");
    struct reply en = GET(&w, "/a", "Accept-Language", "en"), de = GET(&w, "/a", "Accept-Language", "de");
    expect(&en, "MISS", "1 en");
    expect(&de, "MISS", "2 de");
    assert_string_equal(de.said, "strata; fwd=vary-miss; stored");
    en = GET(&w, "/a", "accept-language", "en");
    de = GET(&w, "/a", "ACCEPT-LANGUAGE", "de");
    expect(&en, "HIT", "1 en");
    expect(&de, "HIT", "2 de");
    struct reply none = GET(&w, "/a"), empty = GET(&w, "/a", "Accept-Language", ""); /* not the same */
    expect(&none, "MISS", "3 -");
    expect(&empty, "MISS", "4 ");
    close_world(&w);
}

static void what_varies_by_more_begins_anew(void **state)
{
    struct world w;
    (void)state;
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "max-age=60", "Vary", "Accept-Language");
    GET(&w, "/a", "Accept-Language", "en", "X-Kind", "1");
    SAYS(&w, "Cache-Control", "max-age=60", "Vary", "Accept-Language, X-Kind");
    GET(&w, "/a", "Accept-Language", "de", "X-Kind", "1"); /* not stored: nobody's key has the new name */
    struct reply one = GET(&w, "/a", "Accept-Language", "de", "X-Kind", "1");
    struct reply two = GET(&w, "/a", "Accept-Language", "de", "X-Kind", "2");
    struct reply again = GET(&w, "/a", "Accept-Language", "de", "X-Kind", "1");
    expect(&one, "MISS", "3 de");
    expect(&two, "MISS", "4 de");
    expect(&again, "HIT", "3 de");
    close_world(&w);
}

/* Crowds -------------------------------------------------------------------------------------------------------- */

struct member {
    struct world *w;
    pthread_t thread;
    char name[16];
    struct reply reply;
};

static void *ask_once(void *ctx)
{
    struct member *m = ctx;
    m->reply = GET(m->w, "/a", "Accept-Language", m->name);
    return NULL;
}

/* CROWD requests at once, with `kinds` values of Accept-Language. */
static void crowd(struct world *w, struct member members[CROWD], int kinds)
{
    w->origin.pause_ms = 30;
    for (int i = 0; i < CROWD; i++) {
        members[i] = (struct member){ .w = w };
        snprintf(members[i].name, sizeof members[i].name, "l%d", i % kinds);
        assert_int_equal(pthread_create(&members[i].thread, NULL, ask_once, &members[i]), 0);
    }
    for (int i = 0; i < CROWD; i++)
        pthread_join(members[i].thread, NULL);
}

static void a_crowd_makes_one_load(void **state)
{
    struct member members[CROWD];
    struct world w;
    (void)state;
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "max-age=60");
    crowd(&w, members, 1);
    assert_int_equal(atomic_load(&w.origin.asked), 1);
    for (int i = 0; i < CROWD; i++)
        assert_string_equal(members[i].reply.body, "1 l0");
    close_world(&w);
}

static void a_crowd_makes_one_load_of_a_variant(void **state)
{
    struct member members[CROWD];
    struct world w;
    (void)state;
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "max-age=60", "Vary", "Accept-Language");
    crowd(&w, members, 4);
    assert_int_equal(atomic_load(&w.origin.asked), 4);
    for (int i = 0; i < CROWD; i++)
        assert_string_equal(strchr(members[i].reply.body, ' ') + 1, members[i].name);
    close_world(&w);
}

static void nobody_gets_what_is_for_another(void **state)
{
    struct member members[CROWD];
    struct world w;
    (void)state;
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "private", "Set-Cookie", "who=you");
    crowd(&w, members, CROWD); /* each has a name of his own */
    assert_int_equal(atomic_load(&w.origin.asked), CROWD);
    for (int i = 0; i < CROWD; i++)
        assert_string_equal(strchr(members[i].reply.body, ' ') + 1, members[i].name);
    close_world(&w);
}

static void an_error_is_shared_by_who_waits(void **state)
{
    struct member members[CROWD];
    struct world w;
    int misses = 0;
    (void)state;
    open_with(&w, NULL);
    w.origin.status = 503;
    SAYS(&w, "X", "1");
    crowd(&w, members, 1);
    for (int i = 0; i < CROWD; i++)
        misses += members[i].reply.status == 503;
    assert_int_equal(misses, CROWD);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variants_stand_side_by_side),     cmocka_unit_test(what_varies_by_more_begins_anew),
        cmocka_unit_test(a_crowd_makes_one_load),          cmocka_unit_test(a_crowd_makes_one_load_of_a_variant),
        cmocka_unit_test(nobody_gets_what_is_for_another), cmocka_unit_test(an_error_is_shared_by_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
