/* log_rules.h - which lines are told, how many of them, and what does not stand in them.  Pure: time is an argument. */
#ifndef STRATA_POLICY_LOG_RULES_H
#define STRATA_POLICY_LOG_RULES_H
#include <stddef.h>
#include <stdint.h>

#include "strata/error.h"

enum log_category { LOG_CACHE, LOG_LOAD, LOG_LAYER, LOG_BUS, LOG_MEMORY, LOG_CATEGORIES };

struct log_rules {
    int level[LOG_CATEGORIES]; /* lines up to this are told; 0: none */
    int keys;                  /* keys are shown */
};

const char *strata__log_category_name(enum log_category category);
/* "warn,bus=debug,keys": `out` is changed by each word; start it from zeros.  STRATA_OK; STRATA_EINVAL with words, and the words
 * before hold. */
int strata__log_rules_read(const char *text, struct log_rules *out, strata_error *err);
/* 1: somebody wants to hear anything at all. */
int strata__log_rules_any(const struct log_rules *rules);

/* So many lines of a kind in so long a time. */
enum { LOG_BURST = 5, LOG_WINDOW_MS = 10000 };

struct log_rate {
    int64_t began_ms; /* the window */
    uint32_t told;    /* in it; 0 with began_ms 0: never any */
    uint64_t left_out;
};

/* May one be told now?  1: *out_left_out were not, since the last that was. */
int strata__log_may(struct log_rate *rate, int64_t now_ms, uint64_t *out_left_out);

/* Put stars where a URL has a user and password, and where "password=", "secret=" or "token=" has a value.  In place. */
void strata__log_redact(char *text);

/* A key for people to read: what is no plain character as \xNN, "..." where it is cut.  room at least 8. */
void strata__log_show_key(const void *key, size_t size, char *out, size_t room);

#endif /* STRATA_POLICY_LOG_RULES_H */
