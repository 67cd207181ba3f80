/* replay_plan.h - which sizes and which eviction policies a trace is replayed with. */
#ifndef STRATA_CLI_REPLAY_PLAN_H
#define STRATA_CLI_REPLAY_PLAN_H
#include <stddef.h>
#include <stdint.h>

enum { PLAN_SIZES = 32, PLAN_POLICIES = 16 };

/* A size of the memory layer. */
struct plan_size {
    uint64_t entries; /* 0: `percent` of the different keys */
    double percent;
};

struct replay_plan {
    struct plan_size sizes[PLAN_SIZES];
    size_t size_count; /* 0: none asked for */
    const char *policies[PLAN_POLICIES];
    size_t policy_count; /* 0: none asked for */
};

/* --size N|N%[,...] and --policy NAME[,...]|all; NULL where not given.  CLI_OK, or CLI_USAGE after a message. */
int replay_plan_parse(struct replay_plan *out, const char *sizes, const char *policies);
/* How many replays that makes: sizes by policies, at least one. */
size_t replay_plan_count(const struct replay_plan *plan);
/* A size in entries, at least 1. */
uint64_t replay_plan_entries(const struct plan_size *size, uint64_t unique);

#endif /* STRATA_CLI_REPLAY_PLAN_H */
