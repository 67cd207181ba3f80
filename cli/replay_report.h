/* replay_report.h - what a replay found, for people (a table) and for programs (one JSON object).
 * The names of the JSON are stable; docs/man/strata.1 lists them. */
#ifndef STRATA_CLI_REPLAY_REPORT_H
#define STRATA_CLI_REPLAY_REPORT_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/layers_url.h"
#include "cli/replay_engine.h"

/* One pass of the trace and what came of it. */
struct replay_run {
    const char *policy; /* NULL: as the URL says */
    uint64_t size;      /* entries; 0: as the URL says */
    char url[LAYERS_URL_BYTES];
    struct replay_result result;
};

struct replay_report {
    const char *trace; /* as it was named */
    uint64_t unique;   /* different keys; 0: not counted */
    uint64_t empty;    /* lines passed over */
    struct replay_config config;
    const struct replay_run *runs;
    size_t count;
};

void replay_report_table(const struct replay_report *report, FILE *to);
void replay_report_json(const struct replay_report *report, FILE *to);
/* Hits of the whole stack by its requests; 0 where there were none. */
double replay_hit_ratio(const struct replay_result *result);

#endif /* STRATA_CLI_REPLAY_REPORT_H */
