/* trace.c - see trace.h.
 *
 * One mutex for the reader and for the place in the list; a block is some 256 requests, so it is taken rarely.  A line
 * that no longer fits a block waits in `pending` for the next one. */
#include "cli/trace.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_error.h"
#include "cli/key_set.h"

struct trace {
    const char *path;
    struct trace_options options;
    int keep;
    uint32_t block_requests;
    pthread_mutex_t lock;
    struct trace_reader *reader; /* NULL once the blocks below are all there is */
    struct trace_line pending;   /* read, and in no block yet */
    int has_pending;
    int ended;
    uint64_t requests; /* dealt in this pass */
    uint64_t kept;     /* requests in the list */
    uint64_t empty;
    strata_error error;
    struct trace_block *first; /* kept blocks */
    struct trace_block *last;
    struct trace_block *at;
};

int trace_open(struct trace **out, const char *path, const struct trace_options *options, int keep, strata_error *err)
{
    struct trace *t = calloc(1, sizeof *t);
    int status;

    *out = NULL;
    if (t == NULL)
        return cli_fail(err, STRATA_ENOMEM, path, "out of memory");
    t->path = path;
    t->options = *options;
    t->keep = keep;
    t->block_requests = TRACE_BLOCK_REQUESTS;
    pthread_mutex_init(&t->lock, NULL);
    status = trace_reader_open(&t->reader, path, options, err);
    if (status != STRATA_OK) {
        trace_close(t);
        return status;
    }
    *out = t;
    return STRATA_OK;
}

void trace_set_block_requests(struct trace *t, uint32_t block_requests) { t->block_requests = block_requests; }

/* Fill a block from the reader.  STRATA_OK, also for a block that stays empty at the end. */
static int read_block(struct trace *t, struct trace_block *block, strata_error *err)
{
    int status = STRATA_OK;

    block->count = 0;
    block->used = 0;
    while (!t->ended && block->count < t->block_requests) {
        if (!t->has_pending) {
            status = trace_reader_next(t->reader, &t->pending, err);
            if (status != STRATA_OK)
                break;
            t->has_pending = 1;
        }
        if (!trace_block_add(block, &t->pending))
            return STRATA_OK; /* pending stays valid: the reader is asked again only after it was added */
        t->has_pending = 0;
    }
    if (status != STRATA_OK) {
        struct trace_position at;

        trace_reader_position(t->reader, &at);
        t->empty = at.empty;
        t->ended = 1;
    }
    return status == STRATA_MISS ? STRATA_OK : status;
}

/* A streamed pass, or the first one of a trace that is kept. */
static const struct trace_block *take_read(struct trace *t, struct trace_block *mine)
{
    struct trace_block *block = t->keep ? trace_block_new() : mine;
    int status;

    if (block == NULL) {
        cli_fail(&t->error, STRATA_ENOMEM, "trace", "out of memory: it does not fit; replay one size and one policy");
        t->ended = 1;
        return NULL;
    }
    status = read_block(t, block, &t->error);
    if (status != STRATA_OK || block->count == 0) {
        if (t->keep)
            free(block);
        return NULL;
    }
    t->requests += block->count;
    if (t->keep) {
        block = trace_block_shrink(block);
        if (t->last != NULL)
            t->last->next = block;
        else
            t->first = block;
        t->last = block;
        t->kept = t->requests;
    }
    return block;
}

static const struct trace_block *take_kept(struct trace *t)
{
    const struct trace_block *block = t->at;

    if (block != NULL) {
        t->at = block->next;
        t->requests += block->count;
    }
    return block;
}

static void show(struct trace *t, struct progress *progress)
{
    struct trace_position at;

    if (progress == NULL || !progress_due(progress))
        return;
    if (t->reader == NULL) {
        progress_show(progress, t->requests, (double)t->requests / (double)t->kept);
        return;
    }
    trace_reader_position(t->reader, &at);
    progress_show(progress, t->requests, at.total != 0 ? (double)at.consumed / (double)at.total : -1);
}

void trace_take(struct trace *t, struct trace_block *mine, const struct trace_block **out, struct progress *progress)
{
    pthread_mutex_lock(&t->lock);
    *out = t->reader != NULL ? take_read(t, mine) : take_kept(t);
    show(t, progress);
    pthread_mutex_unlock(&t->lock);
}

int trace_rewind(struct trace *t, strata_error *err)
{
    t->requests = 0;
    if (t->keep) {
        trace_reader_close(t->reader);
        t->reader = NULL;
        t->at = t->first;
        return STRATA_OK;
    }
    trace_reader_close(t->reader);
    t->has_pending = 0;
    t->ended = 0;
    return trace_reader_open(&t->reader, t->path, &t->options, err);
}

static int add_to_survey(struct trace_survey *s, struct key_set *keys, const struct trace_block *block)
{
    struct trace_line line;
    uint32_t offset = 0;

    while (trace_block_next(block, &offset, &line)) {
        s->requests++;
        if (line.key_size > s->key_max)
            s->key_max = line.key_size;
        if (line.value_bytes > 0) {
            s->value_total += (uint64_t)line.value_bytes;
            if ((uint64_t)line.value_bytes > s->value_max)
                s->value_max = (uint64_t)line.value_bytes;
        }
        if (key_set_add(keys, line.key, line.key_size) != 0)
            return STRATA_ENOMEM;
    }
    return STRATA_OK;
}

int trace_survey(struct trace *t, struct trace_survey *out, struct progress *progress, strata_error *err)
{
    struct key_set keys = { NULL, 0, 0 };
    struct trace_block *mine = trace_block_new();
    const struct trace_block *block;
    int status = mine != NULL ? STRATA_OK : STRATA_ENOMEM;

    memset(out, 0, sizeof *out);
    while (status == STRATA_OK) {
        trace_take(t, mine, &block, progress);
        if (block == NULL)
            break;
        status = add_to_survey(out, &keys, block);
    }
    out->unique = keys.count;
    if (status == STRATA_OK)
        status = trace_status(t, err);
    else
        cli_fail(err, status, "trace", "out of memory while its keys were counted; give --size as a number");
    key_set_deinit(&keys);
    free(mine);
    return status == STRATA_OK ? trace_rewind(t, err) : status;
}

int trace_status(const struct trace *t, strata_error *err)
{
    if (t->error.status != STRATA_OK && err != NULL)
        *err = t->error;
    return t->error.status;
}

uint64_t trace_empty_lines(const struct trace *t) { return t->empty; }

void trace_close(struct trace *t)
{
    if (t == NULL)
        return;
    trace_reader_close(t->reader);
    while (t->first != NULL) {
        struct trace_block *block = t->first;

        t->first = block->next;
        free(block);
    }
    pthread_mutex_destroy(&t->lock);
    free(t);
}
