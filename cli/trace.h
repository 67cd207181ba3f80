/* trace.h - a trace that is dealt out in blocks, once or several times.
 *
 * Streamed: each pass reads the file again, memory is bounded, stdin can be passed over once.  Kept: the first pass
 * leaves all blocks in memory, for many passes and for stdin.  Threads take blocks from one trace at the same time; in
 * between, one thread rewinds. */
#ifndef STRATA_CLI_TRACE_H
#define STRATA_CLI_TRACE_H
#include <stdint.h>

#include "cli/progress.h"
#include "cli/trace_block.h"
#include "cli/trace_reader.h"

struct trace;

/* What a whole pass finds out. */
struct trace_survey {
    uint64_t requests;
    uint64_t unique;      /* different keys */
    uint64_t key_max;     /* bytes of the longest key */
    uint64_t value_max;   /* the largest size given; 0: the trace gives none */
    uint64_t value_total; /* the sum of all sizes given */
};

/* `keep`: hold it in memory.  `block_requests`: at most so many requests a block, 1 to TRACE_BLOCK_REQUESTS. */
int trace_open(struct trace **out, const char *path, const struct trace_options *options, int keep, strata_error *err);
void trace_set_block_requests(struct trace *trace, uint32_t block_requests);
/* Go over it once; afterwards rewind. */
int trace_survey(struct trace *trace, struct trace_survey *out, struct progress *progress, strata_error *err);
int trace_rewind(struct trace *trace, strata_error *err);
/* Fill or lend the next block.  `mine` is the caller's own block, used where the trace is streamed; *out is the block
 * to read, until the next call with the same `mine`.  NULL at the end, and after an error (trace_status).
 * Threads: any.  Reports progress where it is not NULL. */
void trace_take(struct trace *trace, struct trace_block *mine, const struct trace_block **out,
                struct progress *progress);
/* STRATA_OK, or the error that ended the last pass. */
int trace_status(const struct trace *trace, strata_error *err);
/* Empty lines that the last pass over the file passed over. */
uint64_t trace_empty_lines(const struct trace *trace);
/* NULL is a no-op. */
void trace_close(struct trace *trace);

#endif /* STRATA_CLI_TRACE_H */
