/* strata/log.h - what a cache has to say, in words.  Part of the stable API. */
#ifndef STRATA_LOG_H
#define STRATA_LOG_H
#include "strata/base.h"
STRATA_BEGIN_DECLS

/** How much it matters. */
enum {
    STRATA_LOG_ERROR = 1, /**< the cache could not be opened */
    STRATA_LOG_WARN = 2,  /**< something failed, and the cache works on with less: a layer, a bus, a load, trust */
    STRATA_LOG_INFO = 3,  /**< what happens rarely and on purpose: opened, closed, up again, budgets that change */
    STRATA_LOG_DEBUG = 4  /**< what happens often: loads, refusals, stale answers, copies from lower layers */
};

/** One line.  Everything in it is borrowed for the call. */
typedef struct strata_log_line {
    size_t size;          /**< sizeof this struct */
    int32_t level;        /**< STRATA_LOG_... */
    uint32_t reserved;    /**< 0 */
    const char *category; /**< "cache", "load", "layer", "bus" or "memory" */
    const char *message;  /**< without an end of line; passwords and secrets are taken out of it, and keys stand in it only where
                               they were asked for */
    uint64_t left_out;    /**< lines of the same kind that were not told since the last one, for there were too many */
} strata_log_line;

/**
 * Takes lines.  Of one kind (an event of one layer or bus, with one status) at most five in ten seconds: the next one says how many
 * were left out, at the latest when the cache is closed.  Nothing on the way of a hit is ever logged.
 * Threads: any, several at once.  Runs where it happened, under no lock: it may call the cache again, but strata_close() answers
 * STRATA_AGAIN there, as in any callback.
 *
 * What is told is chosen by a list of words, in strata_options.log and in the environment variable STRATA_LOG: a level ("off",
 * "error", "warn", "info", "debug") for all categories, "category=level" for one, and "keys", which shows keys, cut to 64 bytes and
 * escaped; "warn,bus=debug".  Later words count.
 *
 * The library itself writes nothing anywhere, unless STRATA_LOG is set when the cache is opened, and neither empty nor "off": then
 * the lines that it chooses go to standard error, besides those that the callback gets.  It is not looked at in a program with
 * more rights than its user (secure_getenv).
 */
typedef void (*strata_logger)(const strata_log_line *line, void *ctx);

/** "warn": the name of a level; "unknown" of another number.  Static text. */
STRATA_API const char *strata_log_level_name(int32_t level);

STRATA_END_DECLS
#endif /* STRATA_LOG_H */
