/* test_coherence_wait.c - how long a write waits for a bus: until the message is taken, while the bus takes messages at all, and for a
 * second at most; and what closing says of what a store took too late to tell of. */
#include "src/core/coherence_impl.h"
#include "src/layer/layer_host.h"
#include "tests/unit/coherence_fixture.h"

enum { WAIT_MS = 1000 };

/* A bus that keeps what it is to publish until the test says how it went, or takes it at once. */
static struct mute {
    strata_bus base;
    strata_bus_host *host;
    strata_publish *out;
    int takes, published;
} mute;

static int mute_start(strata_bus *bus, strata_bus_host *host, const strata_bus_start *how, strata_error *err)
{
    (void)bus, (void)how, (void)err;
    mute.host = host;
    strata_bus_up(host);
    return STRATA_OK;
}

static void mute_publish(strata_bus *bus, strata_publish *message)
{
    (void)bus;
    mute.published++;
    if (mute.takes)
        strata_publish_done(message, STRATA_OK);
    else
        mute.out = message;
}

static int answer(int status)
{
    strata_publish *message = mute.out;
    mute.out = NULL;
    if (message != NULL)
        strata_publish_done(message, status);
    return message != NULL;
}

static void mute_stop(strata_bus *bus, int64_t flush_ms)
{
    (void)bus, (void)flush_ms;
    (void)answer(STRATA_ECLOSED);
}

static void mute_close(strata_bus *bus) { (void)bus; }

static strata_bus *mute_bus(int takes)
{
    static const strata_bus_ops ops = { .size = sizeof ops,
                                        .kind = "mute",
                                        .start = mute_start,
                                        .publish = mute_publish,
                                        .stop = mute_stop,
                                        .close = mute_close };
    mute = (struct mute){ .base = { .size = sizeof mute.base, .ops = &ops, .max_message_bytes = 65536, .name = "mute" },
                          .takes = takes };
    mute.base.flags = ORDERED;
    return &mute.base;
}

static struct executor *sim;
static strata_error err;

static strata *open_over(strata_layer *layer, int takes)
{
    strata *cache;
    strata_bus *bus = mute_bus(takes);
    strata_coherence_options coherence = STRATA_COHERENCE_OPTIONS_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    coherence.trust_ms = 3600000; /* which lets nobody go */
    options.layers = &layer;
    options.layer_count = 1;
    options.buses = &bus;
    options.bus_count = 1;
    options.coherence = &coherence;
    assert_int_equal(strata__executor_sim_new(&sim, NULL, 1, &err), STRATA_OK);
    assert_int_equal(strata__open_with(&cache, &options, share_executor(sim), &err), STRATA_OK);
    strata__executor_sim_advance(sim, 20);
    return cache;
}

static void end(void) { sim->ops->stop(sim); }

/* A delete: its status, and how long it took on the simulator's clock. */
static int64_t delete_ms(strata *cache, int status)
{
    int64_t began = ex_now_ms(sim);
    assert_int_equal(strata_delete(cache, k("a"), NULL), status);
    return ex_now_ms(sim) - began;
}

static void test_for_a_second_at_most(void **state)
{
    (void)state;
    strata *cache = open_over(strata_memory_layer(NULL), 0);
    for (int i = 0; i < 5; i++) {
        int64_t took = delete_ms(cache, STRATA_PENDING);
        assert_in_range(took, 1, WAIT_MS + 1);
        strata__executor_sim_advance(sim, 137 * i);
    }
    assert_int_equal(strata_ban_tag(cache, "t", STRATA_BAN_HARD, NULL), STRATA_PENDING);
    assert_int_equal(health_of(cache).queued, 2);
    assert_int_equal(strata_close(cache), STRATA_PENDING);
    end();
}

static int over;

static void done(int status, strata_value *value, const strata_error *why, void *ctx)
{
    (void)value, (void)why, (void)ctx;
    over += status == STRATA_PENDING;
}

static void test_not_behind_a_message_that_failed(void **state)
{
    (void)state;
    strata *cache = open_over(strata_memory_layer(NULL), 0);
    over = 0;
    for (int i = 0; i < 3; i++) {
        char key[2] = { (char)('b' + i), 0 };
        assert_true(strata_delete_async(cache, k(key), NULL, done, NULL, &err) >= 0);
    }
    strata__executor_sim_advance(sim, 5);
    assert_int_equal(over, 0);
    assert_true(answer(STRATA_EIO));
    strata__executor_sim_advance(sim, 5);
    assert_int_equal(over, 3);
    assert_int_equal(delete_ms(cache, STRATA_PENDING), 0); /* nor while it takes none */
    mute.takes = 1;
    strata__executor_sim_advance(sim, 2000);
    (void)answer(STRATA_OK);
    strata__executor_sim_advance(sim, 2000);
    assert_int_equal(health_of(cache).queued, 0);
    assert_int_equal(delete_ms(cache, STRATA_OK), 0);
    assert_int_equal(strata_close(cache), STRATA_OK);
    end();
}

static void test_not_for_one_that_went_down(void **state)
{
    (void)state;
    strata_error why = STRATA_ERROR_INIT;
    strata *cache = open_over(strata_memory_layer(NULL), 0);
    over = 0;
    assert_true(strata_delete_async(cache, k("a"), NULL, done, NULL, &err) >= 0);
    strata__executor_sim_advance(sim, 5);
    assert_int_equal(over, 0);
    strata_bus_down(mute.host, &why);
    strata__executor_sim_advance(sim, 5);
    assert_int_equal(over, 1);
    assert_int_equal(strata_close(cache), STRATA_PENDING);
    end();
}

/* A store that takes a delete which it was to take before: when it is asked to, as the cache closes, or after that. */
static struct tardy {
    strata_layer base;
    strata_layer_host *host;
    int settles;
} tardy;

static void catch_up(void *ctx)
{
    (void)ctx;
    tardy.host->caught_up(tardy.host, strata_bytes("\0a", 2), 7, NULL);
}

static int tardy_start(strata_layer *layer, strata_layer_host *host, strata_error *e)
{
    (void)layer, (void)e;
    tardy.host = host;
    return tardy.settles ? STRATA_OK : strata_host_after(host, 3600000, catch_up, NULL);
}

static void tardy_submit(strata_layer *layer, strata_op *const *ops, size_t count)
{
    (void)layer;
    for (size_t i = 0; i < count; i++)
        strata_op_done(ops[i], ops[i]->kind == STRATA_OP_GET ? STRATA_MISS : STRATA_OK);
}

static int tardy_settle(strata_layer *layer)
{
    if (tardy.settles == 1)
        catch_up(layer);
    return tardy.settles++ == 1; /* it is asked again */
}

static void tardy_close(strata_layer *layer) { (void)layer; }

static strata_layer *tardy_layer(int settles)
{
    static const strata_layer_ops ops = { .size = sizeof ops,
                                          .kind = "tardy",
                                          .start = tardy_start,
                                          .submit = tardy_submit,
                                          .settle = tardy_settle,
                                          .close = tardy_close };
    tardy = (struct tardy){ .base = { .size = sizeof tardy.base, .ops = &ops, .flags = STRATA_LAYER_SHARED },
                            .settles = settles };
    snprintf(tardy.base.name, sizeof tardy.base.name, "tardy");
    return &tardy.base;
}

static void test_what_a_store_takes_after_the_goodbye_is_said(void **state)
{
    (void)state;
    strata *cache = open_over(tardy_layer(0), 1);
    assert_int_equal(delete_ms(cache, STRATA_OK), 0);
    assert_int_equal(health_of(cache).queued, 0);
    assert_int_equal(strata_close(cache), STRATA_PENDING);
    end();
}

static void test_what_a_store_takes_before_it_is_told(void **state)
{
    (void)state;
    strata *cache = open_over(tardy_layer(1), 1);
    int before = mute.published;
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_int_equal(tardy.settles, 3);
    assert_true(mute.published >= before + 2); /* that, and the goodbye */
    end();
}

/* Closing right after an outage: a bus that pauses between two attempts is there at once, and what is queued for it goes out. */
static void test_closing_ends_the_pause_of_a_bus(void **state)
{
    (void)state;
    static const uint32_t flags[] = { 0, ORDERED };
    for (int i = 0; i < 4; i++) {
        struct nodes n;
        char text[64];
        int is_back = i < 2;
        nodes_open(&n, &(struct nodes_options){ .net.flags = flags[i % 2], .no_store = 1 });
        for (int node = 0; node < 2; node++)
            assert_int_equal(strata_set(n.node[node], k("a"), k("1"), NULL, NULL), STRATA_OK);
        nodes_pass(&n, 5);
        assert_int_equal(strata_set(n.node[1], k("a"), k("1"), NULL, NULL), STRATA_OK);
        nodes_pass(&n, 5);
        sim_net_away(n.net, 0, 1);
        nodes_run(&n);
        assert_int_equal(strata_delete(n.node[0], k("a"), NULL), STRATA_PENDING);
        assert_int_equal(health_of(n.node[0]).queued, 1);
        if (is_back)
            sim_net_pause(n.net, 0);
        int64_t before = ex_now_ms(n.sim);
        assert_int_equal(strata_close(n.node[0]), is_back ? STRATA_OK : STRATA_PENDING);
        assert_true(ex_now_ms(n.sim) - before <= (is_back ? 100 : 1100)); /* on the simulated clock */
        nodes_pass(&n, 5);
        assert_int_equal(get_text(n.node[1], "a", text), is_back ? STRATA_MISS : STRATA_OK);
        assert_true(strata_close(n.node[1]) >= 0);
        nodes_end(&n);
    }
}

/* Nothing is to be told but goodbye: closing does not wait for a bus that is down. */
static void test_closing_waits_for_no_goodbye_of_a_bus_that_is_down(void **state)
{
    (void)state;
    struct nodes n;
    nodes_open(&n, &(struct nodes_options){ .no_store = 1 });
    sim_net_away(n.net, 0, 1);
    nodes_run(&n);
    int64_t before = ex_now_ms(n.sim);
    assert_int_equal(strata_close(n.node[0]), STRATA_OK);
    assert_true(ex_now_ms(n.sim) - before <= 100);
    assert_true(strata_close(n.node[1]) >= 0);
    nodes_end(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_for_a_second_at_most),
        cmocka_unit_test(test_not_behind_a_message_that_failed),
        cmocka_unit_test(test_not_for_one_that_went_down),
        cmocka_unit_test(test_what_a_store_takes_after_the_goodbye_is_said),
        cmocka_unit_test(test_what_a_store_takes_before_it_is_told),
        cmocka_unit_test(test_closing_ends_the_pause_of_a_bus),
        cmocka_unit_test(test_closing_waits_for_no_goodbye_of_a_bus_that_is_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
