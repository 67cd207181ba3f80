/* redis_server.h - a real redis-server of the test's own: on a free port of this machine and in a folder of its own, without
 * persistence, and gone when the test is, however it ends.  STRATA_TEST_REDIS_SERVER in the environment names another program, as
 * valkey-server. */
#ifndef STRATA_TESTS_REDIS_SERVER_H
#define STRATA_TESTS_REDIS_SERVER_H
#include <stdint.h>
#include <sys/types.h>

struct tls_files;

struct redis_server {
    pid_t pid; /* 0: not running */
    uint16_t port;
    char dir[256];
    char socket_path[288]; /* it listens there, too */
    const char *password;  /* or NULL */
    enum redis_server_kind { REDIS_SERVER_ALONE, REDIS_SERVER_NODE, REDIS_SERVER_SENTINEL } kind;
    const struct tls_files *certificate; /* it speaks TLS alone on its port; NULL: none */
    const char *clients_signed_by;       /* with TLS: it wants certificates of clients; NULL: none */
    uint16_t monitors;                   /* of a sentinel: the port of the master, which it calls "main" */
};

/* Starts it and waits until it answers.  Says why, and aborts, where there is no redis-server.  `s` stays where it is until it
 * is stopped. */
void redis_server_start(struct redis_server *s, const char *password);
/* The same over TLS: certificate and clients_signed_by are set, the latter may be NULL.  All stand alone, and so do the servers of
 * redis_server_start() with STRATA_TEST_TLS in the environment (tls_certs.h). */
void redis_server_start_tls(struct redis_server *s, const struct tls_files *certificate, const char *clients_signed_by);
/* One node of a Cluster, which has to be assembled (redis_nodes.h). */
void redis_server_start_node(struct redis_server *s, const char *password);
/* One that watches over the server at `monitors`, as two of three.  `password` is that server's, and its own. */
void redis_server_start_sentinel(struct redis_server *s, uint16_t monitors, const char *password);
void redis_server_stop(struct redis_server *s);
/* kill -9. */
void redis_server_kill(struct redis_server *s);
/* On the same port; empty. */
void redis_server_restart(struct redis_server *s);
/* SIGSTOP, SIGCONT. */
void redis_server_pause(struct redis_server *s);
void redis_server_resume(struct redis_server *s);
/* A port of 127.0.0.1 where nobody listens. */
uint16_t redis_server_free_port(void);

#endif /* STRATA_TESTS_REDIS_SERVER_H */
