/* contract.h - one suite of cases for every layer, at two heights: through the layer contract (contract_layer.c), and
 * through the public API with the layer in a stack (contract_cache.c).  A new layer is done when it passes both. */
#ifndef STRATA_TESTS_CONTRACT_H
#define STRATA_TESTS_CONTRACT_H
#include "strata/strata.h"
#include "tests/support/test_host.h"

/* What is put to the test. */
struct contract_subject {
    const char *name;
    strata_layer *(*make)(void); /* a new layer, empty, with room for 64 MiB */
    int saves_load_ms;           /* 1: meta comes back with all of load_ms; 0: the layer may save its room */
    size_t rounds;               /* of each thread in the concurrent cases */
    int refuses_late_puts;       /* 1: a put that is older than a clear is refused by the layer itself */
    int shared; /* 1: a store of many nodes: it counts versions by itself, tells births by its own clock, and keeps nothing that
                   means something to one cache alone; 2: so, without versions and clock */
    int forgets_tags; /* 1: of an entry with tags it says that it has some, and no more */
};

/* Each answers how many cases failed.  Those of tags (contract_tags.c), and of puts that only replace (contract_update.c), are run by the
 * other two. */
int contract_run_layer(const struct contract_subject *subject);
int contract_run_tags(const struct contract_subject *subject);
int contract_run_tagged_cache(const struct contract_subject *subject, int with_memory);
int contract_run_update(const struct contract_subject *subject);
int contract_run_admit(const struct contract_subject *subject, int with_memory);
int contract_run_cache(const struct contract_subject *subject);

/* A store that gives leases, and two layers that share it; the first one made begins with an empty store.  Their waits for a
 * lease end after a second or less, or when their host's delays are cut. */
struct contract_lease_subject {
    const char *name;
    strata_layer *(*make[2])(void);
};
int contract_run_leases(const struct contract_lease_subject *subject);
int contract_run_compare(const struct contract_lease_subject *subject); /* run by that */
/* Caches over them, with real threads.  Here waits take longer than a test may; and the second one made may be closed, and made
 * again, while the first one is open, and the other way round. */
int contract_run_fleet(const struct contract_lease_subject *subject);

/* contract_driver.c: a layer without a cache. ------------------------------------------------------------------- */

struct contract {
    const struct contract_subject *subject;
    struct test_host host;
    strata_layer *layer;
};

/* One operation with storage of its own. */
struct contract_op {
    strata_op op;
    strata_error err;
    struct contract_batch *batch;
    int done_count;
    unsigned char *key_bytes;
};

/* `mem` NULL: malloc.  STRATA_OK, or what start() answered; then nothing is open. */
int contract_open(struct contract *c, const struct contract_subject *subject, const strata_allocator *mem);
void contract_close(struct contract *c);
/* Close the layer alone, with operations and pins as they are. */
void contract_close_layer(struct contract *c);

/* Prepare one operation: the storage key is made as the cache would make it. */
void contract_op_init(struct contract *c, struct contract_op *o, uint32_t kind, uint32_t space, strata_slice key);
/* Gives back key and found value. */
void contract_op_deinit(struct contract_op *o);
/* Submit all in one batch and wait for them.  Aborts where one is done twice. */
void contract_submit(struct contract *c, struct contract_op *ops, size_t count);

/* One operation at a time; each answers the operation's status. */
int contract_put(struct contract *c, uint32_t space, strata_slice key, strata_slice data, const strata_meta *meta,
                 int64_t expires_ms);
/* out_value and out_meta may be NULL. */
int contract_get(struct contract *c, uint32_t space, strata_slice key, strata_value **out_value, strata_meta *out_meta);
int contract_remove(struct contract *c, uint32_t space, strata_slice key);
/* A meta born now that is fresh for so long. */
strata_meta contract_meta(struct contract *c, int64_t fresh_ms);
/* The prefix that the storage keys of a space have; empty where the layer tells spaces apart itself. */
strata_slice contract_prefix(const struct contract *c, uint32_t space, unsigned char room[4]);

/* contract_clear.c: cases about clear ----------------------------------------------------------------------------- */

/* Clear one space, or all, as a cache whose life is 78, at position 5. */
int contract_clear(struct contract *c, uint32_t space, int all);
void contract_case_clear(struct contract *c);
void contract_case_late_puts(struct contract *c);

/* `size` bytes that depend on `seed`, and a check of them. */
void contract_fill(void *out, size_t size, uint64_t seed);
int contract_is_filled(const void *data, size_t size, uint64_t seed);

#endif /* STRATA_TESTS_CONTRACT_H */
