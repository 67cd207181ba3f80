/* redis_do.h - any command of up to eight words on a link, asked as another program would: what a test does behind a layer's
 * back. */
#ifndef STRATA_TESTS_REDIS_DO_H
#define STRATA_TESTS_REDIS_DO_H
#include "tests/support/redis_ask.h"
#include "tests/support/redis_server.h"

static inline struct redis_link *redis_do_open(const struct redis_server *server)
{
    struct redis_link_options options = redis_ask_options(server->port);
    struct redis_link *link = NULL;
    options.password = server->password;
    if (strata__redis_open(&link, &options, NULL) != STRATA_OK)
        abort();
    return link;
}

/* The last word is binary. */
static inline struct redis_answer redis_do_slice(struct redis_link *link, const char *const *words, strata_slice last)
{
    strata_slice args[8];
    struct redis_answer answer = { 0 };
    struct redis_request request = { .args = args, .timeout_ms = 60000, .done = redis_ask_done, .owner = &answer };
    for (; request.arg_count < 7 && words[request.arg_count] != NULL; request.arg_count++)
        args[request.arg_count] = strata_str(words[request.arg_count]);
    args[request.arg_count++] = last;
    strata__redis_call(link, &request);
    return answer;
}

/* redis_do(link, "CONFIG", "SET", "maxmemory", "1") */
#define redis_do(link, ...) redis_do_words(link, (const char *const[]){ __VA_ARGS__, NULL })
static inline struct redis_answer redis_do_words(struct redis_link *link, const char *const *words)
{
    const char *first[8] = { NULL };
    size_t count = 0;
    for (; count < 7 && words[count + 1] != NULL; count++)
        first[count] = words[count];
    return redis_do_slice(link, first, strata_str(words[count]));
}

#endif /* STRATA_TESTS_REDIS_DO_H */
