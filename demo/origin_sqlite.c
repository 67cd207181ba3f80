/* origin_sqlite.c - see origin_sqlite.h. */
#include "demo/origin_sqlite.h"

#include <inttypes.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_error.h"
#include "demo/demo.h"

enum { PAGE_BYTES = 2048, BLURB_BYTES = 900 };

struct connection {
    struct connection *next;
    sqlite3 *db;
    sqlite3_stmt *find;
};

struct origin {
    char path[512];
    int joined; /* the database is another process's */
    _Atomic(unsigned) delay_ms;
    _Atomic(uint64_t) queries;
    pthread_mutex_t lock;
    pthread_cond_t freed;
    struct connection *idle; /* guarded by lock */
    struct connection all[ORIGIN_CONNECTIONS];
};

static int fail_db(sqlite3 *db, const char *what, strata_error *err)
{
    return cli_fail(err, STRATA_EIO, "origin", "%s: %s", what, db != NULL ? sqlite3_errmsg(db) : "out of memory");
}

static int execute(sqlite3 *db, const char *sql, strata_error *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? STRATA_OK : fail_db(db, sql, err);
}

/* About a kilobyte of text that differs from product to product. */
static void write_blurb(char *out, uint64_t id)
{
    static const char *const words[] = { "solid",      "light",     "oak",
                                         "steel",      "hand-made", "for daily use",
                                         "washable",   "in stock",  "two years' warranty",
                                         "repairable", "blue",      "cotton" };
    uint64_t x = id * 0x9e3779b97f4a7c15u + 1;
    size_t used = 0;

    out[0] = '\0';
    while (used < BLURB_BYTES - 32) {
        x ^= x >> 27;
        x *= 0x94d049bb133111ebu;
        used += (size_t)snprintf(out + used, BLURB_BYTES - used, "%s%s", used > 0 ? ", " : "", words[(x >> 33) % 12]);
    }
}

static int fill_table(sqlite3 *db, uint64_t count, strata_error *err)
{
    sqlite3_stmt *insert = NULL;
    char blurb[BLURB_BYTES];
    uint64_t id;
    int ok;

    ok = sqlite3_prepare_v2(db, "INSERT INTO products VALUES (?, ?, ?)", -1, &insert, NULL) == SQLITE_OK;
    for (id = 0; ok && id < count; id++) {
        write_blurb(blurb, id);
        sqlite3_bind_int64(insert, 1, (sqlite3_int64)id);
        sqlite3_bind_int64(insert, 2, 990 + (sqlite3_int64)(id * 37 % 9000));
        sqlite3_bind_text(insert, 3, blurb, -1, SQLITE_STATIC);
        ok = sqlite3_step(insert) == SQLITE_DONE;
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
    return ok ? STRATA_OK : fail_db(db, "filling the table", err);
}

static int make_database(const char *path, uint64_t count, strata_error *err)
{
    sqlite3 *db = NULL;
    int status;

    if (sqlite3_open(path, &db) != SQLITE_OK)
        status = fail_db(db, path, err);
    else
        status = execute(db,
                         "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; BEGIN;"
                         "CREATE TABLE products (id INTEGER PRIMARY KEY, cents INTEGER, blurb TEXT)",
                         err);
    if (status == STRATA_OK)
        status = fill_table(db, count, err);
    if (status == STRATA_OK)
        status = execute(db, "COMMIT", err);
    sqlite3_close(db);
    return status;
}

static int connect_all(struct origin *o, strata_error *err)
{
    int i;

    for (i = 0; i < ORIGIN_CONNECTIONS; i++) {
        struct connection *c = &o->all[i];

        if (sqlite3_open_v2(o->path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
            return fail_db(c->db, "connecting", err);
        sqlite3_busy_timeout(c->db, 5000);
        if (sqlite3_prepare_v2(c->db, "SELECT cents, blurb FROM products WHERE id = ?", -1, &c->find, NULL) != SQLITE_OK)
            return fail_db(c->db, "preparing", err);
        c->next = o->idle;
        o->idle = c;
    }
    return STRATA_OK;
}

/* count 0: the database is there. */
static int open_or_join(struct origin **out, const char *folder, uint64_t count, strata_error *err)
{
    struct origin *o = calloc(1, sizeof *o);
    int status = STRATA_OK;

    *out = NULL;
    if (o == NULL)
        return cli_fail(err, STRATA_ENOMEM, "origin", "out of memory");
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->freed, NULL);
    snprintf(o->path, sizeof o->path, "%s/shop.db", folder);
    o->joined = count == 0;
    if (!o->joined)
        status = make_database(o->path, count, err);
    if (status == STRATA_OK)
        status = connect_all(o, err);
    if (status != STRATA_OK) {
        origin_close(o);
        return status;
    }
    *out = o;
    return STRATA_OK;
}

int origin_open(struct origin **out, const char *folder, uint64_t count, strata_error *err)
{
    return open_or_join(out, folder, count, err);
}

int origin_join(struct origin **out, const char *folder, strata_error *err)
{
    return open_or_join(out, folder, 0, err);
}

static struct connection *take(struct origin *o)
{
    struct connection *c;

    pthread_mutex_lock(&o->lock);
    while (o->idle == NULL)
        pthread_cond_wait(&o->freed, &o->lock);
    c = o->idle;
    o->idle = c->next;
    pthread_mutex_unlock(&o->lock);
    return c;
}

static void give_back(struct origin *o, struct connection *c)
{
    pthread_mutex_lock(&o->lock);
    c->next = o->idle;
    o->idle = c;
    pthread_cond_signal(&o->freed);
    pthread_mutex_unlock(&o->lock);
}

/* Keys are not NUL-terminated; -1 where it is no product number. */
static int64_t product_number(strata_slice key)
{
    const char *digits = key.data;
    int64_t id = 0;
    size_t i;

    for (i = 0; i < key.size; i++) {
        if (digits[i] < '0' || digits[i] > '9' || i > 15)
            return -1;
        id = id * 10 + (digits[i] - '0');
    }
    return id;
}

int origin_load(strata_load *load, strata_slice key, void *ctx)
{
    struct origin *o = ctx;
    struct connection *c = take(o);
    char page[PAGE_BYTES];
    int rc, status, length;

    atomic_fetch_add(&o->queries, 1);
    demo_sleep_ms(atomic_load(&o->delay_ms));
    sqlite3_bind_int64(c->find, 1, product_number(key));
    rc = sqlite3_step(c->find);
    if (rc == SQLITE_ROW) {
        length = snprintf(page, sizeof page, "{\"product\":%.*s,\"cents\":%lld,\"text\":\"%s\"}", (int)key.size,
                          (const char *)key.data, (long long)sqlite3_column_int64(c->find, 0),
                          (const char *)sqlite3_column_text(c->find, 1));
        status = strata_load_copy(load, page, (size_t)length);
    } else if (rc == SQLITE_DONE) {
        status = strata_load_absent(load);
    } else {
        status = strata_load_fail(load, STRATA_EIO, sqlite3_errmsg(c->db));
    }
    sqlite3_reset(c->find);
    give_back(o, c);
    return status;
}

void origin_set_delay_ms(struct origin *o, unsigned ms) { atomic_store(&o->delay_ms, ms); }

uint64_t origin_queries(struct origin *o) { return atomic_load(&o->queries); }

static int change(struct origin *o, const char *sql, strata_error *err)
{
    struct connection *c = take(o);
    int status = execute(c->db, sql, err);

    give_back(o, c);
    return status;
}

int origin_break(struct origin *o, strata_error *err)
{
    return change(o, "ALTER TABLE products RENAME TO products_lost", err);
}

int origin_heal(struct origin *o, strata_error *err)
{
    return change(o,
                  "BEGIN IMMEDIATE; UPDATE products_lost SET cents = cents + 100;"
                  "ALTER TABLE products_lost RENAME TO products; COMMIT",
                  err);
}

int origin_reprice(struct origin *o, uint64_t product, strata_error *err)
{
    char sql[96];

    snprintf(sql, sizeof sql, "UPDATE products SET cents = cents + 100 WHERE id = %" PRIu64, product);
    return change(o, sql, err);
}

int64_t origin_page_price(const void *page, size_t size, strata_slice key)
{
    char expected[96], digits[24];
    const char *text = page;
    int length = snprintf(expected, sizeof expected,
                          "{\"product\":%.*s,\"cents\":", (int)(key.size < 32 ? key.size : 32), (const char *)key.data);
    size_t i;

    if (page == NULL || size < (size_t)length + 16 || memcmp(text, expected, (size_t)length) != 0)
        return -1;
    for (i = 0; i < 16 && text[(size_t)length + i] >= '0' && text[(size_t)length + i] <= '9'; i++)
        digits[i] = text[(size_t)length + i];
    digits[i] = '\0';
    return strtoll(digits, NULL, 10);
}

void origin_close(struct origin *o)
{
    char path[sizeof o->path + 8];
    static const char *const files[] = { "", "-wal", "-shm", "-journal" };
    size_t i;

    if (o == NULL)
        return;
    for (i = 0; i < ORIGIN_CONNECTIONS; i++) {
        sqlite3_finalize(o->all[i].find);
        sqlite3_close(o->all[i].db);
    }
    for (i = 0; !o->joined && i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s%s", o->path, files[i]);
        unlink(path);
    }
    pthread_cond_destroy(&o->freed);
    pthread_mutex_destroy(&o->lock);
    free(o);
}
