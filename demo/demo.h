/* demo.h - what the acts of the demo share: how they speak, what they promise, and the table at the end.
 *
 * An act is one function in one file: it says what it is about to do, does it with the public API, adds its rows to the
 * table, and has each promise counted.  A new act is a new file and one more line in demo_main.c. */
#ifndef STRATA_DEMO_DEMO_H
#define STRATA_DEMO_DEMO_H
#include <stdint.h>

#include "cli/table.h"
#include "demo/origin_sqlite.h"
#include "strata/strata.h"

enum { DEMO_PATH = 544, DEMO_DISK_MB = 128 };

struct shops;

struct demo {
    struct origin *origin;
    struct shops *shops;  /* of --redis; else NULL */
    const char *folder;   /* everything the demo writes is in it */
    const char *trace;    /* path of the recorded requests */
    char disk[DEMO_PATH]; /* a directory for a disk layer, which makes it */
    uint64_t products;    /* different keys in the trace, and rows of the origin */
    int quick;            /* a small version, for tests */
    int live;             /* stdout is a terminal: lines may be overwritten */
    struct table *table;  /* the summary */
    int promises;
    int broken; /* of the promises */
};

/* STRATA_OK, or an error that ends the demo (a broken promise does not). */
typedef int (*demo_act)(struct demo *demo, strata_error *err);

int act_replay(struct demo *demo, strata_error *err);
int act_restart(struct demo *demo, strata_error *err);
int act_stampede(struct demo *demo, strata_error *err);
int act_outage(struct demo *demo, strata_error *err);
/* --redis, in this order. */
int act_fleet(struct demo *demo, strata_error *err);
int act_redis_stops(struct demo *demo, strata_error *err);

/* Speaking (demo_main.c). */
void demo_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* One line that is overwritten by the next; nothing where there is no terminal. */
void demo_live(const struct demo *demo, const char *format, ...) __attribute__((format(printf, 2, 3)));
void demo_live_end(const struct demo *demo);
/* Count a promise, and say whether it was kept. */
void demo_promise(struct demo *demo, int kept, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A row of the summary (demo_table.c): what, with strata, without a cache. */
void demo_row(struct demo *demo, const char *what, const char *with, const char *without);
void demo_table_begin(struct demo *demo);
void demo_table_end(struct demo *demo);
void demo_sleep_ms(unsigned ms);

#endif /* STRATA_DEMO_DEMO_H */
