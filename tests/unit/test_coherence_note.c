/* test_coherence_note.c - a node with a disk that was not running: what others deleted meanwhile it does not serve, and the rest it serves
 * without a load; where the bus can't go on from there, it serves nothing of it.  What a kill -9 leaves is a copy of the directory. */
#include "tests/support/temp_dir.h"
#include "tests/unit/coherence_fixture.h"

#include "src/core/bans.h"

struct home {
    struct nodes n;
    struct nodes_options o;
    int hold; /* nothing comes to this member for now; 0 none */
    char path[128], copy[128];
};

static void open_with_disk(struct home *h, const char *path, strata **out)
{
    strata_memory_options m = { .size = sizeof m, .max_bytes = 1 << 20 };
    strata_disk_options d = STRATA_DISK_OPTIONS_INIT;
    d.path = path;
    d.max_bytes = 64 << 20;
    strata_layer *layers[2] = { strata_memory_layer(&m), strata_disk_layer(&d) };
    strata_bus *bus = sim_net_bus(h->n.net);
    if (h->hold != 0)
        sim_net_hold(h->n.net, h->hold, 1);
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = 2;
    options.buses = &bus;
    options.bus_count = 1;
    int rc = strata__open_with(out, &options, share_executor(h->n.sim), &h->n.err);
    if (rc != STRATA_OK)
        print_error("open: %s: %s\n", h->n.err.where, h->n.err.message);
    assert_int_equal(rc, STRATA_OK);
    nodes_pass(&h->n, 20);
}

static void begin(struct home *h, uint32_t log_most)
{
    memset(h, 0, sizeof *h);
    h->o.no_store = 1;
    h->o.net.flags = ORDERED;
    h->o.net.log_most = log_most;
    nodes_begin(&h->n, &h->o);
    temp_dir_make(h->path, sizeof h->path);
    temp_dir_make(h->copy, sizeof h->copy);
    open_with_disk(h, h->path, &h->n.node[0]);
    assert_int_equal(nodes_join(&h->n, &h->o, &h->n.node[1]), STRATA_OK);
    nodes_pass(&h->n, 20);
}

static void end(struct home *h)
{
    nodes_close(&h->n);
    temp_dir_remove(h->path);
    temp_dir_remove(h->copy);
}

static void set(strata *cache, const char *key, const char *value)
{
    assert_int_equal(strata_set(cache, k(key), strata_str(value), NULL, NULL), STRATA_OK);
}

static void expect(strata *cache, const char *key, int rc, const char *value)
{
    char text[64];
    assert_int_equal(get_text(cache, key, text), rc);
    assert_string_equal(text, value);
}

/* As a kill -9 would leave it now. */
static void killed(struct home *h) { temp_dir_copy(h->path, h->copy); }

static void comes_back(struct home *h, const char *path)
{
    (void)strata_close(h->n.node[0]);
    open_with_disk(h, path, &h->n.node[0]);
}

static void test_a_node_that_was_down_hears_what_it_missed(void **state)
{
    struct home h;
    (void)state;
    for (int how = 0; how < 2; how++) {
        begin(&h, 0);
        set(h.n.node[0], "kept", "one");
        set(h.n.node[0], "gone", "two");
        set(h.n.node[0], "gone", "three"); /* it overwrites: both are with the kernel */
        nodes_pass(&h.n, 6000);
        killed(&h);
        if (how == 0)
            (void)strata_close(h.n.node[0]);
        assert_int_equal(strata_delete(h.n.node[1], k("gone"), NULL), STRATA_OK);
        if (how == 1)
            (void)strata_close(h.n.node[0]);
        open_with_disk(&h, how == 0 ? h.path : h.copy, &h.n.node[0]);
        expect(h.n.node[0], "gone", STRATA_MISS, "");
        expect(h.n.node[0], "kept", STRATA_OK, "one");
        assert_int_equal(health_of(h.n.node[0]).lost, 0);
        /* And in memory it is as good as any: silence, and its end. */
        expect(h.n.node[0], "kept", STRATA_OK, "one");
        sim_net_away(h.n.net, 2, 0);
        nodes_pass(&h.n, TRUST_MS + 100);
        expect(h.n.node[0], "kept", STRATA_STALE, "one");
        sim_net_back(h.n.net, 2);
        nodes_pass(&h.n, 2000);
        expect(h.n.node[0], "kept", STRATA_OK, "one");
        end(&h);
    }
}

/* Before the replay is through, nothing of it is served as good. */
static void test_until_then_it_is_suspect(void **state)
{
    struct home h;
    (void)state;
    begin(&h, 0);
    set(h.n.node[0], "kept", "one");
    nodes_pass(&h.n, 6000);
    (void)strata_close(h.n.node[0]);
    h.hold = 2;
    open_with_disk(&h, h.path, &h.n.node[0]);
    expect(h.n.node[0], "kept", STRATA_MISS, "");
    sim_net_hold(h.n.net, 2, 0);
    nodes_pass(&h.n, 20);
    expect(h.n.node[0], "kept", STRATA_OK, "one");
    end(&h);
}

static void test_a_log_that_was_trimmed(void **state)
{
    struct home h;
    (void)state;
    begin(&h, 8);
    set(h.n.node[0], "kept", "one");
    nodes_pass(&h.n, 6000);
    (void)strata_close(h.n.node[0]);
    nodes_pass(&h.n, 20000); /* the other one's heartbeats push it out */
    open_with_disk(&h, h.path, &h.n.node[0]);
    expect(h.n.node[0], "kept", STRATA_MISS, "");
    assert_int_equal(health_of(h.n.node[0]).lost, 1);
    /* What is stored from now on is covered again. */
    set(h.n.node[0], "new", "three");
    nodes_pass(&h.n, 6000);
    comes_back(&h, h.path);
    expect(h.n.node[0], "new", STRATA_OK, "three");
    expect(h.n.node[0], "kept", STRATA_MISS, "");
    end(&h);
}

/* What is held when something is lost is suspect in the next life, too. */
static void test_a_loss_is_kept(void **state)
{
    struct home h;
    (void)state;
    begin(&h, 0);
    set(h.n.node[0], "before", "one");
    nodes_pass(&h.n, 6000);
    sim_net_drop(h.n.net, 0, 1);
    set(h.n.node[1], "any", "thing"); /* is what it misses; the next number tells */
    nodes_pass(&h.n, 2000);
    assert_int_equal(health_of(h.n.node[0]).lost, 1);
    set(h.n.node[0], "after", "two");
    nodes_pass(&h.n, 6000);
    comes_back(&h, h.path);
    expect(h.n.node[0], "before", STRATA_MISS, "");
    expect(h.n.node[0], "after", STRATA_OK, "two");
    end(&h);
}

/* The numbers of others go on across lives. */
static void test_a_gap_of_when_it_was_down(void **state)
{
    struct home h;
    (void)state;
    begin(&h, 0);
    set(h.n.node[0], "kept", "one");
    nodes_pass(&h.n, 6000);
    (void)strata_close(h.n.node[0]);
    assert_int_equal(strata_delete(h.n.node[1], k("kept"), NULL), STRATA_OK);
    sim_net_forget_last(h.n.net); /* the server took it, and has lost it */
    nodes_pass(&h.n, 2000);
    open_with_disk(&h, h.path, &h.n.node[0]);
    nodes_pass(&h.n, 2000);
    expect(h.n.node[0], "kept", STRATA_MISS, "");
    assert_int_equal(health_of(h.n.node[0]).lost, 1);
    end(&h);
}

/* Namespaces that are not open here when a message comes, and bans. */
static void test_what_is_not_open_and_bans(void **state)
{
    struct home h;
    strata *a, *b;
    (void)state;
    begin(&h, 0);
    a = b = NULL;
    assert_int_equal(strata_namespace(h.n.node[0], "space", NULL, &a, NULL), STRATA_OK);
    assert_int_equal(strata_namespace(h.n.node[1], "space", NULL, &b, NULL), STRATA_OK);
    set(a, "gone", "one");
    set(a, "kept", "two");
    set(h.n.node[0], "ban:1", "x");
    set(h.n.node[0], "other", "y");
    strata_close(a);
    nodes_pass(&h.n, 6000);
    assert_int_equal(strata_ban_prefix(h.n.node[1], k("ban:"), 0, NULL), STRATA_OK);
    nodes_pass(&h.n, 6000); /* it is heard, and the place behind it is kept */
    (void)strata_close(h.n.node[0]);
    assert_int_equal(strata_delete(b, k("gone"), NULL), STRATA_OK);
    open_with_disk(&h, h.path, &h.n.node[0]);
    nodes_pass(&h.n, 20);
    assert_int_equal(strata_namespace(h.n.node[0], "space", NULL, &a, NULL), STRATA_OK);
    expect(a, "gone", STRATA_MISS, "");
    expect(a, "kept", STRATA_OK, "two");
    expect(h.n.node[0], "ban:1", STRATA_MISS, "");
    expect(h.n.node[0], "other", STRATA_OK, "y");
    strata_close(a);
    strata_close(b);
    end(&h);
}

/* A long silence after a loss: the proof that comes then does not bring back what is older. */
static void test_a_loss_outlasts_silence(void **state)
{
    struct nodes n;
    struct nodes_options o = { .no_store = 1, .net = { .flags = ORDERED } };
    char text[64];
    (void)state;
    nodes_open(&n, &o);
    set(n.node[0], "key", "one");
    nodes_pass(&n, 2000);
    sim_net_drop(n.net, 0, 1);
    set(n.node[1], "any", "thing");
    nodes_pass(&n, 2000);
    assert_int_equal(health_of(n.node[0]).lost, 1);
    sim_net_away(n.net, 0, 0);
    nodes_pass(&n, 40 * TRUST_MS);
    sim_net_back(n.net, 0);
    nodes_pass(&n, 2000);
    assert_int_equal(health_of(n.node[0]).trusted, 1);
    assert_int_equal(get_text(n.node[0], "key", text), STRATA_MISS);
    nodes_close(&n);
}

/* What can't be read may have been a delete: nobody goes on behind it as if it had been carried out. */
static void test_what_was_refused_is_not_passed_over(void **state)
{
    struct home h;
    char bytes[512];
    (void)state;
    begin(&h, 0);
    set(h.n.node[0], "key", "one");
    nodes_pass(&h.n, 6000);
    strata_slice last = sim_net_last(h.n.net);
    memcpy(bytes, last.data, last.size);
    bytes[1] = 2; /* of a version to come */
    sim_net_inject(h.n.net, strata_bytes(bytes, last.size));
    nodes_pass(&h.n, 20);
    assert_int_equal(health_of(h.n.node[0]).rejected, 1);
    (void)strata_close(h.n.node[0]);
    open_with_disk(&h, h.path, &h.n.node[0]);
    nodes_pass(&h.n, 2000);
    expect(h.n.node[0], "key", STRATA_MISS, "");
    end(&h);
}

/* The store's list may be gone, or the store away, when the disk is trusted again. */
static void test_bans_that_a_store_has_are_on_the_disk(void **state)
{
    struct home h;
    (void)state;
    begin(&h, 0);
    set(h.n.node[0], "ban:1", "one");
    nodes_pass(&h.n, 6000);
    struct ban ban = { .kind = BAN_PREFIX, .text = k("ban:"), .path = k(""), .store_position = 1234567 };
    assert_int_equal(strata__ban_apply(h.n.node[0]->root, &ban), STRATA_OK);
    assert_true(strata__ban_keep(h.n.node[0]->root, &ban) >= 0);
    expect(h.n.node[0], "ban:1", STRATA_MISS, "");
    nodes_pass(&h.n, 6000);
    (void)strata_close(h.n.node[0]);
    open_with_disk(&h, h.path, &h.n.node[0]);
    nodes_pass(&h.n, 2000);
    expect(h.n.node[0], "ban:1", STRATA_MISS, "");
    end(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_refused_is_not_passed_over),
        cmocka_unit_test(test_bans_that_a_store_has_are_on_the_disk),
        cmocka_unit_test(test_a_node_that_was_down_hears_what_it_missed),
        cmocka_unit_test(test_until_then_it_is_suspect),
        cmocka_unit_test(test_a_log_that_was_trimmed),
        cmocka_unit_test(test_a_loss_is_kept),
        cmocka_unit_test(test_a_gap_of_when_it_was_down),
        cmocka_unit_test(test_what_is_not_open_and_bans),
        cmocka_unit_test(test_a_loss_outlasts_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
