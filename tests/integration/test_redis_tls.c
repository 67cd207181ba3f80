/* test_redis_tls.c - links over TLS: to real servers whose certificates are good, expired, of another, signed by nobody we know; that
 * want one of ours; that speak no TLS; and to what hangs up, babbles or says nothing in the handshake. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "strata/strata.h"
#include "tests/support/fake_server.h"
#include "tests/support/fault_nth.h"
#include "tests/support/open_alone.h"
#include "tests/support/redis_ask.h"
#include "tests/support/redis_server.h"

enum { LONG_MS = 20000, LARGE_BYTES = 8 << 20 };

static struct tls_certs certs;
static strata_error err;

static struct redis_tls *open_tls(struct redis_tls_options options)
{
    struct redis_tls *tls;
    options.name = "redis";
    if (strata__redis_tls_open(&tls, &options, &err) != STRATA_OK)
        fail_msg("%s", err.message);
    return tls;
}

static struct redis_tls_options trusting(void)
{
    return (struct redis_tls_options){ .ca_file = certs.ca.cert, .verify = 1 };
}

/* One PING over it. */
static struct redis_answer ping(uint16_t port, struct redis_tls_options options, const char *host, int64_t patience_ms)
{
    struct redis_tls *tls = open_tls(options);
    struct redis_link_options link_options = redis_ask_options(port);
    struct redis_link *link;
    link_options.tls = tls;
    link_options.host = host;
    link_options.connect_timeout_ms = patience_ms;
    link_options.backoff_min_ms = link_options.backoff_max_ms = 20000; /* the first attempt counts */
    assert_int_equal(strata__redis_open(&link, &link_options, &err), STRATA_OK);
    struct redis_answer answer = redis_ask(link, LONG_MS, "PING", NULL, NULL);
    strata__redis_close(link);
    strata__redis_tls_free(tls);
    return answer;
}

static void says(struct redis_answer answer, const char *words)
{
    if (answer.status != STRATA_EIO || strstr(answer.err.message, words) == NULL)
        fail_msg("status %d, %s", answer.status, answer.status < 0 ? answer.err.message : answer.text);
    assert_true(strlen(answer.err.message) < sizeof answer.err.message - 1); /* nothing was cut off */
}

static void good(struct redis_answer answer)
{
    if (answer.status != STRATA_OK)
        fail_msg("%s", answer.err.message);
    assert_string_equal(answer.text, "PONG");
}

static void test_good_servers(void **state)
{
    struct redis_server s;
    (void)state;
    redis_server_start_tls(&s, &certs.server, NULL);
    good(ping(s.port, trusting(), "127.0.0.1", LONG_MS));
    good(ping(s.port, (struct redis_tls_options){ .ca_dir = certs.dir, .verify = 1 }, "127.0.0.1", LONG_MS));
    struct redis_tls_options named = trusting();
    named.server_name = "localhost";
    good(ping(s.port, named, "127.0.0.1", LONG_MS));
    good(ping(s.port, (struct redis_tls_options){ .ca_file = certs.other_ca.cert }, "127.0.0.1", LONG_MS));
    redis_server_stop(&s);
}

static void test_wrong_certificates(void **state)
{
    struct redis_server s;
    (void)state;
    redis_server_start_tls(&s, &certs.server, NULL);
    struct redis_tls_options other = { .ca_file = certs.other_ca.cert, .verify = 1 };
    says(ping(s.port, other, "127.0.0.1", LONG_MS), "tls_ca_file");
    says(ping(s.port, (struct redis_tls_options){ .verify = 1 }, "127.0.0.1", LONG_MS), "tls_ca_file");
    struct redis_tls_options named = trusting();
    named.server_name = "elsewhere.example";
    says(ping(s.port, named, "127.0.0.1", LONG_MS), "hostname mismatch: its certificate is for another");
    named.server_name = "127.0.0.2";
    says(ping(s.port, named, "127.0.0.1", LONG_MS), "IP address mismatch: its certificate is for another");
    redis_server_stop(&s);
    redis_server_start_tls(&s, &certs.expired, NULL);
    says(ping(s.port, trusting(), "127.0.0.1", LONG_MS), "certificate has expired: renew");
    redis_server_stop(&s);
    redis_server_start_tls(&s, &certs.strange, NULL);
    says(ping(s.port, trusting(), "127.0.0.1", LONG_MS), "tls_server_name");
    named.server_name = "elsewhere.example";
    good(ping(s.port, named, "127.0.0.1", LONG_MS));
    redis_server_stop(&s);
}

static void test_certificates_of_clients(void **state)
{
    struct redis_server s;
    (void)state;
    redis_server_start_tls(&s, &certs.server, certs.ca.cert);
    says(ping(s.port, trusting(), "127.0.0.1", LONG_MS), "tls_cert_file"); /* by its alert, or because it hung up */
    struct redis_tls_options own = trusting();
    own.cert_file = certs.client.cert;
    own.key_file = certs.client.key;
    good(ping(s.port, own, "127.0.0.1", LONG_MS));
    own.cert_file = certs.other_ca.cert;
    own.key_file = certs.other_ca.key;
    says(ping(s.port, own, "127.0.0.1", LONG_MS), "tls_cert_file");
    redis_server_stop(&s);
}

static void babble(struct fake_server *f, int fd, int nth)
{
    (void)nth;
    char byte;
    if (read(fd, &byte, 1) == 1 && fake_send(fd, f->ctx) && ((const char *)f->ctx)[0] == ' ')
        fake_ignore(fd);
}

static void test_no_tls_there(void **state)
{
    struct fake_server f;
    (void)state;
    fake_server_start(&f, babble, "-ERR Protocol error: unbalanced quotes in request\r\n");
    says(ping(f.port, trusting(), "127.0.0.1", LONG_MS), "no TLS is spoken at this port");
    fake_server_stop(&f);
    fake_server_start(&f, babble, "");
    says(ping(f.port, trusting(), "127.0.0.1", LONG_MS), "handshake");
    fake_server_stop(&f);
    fake_server_start(&f, babble, " "); /* waits for more of what it takes for a command */
    says(ping(f.port, trusting(), "127.0.0.1", 50), "TLS: no answer in the handshake");
    fake_server_stop(&f);
}

/* A real one that speaks no TLS answers in its own way, or waits; a link without TLS finds one that speaks nothing else. */
static void test_plain_meets_tls(void **state)
{
    struct redis_server s;
    struct redis_link *link;
    (void)state;
    redis_server_start(&s, NULL);
    says(ping(s.port, trusting(), "127.0.0.1", 500), "TLS");
    redis_server_stop(&s);
    redis_server_start_tls(&s, &certs.server, NULL);
    struct redis_link_options options = redis_ask_options(s.port);
    assert_int_equal(strata__redis_open(&link, &options, &err), STRATA_OK);
    assert_int_equal(redis_ask(link, LONG_MS, "PING", NULL, NULL).status, STRATA_EIO);
    strata__redis_close(link);
    redis_server_stop(&s);
}

static void refused(struct redis_tls_options options, const char *words)
{
    struct redis_tls *tls;
    options.name = "redis";
    assert_int_equal(strata__redis_tls_open(&tls, &options, &err), STRATA_EINVAL);
    assert_null(tls);
    if (strstr(err.message, words) == NULL)
        fail_msg("%s", err.message);
}

static void test_files_that_are_none(void **state)
{
    (void)state;
    refused((struct redis_tls_options){ .ca_file = "/nowhere/ca.crt" }, "tls_ca_file \"/nowhere/ca.crt\"");
    refused((struct redis_tls_options){ .ca_file = certs.ca.key }, "tls_ca_file");
    refused((struct redis_tls_options){ .cert_file = "/nowhere/a.crt", .key_file = certs.client.key }, "tls_cert_file");
    refused((struct redis_tls_options){ .cert_file = certs.client.cert, .key_file = "/nowhere/a.key" }, "tls_key_file");
    refused((struct redis_tls_options){ .cert_file = certs.client.cert, .key_file = certs.server.key }, "tls_key_file");
}

/* By name, where this machine knows any: a bare one may have no hosts file. */
static const char *own_name(void)
{
    struct addrinfo *found = NULL;
    int known = getaddrinfo("localhost", NULL, NULL, &found) == 0;
    if (known)
        freeaddrinfo(found);
    return known ? "localhost" : "127.0.0.1";
}

static int open_url(strata **out, const char *format, unsigned port, const char *more)
{
    char url[1200];
    snprintf(url, sizeof url, format, port, more);
    return open_url_alone(out, url, NULL, &err);
}

static void test_through_the_layer(void **state)
{
    struct redis_server s;
    strata *cache;
    strata_value *v;
    char *large = malloc(LARGE_BYTES);
    (void)state;
    assert_non_null(large);
    for (size_t i = 0; i < LARGE_BYTES; i++)
        large[i] = (char)(i * 2654435761u >> 16);
    redis_server_start_tls(&s, &certs.server, NULL);
    char format[160];
    snprintf(format, sizeof format,
             "rediss://%s:%%u?soft_timeout_ms=60s&timeout_ms=60s&connect_timeout_ms=60s&tls_ca_file=%%s", own_name());
    assert_int_equal(open_url(&cache, format, s.port, certs.ca.cert), STRATA_OK);
    assert_int_equal(strata_set(cache, strata_str("k"), strata_bytes(large, LARGE_BYTES), NULL, &err), STRATA_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(strata_get(cache, strata_str("k"), &v, &err), STRATA_OK);
        assert_int_equal(strata_value_size(v), LARGE_BYTES);
        assert_memory_equal(strata_value_data(v), large, LARGE_BYTES);
        strata_value_unref(v);
    }
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_int_equal(open_url(&cache, "rediss://127.0.0.1:%u?tls_verify=off%s", s.port, "&connect_timeout_ms=60s"),
                     STRATA_OK);
    assert_int_equal(strata_get(cache, strata_str("none"), &v, &err), STRATA_MISS);
    assert_int_equal(strata_close(cache), STRATA_OK);
    redis_server_stop(&s);
    free(large);
}

static void test_options(void **state)
{
    strata *cache;
    (void)state;
    assert_int_equal(open_url(&cache, "redis://127.0.0.1:%u?tls_ca_file=%s", 1, certs.ca.cert), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "rediss://"));
    assert_int_equal(open_url(&cache, "redis://127.0.0.1:%u?tls_verify=off%s", 1, ""), STRATA_EINVAL);
    assert_int_equal(open_url(&cache, "rediss://127.0.0.1:%u?tls_cert_file=%s", 1, certs.client.cert), STRATA_EINVAL);
    assert_string_equal(err.where, "tls_key_file");
    assert_int_equal(open_url(&cache, "rediss://127.0.0.1:%u?tls_ca_file=%s", 1, "/nowhere"), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "tls_ca_file"));
}

static int keep_asking(struct redis_link *link)
{
    struct redis_answer answer;
    do
        answer = redis_ask(link, LONG_MS, "PING", NULL, NULL);
    while (answer.status == STRATA_EIO);
    return answer.status;
}

static size_t one_byte(const char *call, size_t size, void *ctx)
{
    (void)call, (void)ctx;
    return size < 1 ? size : 1;
}

static int never_fails(const char *call, void *ctx)
{
    (void)call, (void)ctx;
    return 0;
}

/* The n-th read or write fails, in the handshake or behind it; and all of them move a byte at a time. */
static void test_faults(void **state)
{
    static const struct {
        const char *call;
        int os_errno;
    } calls[] = { { "recv", ECONNRESET }, { "send", EPIPE }, { "recv", EAGAIN }, { "send", EAGAIN } };
    static const struct os_fault_hook bytes = { never_fails, NULL, one_byte };
    struct redis_server s;
    struct redis_link *link;
    (void)state;
    redis_server_start_tls(&s, &certs.server, NULL);
    struct redis_tls *tls = open_tls(trusting());
    struct redis_link_options options = redis_ask_options(s.port);
    options.tls = tls;
    for (size_t i = 0; i <= sizeof calls / sizeof calls[0]; i++) {
        for (int nth = 1; nth < 12; nth++) {
            struct fault_nth fault;
            if (i < sizeof calls / sizeof calls[0])
                fault_nth_set(&fault, calls[i].call, nth, calls[i].os_errno);
            else
                strata__os_fault_set(&bytes);
            assert_int_equal(strata__redis_open(&link, &options, &err), STRATA_OK);
            assert_int_equal(keep_asking(link), STRATA_OK);
            strata__redis_close(link);
            fault_nth_clear();
        }
    }
    strata__redis_tls_free(tls);
    redis_server_stop(&s);
}

static size_t quarter_record(const char *call, size_t size, void *ctx)
{
    (void)ctx;
    return strcmp(call, "recv") == 0 && size > 4096 ? 4096 : size;
}

/* Replies of one record of TLS and of many, each of which comes in pieces: the socket shows nothing of
 * what was decrypted and not handed out. */
static void test_replies_of_many_reads(void **state)
{
    enum { RECORD = 16 * 1024, MOST = 36 };
    static const struct os_fault_hook pieces = { never_fails, NULL, quarter_record };
    struct redis_server s;
    struct redis_link *link;
    char *text = calloc(MOST, RECORD);
    (void)state;
    assert_non_null(text);
    redis_server_start_tls(&s, &certs.server, NULL);
    struct redis_tls *tls = open_tls(trusting());
    struct redis_link_options options = redis_ask_options(s.port);
    options.tls = tls;
    assert_int_equal(strata__redis_open(&link, &options, &err), STRATA_OK);
    assert_int_equal(keep_asking(link), STRATA_OK);
    strata__os_fault_set(&pieces);
    for (size_t records = 1; records < MOST; records++) {
        memset(text, 'x', records * RECORD - 100);
        struct redis_answer answer = redis_ask(link, LONG_MS, "ECHO", text, NULL);
        assert_int_equal(answer.status, STRATA_OK);
        assert_int_equal(answer.size, records * RECORD - 100);
    }
    fault_nth_clear();
    strata__redis_close(link);
    strata__redis_tls_free(tls);
    redis_server_stop(&s);
    free(text);
}

/* The end of a connection is said as TLS says it, and the server knows it: it counts no error. */
static void test_lost_and_made_again(void **state)
{
    struct redis_server s;
    struct redis_link *link;
    struct redis_link_counts counts;
    (void)state;
    redis_server_start_tls(&s, &certs.server, NULL);
    struct redis_tls *tls = open_tls(trusting());
    struct redis_link_options options = redis_ask_options(s.port);
    options.tls = tls;
    assert_int_equal(strata__redis_open(&link, &options, &err), STRATA_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(keep_asking(link), STRATA_OK);
        (void)redis_ask(link, LONG_MS, "CLIENT", "KILL", "TYPE normal"); /* an error, and the connection stays */
        if (i % 2 == 0)
            redis_server_restart(&s);
        else
            (void)redis_ask(link, LONG_MS, "QUIT", NULL, NULL);
    }
    assert_int_equal(keep_asking(link), STRATA_OK);
    strata__redis_counts(link, &counts);
    assert_true(counts.connects >= 6);
    strata__redis_close(link);
    strata__redis_tls_free(tls);
    redis_server_stop(&s);
}

static int make_certs(void **state)
{
    (void)state;
    tls_certs_make(&certs);
    return 0;
}

static int remove_certs(void **state)
{
    (void)state;
    tls_certs_remove(&certs);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_servers),
        cmocka_unit_test(test_wrong_certificates),
        cmocka_unit_test(test_certificates_of_clients),
        cmocka_unit_test(test_no_tls_there),
        cmocka_unit_test(test_plain_meets_tls),
        cmocka_unit_test(test_files_that_are_none),
        cmocka_unit_test(test_through_the_layer),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_replies_of_many_reads),
        cmocka_unit_test(test_lost_and_made_again),
    };
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
