/* tls_certs.h - certificates for tests, made when they run: an authority, what it signed, and another authority. */
#ifndef STRATA_TESTS_TLS_CERTS_H
#define STRATA_TESTS_TLS_CERTS_H
#include "src/link/redis_tls.h"

enum { TLS_PATH = 320 };

struct tls_files {
    char cert[TLS_PATH], key[TLS_PATH];
};

struct tls_certs {
    char dir[256]; /* the authority is in it under its hash, too */
    struct tls_files ca, other_ca;
    struct tls_files server;  /* "localhost", 127.0.0.1, ::1 */
    struct tls_files expired; /* the same, until yesterday */
    struct tls_files strange; /* "elsewhere.example" */
    struct tls_files client;
};

void tls_certs_make(struct tls_certs *c);
void tls_certs_remove(struct tls_certs *c);

/* With STRATA_TEST_TLS in the environment, servers of redis_server.h speak TLS alone on their ports, with certificates that are made
 * once and go at exit.  NULL: they do not. */
const struct tls_certs *tls_certs_of_servers(void);
/* For links to these; NULL: plain. */
const struct redis_tls *tls_of_servers(void);

#endif /* STRATA_TESTS_TLS_CERTS_H */
