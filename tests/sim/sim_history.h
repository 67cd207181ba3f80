/* sim_history.h - what every read may have answered: a checker that knows of nothing but calls, their times and their answers.
 *
 * Values are versions of a key.  Who writes draws the next version from the origin first; loads bring the version that the origin had
 * when they began.  A write that has returned STRATA_OK supersedes what is older: the floor.  Held against it is a read that began
 * later.  One write of a key is at work at a time.
 *
 * A set that did not return STRATA_OK may still arrive, or not, at any time: its version is wild from then on, and allowed. */
#ifndef STRATA_TESTS_SIM_HISTORY_H
#define STRATA_TESTS_SIM_HISTORY_H
#include <stddef.h>
#include <stdint.h>

enum { HISTORY_KEYS = 4, HISTORY_NODES = 8 };

enum history_reader {
    HISTORY_OWN,   /* it has a memory, and nobody tells it of others' writes: held against its own node's */
    HISTORY_STORE, /* it reads the store itself: held against everybody's */
    HISTORY_BUS    /* it has a memory and hears of writes: against everybody's, after the stated bound */
};

struct history_read {
    size_t key;
    int node;
    enum history_reader reader;
    int64_t began_ms;
    uint64_t own, store; /* floors, when it began */
};

enum history_write_kind {
    HISTORY_DELETE,
    HISTORY_SET,    /* may still arrive where it returned no STRATA_OK */
    HISTORY_BEHIND, /* a set that was queued: it need not be read by anybody; but past a later write it may not, either, */
    HISTORY_CLEAR, /* unless there was a clear, or a ban, which leave no word in the store of what they took */
    HISTORY_BAN /* held against its own node alone: the store does not know of it, and who missed it reads from there */
};

/* How much later than a write returned a read may begin, and still be answered with what was before: STRATA_OK, STRATA_STALE. */
struct history_bounds {
    int64_t ok_ms, stale_ms;
};

void history_open(const struct history_bounds *bounds);
uint64_t history_origin(size_t key);

/* A write begins: its version.  One at a time of a key. */
uint64_t history_write(size_t key);
int history_is_writing(size_t key);
/* It has returned, so. */
void history_written(int node, size_t key, uint64_t version, enum history_write_kind kind, int status);

struct history_read history_read(int node, size_t key, enum history_reader reader, int64_t now_ms);
/* Its answer: STRATA_OK or STRATA_STALE.  Says sim_violation() where it may not be. */
void history_judge(const struct history_read *read, int status, uint64_t version);

#endif /* STRATA_TESTS_SIM_HISTORY_H */
