/* nats_server.h - a real nats-server of the test's own: on a free port of this machine, with what JetStream keeps in a folder of its
 * own, and gone when the test is, however it ends. */
#ifndef STRATA_TESTS_NATS_SERVER_H
#define STRATA_TESTS_NATS_SERVER_H
#include <stdint.h>
#include <sys/types.h>

/* What its configuration file says, but for port and folder; NULL, 0: none. */
struct nats_server_options {
    const char *user, *password; /* who may come, and nobody else */
    const char *token;
    const char *cert, *key, *ca; /* it speaks TLS alone; with ca it wants certificates of clients */
    const char *more;            /* lines of its configuration */
    int no_jetstream;
};

struct nats_server {
    pid_t pid; /* 0: not running */
    uint16_t port;
    char dir[256];
    char url[64]; /* "nats://127.0.0.1:port" */
    struct nats_server_options options;
};

/* Starts it and waits until it answers; NULL takes all defaults.  Says why, and aborts, where there is none.  `s` stays where it is
 * until it is stopped. */
void nats_server_start(struct nats_server *s, const struct nats_server_options *options);
void nats_server_stop(struct nats_server *s);
/* kill -9. */
void nats_server_kill(struct nats_server *s);
/* On the same port, with its folder and with options as they are now. */
void nats_server_restart(struct nats_server *s);
/* SIGSTOP, SIGCONT. */
void nats_server_pause(struct nats_server *s);
void nats_server_resume(struct nats_server *s);

#endif /* STRATA_TESTS_NATS_SERVER_H */
