/* log.c - see log.h.
 *
 * A log is a listener of its own kind: what it tells is made of events, where they are told anyway, under no lock.  Events that
 * come with each operation are not among them, so that a log, whatever it is asked for, changes nothing for a hit. */
#include "src/core/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/base/hash.h"
#include "src/core/coherence.h"
#include "src/policy/log_rules.h"
#include "strata/log.h"

enum { SINKS = 2, RATES = 64, LINE_ROOM = 768, SHOWN_KEY = 72 };

struct log_sink {
    strata_logger call; /* NULL: standard error */
    void *ctx;
    struct log_rules rules;
    struct log_rate rates[RATES]; /* by kind of line; log->lock */
};

struct root_log {
    struct key_mutex lock; /* held for moments, alone */
    uint32_t mask;
    size_t count;
    struct log_sink sinks[SINKS];
};

static const struct log_row {
    uint32_t kind;
    int level;
    enum log_category category;
    const char *words;
} rows[] = {
    { STRATA_EVENT_ERROR, STRATA_LOG_WARN, LOG_LAYER, "failed" },
    { STRATA_EVENT_LOAD_ERROR, STRATA_LOG_WARN, LOG_LOAD, "a load failed" },
    { STRATA_EVENT_LOAD_TIMEOUT, STRATA_LOG_WARN, LOG_LOAD, "a load took too long" },
    { STRATA_EVENT_LOAD_REFUSED, STRATA_LOG_DEBUG, LOG_LOAD, "a load was refused" },
    { STRATA_EVENT_BREAKER_OPEN, STRATA_LOG_WARN, LOG_LOAD, "a breaker of loads opened" },
    { STRATA_EVENT_BREAKER_CLOSED, STRATA_LOG_INFO, LOG_LOAD, "a breaker of loads closed" },
    { STRATA_EVENT_LOAD_SUCCESS, STRATA_LOG_DEBUG, LOG_LOAD, "loaded" },
    { STRATA_EVENT_STALE_SERVE, STRATA_LOG_DEBUG, LOG_LOAD, "a stale value was served" },
    { STRATA_EVENT_BACKFILL, STRATA_LOG_DEBUG, LOG_LAYER, "copied from a lower layer" },
    { STRATA_EVENT_CLEAR, STRATA_LOG_INFO, LOG_CACHE, "cleared" },
    { STRATA_EVENT_SUSPECT, STRATA_LOG_WARN, LOG_BUS, "not trusted" },
    { STRATA_EVENT_TRUSTED, STRATA_LOG_INFO, LOG_BUS, "trusted" },
    { STRATA_EVENT_BUS_DOWN, STRATA_LOG_WARN, LOG_BUS, "down" },
    { STRATA_EVENT_BUS_UP, STRATA_LOG_INFO, LOG_BUS, "up" },
    { STRATA_EVENT_PRESSURE, STRATA_LOG_INFO, LOG_MEMORY, "the budget changed" },
};

/* Making it ---------------------------------------------------------------------------------------------------- */

static uint32_t mask_of(const struct log_rules *rules)
{
    uint32_t mask = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rules->level[rows[i].category] >= rows[i].level)
            mask |= rows[i].kind;
    return mask;
}

static void add_sink(struct root_log *log, strata_logger call, void *ctx, const struct log_rules *rules)
{
    struct log_sink *s = &log->sinks[log->count++];
    s->call = call;
    s->ctx = ctx;
    s->rules = *rules;
    log->mask |= mask_of(rules);
}

int strata__log_new(struct root *root, const strata_options *known, strata_error *err)
{
    struct log_rules asked = { { 0 }, 0 }, wished = { { 0 }, 0 };
    strata_error why = STRATA_ERROR_INIT;
    const struct executor_ops *ops = root->ex->ops;
    const char *wish = ops->log_wish != NULL ? ops->log_wish(root->ex) : NULL;
    int rc = strata__log_rules_read(known->log != NULL ? known->log : "warn", &asked, err);
    if (rc == STRATA_OK && known->log != NULL && known->logger == NULL)
        return strata__fail(
            err, STRATA_EINVAL, "log",
            "strata_options.log chooses what a logger gets, and there is none: set logger, or the environment "
            "variable STRATA_LOG for lines on standard error");
    if (rc != STRATA_OK)
        return rc;
    /* What somebody else's shell says fails no open: what is understood holds, and the rest is told of. */
    int understood = wish == NULL || strata__log_rules_read(wish, &wished, &why) == STRATA_OK;
    int is_wished = strata__log_rules_any(&wished) || !understood;
    if (known->logger == NULL && !is_wished)
        return STRATA_OK;
    struct root_log *log = strata__alloc_zero(root->mem, sizeof *log);
    if (log == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, "open");
    if (known->logger != NULL)
        add_sink(log, known->logger, known->logger_ctx, &asked);
    if (is_wished) {
        wished.level[LOG_CACHE] += wished.level[LOG_CACHE] == 0 && !understood;
        add_sink(log, NULL, NULL, &wished);
    }
    root->log = log;
    if (!understood)
        strata__log_say(root, STRATA_LOG_ERROR, "STRATA_LOG: %s", why.message);
    return STRATA_OK;
}

void strata__log_reopen(struct root *root)
{
    if (root->log != NULL)
        key_mutex_init(&root->log->lock);
}

void strata__log_free(struct root *root)
{
    strata__free(root->mem, root->log);
    root->log = NULL;
}

uint32_t strata__log_mask(const struct root *root) { return root->log != NULL ? root->log->mask : 0; }

/* Telling ------------------------------------------------------------------------------------------------------- */

/* "strata 2026-11-21T22:13:05.123Z warn bus: ... (12 left out)" */
static void write_line(struct root *root, const strata_log_line *line)
{
    char text[LINE_ROOM + 128];
    struct tm parts;
    int64_t now = ex_wall_ms(root->ex);
    time_t seconds = (time_t)(now / 1000);
    if (gmtime_r(&seconds, &parts) == NULL)
        memset(&parts, 0, sizeof parts);
    int n = snprintf(text, sizeof text - 1, "strata %04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s %s: %s",
                     parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     (int)(now % 1000), strata_log_level_name(line->level), line->category, line->message);
    if (n > 0 && (size_t)n < sizeof text - 1 && line->left_out != 0)
        n += snprintf(text + n, sizeof text - 1 - (size_t)n, " (%llu left out)", (unsigned long long)line->left_out);
    size_t size = n <= 0 ? 0 : (size_t)n < sizeof text - 1 ? (size_t)n : sizeof text - 2;
    text[size++] = '\n';
    root->ex->ops->log_line(root->ex, text, size);
}

static void hand_over(struct root *root, const struct log_sink *s, int level, enum log_category category, char *message,
                      uint64_t left_out)
{
    strata_log_line line = { .size = sizeof line,
                             .level = level,
                             .category = strata__log_category_name(category),
                             .message = message,
                             .left_out = left_out };
    for (char *at = message; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20)
            *at = ' '; /* a line is a line, whatever a server said */
    strata__log_redact(message);
    if (s->call == NULL) {
        write_line(root, &line);
        return;
    }
    struct frame f;
    frame_push(&f, root, FRAME_CALLBACK);
    s->call(&line, s->ctx);
    frame_pop(&f);
}

/* May `rate` of the sink tell another one? */
static int may(struct root *root, struct log_rate *rate, uint64_t *out_left_out)
{
    int64_t now = ex_now_ms(root->ex);
    key_mutex_lock(&root->log->lock);
    int rc = strata__log_may(rate, now, out_left_out);
    key_mutex_unlock(&root->log->lock);
    return rc;
}

static const struct log_row *find_row(uint32_t kind)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].kind == kind)
            return &rows[i];
    return NULL;
}

/* Lines are of one kind where kind, layer and status are the same. */
static size_t rate_of(const strata_event *e)
{
    const char *layer = e->layer != NULL ? e->layer : "";
    uint64_t h = strata__mix64(e->kind ^ (uint64_t)(uint32_t)e->status << 32);
    for (; *layer != '\0'; layer++)
        h = strata__mix64(h ^ (unsigned char)*layer);
    return (size_t)(h % RATES);
}

static void put_words(const struct log_sink *s, const struct log_row *row, const strata_event *e, char *out, size_t room)
{
    char key[SHOWN_KEY], name[64];
    size_t used = 0;
    int n = 0;
#define ADD(...) \
    (n = snprintf(out + used, room - used, __VA_ARGS__), used += n < 0                     ? 0 \
                                                                 : (size_t)n < room - used ? (size_t)n \
                                                                                           : room - 1 - used)
    if (e->layer != NULL) {
        snprintf(name, sizeof name, "%s", e->layer);
        ADD("%s: ", name);
    }
    ADD("%s", e->message != NULL && e->message[0] != '\0' ? e->message : row->words);
    if (e->status < 0)
        ADD(" (%s)", strata_status_name(e->status));
    if (e->elapsed_us > 0)
        ADD(", %lld us", (long long)e->elapsed_us);
    if (s->rules.keys && e->key.size != 0) {
        strata__log_show_key(e->key.data, e->key.size, key, sizeof key);
        ADD(", key \"%s\"", key);
    }
#undef ADD
}

void strata__log_event(struct root *root, const strata_event *event)
{
    char message[LINE_ROOM];
    uint64_t left_out = 0;
    const struct log_row *row = find_row(event->kind);
    struct root_log *log = root->log;
    for (size_t i = 0; row != NULL && i < log->count; i++) {
        struct log_sink *s = &log->sinks[i];
        if (s->rules.level[row->category] < row->level || !may(root, &s->rates[rate_of(event)], &left_out))
            continue;
        put_words(s, row, event, message, sizeof message);
        hand_over(root, s, row->level, row->category, message, left_out);
    }
}

void strata__log_say(struct root *root, int level, const char *format, ...)
{
    char message[LINE_ROOM];
    for (size_t i = 0; root->log != NULL && i < root->log->count; i++) {
        if (root->log->sinks[i].rules.level[LOG_CACHE] < level)
            continue;
        va_list args;
        va_start(args, format);
        (void)vsnprintf(message, sizeof message, format, args);
        va_end(args);
        hand_over(root, &root->log->sinks[i], level, LOG_CACHE, message, 0);
    }
}

void strata__log_opened(struct root *root)
{
    char names[256] = "";
    size_t used = 0;
    if (root->log == NULL)
        return;
    for (size_t i = 0; i < root->layer_count; i++) {
        int n = snprintf(names + used, sizeof names - used, "%s%s", i != 0 ? " | " : "", root->layers[i].layer->name);
        used += n > 0 && (size_t)n < sizeof names - used ? (size_t)n : 0;
    }
    strata__log_say(root, STRATA_LOG_INFO, "opened: %s", names);
    if (root->log->mask & STRATA_EVENT_SUSPECT)
        strata__coherence_warn(root);
}

static uint64_t take_left_out(struct root_log *log, struct log_sink *s)
{
    uint64_t left_out = 0;
    key_mutex_lock(&log->lock);
    for (size_t i = 0; i < RATES; i++) {
        left_out += s->rates[i].left_out;
        s->rates[i].left_out = 0;
    }
    key_mutex_unlock(&log->lock);
    return left_out;
}

void strata__log_closed(struct root *root, int status)
{
    for (size_t i = 0; root->log != NULL && i < root->log->count; i++) {
        uint64_t left_out = take_left_out(root->log, &root->log->sinks[i]);
        char words[] = "too many lines: the last of some kind were not told";
        if (left_out != 0)
            hand_over(root, &root->log->sinks[i], STRATA_LOG_WARN, LOG_CACHE, words, left_out);
    }
    if (status == STRATA_PENDING)
        strata__log_say(root, STRATA_LOG_WARN,
                        "closed, and what a server or a bus was yet to be told is lost: others may find there what was "
                        "deleted here");
    else
        strata__log_say(root, STRATA_LOG_INFO, "closed");
}
