/* redis_ask.h - one command at a time on a link, and what it answered, as plain things. */
#ifndef STRATA_TESTS_REDIS_ASK_H
#define STRATA_TESTS_REDIS_ASK_H
#include <stdint.h>
#include <string.h>

#include "src/link/redis_link.h"
#include "tests/support/tls_certs.h"

static inline struct redis_link_options redis_ask_options(uint16_t port)
{
    return (struct redis_link_options){
        .name = "redis",
        .host = "127.0.0.1",
        .port = port,
        .tls = tls_of_servers(),
        .connections = 1,
        .connect_timeout_ms = 20000,
        .backoff_min_ms = 5,
        .backoff_max_ms = 50,
        .max_pending = 100000,
    };
}

struct redis_answer {
    int status;
    enum redis_reply_kind kind;
    int64_t integer;
    size_t size;
    char text[4096]; /* the beginning; of an array, that of its first text */
    strata_error err;
};

static inline void redis_ask_done(struct redis_request *request)
{
    struct redis_answer *a = request->owner;
    a->status = request->status;
    a->err = request->err;
    if (request->status != STRATA_OK)
        return;
    a->kind = strata__redis_kind(request->reply);
    a->integer = strata__redis_integer(request->reply);
    const struct redisReply *reply = request->reply;
    if (a->kind == REDIS_IS_ARRAY && strata__redis_count(reply) > 0 &&
        strata__redis_kind(strata__redis_at(reply, 0)) == REDIS_IS_TEXT)
        reply = strata__redis_at(reply, 0);
    else if (a->kind == REDIS_IS_INTEGER || a->kind == REDIS_IS_ARRAY || a->kind == REDIS_IS_NIL)
        return;
    strata_slice text = strata__redis_text(reply);
    a->size = text.size;
    size_t some = text.size < sizeof a->text - 1 ? text.size : sizeof a->text - 1;
    memcpy(a->text, text.data, some);
    a->text[some] = '\0';
}

enum { REDIS_ASK_WORDS = 8 };

static inline struct redis_answer redis_ask_words(struct redis_link *link, int64_t timeout_ms, const char *const *words,
                                                  size_t count)
{
    strata_slice args[REDIS_ASK_WORDS];
    struct redis_answer answer = { 0 };
    struct redis_request request = { .args = args, .timeout_ms = timeout_ms, .done = redis_ask_done, .owner = &answer };
    for (; request.arg_count < count && request.arg_count < REDIS_ASK_WORDS; request.arg_count++)
        args[request.arg_count] = strata_str(words[request.arg_count]);
    strata__redis_call(link, &request);
    return answer;
}

/* The words of a command, up to three; NULL where there are no more. */
static inline struct redis_answer redis_ask(struct redis_link *link, int64_t timeout_ms, const char *a, const char *b,
                                            const char *c)
{
    const char *const words[] = { a, b, c };
    size_t count = 0;
    while (count < 3 && words[count] != NULL)
        count++;
    return redis_ask_words(link, timeout_ms, words, count);
}

#endif /* STRATA_TESTS_REDIS_ASK_H */
