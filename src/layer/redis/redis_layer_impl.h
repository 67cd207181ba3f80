/* redis_layer_impl.h - the inside of the Redis layer: storage keys behind a prefix, values behind an envelope, on a link.
 *
 *   redis_layer.c  options, opening, ping, counters, closing      redis_many.c   many gets in one command
 *   redis_ops.c    get, put and remove, pipelined                 redis_words.c  words for refusals, patterns, PX
 *   redis_many.c   many gets in one command                       redis_secure.c the options of TLS
 *   redis_value.c  values to bytes and back                       redis_bans.c   what a clear leaves
 *   redis_scan.c   clear and keys, by redis_page.c            redis_spread.c what these need to know of a Cluster
 *   redis_list.c   the bans of all nodes                      redis_sweep.c  what they matched is removed, later
 *   redis_write.c  put and remove by script                   redis_call.c   one call of it
 *   redis_lease.c  leases held and awaited                    redis_wake.c   who waits is woken
 *   redis_life.c   the store's life and its clock             redis_script.c what decides, in the server
 *   redis_deletes.c  deletes that a new life has to hear of      redis_follow.c the server remembers what is read
 *
 * There is no state of an entry here, but for leases: all of it is in the server.  Nothing waits for the network but clear, keys and ping. */
#ifndef STRATA_LAYER_REDIS_LAYER_IMPL_H
#define STRATA_LAYER_REDIS_LAYER_IMPL_H
#include <stdatomic.h>
#include <stdint.h>

#include "src/format/compress.h"
#include "src/layer/layer_host.h"
#include "src/layer/protect.h"
#include "src/layer/redis/redis_bans.h"
#include "src/layer/redis/redis_lease.h"
#include "src/layer/redis/redis_life.h"
#include "src/layer/redis/redis_list.h"
#include "src/layer/redis/redis_sweep.h"
#include "src/link/redis_url.h"
#include "src/link/redis_link.h"
#include "src/link/redis_tls.h"
#include "strata/redis.h"

enum { REDIS_STRIPES = 1024 };

struct redis_layer {
    strata_layer base;
    strata_redis_options options; /* presets filled in; prefix and name are ours, url is NULL */
    strata_slice prefix;          /* options.prefix */
    char *url_text;               /* what `url` points into; malloc's */
    struct redis_url url;
    strata_layer_host *host; /* NULL: not started, or a reopening that failed: answers nothing */
    const strata_allocator *mem;
    struct redis_tls *tls; /* NULL: none */
    struct redis_link *link;
    struct compressor compressor;
    struct protector protector; /* constant once started */
    struct redis_bans bans;
    struct redis_list list;
    struct redis_sweep sweep;
    strata_slice life_key, channel, list_key; /* in `names`, which is malloc's */
    char *names;
    char sha[REDIS_SHA]; /* of the script */
    struct redis_life life;
    struct redis_leases leases;
    /* Puts and removes so far, by their keys' hashes: has anything come after this one? */
    _Atomic(uint32_t) writes[REDIS_STRIPES];
    _Atomic(uint64_t) void_version;        /* what has none above it was to be cleared, and must be left alone */
    _Atomic(uint64_t) rejections, foreign; /* relaxed: counters */
};

static inline void redis_count(_Atomic(uint64_t) *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static inline int redis_is_cluster(const struct redis_layer *r) { return r->url.topology == REDIS_CLUSTER; }

/* The layer with its guard: strata_redis_layer() but for the bus that it brings (builtin.c). */
strata_layer *strata__redis_layer(const strata_redis_options *options);
/* The layer without its guard.  Never NULL, as every constructor. */
strata_layer *strata__redis_make(const strata_redis_options *options);

/* redis_secure.c: are the options of TLS for this URL?  And r->tls, where it is one of TLS. */
int strata__redis_secure_check(const struct redis_layer *r, strata_error *err);
int strata__redis_secure_open(struct redis_layer *r, strata_error *err);
/* redis_layer.c: what all links of the layer are opened with. */
struct redis_link_options strata__redis_link_options(const struct redis_layer *r);

/* redis_follow.c */
int strata__redis_layer_follow(strata_layer *layer, strata_follow *how, strata_error *err);

/* redis_ops.c */
void strata__redis_layer_submit(strata_layer *layer, strata_op *const *ops, size_t count);
/* A GET for each, by the link's thread. */
void strata__redis_get_each(struct redis_layer *r, strata_op *const *ops, size_t count);
/* What is left of soft_timeout_ms to a read that began at asked_ms (0: now); 0: nothing is. */
static inline int64_t redis_left_ms(int64_t soft_timeout_ms, int64_t asked_ms, int64_t now_ms)
{
    int64_t used_ms = asked_ms != 0 && asked_ms < now_ms ? now_ms - asked_ms : 0;
    return used_ms < soft_timeout_ms ? soft_timeout_ms - used_ms : 0;
}
/* Its answer then: the server is not asked. */
int strata__redis_too_late(const struct redis_layer *r, strata_error *err);

/* redis_many.c */
/* Are these gets that may travel in one command? */
int strata__redis_gets_many(const struct redis_layer *r, strata_op *const *ops, size_t count);
void strata__redis_get_many(struct redis_layer *r, strata_op *const *ops, size_t count);

/* redis_write.c, redis_lease.c: the request for an operation that is a script; NULL: it was answered. */
struct redis_request *strata__redis_write_put(struct redis_layer *r, strata_op *op);
struct redis_request *strata__redis_write_remove(struct redis_layer *r, strata_op *op);
struct redis_request *strata__redis_lease_ask(struct redis_layer *r, strata_op *op);
struct redis_request *strata__redis_lease_release(struct redis_layer *r, strata_op *op);
/* A GET that found an entry of a life that is not known: look after the life, and get it again. */
void strata__redis_get_again(struct redis_layer *r, strata_op *op);

/* redis_value.c */
struct redis_bytes {
    char *data; /* strata__free(r->mem, data) */
    size_t size;
    size_t stamp_at; /* where a script writes version, life and time; 0: none will */
};
/* What is stored.  STRATA_OK, STRATA_ENOMEM. */
int strata__redis_value_encode(struct redis_layer *r, const strata_op *op, int stamped, struct redis_bytes *out);
/* Before a GET or LEASE is asked: notes in op->meta how far clears had come. */
static inline void redis_value_expect(struct redis_layer *r, strata_op *op)
{
    op->found = NULL;
    op->meta.position = atomic_load_explicit(&r->bans.swept, memory_order_acquire);
}
/* What GET found: op->found and op->meta.  STRATA_OK; STRATA_MISS, nothing, foreign or damaged: those two are counted;
 * STRATA_AGAIN: it is of a life that is not known; strata__redis_get_again().  The life was looked after at `looked_us` of the
 * store's clock, 0 not yet: then it is not trusted, and was none of the store's if the entry is older; STRATA_ENOMEM.  `mark` is that
 * of the connection it came on. */
int strata__redis_value_decode(struct redis_layer *r, strata_op *op, strata_slice bytes, struct redis_mark *mark,
                               uint64_t looked_us);

/* redis_scan.c */
int strata__redis_layer_clear(strata_layer *layer, const strata_clear_op *what, strata_error *err);
int strata__redis_layer_keys(strata_layer *layer, int (*each)(uint32_t space, strata_slice key, void *ctx), void *ctx,
                             strata_error *err);
/* A pattern of SCAN: what begins with options.prefix and `first`, and then with `then`, or has that somewhere behind `first`.
 * strata__free() the bytes; NULL: no memory. */
char *strata__redis_scan_pattern(struct redis_layer *r, strata_slice first, strata_slice then, strata_slice *out);

/* redis_spread.c */
enum { REDIS_SPREAD_MOST = 512, SPREAD_WORDS = 8 };

/* Who has the keys, and how it looks there. */
struct redis_spread {
    uint32_t nodes[REDIS_SPREAD_MOST]; /* redis_request.node */
    size_t count;
    uint64_t print; /* changes when a slot changes its owner */
    int moving;     /* a slot is being moved now */
};

int strata__redis_spread_look(struct redis_layer *r, struct redis_spread *out, strata_error *err);
/* Each key by itself, wherever it is; all at once: with the script and up to SPREAD_WORDS words behind the key, or, where there
 * are none, with the plain command.  *out_number, NULL nobody asks: what the scripts counted.  The first error. */
int strata__redis_spread_remove(struct redis_layer *r, const char *command, const strata_slice *words,
                                size_t word_count, const strata_slice *keys, size_t count, uint64_t *out_number,
                                strata_error *err);

/* A reply that is an error, or nothing that the command is answered with: as strata__redis_refused(). */
int strata__redis_no_answer(const struct redis_layer *r, const char *command, const struct redisReply *reply,
                            strata_error *err);

#endif /* STRATA_LAYER_REDIS_LAYER_IMPL_H */
