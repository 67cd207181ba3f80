/* test_log.c - what a cache has to say, to whom, and how often: the callback, and STRATA_LOG. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "strata/strata.h"
#include "tests/support/fail_alloc.h"
#include "tests/unit/core_fixture.h"

enum { LINES = 64 };

struct paper {
    struct stack *st;
    int count;
    int32_t level[LINES];
    char category[LINES][16], message[LINES][512];
    uint64_t left_out[LINES];
    int closes, close_rc; /* it closes the cache, and was answered that */
    int locked;           /* a line came while the thread was under a lock of core's */
};

static void note(const strata_log_line *line, void *ctx)
{
    struct paper *p = ctx;
    assert_true(p->count < LINES);
    assert_int_equal(line->size, sizeof *line);
    p->level[p->count] = line->level;
    p->left_out[p->count] = line->left_out;
    snprintf(p->category[p->count], sizeof p->category[0], "%s", line->category);
    snprintf(p->message[p->count++], sizeof p->message[0], "%s", line->message);
    for (const struct frame *f = strata__frames; f != NULL; f = f->up)
        p->locked |= f->kind == FRAME_LOCKED;
    if (p->closes && p->st->cache != NULL)
        p->close_rc = strata_close(p->st->cache);
    if (p->st != NULL && p->st->cache != NULL) { /* it may call the cache */
        strata_value *v;
        (void)strata_get(p->st->cache, strata_str("other"), &v, NULL);
        strata_value_unref(v);
    }
}

/* The last line with these words in it; fails where there is none. */
static int find(const struct paper *p, const char *words)
{
    for (int i = p->count; i-- > 0;)
        if (strstr(p->message[i], words) != NULL)
            return i;
    for (int i = 0; i < p->count; i++)
        print_error("%s %s\n", p->category[i], p->message[i]);
    fail_msg("no line says \"%s\"", words);
    return -1;
}

static void open_logged(struct stack *st, struct paper *p, const char *log, int with_slow)
{
    memset(p, 0, sizeof *p);
    open_stack(st, &(struct stack_options){ .logger = note, .logger_ctx = p, .log = log, .with_slow = with_slow });
    p->st = st;
}

static void fail_a_load(struct stack *st, const char *key)
{
    struct origin o = { .st = st, .fail = STRATA_EIO };
    strata_value *v;
    assert_int_equal(strata_get_or_load(st->cache, strata_str(key), origin_loader, &o, NULL, &v, NULL), STRATA_EIO);
}

static void test_warnings_by_default(void **state)
{
    (void)state;
    struct stack st;
    struct paper p;
    open_logged(&st, &p, NULL, 1);
    assert_int_equal(p.count, 1); /* opening is no warning, but this is: */
    assert_string_equal(p.category[find(&p, "no bus tells of that")], "bus");
    fail_a_load(&st, "user:1");
    int i = find(&p, "the origin is down");
    assert_int_equal(p.level[i], STRATA_LOG_WARN);
    assert_string_equal(p.category[i], "load");
    assert_null(strstr(p.message[i], "user:1"));
    st.slow->fail_gets = 1;
    strata_value *v;
    (void)strata_get(st.cache, strata_str("a"), &v, NULL);
    i = find(&p, "the script says so");
    assert_string_equal(p.category[i], "layer");
    assert_non_null(strstr(p.message[i], "script: "));
    assert_non_null(strstr(p.message[i], "(EIO)"));
    st.slow->fail_gets = 0;
    assert_false(p.locked);
    p.st = NULL;
    close_stack(&st);
}

static void test_levels_and_categories(void **state)
{
    (void)state;
    struct stack st;
    struct paper p;
    struct origin o = { .st = &st, .value = "v" };
    strata_value *v;
    open_logged(&st, &p, "load=debug,keys", 0);
    assert_int_equal(strata_get_or_load(st.cache, strata_str("a\nb"), origin_loader, &o, NULL, &v, NULL), STRATA_OK);
    strata_value_unref(v);
    int i = find(&p, "loaded");
    assert_int_equal(p.level[i], STRATA_LOG_DEBUG);
    assert_non_null(strstr(p.message[i], "key \"a\\x0ab\""));
    assert_int_equal(strata_clear(st.cache, NULL), STRATA_OK);
    assert_int_equal(p.count, 1);
    p.st = NULL;
    close_stack(&st);
    assert_int_equal(p.count, 1);
    open_logged(&st, &p, "info", 0);
    find(&p, "opened: memory");
    assert_int_equal(strata_clear(st.cache, NULL), STRATA_OK);
    find(&p, "cleared");
    p.st = NULL;
    close_stack(&st);
    find(&p, "closed");
    open_logged(&st, &p, "off", 0);
    fail_a_load(&st, "a");
    p.st = NULL;
    close_stack(&st);
    assert_int_equal(p.count, 0);
}

/* Five of a kind in ten seconds; the next one, and the end, say how many were not told. */
static void test_too_many(void **state)
{
    (void)state;
    struct stack st;
    struct paper p;
    open_logged(&st, &p, NULL, 0);
    p.st = NULL;
    for (int i = 0; i < 20; i++)
        fail_a_load(&st, "a");
    assert_int_equal(p.count, 5);
    pass(&st, 10000);
    fail_a_load(&st, "a");
    assert_int_equal(p.count, 6);
    assert_int_equal(p.left_out[5], 15);
    for (int i = 0; i < 10; i++)
        fail_a_load(&st, "a");
    assert_int_equal(p.count, 10);
    close_stack(&st);
    assert_int_equal(p.count, 11);
    assert_int_equal(p.left_out[10], 6);
}

static void test_closing_from_the_callback(void **state)
{
    (void)state;
    struct stack st;
    struct paper p;
    open_logged(&st, &p, NULL, 0);
    p.closes = 1;
    struct origin o = { .st = &st, .fail = STRATA_EIO };
    strata_value *v;
    (void)strata_get_or_load(st.cache, strata_str("a"), origin_loader, &o, NULL, &v, NULL);
    assert_int_equal(p.count, 1);
    assert_int_equal(p.close_rc, STRATA_AGAIN);
    p.st = NULL;
    p.closes = 0;
    assert_int_equal(strata_close(st.cache), STRATA_OK);
}

static void test_wrong_options(void **state)
{
    (void)state;
    struct stack st;
    struct paper p = { 0 };
    assert_int_equal(try_open(&st, &(struct stack_options){ .log = "warn" }), STRATA_EINVAL);
    assert_non_null(strstr(st.err.message, "there is none: set logger"));
    assert_int_equal(try_open(&st, &(struct stack_options){ .log = "loud", .logger = note, .logger_ctx = &p }),
                     STRATA_EINVAL);
    assert_non_null(strstr(st.err.message, "\"loud\""));
    assert_int_equal(p.count, 0);
}

static void test_hits_stay_on_their_way(void **state)
{
    (void)state;
    struct stack st;
    struct paper p;
    open_logged(&st, &p, "debug", 0);
    p.st = NULL;
    assert_true(atomic_load(&st.cache->gate) != GATE_SHUT);
    assert_false(
        event_wanted(st.cache->root, STRATA_EVENT_HIT | STRATA_EVENT_MISS | STRATA_EVENT_SET | STRATA_EVENT_EVICT));
    close_stack(&st);
}

static void hear_nothing(const strata_event *event, void *ctx) { (void)event, (void)ctx; }

static void test_a_mask_of_events_that_are_none(void **state)
{
    (void)state;
    static const uint32_t refused[] = { UINT32_C(1) << 31, UINT32_C(1) << 30, STRATA_EVENT_HIT | UINT32_C(1) << 30,
                                        STRATA_EVENT_HIT | UINT32_C(1) << 31 };
    static const uint32_t taken[] = { STRATA_EVENT_HIT, STRATA_EVENT_ALL, STRATA_EVENT_ALL & ~STRATA_EVENT_SUSPECT,
                                      ~(uint32_t)STRATA_EVENT_HIT, UINT32_MAX };
    struct stack st;
    struct paper p;
    uint64_t id;
    open_logged(&st, &p, NULL, 0);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        int before = p.count;
        char words[32];
        assert_int_equal(strata_on(st.cache, refused[i], hear_nothing, NULL, &id), STRATA_EINVAL);
        assert_int_equal(p.count, before + 1);
        snprintf(words, sizeof words, "0x%08x names no event", (unsigned)(refused[i] & ~(uint32_t)STRATA_EVENT_HIT));
        assert_int_equal(p.level[find(&p, words)], STRATA_LOG_WARN);
        assert_string_equal(p.category[find(&p, "STRATA_EVENT_ALL")], "cache");
    }
    int before = p.count;
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        assert_int_equal(strata_on(st.cache, taken[i], hear_nothing, NULL, &id), STRATA_OK);
        assert_int_equal(strata_off(st.cache, id), STRATA_OK);
    }
    assert_int_equal(p.count, before);
    assert_false(p.locked);
    p.st = NULL;
    close_stack(&st);
}

static void test_without_memory(void **state)
{
    (void)state;
    int rc = STRATA_ENOMEM;
    for (long n = 1; rc != STRATA_OK; n++) {
        struct fail_alloc a;
        struct stack st;
        struct paper p = { 0 };
        fail_alloc_init(&a, n);
        rc = try_open(&st, &(struct stack_options){ .logger = note, .logger_ctx = &p, .allocator = &a.mem });
        if (rc == STRATA_OK)
            close_stack(&st);
        else
            assert_int_equal(rc, STRATA_ENOMEM);
        assert_int_equal(a.live, 0);
        assert_true(n < 1000);
    }
}

/* STRATA_LOG --------------------------------------------------------------------------------------------------- */

static int broken_loader(strata_load *load, strata_slice key, void *ctx)
{
    (void)key, (void)ctx;
    return strata_load_fail(load, STRATA_EIO, "redis://shop:hunter2@db is down");
}

/* What a program with STRATA_LOG=`wish` has on its standard error: a cache is opened, a load fails, it is closed. */
static void run_with(const char *wish, char *out, size_t room)
{
    FILE *to = tmpfile();
    int saved = dup(STDERR_FILENO);
    assert_non_null(to);
    if (wish != NULL)
        setenv("STRATA_LOG", wish, 1);
    else
        unsetenv("STRATA_LOG");
    assert_true(dup2(fileno(to), STDERR_FILENO) >= 0);
    strata *cache;
    strata_value *v;
    int rc = strata_open_url(&cache, "memory:?max_bytes=1mb", NULL, NULL);
    if (rc == STRATA_OK) {
        (void)strata_get_or_load(cache, strata_str("user:1"), broken_loader, NULL, NULL, &v, NULL);
        rc = strata_close(cache);
    }
    (void)dup2(saved, STDERR_FILENO);
    close(saved);
    unsetenv("STRATA_LOG");
    assert_int_equal(rc, STRATA_OK);
    rewind(to);
    out[fread(out, 1, room - 1, to)] = '\0';
    fclose(to);
}

static void test_the_environment(void **state)
{
    (void)state;
    char out[4096];
    run_with(NULL, out, sizeof out); /* not a word by itself */
    assert_string_equal(out, "");
    run_with("", out, sizeof out);
    assert_string_equal(out, "");
    run_with("off", out, sizeof out);
    assert_string_equal(out, "");
    run_with("warn", out, sizeof out);
    assert_non_null(strstr(out, " warn load: redis://***@db is down (EIO)"));
    assert_null(strstr(out, "hunter2"));
    assert_null(strstr(out, "user:1"));
    assert_memory_equal(out, "strata 2", 8);
    assert_int_equal(out[strlen(out) - 1], '\n');
    run_with("cache=info,keys,load=warn", out, sizeof out);
    assert_non_null(strstr(out, " info cache: opened: memory\n"));
    assert_non_null(strstr(out, "key \"user:1\"\n"));
    assert_non_null(strstr(out, " info cache: closed\n"));
    run_with("loud", out, sizeof out); /* a wrong word fails no open, and is told */
    assert_non_null(strstr(out, " error cache: STRATA_LOG: \"loud\" says nothing of a log"));
    assert_null(strstr(out, "is down"));
}

/* From any thread, several at once; all of them are counted. */
static _Atomic(uint64_t) told, left_out;

static void count(const strata_log_line *line, void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&told, line->level == STRATA_LOG_WARN && strcmp(line->category, "load") == 0);
    atomic_fetch_add(&left_out, line->left_out);
}

static void *fail_loads(void *ctx)
{
    strata *cache = ctx;
    for (int i = 0; i < 100; i++) {
        char key[64];
        strata_value *v;
        snprintf(key, sizeof key, "%p:%d", (void *)&i, i);
        assert_int_equal(strata_get_or_load(cache, strata_str(key), broken_loader, NULL, NULL, &v, NULL), STRATA_EIO);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    strata *cache;
    pthread_t threads[4];
    strata_layer *layer = strata_memory_layer(NULL);
    strata_options o = STRATA_OPTIONS_INIT;
    o.layers = &layer;
    o.layer_count = 1;
    o.logger = count;
    o.log = "load=warn,cache=warn";
    assert_int_equal(strata_open(&cache, &o, NULL), STRATA_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fail_loads, cache), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_int_equal(atomic_load(&told) + atomic_load(&left_out), 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warnings_by_default),
        cmocka_unit_test(test_levels_and_categories),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_closing_from_the_callback),
        cmocka_unit_test(test_wrong_options),
        cmocka_unit_test(test_hits_stay_on_their_way),
        cmocka_unit_test(test_a_mask_of_events_that_are_none),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_the_environment),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
