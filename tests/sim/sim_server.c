/* sim_server.c - see sim_server.h.  Keys are few: they stand in one array. */
#include "tests/sim/sim_server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/base/sha1.h"
#include "src/policy/pattern.h"
#include "tests/sim/sim_world.h"

enum { KEYS_MOST = 256, SCRIPTS_KNOWN = 16, NAME_MOST = 128 };
static const int64_t EPOCH_MS = 1600000000000;

struct item {
    char name[NAME_MOST];
    size_t name_size;
    char *bytes;
    size_t size;
    int64_t expires_ms; /* the server's clock; -1: never */
};

struct keyspace {
    struct item items[KEYS_MOST];
    size_t count;
};

static struct {
    struct keyspace now, replica;
    int64_t clock_ms, replica_age;
    uint64_t run;
    char known[SCRIPTS_KNOWN][41];
    size_t known_count;
    char *text[SCRIPTS_KNOWN]; /* of those, as they were loaded */
    void (*published)(strata_slice channel, strata_slice message);
} s;

int64_t sim_server_ms(void) { return EPOCH_MS + s.clock_ms + sim_now_ms(); }

/* Keys ------------------------------------------------------------------------------------------------------------------- */

static void drop(struct keyspace *space, size_t i)
{
    free(space->items[i].bytes);
    space->items[i] = space->items[--space->count];
}

static void empty(struct keyspace *space)
{
    while (space->count > 0)
        drop(space, space->count - 1);
}

static struct item *find(strata_slice key)
{
    for (size_t i = 0; i < s.now.count; i++) {
        struct item *item = &s.now.items[i];
        if (item->name_size != key.size || memcmp(item->name, key.data, key.size) != 0)
            continue;
        if (item->expires_ms < 0 || item->expires_ms > sim_server_ms())
            return item;
        drop(&s.now, i);
        return NULL;
    }
    return NULL;
}

static void assign(struct item *item, const void *bytes, size_t size)
{
    char *copy = malloc(size + 1);
    if (copy == NULL)
        sim_broken("no memory for a value");
    if (size != 0)
        memcpy(copy, bytes, size);
    free(item->bytes);
    item->bytes = copy;
    item->size = size;
}

static struct item *put(strata_slice key, const void *bytes, size_t size)
{
    struct item *item = find(key);
    if (item == NULL) {
        if (s.now.count == KEYS_MOST || key.size > NAME_MOST)
            sim_broken("the simulated server is full");
        item = &s.now.items[s.now.count++];
        *item = (struct item){ .name_size = key.size };
        memcpy(item->name, key.data, key.size);
    }
    assign(item, bytes, size);
    item->expires_ms = -1;
    return item;
}

static int take_out(strata_slice key)
{
    struct item *item = find(key);
    if (item == NULL)
        return 0;
    drop(&s.now, (size_t)(item - s.now.items));
    return 1;
}

/* Commands ---------------------------------------------------------------------------------------------------------------- */

static int is(strata_slice word, const char *name)
{
    return word.size == strlen(name) && strncasecmp(word.data, name, word.size) == 0;
}

static int64_t number(strata_slice text)
{
    char copy[40] = "";
    if (text.size == 0 || text.size >= sizeof copy)
        sim_broken("the simulated server wants a number");
    memcpy(copy, text.data, text.size);
    char *end;
    double n = strtod(copy, &end); /* as Lua writes them */
    if (*end != '\0')
        sim_broken("not a number: %s", copy);
    return (int64_t)n;
}

static struct redisReply *ok(void) { return sim_reply_text(REDIS_IS_STATUS, "OK", 2); }

static struct redisReply *do_get(strata_slice key)
{
    const struct item *item = find(key);
    return item != NULL ? sim_reply_text(REDIS_IS_TEXT, item->bytes, item->size) : sim_reply_nil();
}

static struct redisReply *do_set(const strata_slice *args, size_t count)
{
    struct item *item = put(args[1], args[2].data, args[2].size);
    if (count == 5 && is(args[3], "PX"))
        item->expires_ms = sim_server_ms() + number(args[4]);
    else if (count != 3)
        sim_broken("SET with options that the simulated server does not know");
    return ok();
}

static struct redisReply *do_getrange(const strata_slice *args)
{
    const struct item *item = find(args[1]);
    int64_t from = number(args[2]), to = number(args[3]);
    if (item != NULL) { /* below 0: from the end */
        from = from < 0 ? from + (int64_t)item->size : from;
        to = to < 0 ? to + (int64_t)item->size : to;
        from = from < 0 ? 0 : from;
    }
    if (item == NULL || from >= (int64_t)item->size || to < from)
        return sim_reply_text(REDIS_IS_TEXT, "", 0);
    size_t size = to < (int64_t)item->size ? (size_t)(to - from + 1) : item->size - (size_t)from;
    return sim_reply_text(REDIS_IS_TEXT, item->bytes + from, size);
}

static struct redisReply *do_setrange(const strata_slice *args)
{
    struct item *item = find(args[1]);
    size_t at = (size_t)number(args[2]);
    if (item == NULL)
        item = put(args[1], "", 0);
    if (at + args[3].size > item->size) {
        size_t size = at + args[3].size;
        char *longer = calloc(1, size);
        if (longer == NULL)
            sim_broken("no memory for a value");
        memcpy(longer, item->bytes, item->size);
        assign(item, longer, size);
        free(longer);
    }
    memcpy(item->bytes + at, args[3].data, args[3].size);
    return sim_reply_integer((int64_t)item->size);
}

static struct redisReply *do_pttl(strata_slice key)
{
    const struct item *item = find(key);
    return sim_reply_integer(item == NULL ? -2 : item->expires_ms < 0 ? -1 : item->expires_ms - sim_server_ms());
}

static struct redisReply *do_pexpire(const strata_slice *args)
{
    struct item *item = find(args[1]);
    if (item != NULL)
        item->expires_ms = sim_server_ms() + number(args[2]);
    return sim_reply_integer(item != NULL);
}

static struct redisReply *do_delete(const strata_slice *args, size_t count)
{
    int64_t gone = 0;
    for (size_t i = 1; i < count; i++)
        gone += take_out(args[i]);
    return sim_reply_integer(gone);
}

static struct redisReply *do_mget(const strata_slice *args, size_t count)
{
    struct redisReply *reply = sim_reply_array();
    for (size_t i = 1; i < count; i++)
        sim_reply_add(reply, do_get(args[i]));
    return reply;
}

static struct redisReply *do_time(void)
{
    char seconds[24], micros[24];
    int64_t ms = sim_server_ms();
    int a = snprintf(seconds, sizeof seconds, "%" PRId64, ms / 1000);
    int b = snprintf(micros, sizeof micros, "%" PRId64, ms % 1000 * 1000);
    struct redisReply *reply = sim_reply_array();
    sim_reply_add(reply, sim_reply_text(REDIS_IS_TEXT, seconds, (size_t)a));
    sim_reply_add(reply, sim_reply_text(REDIS_IS_TEXT, micros, (size_t)b));
    return reply;
}

static struct redisReply *do_info(void)
{
    char text[160];
    int size = snprintf(text, sizeof text, "# Server\r\nredis_version:7.0.15\r\nrun_id:%040" PRIx64 "\r\n", s.run);
    return sim_reply_text(REDIS_IS_TEXT, text, (size_t)size);
}

/* All of them on one page: MATCH is stars and escapes. */
static struct redisReply *do_scan(const strata_slice *args, size_t count)
{
    if (count < 4 || !is(args[2], "MATCH") || !is(args[1], "0"))
        sim_broken("SCAN as the simulated server does not know it");
    struct redisReply *keys = sim_reply_array();
    for (size_t i = 0; i < s.now.count; i++) {
        const struct item *item = &s.now.items[i];
        if (strata__pattern_matches(args[3], strata_bytes(item->name, item->name_size)))
            sim_reply_add(keys, sim_reply_text(REDIS_IS_TEXT, item->name, item->name_size));
    }
    struct redisReply *reply = sim_reply_array();
    sim_reply_add(reply, sim_reply_text(REDIS_IS_TEXT, "0", 1));
    sim_reply_add(reply, keys);
    return reply;
}

static struct redisReply *do_publish(const strata_slice *args)
{
    if (s.published != NULL)
        s.published(args[1], args[2]);
    return sim_reply_integer(1);
}

struct redisReply *sim_server_command(const strata_slice *args, size_t count)
{
    const strata_slice name = args[0];
    if (is(name, "GET") && count == 2)
        return do_get(args[1]);
    if (is(name, "SET") && count >= 3)
        return do_set(args, count);
    if (is(name, "GETRANGE") && count == 4)
        return do_getrange(args);
    if (is(name, "SETRANGE") && count == 4)
        return do_setrange(args);
    if (is(name, "PTTL") && count == 2)
        return do_pttl(args[1]);
    if (is(name, "PEXPIRE") && count == 3)
        return do_pexpire(args);
    if ((is(name, "DEL") || is(name, "UNLINK")) && count >= 2)
        return do_delete(args, count);
    if (is(name, "MGET") && count >= 2)
        return do_mget(args, count);
    if (is(name, "TIME"))
        return do_time();
    if (is(name, "INFO"))
        return do_info();
    if (is(name, "SCAN"))
        return do_scan(args, count);
    if (is(name, "PUBLISH") && count == 3)
        return do_publish(args);
    if (is(name, "PING"))
        return sim_reply_text(REDIS_IS_STATUS, "PONG", 4);
    sim_broken("the simulated server knows no %.*s of %zu words", (int)name.size, (const char *)name.data, count);
}

/* Scripts ------------------------------------------------------------------------------------------------------------------ */

static size_t find_script(const char *sha)
{
    size_t i = 0;
    while (i < s.known_count && strcmp(s.known[i], sha) != 0)
        i++;
    return i;
}

static void learn(strata_slice text, const char *sha)
{
    if (find_script(sha) != s.known_count)
        return;
    if (s.known_count == SCRIPTS_KNOWN)
        sim_broken("more scripts than the simulated server has room for");
    char *copy = malloc(text.size + 1);
    if (copy == NULL)
        sim_broken("no memory for a script");
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    s.text[s.known_count] = copy;
    snprintf(s.known[s.known_count++], sizeof s.known[0], "%s", sha);
}

void sim_server_forget_scripts(void)
{
    while (s.known_count > 0)
        free(s.text[--s.known_count]);
}

static struct redisReply *do_eval(const strata_slice *args, size_t count, int by_digest)
{
    char sha[41] = "";
    if (by_digest)
        memcpy(sha, args[1].data, args[1].size < 40 ? args[1].size : 40);
    else
        strata__sha1_hex(args[1].data, args[1].size, sha);
    if (!by_digest)
        learn(args[1], sha);
    size_t i = find_script(sha);
    if (i == s.known_count)
        return sim_reply_error("NOSCRIPT No matching script. Please use EVAL.");
    size_t keys = (size_t)number(args[2]);
    if (keys + 3 > count)
        sim_broken("EVAL with too few keys");
    return sim_lua_run(strata_str(s.text[i]), sha, args + 3, keys, args + 3 + keys, count - 3 - keys);
}

struct redisReply *sim_server_run(const strata_slice *args, size_t count)
{
    if (is(args[0], "EVAL") && count >= 3)
        return do_eval(args, count, 0);
    if (is(args[0], "EVALSHA") && count >= 3)
        return do_eval(args, count, 1);
    return sim_server_command(args, count);
}

void sim_server_listen(void (*published)(strata_slice channel, strata_slice message)) { s.published = published; }

void sim_server_sabotage(const char *text, const char *by) { sim_lua_sabotage(text, by); }

/* What befalls it ------------------------------------------------------------------------------------------------------------ */

void sim_server_replicate(void)
{
    empty(&s.replica);
    for (size_t i = 0; i < s.now.count; i++) {
        struct item *copy = &s.replica.items[s.replica.count++];
        *copy = s.now.items[i];
        copy->bytes = NULL;
        assign(copy, s.now.items[i].bytes, s.now.items[i].size);
    }
}

void sim_server_fail_over(int64_t clock_ms)
{
    empty(&s.now);
    s.now = s.replica;
    s.replica.count = 0;
    sim_server_replicate();
    s.run = s.run * 6364136223846793005u + 1442695040888963407u;
    s.clock_ms += clock_ms;
    sim_server_forget_scripts();
}

void sim_server_flush(void) { empty(&s.now); }

void sim_server_foreign_set(strata_slice key, strata_slice bytes) { (void)put(key, bytes.data, bytes.size); }
void sim_server_foreign_delete(strata_slice key) { (void)take_out(key); }

void sim_server_open(void)
{
    memset(&s, 0, sizeof s);
    s.run = 0x1234567 + sim_draw(1000);
}

void sim_server_close(void)
{
    empty(&s.now);
    empty(&s.replica);
    sim_server_forget_scripts();
}
