/* sim_server.h - a Redis server in memory: a few commands, and the scripts that are shipped, run by a real Lua 5.1.
 *
 * Its clock is the world's, from an epoch of its own.  It executes one command after another, at once. */
#ifndef STRATA_TESTS_SIM_SERVER_H
#define STRATA_TESTS_SIM_SERVER_H
#include "tests/sim/sim_reply.h"

void sim_server_open(void);
void sim_server_close(void);

/* One command; the reply is the caller's. */
struct redisReply *sim_server_run(const strata_slice *args, size_t count);
/* What is called with every PUBLISH. */
void sim_server_listen(void (*published)(strata_slice channel, strata_slice message));

/* What a failover would go back to: the replica's state as of now. */
void sim_server_replicate(void);
/* The replica takes over: another run id, a clock that differs by `clock_ms` from the one before, what was not replicated is gone.
 * Its connections are the network's to cut. */
void sim_server_fail_over(int64_t clock_ms);
/* FLUSHALL, by somebody else. */
void sim_server_flush(void);
/* SCRIPT FLUSH. */
void sim_server_forget_scripts(void);
/* Another client's SET and DEL of a key. */
void sim_server_foreign_set(strata_slice key, strata_slice bytes);
void sim_server_foreign_delete(strata_slice key);

/* From now on a script is run with this text of it replaced: sabotage.  It must stand there.  NULL: as it is. */
void sim_server_sabotage(const char *text, const char *by);

/* What is asked of the keyspace by commands and Lua. */
struct redisReply *sim_server_command(const strata_slice *args, size_t count);
int64_t sim_server_ms(void);

/* sim_lua.c: a script's text, by its digest, with KEYS and ARGV. */
struct redisReply *sim_lua_run(strata_slice text, const char *sha, const strata_slice *keys, size_t key_count,
                               const strata_slice *args, size_t arg_count);
void sim_lua_sabotage(const char *text, const char *by);

#endif /* STRATA_TESTS_SIM_SERVER_H */
