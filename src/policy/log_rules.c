/* log_rules.c - see log_rules.h. */
#include "src/policy/log_rules.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/base/err.h"
#include "strata/log.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const char *const levels[] = { "off", "error", "warn", "info", "debug" };
static const char *const categories[] = { "cache", "load", "layer", "bus", "memory" };

const char *strata_log_level_name(int32_t level)
{
    return level >= STRATA_LOG_ERROR && level <= STRATA_LOG_DEBUG ? levels[level] : "unknown";
}

const char *strata__log_category_name(enum log_category category) { return categories[category]; }

/* Which of them these bytes are; -1: none. */
static int find(const char *const *names, size_t count, const char *text, size_t size)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) == size && memcmp(names[i], text, size) == 0)
            return (int)i;
    return -1;
}

static int fail_word(const char *word, size_t size, strata_error *err)
{
    return strata__fail(
        err, STRATA_EINVAL, "log",
        "\"%.*s\" says nothing of a log: write off, error, warn, info or debug, for one category as bus=debug (cache, "
        "load, layer, bus, memory), and keys where keys may be shown, with commas between them",
        (int)(size < 40 ? size : 40), word);
}

static int read_word(const char *word, size_t size, struct log_rules *out, strata_error *err)
{
    const char *sign = memchr(word, '=', size);
    size_t name = sign != NULL ? (size_t)(sign - word) : 0;
    const char *value = sign != NULL ? sign + 1 : word;
    int level = find(levels, COUNT(levels), value, size - (size_t)(value - word));
    int category = sign != NULL ? find(categories, COUNT(categories), word, name) : 0;
    if (sign == NULL && size == 4 && memcmp(word, "keys", 4) == 0) {
        out->keys = 1;
        return STRATA_OK;
    }
    if (level < 0 || category < 0)
        return fail_word(word, size, err);
    for (int i = 0; i < LOG_CATEGORIES; i++)
        if (sign == NULL || i == category)
            out->level[i] = level;
    return STRATA_OK;
}

int strata__log_rules_read(const char *text, struct log_rules *out, strata_error *err)
{
    while (*text != '\0') {
        size_t size = strcspn(text, ", ");
        int rc = size != 0 ? read_word(text, size, out, err) : STRATA_OK;
        if (rc != STRATA_OK)
            return rc;
        text += size;
        text += strspn(text, ", ");
    }
    return STRATA_OK;
}

int strata__log_rules_any(const struct log_rules *rules)
{
    for (int i = 0; i < LOG_CATEGORIES; i++)
        if (rules->level[i] != 0)
            return 1;
    return 0;
}

int strata__log_may(struct log_rate *rate, int64_t now_ms, uint64_t *out_left_out)
{
    if (rate->told == 0 || now_ms - rate->began_ms >= LOG_WINDOW_MS || now_ms < rate->began_ms) {
        rate->began_ms = now_ms;
        rate->told = 0;
    }
    if (rate->told == LOG_BURST) {
        rate->left_out++;
        return 0;
    }
    rate->told++;
    *out_left_out = rate->left_out;
    rate->left_out = 0;
    return 1;
}

/* Redaction ------------------------------------------------------------------------------------------------------ */

/* `size` bytes at `at` become at most three stars; what follows them. */
static char *star(char *at, size_t size)
{
    size_t stars = size < 3 ? size : 3;
    memset(at, '*', stars);
    memmove(at + stars, at + size, strlen(at + size) + 1);
    return at + stars;
}

/* Of "://user:password@host": a password may hold anything but a blank, so the last '@' of the word counts. */
static void redact_urls(char *text)
{
    while ((text = strstr(text, "://")) != NULL) {
        text += 3;
        size_t word = strcspn(text, " \t\r\n");
        size_t user = 0;
        for (size_t i = 0; i < word; i++)
            if (text[i] == '@')
                user = i;
        if (user != 0)
            text = star(text, user);
    }
}

void strata__log_redact(char *text)
{
    static const char *const names[] = { "password=", "passwd=", "secret=", "token=" };
    redact_urls(text);
    for (char *at = text; *at != '\0'; at++)
        for (size_t i = 0; i < COUNT(names); i++) {
            size_t size = strlen(names[i]);
            if (strncasecmp(at, names[i], size) == 0) {
                at += size;
                at = star(at, strcspn(at, " \t\r\n\"'&|;,")) - 1;
                break;
            }
        }
}

void strata__log_show_key(const void *key, size_t size, char *out, size_t room)
{
    const unsigned char *bytes = key;
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        if (used + sizeof "\\xNN..." > room) {
            memcpy(out + used, "...", 3);
            used += 3;
            break;
        }
        if (bytes[i] >= 0x20 && bytes[i] < 0x7f && bytes[i] != '\\' && bytes[i] != '"')
            out[used++] = (char)bytes[i];
        else
            used += (size_t)snprintf(out + used, room - used, "\\x%02x", bytes[i]);
    }
    out[used] = '\0';
}
