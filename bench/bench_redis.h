/* bench/bench_redis.h - a redis-server of the benchmark's own: on a free port of 127.0.0.1, in a folder of its own, without
 * persistence, and gone when the benchmark is. */
#ifndef BENCH_REDIS_H
#define BENCH_REDIS_H
#include <stdint.h>

/* Says why, and ends the program, where there is no redis-server. */
uint16_t bench_redis_start(void);
/* SIGSTOP, SIGCONT. */
void bench_redis_pause(void);
void bench_redis_resume(void);

/* Ends the program with these words. */
_Noreturn void bench_die(const char *what, const char *why);

#endif /* BENCH_REDIS_H */
