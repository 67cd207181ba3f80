/* test_redis_auth_words.c - whatever a server says to an AUTH that it refuses, no words of ours have the password in them. */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/fake_server.h"
#include "tests/support/redis_ask.h"

enum { LONG_MS = 20000 };

/* A proxy, or a server whose AUTH has another name: what it does not know it repeats. */
static void serve_no_auth(struct fake_server *f, int fd, int nth)
{
    char name[32], password[32];
    (void)nth;
    if (fake_read_command(fd, name, password) && fake_send(fd, f->ctx))
        fake_ignore(fd);
}

static void hides_password(const char *reply, const char *words)
{
    struct fake_server f;
    char copy[128];
    (void)snprintf(copy, sizeof copy, "%s", reply);
    fake_server_start(&f, serve_no_auth, copy);
    struct redis_link_options options = redis_ask_options(f.port);
    options.password = "hunter2";
    struct redis_link *link;
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(strata__redis_open(&link, &options, &err), STRATA_OK);
    struct redis_answer answer = redis_ask(link, LONG_MS, "GET", "a", NULL);
    assert_int_equal(answer.status, STRATA_EIO);
    assert_string_equal(answer.err.where, "redis");
    if (strstr(answer.err.message, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", answer.err.message, words);
    assert_null(strstr(answer.err.message, "hunter"));
    strata__redis_close(link);
    fake_server_stop(&f);
}

static void no_words_hold_the_password(void **state)
{
    (void)state;
    hides_password("-ERR unknown command 'AUTH', with args beginning with: 'hunter2' \r\n", "ERR unknown command");
    hides_password("-ERR unknown command `AUTH`, with args beginning with: `hunter`\r\n", "ERR unknown command");
    hides_password("-no such thing as AUTH hunter2\r\n", "no such thing as AUTH");
    hides_password("-WRONGPASS invalid username-password pair or user is disabled.\r\n", "user is disabled");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_words_hold_the_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
