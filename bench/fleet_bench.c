/* bench/fleet_bench.c - processes that share a Redis ask for one cold key at the same moment, many callers each, and its loader
 * takes 50 ms.
 *
 * What should happen: it runs once in the whole fleet, and everyone is served when its value is there.  The clock runs from
 * before the first process is told until the last caller of the slowest one was served.  Each run takes a new key.
 *     fleet_bench [RUNS]
 * prints, in rows of CSV:
 *     fleet,PROCESSES,CALLERS_EACH,LOADER_MS,LOADS,SERVED_MS,ROUND
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench_redis.h"
#include "tests/support/fleet.h"

enum { PROCESSES = 4, LOADER_MS = 50 };
static const uint32_t callers[] = { 100, 1000 };

int main(int argc, char **argv)
{
    int runs = argc > 1 ? atoi(argv[1]) : 5;
    char url[128], key[32];
    struct fleet f;
    if (runs < 1)
        bench_die("usage", "fleet_bench [RUNS]");
    snprintf(url, sizeof url,
             "memory:?max_bytes=16mb | redis://127.0.0.1:%u?prefix=fleet:", (unsigned)bench_redis_start());
    fleet_start(&f, PROCESSES, url);
    (void)fleet_stampede(&f, "warm", 1, 0); /* they are connected */
    for (int run = 1; run <= runs; run++) {
        for (int i = 0; i < 2; i++) {
            snprintf(key, sizeof key, "cold:%d:%d", run, i);
            struct fleet_crowd crowd = fleet_stampede(&f, key, callers[i], LOADER_MS);
            if (crowd.served != (uint64_t)PROCESSES * callers[i])
                bench_die("not everyone was served", crowd.words);
            printf("fleet,%d,%u,%d,%" PRIu64 ",%.3f,%d\n", (int)PROCESSES, (unsigned)callers[i], (int)LOADER_MS,
                   crowd.loads, crowd.ms, run);
        }
    }
    return fleet_stop(&f);
}
