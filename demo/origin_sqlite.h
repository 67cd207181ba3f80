/* origin_sqlite.h - the slow place that values come from: a real SQLite database of product pages.
 *
 * A pool of connections, as a web shop has it; each query waits a few milliseconds more, as if the database were across
 * a network.  It can be broken (its table is renamed, so every query fails) and healed while it is in use. */
#ifndef STRATA_DEMO_ORIGIN_SQLITE_H
#define STRATA_DEMO_ORIGIN_SQLITE_H
#include <stdint.h>

#include "strata/load.h"

enum { ORIGIN_CONNECTIONS = 16 };

struct origin;

/* Make the database in `folder` (which is there and empty) with products 0 to count - 1. */
int origin_open(struct origin **out, const char *folder, uint64_t count, strata_error *err);
/* The same database, in another process.  Closing it leaves the database. */
int origin_join(struct origin **out, const char *folder, strata_error *err);
/* A strata_loader; ctx is the origin.  Keys are product numbers in decimal. */
int origin_load(strata_load *load, strata_slice key, void *ctx);
void origin_set_delay_ms(struct origin *origin, unsigned ms);
/* Queries that reached the database so far, failed ones too. */
uint64_t origin_queries(struct origin *origin);
int origin_break(struct origin *origin, strata_error *err);
/* Back to work, every product one euro dearer. */
int origin_heal(struct origin *origin, strata_error *err);
/* One product a euro dearer. */
int origin_reprice(struct origin *origin, uint64_t product, strata_error *err);
/* The price on a page in cents; -1 where these bytes are not the page of the product `key`. */
int64_t origin_page_price(const void *page, size_t size, strata_slice key);
/* Close the connections, and delete the database that was opened here.  NULL is a no-op. */
void origin_close(struct origin *origin);

#endif /* STRATA_DEMO_ORIGIN_SQLITE_H */
