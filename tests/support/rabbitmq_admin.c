/* rabbitmq_admin.c - see rabbitmq_server.h: one short connection for each call. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_tcp_socket.h>
#endif

#include "tests/support/rabbitmq_server.h"

static amqp_connection_state_t come_in(const struct rabbitmq_server *s)
{
    amqp_connection_state_t c = amqp_new_connection();
    if (amqp_socket_open(amqp_tcp_socket_new(c), "127.0.0.1", s->port) != AMQP_STATUS_OK ||
        amqp_login(c, "/", 1, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest").reply_type != AMQP_RESPONSE_NORMAL ||
        amqp_channel_open(c, 1) == NULL) {
        (void)fprintf(stderr, "rabbitmq_admin: no way in\n");
        abort();
    }
    return c;
}

static int go_out(amqp_connection_state_t c, int good)
{
    (void)amqp_connection_close(c, AMQP_REPLY_SUCCESS);
    (void)amqp_destroy_connection(c);
    return good;
}

int rabbitmq_admin_delete_queue(const struct rabbitmq_server *s, const char *queue)
{
    amqp_connection_state_t c = come_in(s);
    return go_out(c, amqp_queue_delete(c, 1, amqp_cstring_bytes(queue), 0, 0) != NULL);
}

int rabbitmq_admin_declare_exchange(const struct rabbitmq_server *s, const char *exchange, const char *type)
{
    amqp_connection_state_t c = come_in(s);
    return go_out(c, amqp_exchange_declare(c, 1, amqp_cstring_bytes(exchange), amqp_cstring_bytes(type), 0, 0, 0, 0,
                                           amqp_empty_table) != NULL);
}

int rabbitmq_admin_bind_full_queue(const struct rabbitmq_server *s, const char *queue, const char *exchange)
{
    amqp_connection_state_t c = come_in(s);
    amqp_table_entry_t limits[] = {
        { .key = amqp_cstring_bytes("x-max-length"), .value = { .kind = AMQP_FIELD_KIND_I32, .value = { .i32 = 1 } } },
        { .key = amqp_cstring_bytes("x-overflow"),
          .value = { .kind = AMQP_FIELD_KIND_UTF8, .value = { .bytes = amqp_cstring_bytes("reject-publish") } } }
    };
    const amqp_table_t arguments = { .num_entries = 2, .entries = limits };
    int good = amqp_queue_declare(c, 1, amqp_cstring_bytes(queue), 0, 1, 0, 0, arguments) != NULL &&
               amqp_queue_bind(c, 1, amqp_cstring_bytes(queue), amqp_cstring_bytes(exchange), amqp_empty_bytes,
                               amqp_empty_table) != NULL;
    for (int i = 0; i < 3 && good; i++)
        good = amqp_basic_publish(c, 1, amqp_empty_bytes, amqp_cstring_bytes(queue), 0, 0, NULL,
                                  amqp_cstring_bytes("full")) == AMQP_STATUS_OK;
    return go_out(c, good);
}

int rabbitmq_admin_unbind(const struct rabbitmq_server *s, const char *queue, const char *exchange, const char *key)
{
    amqp_connection_state_t c = come_in(s);
    return go_out(c, amqp_queue_unbind(c, 1, amqp_cstring_bytes(queue), amqp_cstring_bytes(exchange),
                                       amqp_cstring_bytes(key), amqp_empty_table) != NULL);
}

int rabbitmq_admin_publish(const struct rabbitmq_server *s, const char *exchange, const char *key, size_t size)
{
    amqp_connection_state_t c = come_in(s);
    amqp_bytes_t body = amqp_bytes_malloc(size);
    for (size_t i = 0; i < size; i++)
        ((char *)body.bytes)[i] = 'x';
    int code = amqp_basic_publish(c, 1, amqp_cstring_bytes(exchange), amqp_cstring_bytes(key), 0, 0, NULL, body);
    amqp_bytes_free(body);
    return go_out(c, code == AMQP_STATUS_OK);
}

int rabbitmq_admin_waiting(const struct rabbitmq_server *s, const char *queue)
{
    amqp_connection_state_t c = come_in(s);
    const amqp_queue_declare_ok_t *ok = amqp_queue_declare(c, 1, amqp_cstring_bytes(queue), 1, 0, 0, 0,
                                                           amqp_empty_table);
    int waiting = ok != NULL ? (int)ok->message_count : -1;
    return go_out(c, waiting);
}
