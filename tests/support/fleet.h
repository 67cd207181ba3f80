/* fleet.h - processes that share a server: each has a cache of its own, opened by one URL, and does what it is told.
 *
 * Through the public API alone, so benchmarks use it, too.  What a loader gives is the text of the shared origin: one number a
 * key, which whoever tests may raise at any time.  Start a fleet before the threads of its parent: it forks. */
#ifndef STRATA_TESTS_FLEET_H
#define STRATA_TESTS_FLEET_H
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

enum { FLEET_MOST = 8, FLEET_TEXT = 96, FLEET_WORDS = 256 };

enum fleet_what {
    FLEET_STAMPEDE =
        1, /* `callers` asynchronous get-or-loads of the key, whose loader takes load_ms; all of them are waited for */
    FLEET_LOAD, /* one get-or-load */
    FLEET_GET,
    FLEET_SET, /* to `text` */
    FLEET_DELETE,
    FLEET_STATS, /* of the layer at `layer` */
    FLEET_END    /* closes its cache and ends */
};

struct fleet_order {
    enum fleet_what what;
    uint32_t callers, layer;
    int64_t load_ms;
    char key[FLEET_TEXT], text[FLEET_TEXT];
};

struct fleet_answer {
    int status; /* of the call; the worst of a stampede */
    uint32_t served, breaker;
    uint64_t queued_deletes;
    int64_t done_ns; /* monotonic: when the last one was answered */
    char text[FLEET_TEXT], words[FLEET_WORDS];
};

/* What all of them, and their parent, see. */
struct fleet_shared {
    _Atomic(uint64_t) loads;  /* loaders that began, and have read the origin */
    _Atomic(uint64_t) origin; /* what loaders answer: "origin N" */
};

struct fleet {
    int count;
    struct fleet_shared *shared;
    struct {
        pid_t pid; /* 0: gone */
        int to_fd, from_fd;
    } members[FLEET_MOST];
};

/* Each opens its cache before this returns.  `url` as for strata_open_url().  Aborts where that fails. */
void fleet_start(struct fleet *f, int count, const char *url);
/* Hands the order over and does not wait; fleet_hear() waits for what came of it. */
void fleet_tell(struct fleet *f, int member, const struct fleet_order *order);
void fleet_hear(struct fleet *f, int member, struct fleet_answer *answer);
/* Both. */
struct fleet_answer fleet_ask(struct fleet *f, int member, const struct fleet_order *order);
/* Members that were not told to end are; all are waited for.  @return 0 where each ended well. */
int fleet_stop(struct fleet *f);
/* kill -9. */
void fleet_kill(struct fleet *f, int member);

struct fleet_crowd {
    uint64_t loads, served;
    double ms;               /* until the last one in the slowest process was served */
    char words[FLEET_WORDS]; /* of one that was not */
};
/* So many callers in each process at once, at one cold key. */
struct fleet_crowd fleet_stampede(struct fleet *f, const char *key, uint32_t callers, int64_t load_ms);

#endif /* STRATA_TESTS_FLEET_H */
