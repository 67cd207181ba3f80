/* contract_bus.h - one suite that every bus passes on its real server: a new bus is done when it does. */
#ifndef STRATA_TESTS_CONTRACT_BUS_H
#define STRATA_TESTS_CONTRACT_BUS_H
#include "strata/strata.h"
#include "strata/sys/bus.h"

struct contract_bus_subject {
    const char *name;
    /* A new bus of the channel with that number: those of one number hear each other, and no others.  `node` tells the nodes of a channel
     * apart (from 0), for what wants a stable name. */
    strata_bus *(*make)(unsigned channel, unsigned node);
    /* One with options that are wrong: its constructor or start() fails.  NULL: there are none. */
    strata_bus *(*make_wrong)(void);
    /* The server is killed (-9); and there again, as empty as that leaves it.  NULL: those cases are left out. */
    void (*kill)(void);
    void (*restart)(void);
    /* 1: after kill() and restart() the server still has what it had taken. */
    int keeps;
    /* The n-th allocation fails, for each n up to this one. */
    unsigned allocations;
    unsigned burst;  /* messages at once; 0: 10,000 */
    int one_process; /* 1: a node is one process, and a child cannot come up beside its parent */
};

/* Answers how many cases failed. */
int contract_run_bus(const struct contract_bus_subject *subject);
/* For a bus that only listens. */
int contract_run_listening_bus(const struct contract_bus_subject *subject);

#endif /* STRATA_TESTS_CONTRACT_BUS_H */
