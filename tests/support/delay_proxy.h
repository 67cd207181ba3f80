/* delay_proxy.h - a network between a client and a server of this machine that does what a test asks of it: it delays, stalls,
 * hands replies on byte by byte, cuts connections, in the middle of a reply if wanted, and takes no new ones.
 *
 * One thread of its own, on a free port of 127.0.0.1.  Every function may be called at any time, from any thread, and is in
 * force for what comes afterwards; what is on its way keeps its due time.  Bytes keep their order.  Plain POSIX: benchmarks
 * use it, too. */
#ifndef STRATA_TESTS_DELAY_PROXY_H
#define STRATA_TESTS_DELAY_PROXY_H
#include <stdint.h>

struct delay_proxy;

struct delay_proxy_counts {
    uint64_t connections;     /* that were handed on */
    uint64_t refused;         /* new ones that were closed at once */
    uint64_t cut;             /* that were closed by the proxy */
    uint64_t to_server_bytes; /* handed on */
    uint64_t to_client_bytes;
};

/* Between its own port and to_port of 127.0.0.1.  Aborts where it cannot start. */
struct delay_proxy *delay_proxy_start(uint16_t to_port);
uint16_t delay_proxy_port(const struct delay_proxy *p);
/* All its connections are closed.  NULL is a no-op. */
void delay_proxy_stop(struct delay_proxy *p);

/* A round trip takes to_server_ms + to_client_ms longer.  Connecting does not: it is the proxy that accepts. */
void delay_proxy_delay(struct delay_proxy *p, int64_t to_server_ms, int64_t to_client_ms);
/* 1: nothing is handed on, in neither direction, and nothing read: as with a server under SIGSTOP, connections stay open and
 * new ones are accepted.  0: what piled up goes on. */
void delay_proxy_stall(struct delay_proxy *p, int on);
/* Replies of the connection of that number, 0 the first that was made, wait until another number is said; < 0: none do. */
void delay_proxy_hold(struct delay_proxy *p, int64_t connection);
/* How many bytes of replies wait there so. */
uint64_t delay_proxy_held(struct delay_proxy *p);
/* Replies go on byte by byte, so far apart; 0: as they come. */
void delay_proxy_trickle(struct delay_proxy *p, int64_t us_between_bytes);
/* The connection on which the reply byte of that number, counted over all connections from now on, would go next is cut before
 * it.  Once; 0: the first one that carries a reply; < 0: none. */
void delay_proxy_cut_at(struct delay_proxy *p, int64_t reply_bytes);
/* Every connection, with a reset. */
void delay_proxy_cut_all(struct delay_proxy *p);
/* 1: new connections are reset as soon as they are made. */
void delay_proxy_refuse(struct delay_proxy *p, int on);

/* New connections go to that port: with delay_proxy_cut_all() a failover, as an address that moves makes it. */
void delay_proxy_retarget(struct delay_proxy *p, uint16_t to_port);

void delay_proxy_counts_get(struct delay_proxy *p, struct delay_proxy_counts *out);

#endif /* STRATA_TESTS_DELAY_PROXY_H */
