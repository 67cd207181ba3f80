/* replay_engine.h - one replay: a trace through a stack of layers in front of a simulated origin.
 *
 * Every request is one strata_get_or_load() through the public API.  With one thread the requests run in the order of
 * the trace on the caller's thread; with more, blocks of them are dealt to whichever thread is free. */
#ifndef STRATA_CLI_REPLAY_ENGINE_H
#define STRATA_CLI_REPLAY_ENGINE_H
#include <stdint.h>

#include "cli/progress.h"
#include "cli/trace.h"
#include "strata/strata.h"

enum { REPLAY_LAYERS = 8, REPLAY_THREADS_MAX = 256, REPLAY_VALUE_BYTES = 100 /* where nothing says how many */ };

struct replay_config {
    const char *url;
    uint64_t threads;   /* 1 to REPLAY_THREADS_MAX */
    uint64_t origin_ms; /* what a load takes */
    uint64_t cost_ms;   /* what it counts as taking, by the median; 0: nobody says */
    uint64_t cost_decades;
    uint64_t value_bytes; /* of every value; 0: what the trace says, else REPLAY_VALUE_BYTES */
};

struct replay_result {
    strata_stats total;
    strata_layer_stats layers[REPLAY_LAYERS];
    size_t layer_count;
    double seconds;
    uint64_t cost_us;                         /* of all loads, where config.cost_ms says */
    uint64_t failed;                          /* requests that got no value */
    strata_error first;                       /* why the first of them */
    strata_error layer_errors[REPLAY_LAYERS]; /* the last one of each layer; status 0: it had none */
};

/* STRATA_OK, also where single requests failed; else the cache could not be opened or the trace not be read. */
int replay_run(struct trace *trace, const struct replay_config *config, struct progress *progress,
               struct replay_result *out, strata_error *err);

#endif /* STRATA_CLI_REPLAY_ENGINE_H */
