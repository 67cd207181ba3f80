/* test_bans_model.c - random sets, loads, bans and clears against a list that is compared naively.
 *
 * With a memory layer alone what is served must be exactly what the list leaves; with a custom layer below it, which keeps no tags
 * and forgets nothing by itself, nothing may be served that the list takes. */
#include "src/core/bans.h"
#include "src/policy/pattern.h"
#include "tests/unit/core_fixture.h"

enum { SPACES = 4, KEYS = 12, TAGS = 6, STEPS = 6000, BANS_KEPT = 8000, FLIGHTS = 6 };

struct cell {
    int there;
    uint64_t born; /* step at which it began */
    uint32_t tags; /* bits */
    int number;
};

struct naive_ban {
    uint64_t at;
    int space, kind, all;
    uint32_t tags;
    char text[16];
};

struct fill {
    strata_load *load;
    int space, key, number;
    uint32_t tags;
    uint64_t born;
    struct ended end;
};

struct model {
    struct stack st;
    uint64_t seed, now;
    strata *in[SPACES];
    int parent[SPACES];
    struct cell cells[SPACES][KEYS];
    struct naive_ban bans[BANS_KEPT];
    int ban_count, number;
    struct fill fills[FLIGHTS];
};

static uint32_t draw(struct model *m, uint32_t n)
{
    return (uint32_t)(strata__mix64(m->seed += 0x9e3779b97f4a7c15u) % n);
}

static void key_name(char out[16], int key) { snprintf(out, 16, "%c%c%d", 'a' + key % 3, 'x' + key % 2, key); }

static int within(const struct model *m, int space, int above)
{
    while (space >= 0 && space != above)
        space = m->parent[space];
    return space >= 0;
}

static int takes(const struct model *m, const struct naive_ban *b, int space, int key, uint32_t tags)
{
    char name[16];
    key_name(name, key);
    if (!within(m, space, b->space))
        return 0;
    switch (b->kind) {
    case BAN_PREFIX: return strncmp(name, b->text, strlen(b->text)) == 0;
    case BAN_PATTERN: return strata__pattern_matches(strata_str(b->text), strata_str(name));
    case BAN_TAGS_ANY: return b->all ? (tags & b->tags) == b->tags : (tags & b->tags) != 0;
    default: return 1;
    }
}

static int is_banned(const struct model *m, int space, int key, const struct cell *c)
{
    for (int i = m->ban_count; i-- > 0 && m->bans[i].at > c->born;)
        if (takes(m, &m->bans[i], space, key, c->tags))
            return 1;
    return 0;
}

static size_t tag_list(uint32_t bits, strata_slice out[TAGS])
{
    static const char *const names[TAGS] = { "t0", "t1", "t2", "t3", "t4", "t5" };
    size_t n = 0;
    for (int i = 0; i < TAGS; i++)
        if (bits >> i & 1)
            out[n++] = strata_str(names[i]);
    return n;
}

static void do_set(struct model *m, int space, int key)
{
    char name[16], value[16];
    strata_slice tags[TAGS];
    struct cell c = { 1, m->now, draw(m, 3) == 0 ? 0 : draw(m, 1 << TAGS), ++m->number };
    size_t count = tag_list(c.tags, tags);
    key_name(name, key);
    snprintf(value, sizeof value, "%d", c.number);
    assert_int_equal(strata_set_tagged(m->in[space], strata_str(name), strata_str(value), tags, count, NULL, NULL),
                     STRATA_OK);
    m->cells[space][key] = c;
    for (int i = 0; i < FLIGHTS; i++) /* a write poisons the flights of its key */
        if (m->fills[i].load != NULL && m->fills[i].space == space && m->fills[i].key == key)
            m->fills[i].born = 0;
}

static void do_get(struct model *m, int space, int key, int exact)
{
    char name[16];
    strata_value *v;
    struct cell *c = &m->cells[space][key];
    key_name(name, key);
    int rc = strata_get(m->in[space], strata_str(name), &v, NULL);
    int wanted = c->there && !is_banned(m, space, key, c);
    if (rc == STRATA_OK) {
        assert_true(wanted);
        char text[16];
        snprintf(text, sizeof text, "%.*s", (int)strata_value_size(v), (const char *)strata_value_data(v));
        assert_int_equal(atoi(text), c->number);
    } else {
        assert_int_equal(rc, STRATA_MISS);
        assert_true(!wanted || !exact);
    }
    strata_value_unref(v);
}

static void do_ban(struct model *m)
{
    static const char *const texts[] = { "a", "b", "ax", "cy", "zz", "a*", "*1", "?x*", "b?\?", "*" };
    strata_slice tags[TAGS];
    struct naive_ban *b = &m->bans[m->ban_count++];
    *b = (struct naive_ban){ .at = m->now, .space = (int)draw(m, SPACES) };
    strata *in = m->in[b->space];
    uint32_t how = draw(m, 20);
    if (how == 0) {
        b->kind = BAN_ALL;
        assert_int_equal(strata_clear(in, NULL), STRATA_OK);
    } else if (how < 4) {
        b->kind = BAN_PREFIX;
        snprintf(b->text, sizeof b->text, "%s", texts[draw(m, 5)]);
        assert_int_equal(strata_ban_prefix(in, strata_str(b->text), 0, NULL), STRATA_OK);
    } else if (how < 7) {
        b->kind = BAN_PATTERN;
        snprintf(b->text, sizeof b->text, "%s", texts[5 + draw(m, 5)]);
        assert_int_equal(strata_ban_pattern(in, strata_str(b->text), 0, NULL), STRATA_OK);
    } else {
        b->kind = BAN_TAGS_ANY;
        b->all = draw(m, 2) != 0;
        b->tags = how < 14 ? 1u << draw(m, TAGS) : 1 + draw(m, (1 << TAGS) - 1);
        size_t count = tag_list(b->tags, tags);
        int rc = strata_ban_tags(in, tags, count, b->all ? STRATA_BAN_ALL_TAGS : 0, NULL);
        assert_int_equal(rc, STRATA_OK);
    }
}

static int keeps_load(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    ((struct fill *)ctx)->load = strata_load_ref(load);
    return STRATA_PENDING;
}

static int key_loads(const struct model *m, int space, int key)
{
    for (int i = 0; i < FLIGHTS; i++)
        if (m->fills[i].load != NULL && m->fills[i].space == space && m->fills[i].key == key)
            return 1;
    return 0;
}

/* A load that begins, or one that ends. */
static void do_fill(struct model *m, int exact)
{
    struct fill *f = &m->fills[draw(m, FLIGHTS)];
    char name[16], value[16];
    strata_slice tags[TAGS];
    if (f->load == NULL) {
        int space = (int)draw(m, SPACES), key = (int)draw(m, KEYS);
        if (key_loads(m, space, key))
            return;
        *f = (struct fill){ .space = space, .key = key, .born = m->now };
        key_name(name, key);
        (void)strata_get_or_load_async(m->in[space], strata_str(name), keeps_load, f, NULL, NULL, on_done, &f->end,
                                       NULL);
        run(&m->st);
        return;
    }
    f->number = ++m->number;
    f->tags = draw(m, 1 << TAGS);
    size_t count = tag_list(f->tags, tags);
    assert_int_equal(strata_load_tags(f->load, tags, count), STRATA_OK);
    snprintf(value, sizeof value, "%d", f->number);
    struct cell loaded = { 1, f->born, f->tags, f->number }, *c = &m->cells[f->space][f->key];
    assert_int_equal(strata_load_copy(f->load, value, strlen(value)), STRATA_OK);
    strata_load_unref(f->load);
    f->load = NULL;
    run(&m->st);
    assert_int_equal(f->end.status, STRATA_OK);
    if (f->born != 0 && !is_banned(m, f->space, f->key, &loaded))
        *c = loaded;
    else if (f->born != 0 && is_banned(m, f->space, f->key, c))
        c->there = 0;
    do_get(m, f->space, f->key, exact);
}

static void run_model(uint64_t seed, int with_slow)
{
    static struct model m;
    memset(&m, 0, sizeof m);
    m.seed = seed;
    strata_policy policy = STRATA_POLICY_INIT;
    policy.refresh_timeout_ms = STRATA_FOREVER; /* loads hold their bans, however long they take */
    open_stack(&m.st, &(struct stack_options){ .with_slow = with_slow, .memory_bytes = 8 << 20, .policy = &policy });
    static const int parent[SPACES] = { -1, 0, 1, 0 };
    memcpy(m.parent, parent, sizeof parent);
    m.in[0] = m.st.cache;
    for (int i = 1; i < SPACES; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        assert_int_equal(strata_namespace(m.in[parent[i]], name, NULL, &m.in[i], NULL), STRATA_OK);
    }
    for (m.now = 1; m.now <= STEPS; m.now++) {
        uint32_t what = draw(&m, 100);
        if (what < 40)
            do_get(&m, (int)draw(&m, SPACES), (int)draw(&m, KEYS), !with_slow);
        else if (what < 70)
            do_set(&m, (int)draw(&m, SPACES), (int)draw(&m, KEYS));
        else if (what < 90)
            do_fill(&m, !with_slow);
        else
            do_ban(&m);
        if (what % 10 == 0)
            pass(&m.st, draw(&m, 300)); /* maintenance */
    }
    for (int i = 0; i < FLIGHTS; i++)
        if (m.fills[i].load != NULL) {
            strata_load_decline(m.fills[i].load, "", 0);
            strata_load_unref(m.fills[i].load);
        }
    run(&m.st);
    for (int i = 1; i < SPACES; i++)
        strata_close(m.in[i]);
    close_stack(&m.st);
}

static void test_memory(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++)
        run_model(seed, 0);
}

static void test_with_a_layer_below(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed <= 106; seed++)
        run_model(seed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_with_a_layer_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
