/* test_redis_dict.c - what stands in a real server: zstd unless told otherwise, every algorithm between nodes, dictionaries that
 * change, and what cannot be unpacked, which is a miss, counted, and stays where it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/format/envelope.h"
#include "strata/strata.h"
#include "strata/sys/codec.h"
#include "tests/support/dictionaries.h"
#include "tests/support/open_alone.h"
#include "tests/support/redis_do.h"
#include "tests/support/temp_dir.h"

enum { VALUES = 50, LARGE = 4000 };

static struct redis_server server;
static struct redis_link *other; /* another program */
static char dir[128], last_words[256];
static int told;

static void on_error(const strata_event *event, void *ctx)
{
    (void)ctx;
    told++;
    snprintf(last_words, sizeof last_words, "%s", event->message);
}

/* Timeouts that no busy machine passes.  `more` are parameters, with a "%s" for the folder of the dictionaries. */
static strata *open_with(const char *more, const strata_options *options)
{
    char url[512], params[256];
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    uint64_t id;
    snprintf(params, sizeof params, more, dir, dir);
    snprintf(url, sizeof url,
             "redis://127.0.0.1:%u?soft_timeout_ms=60s&timeout_ms=60s&connect_timeout_ms=60s&prefix=p:%s",
             (unsigned)server.port, params);
    if (open_url_alone(&cache, url, options, &err) != STRATA_OK)
        fail_msg("%s: %s", url, err.message);
    told = 0;
    assert_int_equal(strata_on(cache, STRATA_EVENT_ERROR, on_error, NULL, &id), STRATA_OK);
    return cache;
}

static strata *open_node(const char *more) { return open_with(more, NULL); }

static void fill_large(char *out, unsigned seed)
{
    for (unsigned i = 0; i < LARGE; i++)
        out[i] = (char)('a' + i % (7 + seed % 11));
}

static void set(strata *cache, const char *key, const char *bytes, size_t size)
{
    strata_error err = STRATA_ERROR_INIT;
    if (strata_set(cache, strata_str(key), strata_bytes(bytes, size), NULL, &err) != STRATA_OK)
        fail_msg("set %s: %s", key, err.message);
}

/* STRATA_OK: it is this.  STRATA_MISS. */
static int get(strata *cache, const char *key, const char *bytes, size_t size)
{
    strata_value *v = NULL;
    strata_error err = STRATA_ERROR_INIT;
    int rc = strata_get(cache, strata_str(key), &v, &err);
    if (rc < 0)
        fail_msg("get %s: %s", key, err.message);
    if (rc == STRATA_OK) {
        assert_int_equal(strata_value_size(v), size);
        assert_memory_equal(strata_value_data(v), bytes, size);
    }
    strata_value_unref(v);
    return rc;
}

static char whole[2 * LARGE];

static void keep_whole(struct redis_request *request)
{
    size_t *size = request->owner;
    if (request->status != STRATA_OK || strata__redis_kind(request->reply) != REDIS_IS_TEXT)
        return;
    strata_slice text = strata__redis_text(request->reply);
    *size = text.size <= sizeof whole ? text.size : 0;
    memcpy(whole, text.data, *size);
}

/* What stands under a key, as long as nothing else is looked at. */
static struct envelope stored(const char *key)
{
    struct envelope e;
    size_t size = 0;
    const strata_slice args[] = { strata_str("GET"), strata_str(key) };
    struct redis_request request = {
        .args = args, .arg_count = 2, .timeout_ms = 60000, .done = keep_whole, .owner = &size
    };
    strata__redis_call(other, &request);
    assert_int_equal(strata__envelope_read(&e, whole, size), FORMAT_OK);
    return e;
}

static uint64_t foreign(strata *cache)
{
    strata_layer_stats stats = STRATA_LAYER_STATS_INIT;
    assert_int_equal(strata_stats_layer(cache, 0, &stats), STRATA_OK);
    return stats.foreign;
}

static void test_zstd_unless_told_otherwise(void **state)
{
    (void)state;
    char text[LARGE];
    fill_large(text, 1);
    strata *plain = open_node(""), *none = open_node("&compression=none");
    set(plain, "packed", text, LARGE);
    set(none, "plain", text, LARGE);
    set(plain, "small", text, 1023);
    assert_int_equal(stored("p:packed").compression, COMPRESS_ZSTD);
    assert_int_equal(stored("p:plain").compression, COMPRESS_NONE);
    assert_int_equal(stored("p:small").compression, COMPRESS_NONE);
    assert_true(stored("p:packed").payload.size < LARGE / 10);
    assert_int_equal(get(none, "packed", text, LARGE), STRATA_OK);
    assert_int_equal(get(plain, "plain", text, LARGE), STRATA_OK);
    strata_close(plain);
    strata_close(none);
}

static void test_every_algorithm_is_read_by_all(void **state)
{
    (void)state;
    static const char *const names[] = { "zstd", "lz4", "gzip", "brotli" };
    char text[LARGE], more[64];
    strata *reader = open_node("");
    for (unsigned i = 0; i < 4; i++) {
        snprintf(more, sizeof more, "&compression=%s&compression_level=9", names[i]);
        strata *writer = open_node(more);
        fill_large(text, i);
        set(writer, names[i], text, LARGE);
        strata_close(writer);
        snprintf(more, sizeof more, "p:%s", names[i]);
        assert_int_equal(stored(more).compression, COMPRESS_ZSTD + i);
        assert_int_equal(get(reader, names[i], text, LARGE), STRATA_OK);
    }
    assert_int_equal(foreign(reader), 0);
    strata_close(reader);
}

static void put_all(strata *cache)
{
    char key[16], value[DICTIONARY_VALUE];
    for (unsigned i = 0; i < VALUES; i++) {
        snprintf(key, sizeof key, "k%u", i);
        set(cache, key, value, dictionary_value(value, 0, 70000 + i));
    }
}

static unsigned found(strata *cache)
{
    char key[16], value[DICTIONARY_VALUE];
    unsigned count = 0;
    for (unsigned i = 0; i < VALUES; i++) {
        snprintf(key, sizeof key, "k%u", i);
        count += get(cache, key, value, dictionary_value(value, 0, 70000 + i)) == STRATA_OK;
    }
    return count;
}

static int load_fresh(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    ++*(int *)ctx;
    return strata_load_copy(load, "fresh", 5);
}

/* What is there and cannot be read is no reason to wait for anybody: it is loaded, once, and replaced. */
static void loads_instead(strata *cache, const char *key)
{
    int loads = 0;
    strata_error err = STRATA_ERROR_INIT;
    for (int i = 0; i < 2; i++) {
        strata_value *v = NULL;
        if (strata_get_or_load(cache, strata_str(key), load_fresh, &loads, NULL, &v, &err) != STRATA_OK)
            fail_msg("load %s: %s", key, err.message);
        assert_int_equal(strata_value_size(v), 5);
        strata_value_unref(v);
    }
    assert_int_equal(loads, 1);
    assert_int_equal(get(cache, key, "fresh", 5), STRATA_OK);
}

static void test_a_dictionary_that_changes(void **state)
{
    (void)state;
    char path[160], digits[32];
    snprintf(path, sizeof path, "%s/a.dict", dir);
    uint64_t a = dictionary_file(0, path);
    snprintf(path, sizeof path, "%s/b.dict", dir);
    dictionary_file(1, path);
    strata *cache = open_node("&dictionary=%s/a.dict");
    put_all(cache);
    assert_int_equal(found(cache), VALUES);
    strata_close(cache);
    struct envelope e = stored("p:k7");
    assert_int_equal(e.compression, COMPRESS_ZSTD);
    assert_int_equal(e.dictionary, a);
    cache = open_node("&dictionary=%s/b.dict&dictionaries=%s");
    assert_int_equal(found(cache), VALUES);
    assert_int_equal(foreign(cache), 0);
    strata_close(cache);
    /* A node that has not got it: misses, counted, that say which; and what it did not understand is there yet. */
    cache = open_node("&dictionary=%s/b.dict");
    assert_int_equal(found(cache), 0);
    assert_int_equal(foreign(cache), VALUES);
    assert_in_range(told, 1, VALUES); /* the first, and then one a second at most */
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)a);
    assert_non_null(strstr(last_words, digits));
    strata_close(cache);
    cache = open_node("&dictionaries=%s");
    assert_int_equal(found(cache), VALUES);
    strata_close(cache);
    cache = open_node("");
    loads_instead(cache, "k7");
    strata_close(cache);
}

static void refused(const char *param, int status, const char *words)
{
    char url[512];
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    snprintf(url, sizeof url, "redis://127.0.0.1:%u?%s", (unsigned)server.port, param);
    assert_int_equal(open_url_alone(&cache, url, NULL, &err), status);
    assert_null(cache);
    if (strstr(err.message, words) == NULL)
        fail_msg("%s: \"%s\" does not say \"%s\"", param, err.message, words);
}

/* A file that cannot be used fails the opening, as any wrong option. */
static void test_what_fails_the_opening(void **state)
{
    (void)state;
    refused("dictionary=/none/such.dict", STRATA_EIO, "No such file");
    refused("dictionaries=/none/such", STRATA_EIO, "No such file");
    refused("dictionary=/dev/null", STRATA_EINVAL, "no trained dictionary");
    refused("dictionary=/none/such.dict&compression=none", STRATA_EINVAL, "zstd alone");
    refused("compression=brotli&compression_level=12", STRATA_EINVAL, "brotli knows 1 to 11");
    refused("compression=snappy", STRATA_EINVAL, "brotli");
}

/* An envelope of ours around bytes that no algorithm makes anything of; its checksum is right. */
static void test_what_cannot_be_unpacked_stays(void **state)
{
    (void)state;
    strata *cache = open_node("");
    for (uint32_t alg = COMPRESS_ZSTD; alg <= COMPRESS_BROTLI + 1; alg++) {
        char bytes[256] = { 0 }, key[32];
        struct envelope e = { .flags = ENVELOPE_CHECKSUM, .fresh_ms = 60000, .compression = alg, .raw_size = 5000 };
        e.payload = strata_str("these are no bytes that anybody packed, whoever looks at them");
        size_t size = strata__envelope_write(&e, bytes);
        memcpy(bytes + size, e.payload.data, e.payload.size);
        snprintf(key, sizeof key, "p:bad%u", alg);
        const char *const words[] = { "SET", key, NULL };
        assert_int_equal(redis_do_slice(other, words, strata_bytes(bytes, size + e.payload.size)).kind, REDIS_IS_STATUS);
        assert_int_equal(get(cache, key + 2, NULL, 0), STRATA_MISS);
        assert_int_equal(redis_do(other, "STRLEN", key).integer, (int64_t)(size + e.payload.size));
    }
    assert_int_equal(foreign(cache), COMPRESS_BROTLI + 1);
    /* Who loads or stores the key makes it his. */
    loads_instead(cache, "bad2");
    loads_instead(cache, "bad5"); /* of a newer strata, as it seems */
    set(cache, "bad1", "mine", 4);
    assert_int_equal(get(cache, "bad1", "mine", 4), STRATA_OK);
    strata_close(cache);
}

/* Codecs --------------------------------------------------------------------------------------------------------- */

static int decode_fails;

static int encode_text(const void *object, void *out, size_t room, size_t *out_size, void *ctx)
{
    (void)ctx;
    *out_size = strlen(object);
    if (*out_size > room)
        return STRATA_AGAIN;
    memcpy(out, object, *out_size);
    return STRATA_OK;
}

static int decode_text(const void *data, size_t size, void **out, void *ctx)
{
    (void)ctx;
    char *text = decode_fails ? NULL : malloc(size + 1);
    if (text == NULL)
        return STRATA_ECODEC;
    memcpy(text, data, size);
    text[size] = '\0';
    *out = text;
    return STRATA_OK;
}

static void free_text(void *object, void *ctx)
{
    (void)ctx;
    free(object);
}

static size_t cost_text(const void *object, void *ctx)
{
    (void)ctx;
    return strlen(object);
}

static int has_object(uint32_t codec_id, const char *text, uint64_t *errors)
{
    const strata_codec codec = { STRATA_SIZED(strata_codec), .id = codec_id,    .name = "text",   .encode = encode_text,
                                 .decode = decode_text,      .free = free_text, .cost = cost_text };
    const strata_options options = { STRATA_SIZED(strata_options), .codec = codec_id != 0 ? &codec : NULL };
    strata *cache = open_with("&compress_above_bytes=10b", &options);
    strata_layer_stats stats = STRATA_LAYER_STATS_INIT;
    strata_value *v = NULL;
    void *object = NULL;
    if (text != NULL) {
        assert_int_equal(decode_text(text, strlen(text), &object, NULL), STRATA_OK);
        assert_int_equal(strata_set_object(cache, strata_str("object"), object, NULL, NULL), STRATA_OK);
    }
    int rc = strata_get(cache, strata_str("object"), &v, NULL);
    assert_int_equal(strata_stats_layer(cache, 0, &stats), STRATA_OK);
    *errors = stats.errors;
    strata_value_unref(v);
    strata_close(cache);
    return rc;
}

/* What a codec makes nothing of, and another one's, is a miss, and stays. */
static void test_objects_that_cannot_be_decoded_stay(void **state)
{
    (void)state;
    uint64_t errors;
    assert_int_equal(has_object(1, "text text text text text text text text", &errors), STRATA_OK);
    assert_int_equal(stored("p:object").codec, 1);
    assert_int_equal(stored("p:object").compression, COMPRESS_ZSTD);
    assert_int_equal(has_object(2, NULL, &errors), STRATA_MISS);
    assert_int_equal(has_object(0, NULL, &errors), STRATA_MISS);
    decode_fails = 1;
    assert_int_equal(has_object(1, NULL, &errors), STRATA_MISS);
    assert_int_equal(errors, 1);
    decode_fails = 0;
    assert_int_equal(has_object(1, NULL, &errors), STRATA_OK);
    assert_int_equal(errors, 0);
}

static int set_up(void **state)
{
    (void)state;
    redis_server_start(&server, NULL);
    other = redis_do_open(&server);
    temp_dir_make(dir, sizeof dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    temp_dir_remove(dir);
    strata__redis_close(other);
    redis_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zstd_unless_told_otherwise),
        cmocka_unit_test(test_every_algorithm_is_read_by_all),
        cmocka_unit_test(test_a_dictionary_that_changes),
        cmocka_unit_test(test_what_fails_the_opening),
        cmocka_unit_test(test_what_cannot_be_unpacked_stays),
        cmocka_unit_test(test_objects_that_cannot_be_decoded_stay),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
