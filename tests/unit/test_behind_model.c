/* test_behind_model.c - write-behind by chance: many seeds of sets, deletes and reads of one node over a slow store, blocking and later,
 * whose last one must be what is there; and of two nodes, which must come to agree with the store. */
#include "tests/unit/behind_fixture.h"

enum { KEYS = 3, STEPS = 120, SEEDS = 60, NOTHING = 0 };

struct model {
    struct nodes n;
    uint64_t chance;
    int last[KEYS]; /* what the last call of the key has set; NOTHING: it was deleted */
    int count, begun, done;
};

static uint32_t draw(struct model *m, uint32_t below)
{
    m->chance = m->chance * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(m->chance >> 33) % below;
}

static const char *name_of(int key)
{
    static const char *const names[KEYS] = { "a", "b", "c" };
    return names[key];
}

static const char *text_of(int value, char room[16])
{
    (void)snprintf(room, 16, "%d", value);
    return value == NOTHING ? NULL : room;
}

static void note_end(int status, strata_value *value, const strata_error *err, void *ctx)
{
    (void)value;
    (void)err;
    assert_true(status >= 0);
    ((struct model *)ctx)->done++;
}

static const strata_policy at_once = { STRATA_SIZED(strata_policy), .write_behind_ms = STRATA_OFF };

/* What is over when its call returns, can be read from then on. */
static void read_now(struct model *m, int key)
{
    char room[16];
    assert_text(m->n.node[0], name_of(key), text_of(m->last[key], room));
}

static void write_later(struct model *m, int key, uint32_t what, int value)
{
    char room[16];
    strata *cache = m->n.node[0];
    strata_slice k1 = strata_str(name_of(key));
    (void)text_of(value, room);
    int rc = what == 0   ? strata_delete_async(cache, k1, NULL, note_end, m, NULL)
             : what == 1 ? strata_set_async(cache, k1, strata_str(room), &at_once, NULL, note_end, m, NULL)
                         : strata_set_async(cache, k1, strata_str(room), NULL, NULL, note_end, m, NULL);
    assert_int_equal(rc, STRATA_PENDING);
    m->begun++;
    m->last[key] = what == 0 ? NOTHING : value;
}

static void write_here(struct model *m, int key, uint32_t what, int value)
{
    char room[16];
    strata *cache = m->n.node[0];
    strata_slice k1 = strata_str(name_of(key));
    (void)text_of(value, room);
    int rc = what == 0   ? strata_delete(cache, k1, NULL)
             : what == 1 ? strata_set(cache, k1, strata_str(room), &at_once, NULL)
                         : strata_set(cache, k1, strata_str(room), NULL, NULL);
    assert_true(rc == STRATA_OK || (what > 1 && rc == STRATA_PENDING));
    m->last[key] = what == 0 ? NOTHING : value;
    read_now(m, key);
}

/* Memory forgets what was set. */
static void crowd(struct model *m)
{
    for (int i = 0; i < 200; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "o%d", i);
        assert_true(set_text(m->n.node[0], key, "x") >= 0);
    }
}

static void step(struct model *m)
{
    int key = (int)draw(m, KEYS), value = ++m->count;
    switch (draw(m, 8)) {
    case 0:
    case 1: write_later(m, key, draw(m, 4), value); break;
    case 2:
    case 3:
    case 4: write_here(m, key, draw(m, 5), value); break;
    case 5: nodes_pass(&m->n, draw(m, 2 * DELAY_MS)); break;
    case 6: nodes_pass(&m->n, draw(m, 5)); break;
    default:
        if (draw(m, 10) == 0)
            crowd(m);
    }
}

static void one_seed(uint64_t seed)
{
    struct model m = { .chance = seed * 7919 };
    char room[16];
    strata_policy some = behind;
    some.write_behind_ms = 1 + draw(&m, DELAY_MS);
    struct behind_options o = { .nodes = { .count = 1, .seed = seed },
                                .memory_entries = 64,
                                .no_bus = seed % 2 != 0,
                                .policy = &some,
                                .max_entries = seed % 3 == 0 ? 4 : 0 };
    behind_open_slow(&m.n, &o, seed % 4 == 0 ? 0 : 1 + draw(&m, 40));
    for (int i = 0; i < STEPS; i++)
        step(&m);
    nodes_pass(&m.n, 1000);
    assert_int_equal(m.begun, m.done);
    for (int key = 0; key < KEYS; key++) {
        assert_stored(&m.n, name_of(key), text_of(m.last[key], room));
        read_now(&m, key);
    }
    strata_stats s = stats_of(m.n.node[0]);
    assert_int_equal(s.behind_queued, 0);
    assert_int_equal(s.behind_refused + s.behind_failed, 0);
    assert_sums(m.n.node[0]);
    nodes_close(&m.n);
}

static void the_last_call_of_a_key_is_what_is_there(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        print_message("seed %d\n", (int)seed);
        one_seed(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_call_of_a_key_is_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
