/* amqp_tls_off.c - built where rabbitmq-c has no TLS, or OpenSSL is not there. */
#include "src/base/err.h"
#include "src/link/amqp_session.h"

int strata__amqp_tls_built_in(void) { return 0; }

struct amqp_socket_t_ *strata__amqp_tls_socket(struct amqp_connection_state_t_ *connection,
                                               const struct amqp_link_options *options, strata_error *err)
{
    (void)connection;
    (void)strata__fail(err, STRATA_EUNSUPPORTED, options->name, "this build of strata has no TLS for RabbitMQ");
    return NULL;
}
