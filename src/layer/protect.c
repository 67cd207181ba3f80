/* protect.c - see protect.h.
 *
 * From the 32 bytes of a key file two keys are made, one that encrypts and one that signs, so that a file may serve both ways.
 * Each value has a key of its own, made of a random salt and its key: two values never share a nonce, however many there are. */
#include "src/layer/protect.h"

#include <assert.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/base/sha256.h"
#include "src/format/le.h"
#include "src/layer/value_impl.h"
#include "src/link/cipher.h"
#include "src/os/os_file.h"

static_assert(PROTECT_SALT + (int)CIPHER_TAG == PROTECT_MORE && (int)SHA256_BYTES == (int)PROTECT_MORE, "alike");

enum { KEY_BYTES = 32, KEY_DIGITS = 64, FILE_ROOM = 128 };

/* Keys ------------------------------------------------------------------------------------------------------------- */

int strata__protect_check(const struct protect_options *o, strata_error *err)
{
    int seals = o->protection == STRATA_PROTECT_AES_GCM || o->protection == STRATA_PROTECT_HMAC;
    if (!seals && (o->key_file != NULL || o->old_key_file != NULL))
        return strata__fail(err, STRATA_EINVAL, "key_file", "a key without protection: set protection, too");
    if (seals && o->key_file == NULL)
        return strata__fail(err, STRATA_EINVAL, "protection",
                            "protection needs a key: give key_file, a file made with \"head -c 32 /dev/urandom\"");
    if (o->protection == STRATA_PROTECT_AES_GCM && !strata__cipher_is_there())
        return strata__fail(err, STRATA_EUNSUPPORTED, "protection",
                            "aes-256-gcm is not built in: build with -DSTRATA_WITH_CRYPTO=ON, or take hmac-sha256");
    return STRATA_OK;
}

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* 32 bytes, or twice as many digits, with a line end maybe.  1: it is a key. */
static int read_key(const char *bytes, size_t size, uint8_t out[KEY_BYTES])
{
    if (size == KEY_BYTES) {
        memcpy(out, bytes, KEY_BYTES);
        return 1;
    }
    while (size > KEY_DIGITS && (bytes[size - 1] == '\n' || bytes[size - 1] == '\r'))
        size--;
    for (size_t i = 0; size == KEY_DIGITS && i < KEY_BYTES; i++) {
        int high = digit(bytes[2 * i]), low = digit(bytes[2 * i + 1]);
        if (high < 0 || low < 0)
            return 0;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return size == KEY_DIGITS;
}

static int read_file(const char *path, uint8_t out[KEY_BYTES], const char *name, strata_error *err)
{
    struct os_file_stat stat = { 0 };
    char bytes[FILE_ROOM];
    size_t got = 0;
    int fd, failed = strata__os_path_open(path, &fd);
    if (failed == 0)
        failed = strata__os_file_stat(fd, &stat);
    if (failed == 0 && stat.regular)
        failed = strata__os_file_read(fd, bytes, sizeof bytes, 0, &got);
    strata__os_file_close(fd);
    if (failed != 0)
        return strata__fail_os(err, STRATA_EIO, failed, name, "the key file \"%.128s\" cannot be read", path);
    if (stat.others_write)
        return strata__fail(err, STRATA_EINVAL, name,
                            "the key file \"%.128s\" may be written to by other users: chmod 600 it", path);
    int good = read_key(bytes, got, out);
    memset(bytes, 0, sizeof bytes);
    return good
               ? STRATA_OK
               : strata__fail(err, STRATA_EINVAL, name,
                              "the key file \"%.128s\" holds neither 32 bytes nor 64 hexadecimal digits: make one with "
                              "\"head -c 32 /dev/urandom\"",
                              path);
}

static void derive(const uint8_t key[KEY_BYTES], const char *label, uint8_t out[SHA256_BYTES])
{
    strata__hmac_sha256(key, KEY_BYTES, label, strlen(label), out);
}

static void add_key(struct protector *p, const uint8_t key[KEY_BYTES])
{
    struct protect_key *k = &p->keys[p->count++];
    uint8_t id[SHA256_BYTES];
    derive(key, "strata key id", id);
    k->id = strata__le64(id);
    derive(key, "strata aes-256-gcm", k->encrypts);
    derive(key, "strata hmac-sha256", k->signs);
}

void strata__protect_keys(struct protector *p, uint32_t alg, const uint8_t key[KEY_BYTES], const uint8_t *old)
{
    *p = (struct protector){ .alg = alg };
    add_key(p, key);
    if (old != NULL)
        add_key(p, old);
}

int strata__protect_start(struct protector *p, const struct protect_options *o, const char *name, strata_error *err)
{
    uint8_t key[KEY_BYTES], old[KEY_BYTES];
    *p = (struct protector){ .alg = PROTECT_NONE };
    if (o->key_file == NULL)
        return STRATA_OK;
    int rc = read_file(o->key_file, key, name, err);
    if (rc == STRATA_OK && o->old_key_file != NULL)
        rc = read_file(o->old_key_file, old, name, err);
    if (rc == STRATA_OK)
        strata__protect_keys(p, o->protection == STRATA_PROTECT_HMAC ? PROTECT_HMAC : PROTECT_AES_GCM, key,
                             o->old_key_file != NULL ? old : NULL);
    memset(key, 0, sizeof key);
    memset(old, 0, sizeof old);
    return rc;
}

void strata__protect_stop(struct protector *p)
{
    volatile uint8_t *at = (volatile uint8_t *)p;
    for (size_t i = 0; i < sizeof *p; i++)
        at[i] = 0;
}

/* What is sealed ----------------------------------------------------------------------------------------------------- */

enum { PIECES = 6 };

/* Beside the payload: how long the key is, the key, and the header with zeros for its stamp, without its checksum. */
struct also {
    uint8_t size[8];
    uint8_t stamp[ENVELOPE_STAMP];
    strata_slice pieces[PIECES];
};

static void gather(struct also *a, const struct envelope *e, strata_slice prefix, strata_slice key,
                   const uint8_t *header, size_t size)
{
    size_t stamp_at = e->flags & ENVELOPE_STAMPED ? strata__envelope_stamp_at(e) : 0;
    size -= e->flags & ENVELOPE_CHECKSUM ? 4 : 0;
    *a = (struct also){ .pieces = { { NULL, 0 } } };
    strata__le64_put(a->size, prefix.size + key.size);
    a->pieces[0] = strata_bytes(a->size, sizeof a->size);
    a->pieces[1] = prefix;
    a->pieces[2] = key;
    a->pieces[3] = strata_bytes(header, stamp_at != 0 ? stamp_at : size);
    if (stamp_at != 0) {
        a->pieces[4] = strata_bytes(a->stamp, sizeof a->stamp);
        a->pieces[5] = strata_bytes(header + stamp_at + ENVELOPE_STAMP, size - stamp_at - ENVELOPE_STAMP);
    }
}

static void sign(const struct protect_key *key, const struct also *a, strata_slice payload, uint8_t out[SHA256_BYTES])
{
    struct hmac_sha256 hmac;
    strata__hmac_start(&hmac, key->signs, sizeof key->signs);
    for (size_t i = 0; i < PIECES; i++)
        if (a->pieces[i].size != 0)
            strata__hmac_add(&hmac, a->pieces[i].data, a->pieces[i].size);
    if (payload.size != 0)
        strata__hmac_add(&hmac, payload.data, payload.size);
    strata__hmac_end(&hmac, out);
}

/* A value's own. */
static void own_key(const struct protect_key *key, const uint8_t *salt, strata_slice prefix, strata_slice name,
                    uint8_t out[SHA256_BYTES])
{
    struct hmac_sha256 hmac;
    strata__hmac_start(&hmac, key->encrypts, sizeof key->encrypts);
    strata__hmac_add(&hmac, salt, PROTECT_SALT);
    if (prefix.size != 0)
        strata__hmac_add(&hmac, prefix.data, prefix.size);
    if (name.size != 0)
        strata__hmac_add(&hmac, name.data, name.size);
    strata__hmac_end(&hmac, out);
}

void strata__protect_describe(const struct protector *p, struct envelope *e)
{
    if (p->alg == PROTECT_NONE)
        return;
    e->flags |= ENVELOPE_PROTECTED;
    e->protection = p->alg;
    e->key_id = p->keys[0].id;
}

int strata__protect_seal_with(const struct protector *p, const struct envelope *e, strata_slice prefix,
                              strata_slice key, strata_slice payload, void *out, const strata_allocator *mem,
                              const uint8_t salt[PROTECT_SALT])
{
    struct also a;
    uint8_t *at = out, own[SHA256_BYTES];
    size_t size = strata__envelope_size(e);
    uint8_t *header = strata__alloc(mem, size);
    int sealed = 1;
    if (header == NULL)
        return 0;
    (void)strata__envelope_write(e, header);
    gather(&a, e, prefix, key, header, size);
    if (p->alg == PROTECT_HMAC) {
        if (payload.size != 0)
            memcpy(at, payload.data, payload.size);
        sign(&p->keys[0], &a, payload, at + payload.size);
    } else {
        memcpy(at, salt, PROTECT_SALT);
        own_key(&p->keys[0], salt, prefix, key, own);
        sealed = strata__cipher_seal(own, a.pieces, PIECES, payload.data, payload.size, at + PROTECT_SALT);
    }
    strata__free(mem, header);
    return sealed;
}

int strata__protect_seal(const struct protector *p, const struct envelope *e, strata_slice prefix, strata_slice key,
                         strata_slice payload, void *out, const strata_allocator *mem)
{
    uint8_t salt[PROTECT_SALT] = { 0 };
    if (p->alg == PROTECT_AES_GCM && !strata__cipher_random(salt, sizeof salt))
        return 0;
    return strata__protect_seal_with(p, e, prefix, key, payload, out, mem, salt);
}

/* Opening ------------------------------------------------------------------------------------------------------------ */

static int refuse(strata_op *op, const char *name, const char *why)
{
    strata__fail(op->err, STRATA_EIO, name, "%s: it is loaded again", why);
    return STRATA_MISS;
}

static const struct protect_key *find_key(const struct protector *p, uint64_t id)
{
    for (uint32_t i = 0; i < p->count; i++)
        if (p->keys[i].id == id)
            return &p->keys[i];
    return NULL;
}

/* Into the room of `size` bytes.  1: it is what was sealed. */
static int open_into(const struct protect_key *key, const struct envelope *e, const struct also *a, strata_slice prefix,
                     strata_slice name, void *out, size_t size)
{
    const uint8_t *sealed = e->payload.data;
    uint8_t sum[SHA256_BYTES];
    if (e->protection == PROTECT_AES_GCM) {
        own_key(key, sealed, prefix, name, sum);
        return strata__cipher_open(sum, a->pieces, PIECES, sealed + PROTECT_SALT, size, out);
    }
    sign(key, a, strata_bytes(sealed, size), sum);
    if (!strata__same_secret(sum, sealed + size, sizeof sum))
        return 0;
    if (size != 0)
        memcpy(out, sealed, size);
    return 1;
}

int strata__protect_open(const struct protector *p, struct envelope *e, strata_slice bytes, strata_slice prefix,
                         strata_op *op, const char *name, strata_value **out)
{
    struct also a;
    void *room;
    *out = NULL;
    if (p->alg == PROTECT_NONE && !(e->flags & ENVELOPE_PROTECTED))
        return STRATA_OK;
    if (p->alg == PROTECT_NONE)
        return refuse(op, name, "a value is sealed, and this layer has no key: give protection and key_file");
    if (!(e->flags & ENVELOPE_PROTECTED))
        return refuse(op, name, "a value is not sealed, as all are that this layer believes");
    const struct protect_key *key = find_key(p, e->key_id);
    if (key == NULL)
        return refuse(op, name, "a value is sealed with another key: give that one as old_key_file");
    if (e->protection != p->alg)
        return refuse(op, name, "a value is sealed in another way than this layer's");
    if (e->payload.size < PROTECT_MORE)
        return refuse(op, name, "a sealed value is too short to be one");
    size_t size = e->payload.size - PROTECT_MORE;
    strata_value *value = strata__value_new(op->mem, size, &room);
    if (value == NULL)
        return strata__fail(op->err, STRATA_ENOMEM, name, "no memory for a value of %zu bytes: free some", size);
    gather(&a, e, prefix, op->key, bytes.data, bytes.size - e->payload.size);
    if (!open_into(key, e, &a, prefix, op->key, room, size)) {
        strata_value_unref(value);
        return refuse(op, name, "a sealed value, or what stands around it, is another one than was sealed");
    }
    e->payload = strata_bytes(room, size);
    *out = value;
    return STRATA_OK;
}
