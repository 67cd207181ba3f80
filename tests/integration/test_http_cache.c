/* test_http_cache.c - the HTTP cache of examples/http, without a server: what is stored, what clients ask for, what is stale.
 *
 * Time is not waited for: what shall be stale is expired. */
#include "tests/integration/http_world.h"

/* Storing ------------------------------------------------------------------------------------------------------- */

static void a_response_is_stored_whole(void **state)
{
    struct world w;
    (void)state;
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "max-age=60", "ETag", "\"1\"", "Connection", "X-Hop", "X-Hop", "1");
    w.origin.status = 203;
    struct reply one = GET(&w, "/a", "Range-Not", "x"), two = GET(&w, "/a"),
                 head = send_request(&w, "HEAD", "/a", NULL);
    expect(&one, "MISS", "1 -");
    assert_string_equal(one.said, "strata; fwd=uri-miss; stored");
    expect(&two, "HIT", "1 -");
    assert_int_equal(two.status, 203);
    assert_memory_equal(two.said, "strata; hit; ttl=", 17);
    expect(&head, "HIT", "1 -");
    assert_int_equal(atomic_load(&w.origin.asked), 1);
    close_world(&w);
}

static void what_may_not_be_stored_is_not(void **state)
{
    static const struct {
        int status;
        const char *name, *value, *name2, *value2;
    } rows[] = { { 200, "Cache-Control", "no-store", "X", "1" },
                 { 200, "Cache-Control", "private, max-age=60", "X", "1" },
                 { 200, "Cache-Control", "max-age=60, no-cache", "X", "1" },
                 { 200, "Cache-Control", "max-age=0", "X", "1" },
                 { 200, "Cache-Control", "max-age=60, s-maxage=0", "X", "1" },
                 { 200, "Cache-Control", "max-age=60", "Cache-Control", "no-store" },
                 { 200, "Cache-Control", "max-age=60", "Set-Cookie", "a=b" },
                 { 200, "Cache-Control", "max-age=60", "Vary", "*" },
                 { 200, "Cache-Control", "max-age=60", "Age", "60" },
                 { 200, "Expires", "0", "X", "1" },
                 { 200, "X", "1", "X", "2" }, /* nothing says how long */
                 { 206, "Cache-Control", "max-age=60", "X", "1" },
                 { 304, "Cache-Control", "max-age=60", "X", "1" },
                 { 302, "X", "1", "X", "2" },
                 { 500, "Cache-Control", "max-age=60", "X", "1" },
                 { 503, "Cache-Control", "max-age=60", "X", "1" } };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct world w;
        open_with(&w, NULL);
        w.origin.status = rows[i].status;
        SAYS(&w, rows[i].name, rows[i].value, rows[i].name2, rows[i].value2);
        struct reply one = GET(&w, "/a"), two = GET(&w, "/a");
        assert_string_equal(one.body, "1 -");
        assert_string_equal(two.body, "2 -");
        assert_string_not_equal(two.x_cache, "HIT");
        assert_int_equal(two.status, rows[i].status);
        close_world(&w);
    }
}

static void what_may_be_stored_is(void **state)
{
    static const struct {
        int status;
        const char *name, *value;
    } rows[] = { { 200, "Cache-Control", "s-maxage=60, max-age=0" },
                 { 200, "Cache-Control", "public, max-age=60, stale-if-error=1" },
                 { 404, "Cache-Control", "max-age=60" },
                 { 302, "Cache-Control", "max-age=60" },
                 { 301, "Cache-Control", "max-age=60" },
                 { 200, "Expires", "Thu, 01 Jan 2170 00:00:00 GMT" } };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct world w;
        open_with(&w, NULL);
        w.origin.status = rows[i].status;
        SAYS(&w, rows[i].name, rows[i].value);
        GET(&w, "/a");
        struct reply two = GET(&w, "/a");
        expect(&two, "HIT", "1 -");
        close_world(&w);
    }
}

static void a_default_is_for_what_says_nothing(void **state)
{
    struct world w;
    const struct http_cache_options options = { .default_ttl_s = 60 };
    (void)state;
    open_with(&w, &options);
    GET(&w, "/a");
    struct reply two = GET(&w, "/a");
    expect(&two, "HIT", "1 -");
    w.origin.status = 302; /* not by itself */
    GET(&w, "/b");
    two = GET(&w, "/b");
    assert_string_equal(two.body, "3 -");
    close_world(&w);
}

static void some_requests_pass_by(void **state)
{
    static const char *const rows[][3] = { { "/a", "Cache-Control", "no-store" },
                                           { "/a", "Authorization", "Basic x" },
                                           { "/a", "Cookie", "a=b" },
                                           { "/a", "Range", "bytes=0-1" },
                                           { "/a?token=1", "X", "1" } };
    struct world w;
    (void)state;
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "max-age=60");
    GET(&w, "/a");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct reply reply = GET(&w, rows[i][0], rows[i][1], rows[i][2]);
        expect(&reply, "BYPASS", NULL);
        assert_int_equal(atomic_load(&w.origin.asked), (int)i + 2);
        assert_memory_equal(reply.said, "strata; fwd=bypass; detail=", 27);
    }
    struct reply plain = GET(&w, "/a");
    expect(&plain, "HIT", "1 -");
    close_world(&w);
}

/* Another cache answers 500 to a URL of more than 1,024 characters. */
static void w33_a_long_target_passes_by(void **state)
{
    static char target[5000];
    struct world w;
    (void)state;
    memset(target, 'a', sizeof target - 1);
    target[0] = '/';
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "max-age=60");
    struct reply one = GET(&w, target), two = GET(&w, target);
    assert_int_equal(one.status, 200);
    expect(&two, "BYPASS", "2 -");
    assert_string_equal(two.said, "strata; fwd=bypass; detail=key-too-long");
    close_world(&w);
}

/* What clients ask for -------------------------------------------------------------------------------------------- */

static void a_reload_is_for_all(void **state)
{
    struct world w;
    (void)state;
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "max-age=60");
    GET(&w, "/a");
    struct reply anew = GET(&w, "/a", "Cache-Control", "no-cache"), next = GET(&w, "/a");
    expect(&anew, "MISS", "2 -");
    assert_string_equal(anew.said, "strata; fwd=request");
    expect(&next, "HIT", "2 -");
    anew = GET(&w, "/a", "Pragma", "no-cache");
    expect(&anew, "MISS", "3 -");
    anew = GET(&w, "/a", "Cache-Control", "max-age=0");
    expect(&anew, "MISS", "4 -");
    anew = GET(&w, "/a", "Cache-Control", "min-fresh=100");
    expect(&anew, "MISS", "5 -");
    next = GET(&w, "/a", "Cache-Control", "max-age=30, min-fresh=10");
    expect(&next, "HIT", "5 -");
    close_world(&w);
}

static void a_reload_of_variants(void **state)
{
    struct world w;
    (void)state;
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "max-age=60", "Vary", "Accept-Language");
    GET(&w, "/a", "Accept-Language", "en");
    GET(&w, "/a", "Accept-Language", "de");
    GET(&w, "/a", "Accept-Language", "de", "Cache-Control", "no-cache");
    struct reply en = GET(&w, "/a", "Accept-Language", "en"), de = GET(&w, "/a", "Accept-Language", "de");
    expect(&en, "HIT", "1 en");
    expect(&de, "HIT", "3 de");
    close_world(&w);
}

static void reloads_may_be_ignored(void **state)
{
    struct world w;
    const struct http_cache_options options = { .ignore_reloads = 1 };
    (void)state;
    open_with(&w, &options);
    SAYS(&w, "Cache-Control", "max-age=60");
    GET(&w, "/a");
    struct reply anew = GET(&w, "/a", "Cache-Control", "no-cache");
    expect(&anew, "HIT", "1 -");
    anew = GET(&w, "/a", "Cache-Control", "max-age=0");
    expect(&anew, "HIT", "1 -");
    close_world(&w);
}

static void only_if_cached(void **state)
{
    struct world w;
    (void)state;
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "max-age=60");
    struct reply none = GET(&w, "/a", "Cache-Control", "only-if-cached");
    assert_int_equal(none.status, 504);
    assert_int_equal(atomic_load(&w.origin.asked), 0);
    GET(&w, "/a");
    struct reply there = GET(&w, "/a", "Cache-Control", "only-if-cached");
    expect(&there, "HIT", "1 -");
    close_world(&w);
}

static void who_has_it_is_told_so(void **state)
{
    struct world w;
    (void)state;
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "max-age=60", "ETag", "\"v1\"", "Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    struct reply miss = GET(&w, "/a", "If-None-Match", "\"v1\"");
    assert_int_equal(miss.status, 304);
    struct reply whole = GET(&w, "/a", "If-None-Match", "\"v0\"");
    expect(&whole, "HIT", "1 -"); /* the handler was asked for the whole */
    struct reply since = GET(&w, "/a", "If-Modified-Since", "Mon, 07 Nov 1994 08:49:37 GMT");
    assert_int_equal(since.status, 304);
    since = GET(&w, "/a", "If-Modified-Since", "Sat, 05 Nov 1994 08:49:37 GMT");
    assert_int_equal(since.status, 200);
    since = GET(&w, "/a", "If-None-Match", "\"v0\"", "If-Modified-Since", "Mon, 07 Nov 1994 08:49:37 GMT");
    assert_int_equal(since.status, 200); /* the tag counts alone */
    close_world(&w);
}

/* Stale --------------------------------------------------------------------------------------------------------- */

static void expire(struct world *w, const char *target)
{
    char key[64];
    strata *space;
    snprintf(key, sizeof key, "PGET  %s", target);
    assert_int_equal(strata_namespace(w->cache, "http", NULL, &space, NULL), STRATA_OK);
    assert_int_equal(strata_expire(space, strata_str(key), NULL), STRATA_OK);
    strata_close(space);
}

static void await_status(struct world *w, const char *target, int status)
{
    struct reply reply = { 0 };
    for (int i = 0; i < 10000 && reply.status != status; i++)
        reply = GET(w, target);
    assert_int_equal(reply.status, status);
}

static void await_body(struct world *w, const char *target, const char *body)
{
    struct reply reply = { 0 };
    for (int i = 0; i < 10000 && strcmp(reply.body, body) != 0; i++) {
        struct timespec pause = { .tv_nsec = 1000000 };
        nanosleep(&pause, NULL);
        reply = GET(w, target);
    }
    assert_string_equal(reply.body, body);
}

static void a_stale_one_is_served_while_one_refresh_runs(void **state)
{
    struct world w;
    (void)state;
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "max-age=60, stale-while-revalidate=600");
    GET(&w, "/a", "Accept-Language", "en", "X-Secret", "1");
    expire(&w, "/a");
    struct reply stale = GET(&w, "/a");
    expect(&stale, "STALE", "1 en");
    await_body(&w, "/a", "2 -");
    assert_int_equal(atomic_load(&w.origin.asked), 2);
    close_world(&w);
}

static void a_stale_one_is_served_while_the_origin_fails(void **state)
{
    struct world w;
    (void)state;
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "max-age=60, stale-if-error=600");
    GET(&w, "/a");
    GET(&w, "/b");
    expire(&w, "/a");
    expire(&w, "/b");
    w.origin.status = 503;
    struct reply stale = GET(&w, "/a");
    expect(&stale, "STALE", "1 -");
    assert_int_equal(stale.status, 200);
    assert_string_equal(stale.said, "strata; fwd=stale; detail=error");
    w.origin.fails = 1;
    stale = GET(&w, "/b");
    expect(&stale, "STALE", "2 -");
    struct reply none = GET(&w, "/c");
    assert_int_equal(none.status, 502);
    close_world(&w);
}

/* Nobody waits for a handler that hangs; what it says later is there for others. */
static void a_handler_that_hangs(void **state)
{
    struct world w;
    const struct http_cache_options options = { .timeout_ms = 20 };
    (void)state;
    open_with(&w, &options);
    SAYS(&w, "Cache-Control", "max-age=60, stale-if-error=600");
    atomic_store(&w.origin.held, 1);
    struct reply late = GET(&w, "/a"), reload = GET(&w, "/b", "Cache-Control", "no-cache");
    assert_int_equal(late.status, 504);
    assert_int_equal(reload.status, 504);
    atomic_store(&w.origin.held, 0);
    await_status(&w, "/a", 200);
    expire(&w, "/a");
    atomic_store(&w.origin.held, 1);
    struct reply stale = GET(&w, "/a");
    expect(&stale, "STALE", NULL);
    assert_int_equal(stale.status, 200);
    atomic_store(&w.origin.held, 0);
    close_world(&w);
}

static void must_revalidate_forbids_it(void **state)
{
    struct world w;
    (void)state;
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "max-age=60, stale-if-error=600, stale-while-revalidate=600, must-revalidate");
    GET(&w, "/a");
    expire(&w, "/a");
    w.origin.status = 503;
    struct reply reply = GET(&w, "/a");
    assert_int_equal(reply.status, 503);
    close_world(&w);
}

static void what_became_private_is_forgotten(void **state)
{
    struct world w;
    (void)state;
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "max-age=60, stale-if-error=600");
    GET(&w, "/a");
    expire(&w, "/a");
    SAYS(&w, "Cache-Control", "private");
    struct reply own = GET(&w, "/a");
    expect(&own, "MISS", "2 -");
    w.origin.status = 503;
    struct reply after = GET(&w, "/a");
    assert_int_equal(after.status, 503);
    close_world(&w);
}

static void a_change_is_seen(void **state)
{
    static const char *const methods[] = { "POST", "PUT", "PATCH", "DELETE", "BREW" };
    struct world w;
    (void)state;
    open_with(&w, NULL);
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        SAYS(&w, "Cache-Control", "max-age=60", "Vary", "Accept-Language");
        GET(&w, "/a", "Accept-Language", "en");
        GET(&w, "/a", "Accept-Language", "de");
        int before = atomic_load(&w.origin.asked);
        w.origin.status = 409; /* nothing was changed */
        send_request(&w, methods[i], "/a", NULL);
        w.origin.status = 200;
        struct reply reply = GET(&w, "/a", "Accept-Language", "en");
        expect(&reply, "HIT", NULL);
        reply = send_request(&w, methods[i], "/a", NULL);
        assert_string_equal(reply.said, "strata; fwd=method");
        GET(&w, "/a", "Accept-Language", "en");
        GET(&w, "/a", "Accept-Language", "de");
        assert_int_equal(atomic_load(&w.origin.asked), before + 4);
    }
    int before = atomic_load(&w.origin.asked);
    send_request(&w, "OPTIONS", "/a", NULL);
    struct reply reply = GET(&w, "/a", "Accept-Language", "en");
    expect(&reply, "HIT", NULL);
    assert_int_equal(atomic_load(&w.origin.asked), before + 1);
    close_world(&w);
}

/* A store may hold anything under a key: what is no record is a miss. */
static void strange_bytes_are_a_miss(void **state)
{
    struct world w;
    strata *space;
    (void)state;
    open_with(&w, NULL);
    SAYS(&w, "Cache-Control", "max-age=60");
    assert_int_equal(strata_namespace(w.cache, "http", NULL, &space, NULL), STRATA_OK);
    strata_set(space, strata_str("PGET  /a"), strata_str("strange"), NULL, NULL);
    struct reply one = GET(&w, "/a"), two = GET(&w, "/a"), three = GET(&w, "/a");
    assert_int_equal(one.status, 200);
    assert_int_equal(two.status, 200);
    expect(&three, "HIT", NULL);
    strata_close(space);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_response_is_stored_whole),
        cmocka_unit_test(what_may_not_be_stored_is_not),
        cmocka_unit_test(what_may_be_stored_is),
        cmocka_unit_test(a_default_is_for_what_says_nothing),
        cmocka_unit_test(some_requests_pass_by),
        cmocka_unit_test(w33_a_long_target_passes_by),
        cmocka_unit_test(a_reload_is_for_all),
        cmocka_unit_test(a_reload_of_variants),
        cmocka_unit_test(reloads_may_be_ignored),
        cmocka_unit_test(only_if_cached),
        cmocka_unit_test(who_has_it_is_told_so),
        cmocka_unit_test(a_stale_one_is_served_while_one_refresh_runs),
        cmocka_unit_test(a_stale_one_is_served_while_the_origin_fails),
        cmocka_unit_test(a_handler_that_hangs),
        cmocka_unit_test(must_revalidate_forbids_it),
        cmocka_unit_test(what_became_private_is_forgotten),
        cmocka_unit_test(a_change_is_seen),
        cmocka_unit_test(strange_bytes_are_a_miss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
