/* behind_fixture.h - nodes whose sets are written behind: over one store that keeps time, with a net or without. */
#ifndef STRATA_TESTS_BEHIND_FIXTURE_H
#define STRATA_TESTS_BEHIND_FIXTURE_H
#include "tests/unit/coherence_fixture.h"

enum { DELAY_MS = 100 };

static const strata_policy behind = { STRATA_SIZED(strata_policy), .ttl_ms = 600000, .write_behind_ms = DELAY_MS };

struct behind_options {
    struct nodes_options nodes;
    uint32_t max_entries;
    uint64_t max_bytes;
    uint32_t memory_entries; /* of one shard, the oldest leaves */
    int no_bus;
    const strata_policy *policy; /* NULL: `behind` */
    const strata_codec *codec;
};

UNUSED static int behind_join(struct nodes *n, const struct behind_options *o, strata **out)
{
    strata_memory_options m = { .size = sizeof m,
                                .max_bytes = 1 << 20,
                                .max_entries = o->memory_entries,
                                .shards = 1,
                                .policy = STRATA_EVICT_FIFO };
    strata_layer *layers[2] = { strata_memory_layer(&m), lease_store_layer(n->store) };
    strata_bus *bus = o->no_bus ? NULL : sim_net_bus(n->net);
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = 2;
    options.buses = &bus;
    options.bus_count = bus != NULL;
    options.policy = o->policy != NULL ? o->policy : &behind;
    strata_coherence_options coherence = STRATA_COHERENCE_OPTIONS_INIT;
    coherence.spread_ms = STRATA_OFF; /* what a peer replaces goes at once */
    options.coherence = &coherence;
    options.allocator = o->nodes.allocator;
    options.codec = o->codec;
    options.write_policy = o->nodes.write_policy;
    options.write_behind_max_entries = o->max_entries;
    options.write_behind_max_bytes = o->max_bytes;
    return strata__open_with(out, &options, share_executor(n->sim), &n->err);
}

/* The store has spoken to each: what comes may be written behind. */
UNUSED static void behind_greet(struct nodes *n)
{
    for (int i = 0; i < n->count; i++) {
        strata_value *v;
        assert_int_equal(strata_get(n->node[i], strata_str("hello"), &v, NULL), STRATA_MISS);
    }
}

UNUSED static void behind_open_slow(struct nodes *n, const struct behind_options *o, int64_t most_ms)
{
    nodes_begin(n, &o->nodes);
    if (most_ms != 0) {
        assert_int_equal(lease_store_free(n->store), 0);
        n->store = lease_store_new(most_ms, 100);
    }
    lease_store_keep_time(n->store);
    for (int i = 0; i < n->count; i++)
        if (behind_join(n, o, &n->node[i]) != STRATA_OK)
            fail_msg("open: %s: %s", n->err.where, n->err.message);
    strata__executor_sim_advance(n->sim, 20);
    behind_greet(n);
}

UNUSED static void behind_open(struct nodes *n, const struct behind_options *o) { behind_open_slow(n, o, 0); }

UNUSED static int set_text(strata *cache, const char *key, const char *text)
{
    return strata_set(cache, strata_str(key), strata_str(text), NULL, NULL);
}

UNUSED static void assert_text(strata *cache, const char *key, const char *text)
{
    char got[64];
    int rc = get_text(cache, key, got);
    if (text == NULL ? rc != STRATA_MISS : rc != STRATA_OK || strcmp(got, text) != 0)
        fail_msg("%s: %d, \"%s\", not \"%s\"", key, rc, got, text != NULL ? text : "nothing");
}

/* Storage keys of the root have a prefix of their own. */
UNUSED static void assert_stored(struct nodes *n, const char *key, const char *text)
{
    char found[64], storage[64];
    strata_meta meta;
    size_t size = strata__storage_size(n->node[0], strata_str(key));
    assert_true(size <= sizeof storage);
    strata__storage_write(n->node[0], strata_str(key), (unsigned char *)storage);
    size_t got = lease_store_value(n->store, strata_bytes(storage, size), found, sizeof found, &meta);
    if (text == NULL ? got != SIZE_MAX : got != strlen(text) || memcmp(found, text, got) != 0)
        fail_msg("store, %s: \"%.*s\", not \"%s\"", key, got == SIZE_MAX ? 0 : (int)got, found,
                 text != NULL ? text : "nothing");
}

UNUSED static strata_stats stats_of(strata *cache)
{
    strata_stats s = { .size = sizeof s };
    assert_int_equal(strata_stats_get(cache, &s), STRATA_OK);
    return s;
}

/* What came of all that were queued adds up. */
UNUSED static void assert_sums(strata *cache)
{
    strata_stats s = stats_of(cache);
    assert_int_equal(s.sets_behind, s.behind_queued + s.behind_merged + s.behind_written + s.behind_dropped +
                                        s.behind_refused + s.behind_failed);
    assert_true(s.behind_queued != 0 || s.behind_bytes == 0);
}

UNUSED static void pass_delay(struct nodes *n) { nodes_pass(n, DELAY_MS + 1); }

struct done {
    int count, status;
};

UNUSED static void note_done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct done *d = ctx;
    strata_value_unref(value);
    (void)err;
    d->count++;
    d->status = status;
}

#endif /* STRATA_TESTS_BEHIND_FIXTURE_H */
