/* redis_tls.c - TLS with OpenSSL: see redis_tls.h.
 *
 * OpenSSL is given memory for a socket on both sides.  Its queue of errors is the thread's: emptied before each call, read after it.
 * What it allocates is malloc's, which is the program's to change (CRYPTO_set_mem_functions).  Nothing is ever asked on a terminal. */
#include "src/link/redis_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/link/redis_link_impl.h"

struct redis_tls {
    SSL_CTX *ctx;
    int verify;
    char server_name[256]; /* empty: the host's */
};

enum { IN_ROOM = 32 * 1024 };

struct redis_session {
    const strata_allocator *mem;
    const struct redis_tls *tls;
    struct os_lock lock; /* guards ssl, and why */
    SSL *ssl;
    BIO *from_peer, *to_peer; /* ssl's: encrypted bytes that came, and that are to go */
    _Atomic(int) owes;        /* to_peer is not empty; raised under the lock */
    char why[160];
    char host[256];
    /* Of the handshake, on the link's thread: what is being written. */
    struct redis_buffer hello;
    size_t hello_at;
    /* The reader's. */
    char in[IN_ROOM];
};

int strata__redis_tls_built_in(void) { return 1; }

/* What a link has in common ------------------------------------------------------------------------------------------- */

static int no_password(char *out, int size, int is_writing, void *ctx)
{
    (void)out, (void)size, (void)is_writing, (void)ctx;
    return -1; /* the file is refused; OpenSSL would ask on the terminal */
}

/* The newest error's reason, which is static, or nothing. */
static const char *reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = ERR_reason_error_string(code);
    return text != NULL ? text : code != 0 ? strerror((int)ERR_GET_REASON(code)) : "it cannot be read";
}

static int refuse_file(const struct redis_tls_options *o, const char *option, const char *path, const char *advice,
                       strata_error *err)
{
    int rc = strata__fail(err, STRATA_EINVAL, o->name, "%s \"%.90s\": %s: %s", option, path, reason(), advice);
    ERR_clear_error();
    return rc;
}

static int load_trust(SSL_CTX *ctx, const struct redis_tls_options *o, strata_error *err)
{
    ERR_clear_error();
    if (o->ca_file != NULL && SSL_CTX_load_verify_locations(ctx, o->ca_file, NULL) != 1)
        return refuse_file(o, "tls_ca_file", o->ca_file, "it is a file of certificates in PEM", err);
    if (o->ca_dir != NULL && SSL_CTX_load_verify_locations(ctx, NULL, o->ca_dir) != 1)
        return refuse_file(o, "tls_ca_dir", o->ca_dir, "it is a directory made with \"openssl rehash\"", err);
    if (o->ca_file == NULL && o->ca_dir == NULL)
        (void)SSL_CTX_set_default_verify_paths(ctx);
    return STRATA_OK;
}

static int load_own(SSL_CTX *ctx, const struct redis_tls_options *o, strata_error *err)
{
    if (o->cert_file == NULL)
        return STRATA_OK;
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, o->cert_file) != 1)
        return refuse_file(o, "tls_cert_file", o->cert_file, "it is a certificate and its chain in PEM", err);
    if (SSL_CTX_use_PrivateKey_file(ctx, o->key_file, SSL_FILETYPE_PEM) != 1)
        return refuse_file(o, "tls_key_file", o->key_file,
                           "it is the certificate's private key in PEM, without a password", err);
    return STRATA_OK;
}

static int set_up(SSL_CTX *ctx, const struct redis_tls_options *o, strata_error *err)
{
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
        return strata__fail(err, STRATA_EUNSUPPORTED, o->name, "this OpenSSL does no TLS 1.2: install another");
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    SSL_CTX_set_verify(ctx, o->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    int rc = load_trust(ctx, o, err);
    return rc == STRATA_OK ? load_own(ctx, o, err) : rc;
}

int strata__redis_tls_open(struct redis_tls **out, const struct redis_tls_options *options, strata_error *err)
{
    *out = NULL;
    /* Threads of ours may run until the process ends: nothing may be torn down before them. */
    if (OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL) != 1)
        return strata__fail(err, STRATA_EIO, options->name, "OpenSSL cannot be started: look at its openssl.cnf");
    struct redis_tls *tls = strata__alloc_zero(NULL, sizeof *tls);
    if (tls == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, options->name);
    tls->verify = options->verify;
    if (options->server_name != NULL)
        (void)snprintf(tls->server_name, sizeof tls->server_name, "%s", options->server_name);
    tls->ctx = SSL_CTX_new(TLS_client_method());
    int rc = tls->ctx != NULL ? set_up(tls->ctx, options, err) : strata__fail_plain(err, STRATA_ENOMEM, options->name);
    if (rc != STRATA_OK) {
        strata__redis_tls_free(tls);
        return rc;
    }
    *out = tls;
    return STRATA_OK;
}

void strata__redis_tls_free(struct redis_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->ctx);
    strata__free(NULL, tls);
}

/* A session ----------------------------------------------------------------------------------------------------------- */

static int is_address(const char *host)
{
    unsigned char room[16];
    return inet_pton(AF_INET, host, room) == 1 || inet_pton(AF_INET6, host, room) == 1;
}

/* Who has to be at the other end. */
static int expect_host(struct redis_session *s)
{
    if (is_address(s->host))
        return !s->tls->verify || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s->ssl), s->host) == 1;
    if (SSL_set_tlsext_host_name(s->ssl, s->host) != 1)
        return 0;
    SSL_set_hostflags(s->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return !s->tls->verify || SSL_set1_host(s->ssl, s->host) == 1;
}

static int make_ssl(struct redis_session *s)
{
    ERR_clear_error();
    s->ssl = SSL_new(s->tls->ctx);
    s->from_peer = BIO_new(BIO_s_mem());
    s->to_peer = BIO_new(BIO_s_mem());
    if (s->ssl == NULL || s->from_peer == NULL || s->to_peer == NULL) {
        BIO_free(s->from_peer);
        BIO_free(s->to_peer);
        return 0;
    }
    (void)BIO_set_mem_eof_return(s->from_peer, -1); /* empty is no end */
    SSL_set_bio(s->ssl, s->from_peer, s->to_peer);  /* which are its own now */
    SSL_set_connect_state(s->ssl);
    return expect_host(s);
}

struct redis_session *strata__redis_session_new(const struct redis_tls *tls, const strata_allocator *mem,
                                                const char *host)
{
    struct redis_session *s = strata__alloc(mem, sizeof *s);
    if (s == NULL)
        return NULL;
    memset(s, 0, offsetof(struct redis_session, in));
    s->mem = mem;
    s->tls = tls;
    (void)snprintf(s->host, sizeof s->host, "%s", tls->server_name[0] != '\0' ? tls->server_name : host);
    if (make_ssl(s))
        return s;
    strata__redis_session_free(s);
    return NULL;
}

void strata__redis_session_free(struct redis_session *s)
{
    if (s == NULL)
        return;
    if (s->ssl !=
        NULL) /* as if it had ended well: else it is looked for in what sessions share, under a lock of theirs */
        SSL_set_shutdown(s->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(s->ssl);
    strata__redis_buffer_free(s->mem, &s->hello);
    strata__free(s->mem, s);
}

int strata__redis_session_is_whole(struct redis_session *s) { return os_lock_try(&s->lock); }

const char *strata__redis_session_why(const struct redis_session *s) { return s->why; }

/* Words --------------------------------------------------------------------------------------------------------------- */

static void say(struct redis_session *s, const char *what, const char *advice)
{
    (void)snprintf(s->why, sizeof s->why, "TLS: %.70s: %s", what, advice);
}

static const char *advice_of_certificate(long verdict)
{
    switch (verdict) {
    case X509_V_ERR_CERT_HAS_EXPIRED: return "renew the server's certificate, and look at this machine's clock";
    case X509_V_ERR_CERT_NOT_YET_VALID: return "look at this machine's clock";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return "its certificate is for another: set tls_server_name";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT: return "name who signed the server's certificate in tls_ca_file";
    default: return "the server's certificate is not trusted";
    }
}

/* The peer's bytes, as alerts or as no TLS at all, are the reason where the certificate is not. */
static const char *advice_of_error(int code)
{
    switch (code) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_UNEXPECTED_MESSAGE:
    case SSL_R_PACKET_LENGTH_TOO_LONG: return "no TLS is spoken at this port: write its TLS port, or redis://";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION: return "the server has no TLS 1.2 or newer";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN: return "the server does not take the certificate of tls_cert_file";
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return "the server wants a certificate: set tls_cert_file, tls_key_file";
    default: return "look at the server's log and TLS settings";
    }
}

/* After a call that answered less than 1.  EAGAIN: more bytes are wanted; EPIPE: the other side has ended it. */
static int judge(struct redis_session *s, int answer)
{
    int kind = SSL_get_error(s->ssl, answer);
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE)
        return EAGAIN;
    if (kind == SSL_ERROR_ZERO_RETURN)
        return EPIPE;
    long verdict = SSL_get_verify_result(s->ssl);
    if (ERR_peek_last_error() == 0 && s->why[0] != '\0')
        return EPROTO; /* it was told before */
    if (s->tls->verify && verdict != X509_V_OK)
        say(s, X509_verify_cert_error_string(verdict), advice_of_certificate(verdict));
    else
        say(s, reason(), advice_of_error(ERR_GET_REASON(ERR_peek_last_error())));
    ERR_clear_error();
    return EPROTO;
}

/* Bytes --------------------------------------------------------------------------------------------------------------- */

static void note_owed_locked(struct redis_session *s)
{
    /* Release: who sees it takes the lock anyway; it is the wake-up that hangs on it. */
    atomic_store_explicit(&s->owes, BIO_ctrl_pending(s->to_peer) != 0, memory_order_release);
}

int strata__redis_session_owes(const struct redis_session *s)
{
    return atomic_load_explicit(&s->owes, memory_order_acquire);
}

/* All that is to go, instead of what is in the buffer. */
static int take_sealed_locked(struct redis_session *s, struct redis_buffer *buffer)
{
    size_t size = BIO_ctrl_pending(s->to_peer);
    buffer->size = 0;
    if (size > INT_MAX || !strata__redis_buffer_reserve(s->mem, buffer, size))
        return ENOMEM;
    int got = size != 0 ? BIO_read(s->to_peer, buffer->data, (int)size) : 0;
    buffer->size = got > 0 ? (size_t)got : 0;
    note_owed_locked(s);
    return buffer->size == size ? 0 : EPROTO;
}

int strata__redis_session_seal(struct redis_session *s, struct redis_buffer *buffer)
{
    int failed = 0;
    os_lock_take(&s->lock);
    ERR_clear_error();
    for (size_t at = 0, put; at < buffer->size && failed == 0; at += put) {
        put = 0;
        int answer = SSL_write_ex(s->ssl, buffer->data + at, buffer->size - at, &put);
        if (answer != 1)
            failed = judge(s, answer);
    }
    if (failed == 0)
        failed = take_sealed_locked(s, buffer);
    else
        failed = EPROTO; /* memory takes all, and the handshake is over: there is nothing to wait for */
    os_lock_give(&s->lock);
    return failed;
}

static int take_in_locked(struct redis_session *s, strata_slice sealed)
{
    return sealed.size == 0 || BIO_write(s->from_peer, sealed.data, (int)sealed.size) == (int)sealed.size;
}

/* What was read, through the session: 0 *out_got bytes, or it has ended (0 of them); EAGAIN; EPROTO. */
static int open_bytes(struct redis_session *s, strata_slice sealed, char *out, size_t size, size_t *out_got,
                      int *out_more)
{
    int failed = 0;
    *out_got = 0;
    os_lock_take(&s->lock);
    ERR_clear_error();
    if (!take_in_locked(s, sealed))
        failed = ENOMEM;
    while (failed == 0 && *out_got < size) {
        size_t got = 0;
        int answer = SSL_read_ex(s->ssl, out + *out_got, size - *out_got, &got);
        *out_got += got;
        if (answer != 1)
            failed = judge(s, answer);
    }
    note_owed_locked(s);
    os_lock_give(&s->lock);
    *out_more = *out_got > 0 && failed != EAGAIN; /* no room was left; or what failed behind these will fail again */
    return *out_got > 0 || failed == EPIPE ? 0 : failed;
}

int strata__redis_session_read(struct redis_session *s, int fd, char *out, size_t size, size_t *out_got, int *out_more)
{
    size_t sealed = 0;
    int failed = *out_more ? open_bytes(s, strata_bytes(NULL, 0), out, size, out_got, out_more) : EAGAIN;
    while (failed == EAGAIN) {
        *out_got = 0;
        failed = strata__os_socket_read(fd, s->in, sizeof s->in, &sealed);
        if (failed != 0 || sealed == 0)
            break;
        failed = open_bytes(s, strata_bytes(s->in, sealed), out, size, out_got, out_more);
    }
    return failed;
}

/* The handshake ------------------------------------------------------------------------------------------------------- */

/* 0: all is written. */
static int write_hello(struct redis_session *s, int fd)
{
    for (;;) {
        if (s->hello_at == s->hello.size) {
            s->hello_at = 0;
            os_lock_take(&s->lock);
            int failed = take_sealed_locked(s, &s->hello);
            os_lock_give(&s->lock);
            if (failed != 0 || s->hello.size == 0)
                return failed;
        }
        size_t put;
        int failed = strata__os_socket_write(fd, s->hello.data + s->hello_at, s->hello.size - s->hello_at, &put);
        if (failed != 0)
            return failed;
        s->hello_at += put;
    }
}

static int shake(struct redis_session *s, strata_slice sealed)
{
    os_lock_take(&s->lock);
    ERR_clear_error();
    int failed = take_in_locked(s, sealed) ? 0 : ENOMEM;
    int answer = failed == 0 ? SSL_do_handshake(s->ssl) : 1;
    if (answer != 1)
        failed = judge(s, answer);
    note_owed_locked(s);
    os_lock_give(&s->lock);
    return failed;
}

static int fail_shake(struct redis_session *s, int failed)
{
    if (failed == EPIPE)
        say(s, "the server closed the connection in the handshake", "is TLS spoken at this port? See its log");
    else if (failed != EPROTO)
        say(s, strerror(failed), "the connection was lost in the handshake: see the server's log");
    return failed;
}

int strata__redis_session_shake(struct redis_session *s, int fd, short *out_events)
{
    size_t sealed = 0;
    for (;;) {
        int failed = shake(s, strata_bytes(s->in, sealed));
        int unwritten = write_hello(s, fd); /* also an alert that says why we do not like it */
        *out_events = unwritten == EAGAIN ? POLLOUT : POLLIN;
        if (failed != 0 && failed != EAGAIN)
            return fail_shake(s, failed);
        if (unwritten != 0)
            return unwritten == EAGAIN ? EAGAIN : fail_shake(s, unwritten);
        if (failed == 0)
            return 0;
        failed = strata__os_socket_read(fd, s->in, sizeof s->in, &sealed);
        if (failed == EAGAIN)
            return EAGAIN;
        if (failed != 0 || sealed == 0)
            return fail_shake(s, failed != 0 ? failed : EPIPE);
    }
}

void strata__redis_session_goodbye(struct redis_session *s, int fd)
{
    struct redis_buffer last = { 0 };
    size_t put;
    os_lock_take(&s->lock);
    ERR_clear_error();
    if (SSL_is_init_finished(s->ssl))
        (void)SSL_shutdown(s->ssl);
    int failed = take_sealed_locked(s, &last);
    ERR_clear_error();
    os_lock_give(&s->lock);
    if (failed == 0 && last.size > 0)
        (void)strata__os_socket_write(fd, last.data, last.size, &put);
    strata__redis_buffer_free(s->mem, &last);
}
