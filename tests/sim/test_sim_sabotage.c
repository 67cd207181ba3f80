/* test_sim_sabotage.c - a checker that finds nothing has to show that it would.
 *
 * Each of these takes one part of the protection away, and runs seeds until a violation is found: the test fails where none is.  Lua
 * is edited as the simulated server loads it; functions of core are wrapped at link time (CMakeLists.txt), so that there is no
 * switch in what is shipped. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/core/bulk_quick.h"
#include "src/core/coherence.h"
#include "src/core/flight.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_program.h"
#include "tests/sim/sim_server.h"
#include "tests/sim/sim_world.h"

enum { SEEDS_MOST = 3000 };

static const struct sabotage {
    const char *name;
    const char *text, *by; /* of the script; NULL: as it is */
} sabotages[] = {
    { "fence", NULL, NULL },     /* a write poisons no flight */
    { "positions", NULL, NULL }, /* a clear bans nothing by position */
    { "lease", "not (mine(e, ARGV[5]) and e.life == life)", "false" },
    { "life", "(run ~= '' and owner ~= run)", "false" }, /* a failover begins no new life */
    { "tombstone", "  tombstone(version, ARGV[4])\n  wake(e)\n  return { 0, life, us, version }\n",
      "  wake(e)\n  return { 0, life, us, version }\n" }, /* a delete leaves what it should remove */
    { "silence", NULL, NULL },                            /* trust does not end by itself */
    { "loss", NULL, NULL },                               /* nor where messages were lost */
    { "publish", NULL, NULL },                            /* nobody is told */
    { "behind", "e.version > tonumber(than)", "false" },  /* what was written behind replaces what is newer */
    { "batch_fence", NULL, NULL },                        /* what a batch brings is stored past a write */
    { "batch_trust", NULL, NULL },                        /* a batch takes from memory what is not trusted */
};

static const struct sabotage *at_work;

struct coherence;
struct bus_slot;

static int is_at_work(const char *name) { return at_work != NULL && strcmp(at_work->name, name) == 0; }

void __real_strata__poison_locked(struct root *root, struct stripe *s, uint64_t hash, uint32_t space, strata_slice key);
void __wrap_strata__poison_locked(struct root *root, struct stripe *s, uint64_t hash, uint32_t space, strata_slice key);

void __wrap_strata__poison_locked(struct root *root, struct stripe *s, uint64_t hash, uint32_t space, strata_slice key)
{
    if (!is_at_work("fence"))
        __real_strata__poison_locked(root, s, hash, space, key);
}

int __real_strata__redis_layer_clear(strata_layer *layer, const strata_clear_op *what, strata_error *err);
int __wrap_strata__redis_layer_clear(strata_layer *layer, const strata_clear_op *what, strata_error *err);

int __wrap_strata__redis_layer_clear(strata_layer *layer, const strata_clear_op *what, strata_error *err)
{
    int alive[SIM_NODES_MOST];
    size_t count = is_at_work("positions") ? cluster_alive(alive) : 0;
    for (size_t i = 0; i < count; i++)
        atomic_store(&cluster_cache(alive[i])->min_position, 0);
    return __real_strata__redis_layer_clear(layer, what, err);
}

void __real_strata__trust_lost(struct coherence *c, struct bus_slot *b, const char *why);
void __wrap_strata__trust_lost(struct coherence *c, struct bus_slot *b, const char *why);

void __wrap_strata__trust_lost(struct coherence *c, struct bus_slot *b, const char *why)
{
    if (!is_at_work("loss"))
        __real_strata__trust_lost(c, b, why);
}

int __real_strata__publish(struct root *root, const struct bus_item *item, int store_away, struct outgoing *outgoing);
int __wrap_strata__publish(struct root *root, const struct bus_item *item, int store_away, struct outgoing *outgoing);

int __wrap_strata__publish(struct root *root, const struct bus_item *item, int store_away, struct outgoing *outgoing)
{
    if (!is_at_work("publish"))
        return __real_strata__publish(root, item, store_away, outgoing);
    outgoing->pending = 0;
    return 0;
}

/* The same of calls for many keys alone. */
static void forget_poison(struct flight *f)
{
    if (is_at_work("batch_fence") && f->from_batch)
        f->poisoned = 0;
}

void __real_strata__flight_loaded(struct flight *f);
void __wrap_strata__flight_loaded(struct flight *f);

void __wrap_strata__flight_loaded(struct flight *f)
{
    forget_poison(f);
    __real_strata__flight_loaded(f);
}

void __real_strata__flight_store(struct flight *f);
void __wrap_strata__flight_store(struct flight *f);

void __wrap_strata__flight_store(struct flight *f)
{
    forget_poison(f);
    __real_strata__flight_store(f);
}

size_t __real_strata__quick_run(strata *cache, strata_item *items, size_t count, struct quick_group *g);
size_t __wrap_strata__quick_run(strata *cache, strata_item *items, size_t count, struct quick_group *g);

size_t __wrap_strata__quick_run(strata *cache, strata_item *items, size_t count, struct quick_group *g)
{
    int64_t until = atomic_load(&cache->trusted_until);
    if (is_at_work("batch_trust"))
        atomic_store(&cache->trusted_until, INT64_MAX);
    size_t done = __real_strata__quick_run(cache, items, count, g);
    atomic_store(&cache->trusted_until, until);
    return done;
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof sabotages / sizeof sabotages[0]; i++)
        if (strcmp(argv[1], sabotages[i].name) == 0)
            at_work = &sabotages[i];
    if (at_work == NULL) {
        (void)fprintf(stderr,
                      "test_sim_sabotage fence | positions | lease | life | tombstone | silence | loss | publish |\n"
                      "                  behind | batch_fence | batch_trust\n");
        return 2;
    }
    sim_server_sabotage(at_work->text, at_work->by);
    sim_trust_blindly(is_at_work("silence"));
    sim_expect_violations(1);
    for (uint64_t seed = 1; seed <= SEEDS_MOST; seed++) {
        sim_run_seed(seed);
        if (sim_violations() != 0) {
            printf("%s off: seed %" PRIu64 " shows a violation\n", at_work->name, seed);
            return 0;
        }
    }
    (void)fprintf(stderr, "%s off: %d seeds, and no violation was found\n", at_work->name, SEEDS_MOST);
    return 1;
}
