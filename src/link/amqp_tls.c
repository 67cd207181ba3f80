/* amqp_tls.c - the TLS socket of rabbitmq-c, where it was built with one. */
#include "src/link/amqp_session.h"

#if __has_include(<rabbitmq-c/ssl_socket.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/ssl_socket.h>
#else
#include <amqp.h>
#include <amqp_ssl_socket.h>
#endif

#include "src/base/err.h"

int strata__amqp_tls_built_in(void) { return 1; }

static int trust(amqp_socket_t *socket, const struct amqp_link_options *o, strata_error *err)
{
    if (o->ca_file != NULL)
        return amqp_ssl_socket_set_cacert(socket, o->ca_file) == AMQP_STATUS_OK
                   ? STRATA_OK
                   : strata__fail(err, STRATA_EIO, "tls_ca_file", "%.160s: no certificates in PEM can be read there",
                                  o->ca_file);
    return strata__amqp_trust_default(amqp_ssl_socket_get_context(socket)) == 0
               ? STRATA_OK
               : strata__fail(err, STRATA_EIO, "tls_ca_file", "OpenSSL has no certificates to trust: name a file");
}

struct amqp_socket_t_ *strata__amqp_tls_socket(struct amqp_connection_state_t_ *connection,
                                               const struct amqp_link_options *options, strata_error *err)
{
    amqp_socket_t *socket = amqp_ssl_socket_new(connection);
    int rc = STRATA_OK;
    if (socket == NULL) {
        (void)strata__fail_plain(err, STRATA_ENOMEM, options->name);
        return NULL;
    }
    if (amqp_ssl_socket_set_ssl_versions(socket, AMQP_TLSv1_2, AMQP_TLSvLATEST) != AMQP_STATUS_OK)
        rc = strata__fail(err, STRATA_EIO, options->name, "OpenSSL here has no TLS 1.2: it needs a newer one");
    amqp_ssl_socket_set_verify_peer(socket, (amqp_boolean_t)options->tls_verify);
    amqp_ssl_socket_set_verify_hostname(socket, (amqp_boolean_t)options->tls_verify);
    if (rc == STRATA_OK && options->tls_verify)
        rc = trust(socket, options, err);
    if (rc == STRATA_OK && options->cert_file != NULL &&
        amqp_ssl_socket_set_key(socket, options->cert_file, options->key_file) != AMQP_STATUS_OK)
        rc = strata__fail(err, STRATA_EIO, "tls_cert_file",
                          "%.100s and its key %.80s cannot be read in PEM, or do not belong together",
                          options->cert_file, options->key_file);
    return rc == STRATA_OK ? socket : NULL;
}
