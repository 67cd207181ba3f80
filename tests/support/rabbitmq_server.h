/* rabbitmq_server.h - a real RabbitMQ of the test's own: on free ports of this machine, with its data, its cookie and its epmd in a
 * folder of its own, and gone when the test is, however it ends.  It takes some seconds to start: one for a whole program.
 * STRATA_TEST_RABBITMQ_SERVER in the environment names another script than Debian's. */
#ifndef STRATA_TESTS_RABBITMQ_SERVER_H
#define STRATA_TESTS_RABBITMQ_SERVER_H
#include <stdint.h>
#include <sys/types.h>

struct tls_certs;

struct rabbitmq_server {
    pid_t pid, epmd; /* 0: not running */
    uint16_t port, tls_port;
    uint16_t dist_port, epmd_port;
    char dir[256];
    const struct tls_certs *certs; /* it speaks TLS on tls_port; NULL: it does not */
};

/* Starts it and waits until it answers.  Says why, and aborts, where there is none.  `s` is static. */
void rabbitmq_server_start(struct rabbitmq_server *s, const struct tls_certs *certs);
void rabbitmq_server_stop(struct rabbitmq_server *s);
/* kill -9. */
void rabbitmq_server_kill(struct rabbitmq_server *s);
/* On the same ports, with what it has on its disk. */
void rabbitmq_server_restart(struct rabbitmq_server *s);
/* SIGSTOP, SIGCONT. */
void rabbitmq_server_pause(struct rabbitmq_server *s);
void rabbitmq_server_resume(struct rabbitmq_server *s);

/* 1: it takes no more messages, for lack of memory; 0: it does again.  Some seconds each. */
void rabbitmq_server_alarm(struct rabbitmq_server *s, int on);

/* What an administrator does there, over a connection of its own (rabbitmq_admin.c).  1: done; 0: refused. */
int rabbitmq_admin_delete_queue(const struct rabbitmq_server *s, const char *queue);
int rabbitmq_admin_declare_exchange(const struct rabbitmq_server *s, const char *exchange, const char *type);
int rabbitmq_admin_unbind(const struct rabbitmq_server *s, const char *queue, const char *exchange, const char *key);
/* `size` bytes of 'x'. */
int rabbitmq_admin_publish(const struct rabbitmq_server *s, const char *exchange, const char *key, size_t size);
/* A queue that takes one message, has it, and refuses what comes then. */
int rabbitmq_admin_bind_full_queue(const struct rabbitmq_server *s, const char *queue, const char *exchange);
/* How many messages wait in it; -1: it is not there. */
int rabbitmq_admin_waiting(const struct rabbitmq_server *s, const char *queue);

#endif /* STRATA_TESTS_RABBITMQ_SERVER_H */
