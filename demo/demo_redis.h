/* demo_redis.h - the demo's own redis-server: on a free port of this machine, in the demo's folder, without persistence; stopped
 * by its process id, and gone with the demo, however that ends. */
#ifndef STRATA_DEMO_DEMO_REDIS_H
#define STRATA_DEMO_DEMO_REDIS_H
#include <stdint.h>
#include <sys/types.h>

#include "strata/error.h"

struct demo_redis {
    pid_t pid; /* 0: not running */
    uint16_t port;
};

int demo_redis_start(struct demo_redis *redis, const char *folder, strata_error *err);
/* SIGSTOP, SIGCONT: the server stands still, and goes on. */
void demo_redis_pause(const struct demo_redis *redis);
void demo_redis_resume(const struct demo_redis *redis);
void demo_redis_stop(struct demo_redis *redis);

#endif /* STRATA_DEMO_DEMO_REDIS_H */
