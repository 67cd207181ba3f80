/* cmd_replay.c - `strata replay TRACE`: how well a stack of layers would serve a recorded stream of requests.
 *
 * Without --size and with one policy the trace is streamed once.  --size needs to know its keys first: a file is read
 * twice then, stdin is held in memory, and so is a trace that is replayed with several sizes or policies. */
#include <stdlib.h>
#include <string.h>

#include "cli/chart_svg.h"
#include "cli/cli_error.h"
#include "cli/commands.h"
#include "cli/human.h"
#include "cli/load_cost.h"
#include "cli/opt.h"
#include "cli/out_file.h"
#include "cli/replay_plan.h"
#include "cli/replay_report.h"

/* The command line, as text until it is checked. */
struct words {
    const char *trace, *layers, *size, *policy, *shards, *threads, *origin_ms, *cost_ms, *cost_decades, *value_bytes,
        *chart;
    int no_sizes, json;
};

struct replay_job {
    const char *path;
    const char *layers;
    const char *chart;
    int json;
    uint64_t shards;
    struct replay_plan plan;
    struct trace_options trace_options;
    struct replay_config config;
    struct trace *trace;
    struct trace_survey survey;
    struct replay_run *runs;
    size_t run_count;
};

enum { OPTIONS = 12 };

static void option_table(struct opt *out, struct words *w)
{
    const struct opt table[OPTIONS] = {
        { "layers", "URL", "the stack, nearest layer first: \"memory:?max_bytes=64mb\" (memory:)", &w->layers, NULL },
        { "size", "N|N%[,...]",
          "entries in the memory layer, or their share of the trace's different\n"
          "keys (which are counted first: a file is read twice, stdin kept in memory)",
          &w->size, NULL },
        { "policy", "NAME[,...]|all",
          "who leaves when room is needed: fifo, lru, lfu, sieve, s3-fifo, w-tinylfu, cost;\n"
          "several sizes or policies are replayed one after the other and compared",
          &w->policy, NULL },
        { "shards", "N", "parts of the memory layer; 1 gives the policy's exact order (the library's choice)",
          &w->shards, NULL },
        { "threads", "N", "requests at the same time; the trace is dealt to them in blocks (1)", &w->threads, NULL },
        { "origin-ms", "N", "what a load from the simulated origin takes, in milliseconds (0)", &w->origin_ms, NULL },
        { "cost-ms", "N",
          "what a load counts as taking, half of the keys below, half above; nothing\n"
          "waits for it: it is added up, and told to the layers (for --policy cost)",
          &w->cost_ms, NULL },
        { "cost-decades", "N", "from the cheapest to the dearest hundredth of the keys; 0: all the same (3)",
          &w->cost_decades, NULL },
        { "value-bytes", "N", "size of every value (0: what the trace says, else 100)", &w->value_bytes, NULL },
        { "no-sizes", NULL, "commas in the trace belong to the keys", NULL, &w->no_sizes },
        { "json", NULL, "print one JSON object; `man strata` explains its names", NULL, &w->json },
        { "chart", "FILE.svg", "draw the hit ratios", &w->chart, NULL },
    };

    memcpy(out, table, sizeof table);
}

void cmd_replay_help(void)
{
    struct words unused;
    struct opt options[OPTIONS];

    option_table(options, &unused);
    puts("usage: strata replay TRACE [OPTIONS]\n\n"
         "Replay a trace through a stack of layers in front of a simulated origin: each request is\n"
         "a get-or-load.  A trace is text, one request a line, `key` or `key,size` (bytes); plain,\n"
         "zstd or gzip, whatever its name; - is stdin.\n");
    opt_explain(options, OPTIONS);
    puts("\nExamples:\n"
         "  strata replay web.txt.zst --size 10%\n"
         "  strata replay web.txt.zst --size 1%,10% --policy all --shards 1 --chart web.svg\n"
         "  zcat big.gz | strata replay - --layers 'memory:?max_bytes=256mb' --threads 4 --json");
}

static int parse(int argc, char **argv, struct replay_job *job)
{
    struct words w = { 0 };
    struct opt options[OPTIONS];
    size_t words;
    int code;

    option_table(options, &w);
    code = opt_parse("replay", options, OPTIONS, argc, argv, &w.trace, 1, &words);
    if (code != CLI_OK)
        return code;
    if (words == 0)
        return cli_usage("replay: which trace?  strata replay TRACE, or - for stdin; `strata help replay` explains");
    job->path = w.trace;
    job->layers = w.layers != NULL ? w.layers : "memory:";
    job->chart = w.chart;
    job->json = w.json;
    job->trace_options.no_sizes = w.no_sizes;
    job->config.threads = 1;
    job->config.cost_decades = 3;
    if (w.chart != NULL && strcmp(w.chart, "-") == 0)
        return cli_usage("replay: --chart -: the table goes to standard output: name a file");
    if (w.chart != NULL && out_file_same(w.chart, w.trace))
        return cli_usage("replay: --chart %s: that is the trace, which would be gone: name another file", w.chart);
    if (w.cost_decades != NULL && w.cost_ms == NULL)
        return cli_usage("replay: --cost-decades spreads what --cost-ms says: give that, too");
    code = opt_u64("threads", w.threads, 1, REPLAY_THREADS_MAX, &job->config.threads);
    if (code == CLI_OK)
        code = opt_u64("origin-ms", w.origin_ms, 0, 3600000, &job->config.origin_ms);
    if (code == CLI_OK)
        code = opt_u64("cost-ms", w.cost_ms, 1, 1000000, &job->config.cost_ms);
    if (code == CLI_OK)
        code = opt_u64("cost-decades", w.cost_decades, 0, LOAD_COST_DECADES, &job->config.cost_decades);
    if (code == CLI_OK)
        code = opt_u64("value-bytes", w.value_bytes, 0, TRACE_VALUE_MAX, &job->config.value_bytes);
    if (code == CLI_OK)
        code = opt_u64("shards", w.shards, 1, 65536, &job->shards);
    return code == CLI_OK ? replay_plan_parse(&job->plan, w.size, w.policy) : code;
}

/* A byte budget that is never what limits: the entries are counted.  Rounded up to whole megabytes. */
static uint64_t room_for(const struct replay_job *job, uint64_t entries)
{
    const struct trace_survey *s = &job->survey;
    uint64_t value = job->config.value_bytes != 0        ? job->config.value_bytes
                     : s->value_max > REPLAY_VALUE_BYTES ? s->value_max
                                                         : REPLAY_VALUE_BYTES;
    uint64_t held = entries < s->unique ? entries : s->unique;
    double bytes = (double)held * (double)(value + s->key_max + 256);
    double all = (double)s->value_total + (double)s->requests * (double)(s->key_max + REPLAY_VALUE_BYTES + 256);

    if (job->config.value_bytes == 0 && all < bytes)
        bytes = all; /* values of very different sizes: no more than everything ever asked for */
    bytes = bytes * 2 + 64.0 * 1024 * 1024;
    return ((uint64_t)bytes + (1u << 20) - 1) & ~(uint64_t)((1u << 20) - 1);
}

static int plan_runs(struct replay_job *job, strata_error *err)
{
    size_t sizes = job->plan.size_count != 0 ? job->plan.size_count : 1;
    size_t policies = job->plan.policy_count != 0 ? job->plan.policy_count : 1;
    size_t i;

    job->run_count = sizes * policies;
    job->runs = calloc(job->run_count, sizeof *job->runs);
    if (job->runs == NULL)
        return cli_fail(err, STRATA_ENOMEM, "replay", "out of memory");
    for (i = 0; i < job->run_count; i++) {
        struct replay_run *run = &job->runs[i];
        struct layers_wish wish = { 0, 0, NULL, job->shards };
        int status;

        if (job->plan.size_count != 0) {
            run->size = replay_plan_entries(&job->plan.sizes[i / policies], job->survey.unique);
            wish.max_entries = run->size;
            wish.max_bytes = room_for(job, run->size);
        }
        if (job->plan.policy_count != 0)
            run->policy = wish.policy = job->plan.policies[i % policies];
        status = layers_url(run->url, job->layers, &wish, err);
        if (status != STRATA_OK)
            return status;
    }
    return STRATA_OK;
}

static int open_trace(struct replay_job *job, strata_error *err)
{
    int survey = job->plan.size_count != 0 || replay_plan_count(&job->plan) > 1;
    int keep = replay_plan_count(&job->plan) > 1 || (survey && strcmp(job->path, "-") == 0);
    struct progress progress;
    int status = trace_open(&job->trace, job->path, &job->trace_options, keep, err);

    if (status != STRATA_OK)
        return status;
    /* Waiting origins must not hold a block for long, or one thread ends far behind the others. */
    trace_set_block_requests(job->trace, job->config.origin_ms != 0 ? 16 : TRACE_BLOCK_REQUESTS);
    if (!survey)
        return STRATA_OK;
    progress_start(&progress, "counting keys");
    status = trace_survey(job->trace, &job->survey, &progress, err);
    progress_end(&progress);
    if (status == STRATA_OK && job->survey.requests == 0)
        return cli_fail(err, STRATA_EIO, "trace", "it has no requests: is it the right file?");
    return status;
}

static int run_one(struct replay_job *job, size_t i, strata_error *err)
{
    struct replay_run *run = &job->runs[i];
    struct replay_config config = job->config;
    struct progress progress;
    char what[64], text[HUMAN_BYTES];
    int status = i > 0 ? trace_rewind(job->trace, err) : STRATA_OK;

    if (status != STRATA_OK)
        return status;
    if (run->size != 0)
        snprintf(what, sizeof what, "%s, %s entries", run->policy != NULL ? run->policy : "replay",
                 human_count(text, run->size));
    else
        snprintf(what, sizeof what, "%s", run->policy != NULL ? run->policy : "replay");
    config.url = run->url;
    progress_start(&progress, what);
    status = replay_run(job->trace, &config, &progress, &run->result, err);
    layers_url_hide(run->url); /* from here on it is shown */
    progress_end(&progress);
    if (status == STRATA_OK && run->result.total.requests == 0)
        return cli_fail(err, STRATA_EIO, "trace", "it has no requests: is it the right file?");
    return status;
}

/* A layer that failed, or was left alone, cost no request its value, and could be taken for one that holds nothing. */
static void warn_of_layers(const struct replay_run *run)
{
    const struct replay_result *r = &run->result;
    char errors[HUMAN_BYTES], refused[HUMAN_BYTES];
    size_t i;

    for (i = 0; i < r->layer_count; i++) {
        const strata_layer_stats *layer = &r->layers[i];
        const strata_error *last = &r->layer_errors[i];

        if (layer->errors == 0 && layer->breaker_refused == 0)
            continue;
        fprintf(stderr,
                "strata: warning: layer \"%s\": %s errors, and %s operations that it was not asked for; the last: %s\n",
                layer->name, human_count(errors, layer->errors), human_count(refused, layer->breaker_refused),
                last->status != 0 ? last->message : "-");
    }
}

/* Print everything; CLI_FAILED where requests got no value. */
static int report(struct replay_job *job, strata_error *err)
{
    struct replay_report all = { job->path,   job->survey.unique, trace_empty_lines(job->trace),
                                 job->config, job->runs,          job->run_count };
    char failed[HUMAN_BYTES], requests[HUMAN_BYTES];
    size_t i;

    if (job->json)
        replay_report_json(&all, stdout);
    else
        replay_report_table(&all, stdout);
    if (job->chart != NULL) {
        int status = chart_svg_write(&all, job->chart, err);

        if (status != STRATA_OK)
            return status;
    }
    for (i = 0; i < job->run_count; i++)
        warn_of_layers(&job->runs[i]);
    for (i = 0; i < job->run_count; i++) {
        const struct replay_result *r = &job->runs[i].result;

        if (r->failed != 0)
            return cli_fail(err, STRATA_EIO, "replay", "%s of %s requests got no value; the first: %s: %.120s",
                            human_count(failed, r->failed), human_count(requests, r->total.requests), r->first.where,
                            r->first.message);
    }
    return STRATA_OK;
}

int cmd_replay(int argc, char **argv)
{
    struct replay_job job;
    strata_error err = STRATA_ERROR_INIT;
    int status, code;
    size_t i;

    memset(&job, 0, sizeof job);
    code = parse(argc, argv, &job);
    if (code != CLI_OK)
        return code;
    status = job.chart != NULL ? out_file_check(job.chart, "--chart", &err) : STRATA_OK;
    if (status == STRATA_OK)
        status = open_trace(&job, &err);
    if (status == STRATA_OK)
        status = plan_runs(&job, &err);
    for (i = 0; status == STRATA_OK && i < job.run_count; i++)
        status = run_one(&job, i, &err);
    if (status == STRATA_OK)
        status = report(&job, &err);
    trace_close(job.trace);
    free(job.runs);
    return status == STRATA_OK ? CLI_OK : cli_report(&err);
}
