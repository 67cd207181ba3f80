/* tls_certs_off.c - where OpenSSL is not: no test speaks TLS. */
#include <stddef.h>

#include "tests/support/tls_certs.h"

const struct tls_certs *tls_certs_of_servers(void) { return NULL; }

const struct redis_tls *tls_of_servers(void) { return NULL; }
