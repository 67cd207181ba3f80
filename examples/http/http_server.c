/* http_server.c - see http_server.h. */
#define _DEFAULT_SOURCE /* strdup(), also with -std=c11 */
#include "http_server.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { MAX_BODY_BYTES = 1 << 20, MAX_CONNECTIONS = 1000, IDLE_SECONDS = 30 };

struct http_server {
    struct MHD_Daemon *daemon;
    struct http_cache *cache;
    http_handler handler;
    void *handler_ctx;
    struct MHD_Response *constant;
};

/* One request, from its first line to its last byte. */
struct exchange {
    char *target;
    struct http_text body;
    int begun;
};

/* libmicrohttpd decodes the path; caches want it as it came. */
static void *first_line(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);
    (void)cls, (void)connection;
    if (exchange != NULL && (exchange->target = strdup(uri)) == NULL) {
        free(exchange);
        exchange = NULL;
    }
    return exchange;
}

static void ended(void *cls, struct MHD_Connection *connection, void **con_cls, enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *con_cls;
    (void)cls, (void)connection, (void)code;
    if (exchange == NULL)
        return;
    free(exchange->target);
    http_text_free(&exchange->body);
    free(exchange);
    *con_cls = NULL;
}

struct walk {
    http_visit visit;
    void *ctx;
};

static enum MHD_Result step(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct walk *walk = cls;
    (void)kind;
    return walk->visit(name, value != NULL ? value : "", walk->ctx) == 0 ? MHD_YES : MHD_NO;
}

static void each_field(const struct http_request *request, http_visit visit, void *ctx)
{
    struct walk walk = { visit, ctx };
    MHD_get_connection_values((struct MHD_Connection *)(size_t)request->fields, MHD_HEADER_KIND, step, &walk);
}

static void sent(void *cls)
{
    http_answer_free(cls);
    free(cls);
}

static void add_block(struct MHD_Response *response, const char *block, size_t size)
{
    const char *name, *value;
    for (size_t at = 0; http_block_next(block, size, &at, &name, &value);)
        (void)MHD_add_response_header(response, name, value); /* one that is no field is left out */
}

/* The body goes out from where it is stored, and is given back when the last byte has left. */
static enum MHD_Result send_answer(struct MHD_Connection *connection, struct http_answer *answer)
{
    static char nothing[1];
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        answer->body_size, answer->body_size > 0 ? (void *)(size_t)answer->body : nothing, sent, answer);
    if (response == NULL) {
        sent(answer);
        return MHD_NO;
    }
    add_block(response, answer->fields, answer->fields_size);
    add_block(response, answer->extra.data, answer->extra.size);
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)answer->status, response);
    MHD_destroy_response(response);
    return result;
}

/* Without a cache in between. */
static void ask_handler(struct http_server *server, const struct http_request *request, struct http_answer *out)
{
    struct http_response *response = calloc(1, sizeof *response);
    *out = (struct http_answer){ .status = 500, .response = response };
    if (response == NULL)
        return;
    response->status = 200;
    if (server->handler(request, response, server->handler_ctx) != 0)
        response->status = 502;
    out->status = response->status;
    out->fields = response->fields.data;
    out->fields_size = response->fields.size;
    out->body = response->body.data;
    out->body_size = response->body.size;
}

static enum MHD_Result serve(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                             const char *version, const char *data, size_t *size, void **con_cls)
{
    struct http_server *server = cls;
    struct exchange *exchange = *con_cls;
    (void)url, (void)version;
    if (exchange == NULL)
        return MHD_NO;
    if (!exchange->begun) { /* its body comes with the next calls */
        exchange->begun = 1;
        return MHD_YES;
    }
    if (*size > 0) {
        if (exchange->body.size + *size > MAX_BODY_BYTES)
            return MHD_NO;
        http_text_add(&exchange->body, data, *size);
        *size = 0;
        return MHD_YES;
    }
    if (server->constant != NULL)
        return MHD_queue_response(connection, 200, server->constant);
    struct http_answer *answer = malloc(sizeof *answer);
    if (answer == NULL || exchange->body.failed) {
        free(answer);
        return MHD_NO;
    }
    const struct http_request request = { method,     exchange->target, exchange->body.data, exchange->body.size,
                                          each_field, connection };
    if (server->cache != NULL)
        http_cache_handle(server->cache, &request, answer);
    else
        ask_handler(server, &request, answer);
    return send_answer(connection, answer);
}

static struct MHD_Response *constant_text(void)
{
    static char text[] = "{\"id\":1,\"name\":\"the name of user 1\"}\n";
    struct MHD_Response *response = MHD_create_response_from_buffer(sizeof text - 1, text, MHD_RESPMEM_PERSISTENT);
    if (response != NULL)
        (void)MHD_add_response_header(response, "Content-Type", "application/json");
    return response;
}

int http_server_start(struct http_server **out, uint16_t port, struct http_cache *cache, http_handler handler, void *ctx)
{
    struct http_server *server = calloc(1, sizeof *server);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *out = server;
    if (server == NULL)
        return -1;
    server->cache = cache;
    server->handler = handler;
    server->handler_ctx = ctx;
    server->constant = cache == NULL && handler == NULL ? constant_text() : NULL;
    server->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, port, NULL, NULL, serve, server,
        MHD_OPTION_SOCK_ADDR, (struct sockaddr *)(void *)&address, MHD_OPTION_URI_LOG_CALLBACK, first_line, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, ended, NULL, MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_END);
    if (server->daemon == NULL) {
        http_server_stop(server);
        *out = NULL;
        return -1;
    }
    return 0;
}

uint16_t http_server_port(const struct http_server *server)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info != NULL ? info->port : 0;
}

void http_server_stop(struct http_server *server)
{
    if (server == NULL)
        return;
    if (server->daemon != NULL)
        MHD_stop_daemon(server->daemon);
    if (server->constant != NULL)
        MHD_destroy_response(server->constant);
    free(server);
}
