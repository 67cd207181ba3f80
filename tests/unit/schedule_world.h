/* schedule_world.h - what test_schedules.c runs its programs in: one cache on the simulator, the history of its keys, the
 * loads in progress, and what must hold of each answer. */
#ifndef STRATA_TESTS_SCHEDULE_WORLD_H
#define STRATA_TESTS_SCHEDULE_WORLD_H
#include "src/loop/executor.h"
#include "strata/strata.h"
#include "tests/support/fail_alloc.h"

enum { KEYS = 4, CALLS_MOST = 160, LOADS_MOST = 400, PINS_MOST = 32, SLOW_MOST_MS = 3, REFRESH_MS = 40 };

enum kind {
    KIND_GET,
    KIND_LOAD,
    KIND_SET,
    KIND_DELETE,
    KIND_EXPIRE,
    KIND_CLEAR,
    KIND_CLEAR_SPACE,
    KIND_HAS,
    KIND_GET_MANY,
    KIND_LOAD_MANY,
    KIND_END
};

struct call {
    enum kind kind;
    size_t key;
    int returned, accepted, done, queued;
    uint64_t version;       /* a write's */
    uint64_t covered[KEYS]; /* a clear's */
    uint64_t floor[KEYS];   /* a read's: what is below was superseded when it began */
    strata_item items[KEYS];
    strata_policy policy;
};

struct load {
    strata_load *load; /* counted; NULL: given back */
    size_t key;
    int completed, off;
    int held; /* its loader has not returned, and completes it itself */
    uint64_t version;
    int64_t began_ms;
};

struct world {
    uint64_t seed, random;
    struct executor *ex;
    strata *cache, *space; /* keys 0 and 1; 2 and 3 */
    strata_queue *queue;
    struct fail_alloc alloc;
    int stale;       /* policies with stale windows: an expire supersedes nothing */
    int nesting;     /* loaders may load */
    int few_flights; /* past the bound every caller loads for itself */
    int depth;
    int closing, closed;
    int handles_gone; /* no new calls: what they would be made on was given back */
    struct call calls[CALLS_MOST];
    size_t call_count;
    struct load loads[LOADS_MOST];
    size_t load_count;
    strata_value *pins[PINS_MOST];
    size_t pin_key[PINS_MOST], pin_count;
    uint64_t pin_version[PINS_MOST];
    uint64_t origin[KEYS], floor[KEYS];
    int64_t invalidated_ms[KEYS]; /* when a write or clear last began or ended */
};

struct payload {
    uint64_t key, version;
};

extern struct world world;

/* Says what was not so, and the seed, and aborts. */
_Noreturn void world_broken(const char *what, const char *file, int line);
/* Much runs on threads of the simulator, where cmocka's asserts may not be used. */
#define CHECK(what) \
    do { \
        if (!(what)) \
            world_broken(#what, __FILE__, __LINE__); \
    } while (0)

/* A number below `below`, by the seed. */
uint64_t draw(uint64_t below);
strata_slice key_of(size_t k);
strata *cache_of(size_t k);
uint64_t payload_version(const strata_value *v, size_t k);
/* A write of the key, or a clear, begins or ends. */
void note_invalidated(size_t k);

/* A loader; ctx is the key's number, and 8 where the call has single flight off. */
int load_one(strata_load *load, strata_slice key, void *ctx);
/* A bulk loader of keys 0 and 1; ctx is not NULL where the call has single flight off. */
int load_some(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx);
/* Complete a load in one of several ways; its status. */
int finish_load(struct load *l, int how);
void give_back(struct load *l);
/* Complete one that was put off, if there is one. */
void complete_some_load(void);

/* What a call was answered with; takes the values. */
void judge(struct call *c, int status, strata_value *value);
/* A clear begins. */
void note_covered(struct call *c);

#endif /* STRATA_TESTS_SCHEDULE_WORLD_H */
