/* bus_watch.h - a host for a bus that no cache opened, and that notes what it is told.  Its delays wait for the test
 * (test_host_advance()); a connection lives in real time. */
#ifndef STRATA_TESTS_BUS_WATCH_H
#define STRATA_TESTS_BUS_WATCH_H
#include <pthread.h>

#include "src/bus/bus_host.h"
#include "tests/support/test_host.h"

enum { WATCHED_KEYS = 4096, WATCHED_BYTES = 64 };

struct bus_watch {
    strata_bus_host host; /* first */
    struct test_host times;
    strata_bus *bus;
    int stopped;
    pthread_mutex_t mutex;
    /* Under it. */
    char keys[WATCHED_KEYS][WATCHED_BYTES]; /* the last ones that were changed; NULs are shown as '.' */
    size_t key_count;                       /* all of them */
    int all, ups, downs, lost;
    int told_late;    /* after stop() */
    int64_t proven;   /* 0: never */
    strata_error why; /* of the last down */
};

/* Starts the bus, which has to be good; bus_watch_stop() stops and closes it. */
void bus_watch_start(struct bus_watch *w, strata_bus *bus);
void bus_watch_stop(struct bus_watch *w);
/* Until then; aborts the test after a minute. */
void bus_watch_until_up(struct bus_watch *w, int times);
void bus_watch_until_down(struct bus_watch *w, const char *words);
void bus_watch_until_all(struct bus_watch *w, int times);
void bus_watch_until_key(struct bus_watch *w, const char *key);
/* The clock moves on, until a moment after this call is proven. */
void bus_watch_until_proven(struct bus_watch *w, int64_t heartbeat_ms);
struct bus_told {
    size_t keys;
    int all, ups, downs, lost;
    int64_t proven;
    strata_error why;
};
/* What it was told so far. */
struct bus_told bus_watch_told(struct bus_watch *w);
/* How often it was told of this key. */
size_t bus_watch_seen(struct bus_watch *w, const char *key);
/* Forget all keys. */
void bus_watch_forget(struct bus_watch *w);

#endif /* STRATA_TESTS_BUS_WATCH_H */
