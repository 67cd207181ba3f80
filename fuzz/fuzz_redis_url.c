/* fuzz_redis_url.c - a server's URL is taken apart within its bytes or refused in words, which show nothing of a password. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/link/redis_url.h"

/* Stands where a seed has a password; no error may contain it, wherever else it comes to stand. */
#define SECRET "q7Zx9KpW"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int condition)
{
    if (!condition)
        abort();
}

/* Part of the text, its end included, or static. */
static void inside(const char *part, const char *text, size_t size)
{
    if (part != NULL && (uintptr_t)part >= (uintptr_t)text && (uintptr_t)part <= (uintptr_t)text + size)
        demand((uintptr_t)part + strlen(part) <= (uintptr_t)text + size);
}

static void check_host(const char *host, uint32_t port, const char *text, size_t size)
{
    demand(host != NULL && host[0] != '\0' && port > 0 && port <= 65535);
    inside(host, text, size);
}

static void check(const struct redis_url *url, const char *text, size_t size)
{
    inside(url->user, text, size);
    inside(url->password, text, size);
    inside(url->master_name, text, size);
    demand(url->database <= INT32_MAX && url->host_count <= REDIS_URL_HOSTS);
    if (url->topology == REDIS_ALONE && url->socket_path != NULL)
        demand(url->socket_path[0] != '\0');
    else if (url->topology == REDIS_ALONE)
        check_host(url->host, url->port, text, size);
    else
        demand(url->host_count > 0);
    for (size_t i = 0; i < url->host_count; i++)
        check_host(url->hosts[i].host, url->hosts[i].port, text, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct redis_url url;
    strata_error err = STRATA_ERROR_INIT;
    char *text = malloc(size + 1);
    demand(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    size = strlen(text);
    int rc = strata__redis_url_parse(text, &url, &err);
    demand(rc == STRATA_OK || rc == STRATA_EINVAL || rc == STRATA_EUNSUPPORTED);
    if (rc == STRATA_OK)
        check(&url, text, size);
    else
        demand(err.status == rc && err.message[0] != '\0' && strstr(err.message, SECRET) == NULL);
    if (rc == STRATA_OK && strata__redis_url_cluster(&url, &err) == STRATA_OK)
        demand(url.topology == REDIS_CLUSTER);
    free(text);
    return 0;
}
