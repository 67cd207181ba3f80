/* kill_rounds.h - one round of a test that kills: a child opens a directory and works on it, and dies; others die opening it;
 * another one opens what is left and looks at every key.
 *
 * Where there is room for all, what may be missing is what was put last and replaced nothing, no more than the buffers
 * hold: that is counted, and everything else fails.  Where the disk gets what memory evicts, all that the process that died had put
 * may be missing: it was in memory. */
#ifndef STRATA_TESTS_KILL_ROUNDS_H
#define STRATA_TESTS_KILL_ROUNDS_H
#include "src/os/os_fault.h"
#include "tests/fault/kill_store.h"

enum { THREADS_MOST = 4, STEPS_MOST = 12000 };

/* How a life ends. */
enum {
    AFTER_STEPS,
    WHILE_OPENING,
    BEFORE_A_CALL,
    BEFORE_A_RARE_CALL,
    WHILE_WRITING,
    AFTER_A_CLEAR,
    WHILE_CLOSING,
    DEATHS
};

/* What is wrong with the disk. */
enum { DISK_WELL, DISK_FULL, DISK_SAYS_FULL }; /* full: by itself; by the fault hook, once there is something on it */

/* What one directory is. */
struct plan {
    strata_disk_options options;
    int kind;
    int roomy; /* nothing has to leave */
    int disk;
    uint32_t threads;
    int maintained;
    uint64_t random;
    char path[256];
};

struct death {
    struct os_fault_hook hook;
    struct history *history;
    int how;
    int nth;           /* call, or after so many steps */
    int opening_alone; /* it shall not work */
    int full_from; /* DISK_SAYS_FULL: so many writes of an open cache find room, and as many none, in turn; 0: all */
    uint32_t close_at; /* WHILE_CLOSING: after so many steps */
    _Atomic(int) seen, writes, closing;
};

extern const char *const kill_kind_names[STORE_KINDS];

static inline uint64_t draw(uint64_t *random)
{
    *random += 0x9e3779b97f4a7c15u;
    uint64_t x = *random;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline uint32_t below(uint64_t *random, uint32_t most) { return (uint32_t)(draw(random) % most); }

/* In a child: open, work, die.  kill_child.c */
void kill_live(const struct plan *plan, struct history *h, uint64_t random, struct death *death)
    __attribute__((noreturn));
/* The fault hook of a full disk. */
int kill_disk_says_full(const char *call);
/* In a child: open what is left, look at everything, end.  kill_look.c */
void kill_look(const struct plan *plan, struct history *h, uint64_t random) __attribute__((noreturn));
/* Not to be waited for for ever, where the parent is killed. */
void kill_be_a_child(void);
struct kill_store *kill_store_of(const struct plan *plan, struct history *h);

/* In the parent: kill_rounds.c.  Fails the test where the history says so; `seed` and `round` are for its words. */
struct plan kill_some_plan(uint64_t *random, int kind, int roomy);
void kill_one_round(struct plan *plan, struct history *h, uint64_t seed, int round);
/* STRATA_SEED, or one that is always the same. */
uint64_t kill_seed(void);
/* STRATA_TEST_LONG is set. */
int kill_is_long(void);

#endif /* STRATA_TESTS_KILL_ROUNDS_H */
