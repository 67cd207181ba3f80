/* example_http.c - an HTTP API over SQLite (users_api.h), with a cache of its responses in between (cache_middleware.h).
 *
 *   example_http [--port N] [--layers URL] [--work-ms N] [--no-cache | --constant]
 *
 * It prints its address, and serves until its standard input ends.
 *   curl -i http://127.0.0.1:PORT/users/1
 * --layers is the stack, with Redis "memory:?max_bytes=64mb | redis://127.0.0.1:6379?prefix=http:".  --constant answers each request with
 * the same text: what the server alone can do. */
#include "http_server.h"
#include "users_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    uint16_t port;
    const char *layers;
    long work_ms;
    int no_cache, constant;
};

static int read_options(int argc, char **argv, struct options *out)
{
    *out = (struct options){ .layers = "memory:?max_bytes=64mb" };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--no-cache") == 0)
            out->no_cache = 1;
        else if (strcmp(argv[i], "--constant") == 0)
            out->constant = 1;
        else if (i + 1 < argc && strcmp(argv[i], "--port") == 0)
            out->port = (uint16_t)strtoul(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--layers") == 0)
            out->layers = argv[++i];
        else if (i + 1 < argc && strcmp(argv[i], "--work-ms") == 0)
            out->work_ms = strtol(argv[++i], NULL, 10);
        else
            return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct options options;
    struct users_api *api = NULL;
    struct http_server *server = NULL;
    struct http_cache *http = NULL;
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    int status = STRATA_OK;
    if (read_options(argc, argv, &options) != 0) {
        fprintf(stderr, "usage: example_http [--port N] [--layers URL] [--work-ms N] [--no-cache | --constant]\n");
        return 2;
    }
    if (!options.constant && (api = users_api_open(options.work_ms)) == NULL)
        status = STRATA_ENOMEM;
    if (status >= 0 && !options.constant && !options.no_cache) {
        status = strata_open_url(&cache, options.layers, NULL, &err);
        const struct http_cache_options caching = { .cache = cache, .handler = users_api_answer, .handler_ctx = api };
        if (status >= 0)
            status = http_cache_open(&http, &caching, &err);
    }
    if (status >= 0 && http_server_start(&server, options.port, http, api != NULL ? users_api_answer : NULL, api) != 0)
        status = STRATA_EIO;
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", err.where, err.message[0] != '\0' ? err.message : strata_status_text(status));
    } else {
        printf("http://127.0.0.1:%u\n", (unsigned)http_server_port(server));
        fflush(stdout);
        while (getchar() != EOF) {}
    }
    http_server_stop(server); /* first: its threads are in calls of the cache */
    strata_close(cache);      /* waits for handlers that refresh something */
    http_cache_close(http);
    users_api_close(api);
    return status < 0;
}
