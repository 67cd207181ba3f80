/* sick_layer.h - a remote layer in the hands of a test: it answers what the test says, carries out or not, and can hold back
 * its answers.  Its leases are all the same one, 9, and taken where there is an entry.  It keeps the order of what is submitted, and carries out at once. */
#ifndef STRATA_TESTS_SICK_LAYER_H
#define STRATA_TESTS_SICK_LAYER_H
#include <pthread.h>

#include "strata/sys/layer.h"

enum { SICK_KEYS = 512, SICK_HELD = 128, SICK_LOG = 4096 };

struct sick_entry {
    char key[32], text[32];
    int present;
};

struct sick_layer {
    strata_layer base;
    pthread_mutex_t mutex;
    int status;     /* every operation, clear and ping answers this, where it is not 0 */
    int fails_kind; /* ... but those of another kind, where this is not 0 */
    int fails_key;  /* ... but those of other keys than those that begin with this letter, where it is not 0 */
    int does;       /* ... and carries it out all the same */
    int holds;      /* submitted operations are answered by sick_layer_release() */
    struct sick_entry entries[SICK_KEYS];
    strata_op *held[SICK_HELD];
    int held_status[SICK_HELD];
    size_t held_count;
    char log[SICK_LOG]; /* "get a, put b, remove c, clear x, ping, " in the order they came */
    int asked;          /* operations, clears and pings */
    int closed;         /* it is the test's own memory: close() just says so */
};

/* Never fails; the struct is the test's, and stays. */
strata_layer *sick_layer_init(struct sick_layer *s);
/* Answer what is held, and hold no more; from this thread. */
void sick_layer_release(struct sick_layer *s);
/* From now on; status 0: it is well. */
void sick_layer_fail(struct sick_layer *s, int status, int does);
/* What it did since the last time is `log`, exactly. */
int sick_layer_did(struct sick_layer *s, const char *log);

#endif /* STRATA_TESTS_SICK_LAYER_H */
