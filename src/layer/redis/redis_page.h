/* redis_page.h - one page of a walk over the keys of a server, by a thread that waits for it. */
#ifndef STRATA_LAYER_REDIS_PAGE_H
#define STRATA_LAYER_REDIS_PAGE_H
#include "src/layer/redis/redis_layer_impl.h"

enum { PAGE_BEFORE = 3, PAGE_BEHIND = 8 }; /* places for the words of a script */

/* One request that is waited for.  Begin with the layer, err, node and cursor "0"; zeros are good for the rest. */
struct redis_page {
    struct redis_request request; /* first */
    struct redis_layer *r;
    const char *command;
    int rc;
    strata_error *err;
    uint32_t node;      /* SCAN: whom to ask */
    char cursor[24];    /* SCAN: of the next page; "0": there is none */
    strata_slice *page; /* SCAN: one block with keys and their bytes, free places around the keys; strata__free() */
    strata_slice *keys; /* in it */
    size_t count;
    int forgotten;   /* the server does not know the script */
    uint64_t number; /* what the script counted */
};

/* The next page of keys that match: c->keys, until strata__free(c->page), which is there to be freed whatever is answered.
 * COUNT is `at_once`. */
int strata__redis_page_scan(struct redis_page *c, strata_slice pattern, uint32_t at_once);
/* Any command: done() sets c->rc. */
int strata__redis_page_call(struct redis_page *c, const strata_slice *args, size_t count,
                            void (*done)(struct redis_request *));
/* The script, with the keys of a page and what stands behind them: up to PAGE_BEHIND words, the first of which are keys, too.
 * Where the server does not know it, with its text.  c->number is what it counted.  Not in a Cluster. */
int strata__redis_page_script(struct redis_page *c, size_t more_keys, const strata_slice *words, size_t count);
int strata__redis_page_memory(const struct redis_layer *r, strata_error *err);

#endif /* STRATA_LAYER_REDIS_PAGE_H */
