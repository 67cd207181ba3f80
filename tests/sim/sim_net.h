/* sim_net.h - what lies between the nodes' links and the simulated server: connections that delay, stall and break.
 *
 * A pipe is one connection's way to the server and back.  Both directions keep their order.  When it is cut, what was on its way to
 * the server arrives up to some moment, and is lost from there on; nothing comes back.  Packets of a connection that is made
 * anew arrive behind what the old one left: the real link waits for that, too (src/link/redis_conn.c). */
#ifndef STRATA_TESTS_SIM_NET_H
#define STRATA_TESTS_SIM_NET_H
#include <stdint.h>

#include "tests/sim/sim_reply.h"

enum { SIM_PORT = 20000 }; /* of node 0's URL; each has its own: so a link knows whose it is */

struct sim_pipe;

/* Called at the moment it arrives, on no thread of the node's. */
struct sim_pipe_end {
    /* The answer to the packet sent with this tag; the callee's to free. */
    void (*replied)(void *ctx, uint64_t epoch, void *tag, struct redisReply *reply);
    void (*pushed)(void *ctx, uint64_t epoch, strata_slice message);
    void (*lost)(void *ctx, uint64_t epoch);
    /* It will not be answered. */
    void (*dropped)(void *tag);
    void *ctx;
};

struct sim_pipe *sim_pipe_new(int node, const struct sim_pipe_end *end);
/* What is on its way to the server may still arrive. */
void sim_pipe_free(struct sim_pipe *pipe);
/* Connect: the number of this connection, 0: the server can't be reached. */
uint64_t sim_pipe_connect(struct sim_pipe *pipe);
/* A command; the args are copied.  Lost where that connection is none any more. */
void sim_pipe_send(struct sim_pipe *pipe, uint64_t epoch, const strata_slice *args, size_t count, void *tag);
void sim_pipe_cut(struct sim_pipe *pipe);

/* How the network of a node is. */
struct sim_weather {
    int64_t most_ms;   /* each way takes up to so long; 0 nothing */
    uint32_t spike_in; /* one packet of so many takes spike_ms more; 0: none */
    int64_t spike_ms;
};
void sim_net_weather(int node, const struct sim_weather *weather);
/* All, or one in two, of its connections are cut. */
void sim_net_cut(int node, int all);
/* The server is gone: every connection of everybody is cut, and nothing that was on its way arrives. */
void sim_net_lose_server(void);
/* 1: cut, and nothing can be connected until 0. */
void sim_net_block(int node, int on);
/* Nothing of its arrives for so long. */
void sim_net_stall(int node, int64_t ms);

void sim_net_open(void);
void sim_net_close(void);

#endif /* STRATA_TESTS_SIM_NET_H */
