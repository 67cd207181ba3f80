/* fuzz_nats.c - what comes from a NATS server, and its URL: taken apart within its bytes, or refused in words that show nothing of a
 * password. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/bus/nats/nats_answer.h"
#include "src/bus/nats/nats_place.h"
#include "src/bus/nats/nats_url.h"

/* Stands where a seed has a password; no error may contain it. */
#define SECRET "q7Zx9KpW"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int condition)
{
    if (!condition)
        abort();
}

static void check_url(const char *from)
{
    static struct nats_url url;
    strata_error err = STRATA_ERROR_INIT;
    size_t size = strlen(from);
    char *text = malloc(size + 1);
    demand(text != NULL);
    memcpy(text, from, size + 1);
    int rc = strata__nats_url_parse(text, &url, &err);
    if (rc != STRATA_OK)
        demand(rc == STRATA_EINVAL && err.message[0] != '\0' && strstr(err.message, SECRET) == NULL);
    for (size_t i = 0; rc == STRATA_OK && i < url.host_count; i++)
        demand(url.hosts[i].host[0] != '\0' && strlen(url.hosts[i].host) <= NATS_HOST_BYTES && url.hosts[i].port > 0 &&
               url.hosts[i].port <= 65535);
    demand(rc != STRATA_OK || (url.host_count > 0 && (url.user == NULL) == (url.password == NULL)));
    free(text);
}

static void check_reply(const char *text)
{
    uint64_t stream = 0, consumer = 0;
    struct nats_place place = { .known = 1, .last = 5, .number = 3 };
    if (!strata__nats_numbers(text, &stream, &consumer))
        return;
    demand(strncmp(text, "$JS.ACK.", 8) == 0 && stream != 0 && consumer != 0);
    enum nats_step step = strata__nats_step(&place, stream, consumer);
    demand((step == NATS_STEP_MISSING) == (consumer != 4));
    demand(place.last >= 5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char words[32], *text = malloc(size + 1);
    struct nats_place place;
    demand(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    check_url(text);
    check_reply(text);
    if (strata__nats_answer(strata_bytes(data, size), words, sizeof words))
        demand(words[0] == '\0');
    demand(strlen(words) < sizeof words);
    demand(strata__nats_cursor_read(strata_bytes(data, size), &place) == (size == NATS_CURSOR_BYTES));
    free(text);
    return 0;
}
