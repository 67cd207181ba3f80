/* http_server.h - what joins the cache to libmicrohttpd: a thread for each connection, on 127.0.0.1. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H
#include "cache_middleware.h"
#include <stdint.h>

struct http_server;

/* Port 0: any free one.  With `cache` requests go through it, else to the handler itself; without either each gets one constant
 * text, which is what the server alone can do.  0, or -1. */
int http_server_start(struct http_server **out, uint16_t port, struct http_cache *cache, http_handler handler,
                      void *ctx);
uint16_t http_server_port(const struct http_server *server);
/* No request is under way after it. */
void http_server_stop(struct http_server *server);

#endif /* HTTP_SERVER_H */
