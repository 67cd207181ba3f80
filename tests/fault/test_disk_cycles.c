/* test_disk_cycles.c - ten cycles of fill, close and reopen, with less room than what is put: nothing that was superseded comes
 * back, what a close leaves is there when it opens again, and what was gone stays gone. */
#include <pthread.h>
#include <stdlib.h>

#include "tests/fault/kill_rounds.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/temp_dir.h"

enum { CYCLES = 10, FILLERS = 3, STEPS = 2500 };

struct filler {
    pthread_t thread;
    struct kill_store *store;
    uint64_t random;
};

static void *fill(void *ctx)
{
    struct filler *f = ctx;
    for (int i = 0; i < STEPS; i++) {
        uint32_t what = below(&f->random, 10000), key = below(&f->random, HISTORY_KEYS);
        if (what < 6000)
            kill_store_put(f->store, key, below(&f->random, 3000));
        else if (what < 7500)
            kill_store_remove(f->store, key);
        else if (what < 7510)
            kill_store_clear(f->store, below(&f->random, HISTORY_CLASSES));
        else
            kill_store_get(f->store, key);
    }
    return NULL;
}

static void fill_all(struct kill_store *s, uint64_t *random)
{
    struct filler fillers[FILLERS];
    for (int i = 0; i < FILLERS; i++) {
        fillers[i] = (struct filler){ .store = s, .random = draw(random) };
        assert_int_equal(pthread_create(&fillers[i].thread, NULL, fill, &fillers[i]), 0);
    }
    for (int i = 0; i < FILLERS; i++)
        pthread_join(fillers[i].thread, NULL);
}

/* How many keys are there; `there` which. */
static int look(struct kill_store *s, unsigned char *there)
{
    int found = 0;
    for (uint32_t k = 0; k < HISTORY_KEYS; k++) {
        strata_value *value = kill_store_look(s, k);
        there[k] = value != NULL;
        found += there[k];
        history_seen(s->history, k, value != NULL ? strata_value_data(value) : NULL,
                     value != NULL ? strata_value_size(value) : 0);
        strata_value_unref(value);
    }
    return found;
}

static void open_it(struct kill_store *s, uint64_t life)
{
    strata_error err = STRATA_ERROR_INIT;
    if (kill_store_open(s, life, &err) != STRATA_OK)
        fail_msg("not opened: %s", err.message);
}

/* With room to spare, so that maintenance evicts nothing ahead of need between two looks. */
static void open_to_look(struct kill_store *s, uint64_t life)
{
    uint64_t max_bytes = s->options.max_bytes;
    s->options.max_bytes = 4 * max_bytes;
    open_it(s, life);
    s->options.max_bytes = max_bytes;
}

static void cycle(int kind)
{
    static unsigned char after[HISTORY_KEYS], again[HISTORY_KEYS];
    uint64_t seed = kill_seed(), random = seed + (uint64_t)kind, evictions = 0;
    int kept = 0;
    struct history *h = history_new();
    struct plan plan = { .kind = kind };
    plan.options.max_bytes = 2u << 20;
    plan.options.segment_bytes = 128u << 10;
    plan.options.recovery = STRATA_RECOVERY_STRICT;
    temp_dir_make(plan.path, sizeof plan.path);
    struct kill_store *s = kill_store_of(&plan, h);
    for (uint64_t i = 0; i < CYCLES; i++) {
        open_it(s, 2 * i + 1);
        fill_all(s, &random);
        evictions += kill_store_stats(s).evictions;
        assert_int_equal(kill_store_stats(s).errors, 0);
        kill_store_close(s);
        assert_true(temp_dir_bytes(plan.path) <= plan.options.max_bytes + 8192);
        open_to_look(s, 2 * i + 2);
        int found = look(s, after);
        kept += found;
        kill_store_close(s);
        open_to_look(s, 100 + i);
        assert_int_equal(look(s, again), found);
        assert_memory_equal(after, again, sizeof after);
        kill_store_close(s);
        if (atomic_load(&h->failed))
            fail_msg("cycle %d, %s: %s; STRATA_SEED=%llu", (int)i, kill_kind_names[kind], h->words,
                     (unsigned long long)seed);
    }
    assert_true(evictions > 100);
    assert_true(kept > 100 * CYCLES / 2); /* there is room for a thousand, but many puts pass through */
    temp_dir_remove(plan.path);
    history_free(h);
    free(s);
}

static void ten_cycles(void **state)
{
    (void)state;
    for (int kind = 0; kind < STORE_KINDS; kind++)
        cycle(kind);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_cycles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
