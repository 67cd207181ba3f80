/* sim_bus.h - buses that exist in a simulator alone: one net, and a member of it for each cache on the simulated executor.
 *
 * What is published reaches every member later, when the seed says; it may be dropped, doubled, overtaken, or kept from some.  An ordered
 * net is a log: whoever was away reads on where it stopped, or, past what the log keeps, is told that something was lost.  It drives the
 * real core, on the same virtual clock. */
#ifndef STRATA_TESTS_SIM_BUS_H
#define STRATA_TESTS_SIM_BUS_H
#include <stdint.h>

#include "strata/sys/bus.h"

enum { SIM_BUS_MEMBERS = 8 };

struct sim_net;

struct sim_net_options {
    uint64_t seed;
    uint32_t flags;          /* of its buses: STRATA_BUS_...; 0: unordered */
    int64_t delay_ms;        /* the most that a message is under way; 0: it comes at once, from publish() */
    uint32_t drop_per_mille; /* of messages to one member; the log of an ordered net loses none */
    uint32_t double_per_mille;
    uint32_t fail_per_mille;    /* publish() is answered with a failure; every second one was published all the same */
    uint32_t log_most;          /* ordered: so many messages are kept; 0: all */
    uint32_t max_message_bytes; /* 0: 4,096 */
};

struct sim_net *sim_net_new(const struct sim_net_options *options);
void sim_net_free(struct sim_net *net);
/* One more member, to be given to strata_open(). */
strata_bus *sim_net_bus(struct sim_net *net);

/* By the order in which they were made.  A member that is away hears nothing and publishes nothing: messages of an unordered net are gone
 * for it.  `told`: its cache is told, as by a connection that broke; otherwise nobody notices. */
void sim_net_away(struct sim_net *net, int member, int told);
void sim_net_back(struct sim_net *net, int member);
/* It is back as soon as its cache rouses it. */
void sim_net_pause(struct sim_net *net, int member);
/* The next `count` messages to this member are lost, and nobody is told. */
void sim_net_drop(struct sim_net *net, int member, int count);
/* From now on messages are held back for this member; let them come. */
void sim_net_hold(struct sim_net *net, int member, int on);
/* The next `count` publish() of this member fail. */
void sim_net_fail(struct sim_net *net, int member, int count);
/* Give every member bytes, as if somebody had published them. */
void sim_net_inject(struct sim_net *net, strata_slice bytes);
/* From now on nothing is lost, late or refused, and everybody is there. */
void sim_net_heal(struct sim_net *net);

uint64_t sim_net_published(const struct sim_net *net);
/* Ordered: the last message is not in the log any more, and the one before it is there twice. */
void sim_net_forget_last(struct sim_net *net);
/* The last message. */
strata_slice sim_net_last(const struct sim_net *net);

#endif /* STRATA_TESTS_SIM_BUS_H */
