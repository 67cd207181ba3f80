/* amqp_trust.c - the one thing that rabbitmq-c (before 0.12) leaves to OpenSSL: whom this machine trusts. */
#include <openssl/ssl.h>

#include "src/link/amqp_session.h"

int strata__amqp_trust_default(void *ssl_ctx) { return SSL_CTX_set_default_verify_paths(ssl_ctx) == 1 ? 0 : -1; }
