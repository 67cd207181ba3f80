/* protect.h - values that are sealed where they are stored (docs/formats.md): what layers share that keep them as bytes elsewhere.
 *
 * A seal is of the key, of the envelope's header and of the payload as it is stored: none of them can be another one.  What the
 * server's scripts write into a header, the stamp, is not in it.  Any number of threads may use a protector at once. */
#ifndef STRATA_LAYER_PROTECT_H
#define STRATA_LAYER_PROTECT_H
#include <stddef.h>
#include <stdint.h>

#include "src/format/envelope.h"
#include "strata/disk.h" /* STRATA_PROTECT_... */
#include "strata/sys/layer.h"

enum { PROTECT_SALT = 16, PROTECT_MORE = 32 /* bytes that a seal adds, either */ };

/* The fields of a layer's options, by the same names. */
struct protect_options {
    int32_t protection;
    const char *key_file, *old_key_file;
};

struct protect_key {
    uint64_t id;
    uint8_t encrypts[32], signs[32];
};

struct protector {
    uint32_t alg; /* PROTECT_...; PROTECT_NONE: nothing is sealed, and nothing that is can be opened */
    uint32_t count;
    struct protect_key keys[2]; /* the first one seals */
};

/* Do they go together?  STRATA_OK; STRATA_EINVAL, STRATA_EUNSUPPORTED with words. */
int strata__protect_check(const struct protect_options *options, strata_error *err);
/* Reads the keys.  Blocks.  STRATA_OK; STRATA_EINVAL, STRATA_EIO with words. */
int strata__protect_start(struct protector *p, const struct protect_options *options, const char *name,
                          strata_error *err);
/* From 32 bytes each, for tests; `old` may be NULL. */
void strata__protect_keys(struct protector *p, uint32_t alg, const uint8_t key[32], const uint8_t *old);
/* So that no later reader of memory finds the keys. */
void strata__protect_stop(struct protector *p);

/* Says in an envelope that its payload is sealed: before its size is asked for. */
void strata__protect_describe(const struct protector *p, struct envelope *e);
/* Seal `payload` into out, payload.size + PROTECT_MORE bytes.  `prefix` and `key` are its key.  1; 0: it can't be. */
int strata__protect_seal(const struct protector *p, const struct envelope *e, strata_slice prefix, strata_slice key,
                         strata_slice payload, void *out, const strata_allocator *mem);
/* The same with that salt, for test vectors. */
int strata__protect_seal_with(const struct protector *p, const struct envelope *e, strata_slice prefix,
                              strata_slice key, strata_slice payload, void *out, const strata_allocator *mem,
                              const uint8_t salt[PROTECT_SALT]);
/* Open what was read: `bytes` is the header that e was read from, and its payload.  Without protection it is left alone.
 * @param[out] out the payload, a value of op->mem; NULL: it stands in e->payload.  e->payload is what it was sealed from, then.
 * STRATA_OK; STRATA_MISS with words in op->err; STRATA_ENOMEM with words. */
int strata__protect_open(const struct protector *p, struct envelope *e, strata_slice bytes, strata_slice prefix,
                         strata_op *op, const char *name, strata_value **out);

#endif /* STRATA_LAYER_PROTECT_H */
