/* shops.h - the shop's program, several times: processes that share the database and a Redis, each with a cache of its own, and
 * do what the demo tells them.
 *
 * A process is this very program, started anew (--shop), so that it shares nothing else; orders and answers are structs in
 * pipes. */
#ifndef STRATA_DEMO_SHOPS_H
#define STRATA_DEMO_SHOPS_H
#include <stdint.h>
#include <sys/types.h>

#include "demo/demo_redis.h"

enum { SHOPS = 4, SHOP_WORDS = 200 };

enum shop_what {
    SHOP_CROWD = 1, /* `count` asynchronous callers at once for the page `first` */
    SHOP_VIEW,      /* the pages from `first` on, `count` of them, one after the other */
    SHOP_LIVE,      /* those again and again for `ms` */
    SHOP_DELETE,    /* takes the page `first` out of the cache */
    SHOP_STATS      /* of the layer below memory */
};

struct shop_order {
    enum shop_what what;
    uint32_t count, ms, delay_ms; /* delay_ms: what a query takes */
    uint64_t first;
};

struct shop_answer {
    int status;                      /* of the last call that was not well, or STRATA_OK */
    uint64_t views, failed, queries; /* queries: those of this order */
    int64_t cents;                   /* the price on the last page; -1 none */
    double done_s;                   /* when it was over (stopwatch_now_s()) */
    double p50_us, max_us;           /* of the views */
    uint32_t breaker;                /* STRATA_BREAKER_... */
    uint64_t queued_deletes;
    char words[SHOP_WORDS]; /* of an error */
};

struct shops {
    struct demo_redis redis;
    int running;
    struct {
        pid_t pid;
        int to_fd, from_fd;
    } all[SHOPS];
};

/* A redis-server, and SHOPS processes over it, in the demo's folder. */
int shops_start(struct shops *shops, const char *folder, strata_error *err);
void shops_tell(struct shops *shops, int which, const struct shop_order *order);
/* Waits for what came of it. */
struct shop_answer shops_hear(struct shops *shops, int which);
struct shop_answer shops_ask(struct shops *shops, int which, const struct shop_order *order);
/* Everything ends; may be called twice. */
void shops_stop(struct shops *shops);

/* What such a process does: main() of --shop FOLDER URL.  Orders come from stdin, answers go to stdout. */
int shop_process(const char *folder, const char *url);

/* Whole structs through pipes; 0: the other side is gone. */
int shop_read(int fd, void *out, size_t size);
int shop_write(int fd, const void *bytes, size_t size);

#endif /* STRATA_DEMO_SHOPS_H */
