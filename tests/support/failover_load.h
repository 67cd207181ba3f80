/* failover_load.h - threads that set, get and delete through a cache while a test takes servers away under it.
 *
 * Each key has one thread, which knows what it did.  At all times: what is got was set for that key, by this load, and no later
 * than its last set.  Apart from a change of servers, where a replica that had not heard of the last writes takes over: what is got
 * is the last that was acknowledged, and what was deleted is gone.  What is wrong aborts, in words. */
#ifndef STRATA_TESTS_FAILOVER_LOAD_H
#define STRATA_TESTS_FAILOVER_LOAD_H

struct failover_load;

/* Parameters of the URL: longer than any pause of a busy machine, shorter than the test. */
#define FAILOVER_TIMEOUTS "&soft_timeout_ms=5s&timeout_ms=5s&connect_timeout_ms=5s"

struct failover_load *failover_load_start(const char *url);
/* Until every key was set, got and deleted a few times more, with success. */
void failover_load_expect_work(struct failover_load *load);
/* From here to there, writes may be lost, and what was deleted may be back. */
void failover_load_begin_change(struct failover_load *load);
/* Returns once every thread has set, got and deleted its keys again, so that what was lost is overwritten. */
void failover_load_end_change(struct failover_load *load);
void failover_load_stop(struct failover_load *load);

#endif /* STRATA_TESTS_FAILOVER_LOAD_H */
