/* tls_certs.c - see tls_certs.h. */
#include "tests/support/tls_certs.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/temp_dir.h"

enum { DAY_S = 24 * 3600 };

struct pair {
    X509 *cert;
    EVP_PKEY *key;
};

static void must(int good, const char *what)
{
    if (good)
        return;
    (void)fprintf(stderr, "tls_certs: %s\n", what);
    abort();
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    must(extension != NULL && X509_add_ext(cert, extension, -1) == 1, value);
    X509_EXTENSION_free(extension);
}

/* `by` NULL: signs itself, and others. */
static struct pair make(const char *name, const char *names, const struct pair *by, long from_s, long to_s)
{
    static long serial = 1;
    struct pair p = { X509_new(), EVP_EC_gen("P-256") };
    must(p.cert != NULL && p.key != NULL, "no key");
    X509 *issuer = by != NULL ? by->cert : p.cert;
    X509_NAME *subject = X509_get_subject_name(p.cert);
    (void)X509_set_version(p.cert, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(p.cert), serial++);
    (void)X509_gmtime_adj(X509_getm_notBefore(p.cert), from_s);
    (void)X509_gmtime_adj(X509_getm_notAfter(p.cert), to_s);
    (void)X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    (void)X509_set_issuer_name(p.cert, X509_get_subject_name(issuer));
    (void)X509_set_pubkey(p.cert, p.key);
    add_extension(p.cert, issuer, NID_basic_constraints, by != NULL ? "critical,CA:FALSE" : "critical,CA:TRUE");
    add_extension(p.cert, issuer, NID_subject_key_identifier, "hash");
    if (by == NULL)
        add_extension(p.cert, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
    else
        add_extension(p.cert, issuer, NID_authority_key_identifier, "keyid");
    if (names != NULL)
        add_extension(p.cert, issuer, NID_subject_alt_name, names);
    must(X509_sign(p.cert, by != NULL ? by->key : p.key, EVP_sha256()) > 0, "not signed");
    return p;
}

static void write_pair(const struct tls_certs *c, struct tls_files *out, const char *name, const struct pair *p)
{
    (void)snprintf(out->cert, sizeof out->cert, "%s/%s.crt", c->dir, name);
    (void)snprintf(out->key, sizeof out->key, "%s/%s.key", c->dir, name);
    FILE *cert = fopen(out->cert, "w"), *key = fopen(out->key, "w");
    must(cert != NULL && key != NULL && PEM_write_X509(cert, p->cert) == 1 &&
             PEM_write_PrivateKey(key, p->key, NULL, NULL, 0, NULL, NULL) == 1,
         "cannot write");
    (void)fclose(cert);
    (void)fclose(key);
}

static void free_pair(struct pair *p)
{
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
}

static void write_one(struct tls_certs *c, struct tls_files *out, const char *name, const char *names,
                      const struct pair *by, long to_s)
{
    struct pair p = make(name, names, by, -2 * DAY_S, to_s);
    write_pair(c, out, name, &p);
    free_pair(&p);
}

void tls_certs_make(struct tls_certs *c)
{
    static const char here[] = "DNS:localhost,IP:127.0.0.1,IP:::1";
    temp_dir_make(c->dir, sizeof c->dir);
    struct pair ca = make("strata test", NULL, NULL, -2 * DAY_S, 30 * DAY_S);
    write_pair(c, &c->ca, "ca", &ca);
    char hashed[TLS_PATH];
    (void)snprintf(hashed, sizeof hashed, "%s/%08lx.0", c->dir, X509_subject_name_hash(ca.cert));
    must(symlink("ca.crt", hashed) == 0, "no link");
    write_one(c, &c->other_ca, "other", NULL, NULL, 30 * DAY_S);
    write_one(c, &c->server, "server", here, &ca, 30 * DAY_S);
    write_one(c, &c->expired, "expired", here, &ca, -DAY_S);
    write_one(c, &c->strange, "strange", "DNS:elsewhere.example", &ca, 30 * DAY_S);
    write_one(c, &c->client, "client", NULL, &ca, 30 * DAY_S);
    free_pair(&ca);
}

void tls_certs_remove(struct tls_certs *c) { temp_dir_remove(c->dir); }

/* For all servers of a program ---------------------------------------------------------------------------------------- */

static struct tls_certs certs;
static struct redis_tls *tls;
static pid_t maker;

static void remove_at_exit(void)
{
    if (maker != getpid())
        return;
    strata__redis_tls_free(tls);
    tls_certs_remove(&certs);
}

const struct tls_certs *tls_certs_of_servers(void)
{
    if (getenv("STRATA_TEST_TLS") == NULL)
        return NULL;
    if (maker == 0) {
        tls_certs_make(&certs);
        maker = getpid();
        (void)atexit(remove_at_exit);
    }
    return &certs;
}

const struct redis_tls *tls_of_servers(void)
{
    const struct tls_certs *c = tls_certs_of_servers();
    const struct redis_tls_options options = { .name = "redis", .ca_file = c != NULL ? c->ca.cert : NULL, .verify = 1 };
    if (c != NULL && tls == NULL)
        must(strata__redis_tls_open(&tls, &options, NULL) == STRATA_OK, "cannot be opened");
    return tls;
}
