/* replay_report.c - see replay_report.h. */
#include "cli/replay_report.h"

#include <string.h>

#include "cli/human.h"
#include "cli/json_out.h"
#include "cli/table.h"

double replay_hit_ratio(const struct replay_result *r)
{
    return r->total.requests != 0 ? (double)r->total.hits / (double)r->total.requests : 0;
}

static double per_second(const struct replay_result *r)
{
    return r->seconds > 0 ? (double)r->total.requests / r->seconds : 0;
}

/* For people ------------------------------------------------------------------------------------------------- */

static void cell_count(struct table *t, uint64_t n)
{
    char text[HUMAN_BYTES];

    table_cell(t, "%s", human_count(text, n));
}

static void cell_us(struct table *t, const strata_latency *latency, double us)
{
    char text[HUMAN_BYTES];

    table_cell(t, "%s", latency->count != 0 ? human_us(text, us) : "-");
}

static void cells_latency(struct table *t, const strata_latency *latency)
{
    cell_us(t, latency, latency->p50_us);
    cell_us(t, latency, latency->p99_us);
    cell_us(t, latency, latency->max_us);
}

static void layer_row(struct table *t, const strata_layer_stats *layer)
{
    char text[HUMAN_BYTES];

    table_cell(t, "%s", layer->name);
    cell_count(t, layer->hits + layer->misses);
    cell_count(t, layer->hits);
    table_cell(t, "%s", human_share(text, layer->hits, layer->hits + layer->misses));
    cells_latency(t, &layer->latency);
    cell_count(t, layer->entries);
    table_cell(t, "%s", human_bytes(text, layer->bytes));
    cell_count(t, layer->evictions);
    table_row(t);
}

static void origin_row(struct table *t, const strata_stats *total)
{
    table_cell(t, "origin");
    cell_count(t, total->loads);
    table_cell(t, "-");
    table_cell(t, "-");
    cells_latency(t, &total->load_latency);
    table_cell(t, "-");
    table_cell(t, "-");
    table_cell(t, "-");
    table_row(t);
}

static void header_row(struct table *t, const char *const *names, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++)
        table_cell(t, "%s", names[i]);
    table_row(t);
}

static void one_run(const struct replay_run *run, FILE *to)
{
    static const char *const names[] = { "layer", "requests", "hits",    "hit ratio", "p50",
                                         "p99",   "max",      "entries", "bytes",     "evictions" };
    const strata_stats *total = &run->result.total;
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];
    struct table *t = table_new();
    size_t i;

    header_row(t, names, sizeof names / sizeof names[0]);
    for (i = 0; i < run->result.layer_count; i++)
        layer_row(t, &run->result.layers[i]);
    origin_row(t, total);
    table_print(t, to);
    fprintf(to, "\n  %s of %s requests were answered without the origin: hit ratio %s\n", human_count(a, total->hits),
            human_count(b, total->requests), human_share(c, total->hits, total->requests));
    fprintf(to, "  %s loads, %s joins (requests that waited for another one's load)\n", human_count(a, total->loads),
            human_count(b, total->joins));
    if (run->result.cost_us != 0)
        fprintf(to, "  %s of load time, by --cost-ms\n", human_us(a, (double)run->result.cost_us));
    fprintf(to, "  %.2f s, %s requests per second\n", run->result.seconds,
            human_count(a, (uint64_t)per_second(&run->result)));
}

static void run_row(struct table *t, const struct replay_run *run, int costs)
{
    const struct replay_result *r = &run->result;
    uint64_t evictions = 0, bytes = 0;
    char text[HUMAN_BYTES];
    size_t i;

    for (i = 0; i < r->layer_count; i++) {
        evictions += r->layers[i].evictions;
        bytes += r->layers[i].bytes;
    }
    table_cell(t, "%s", run->policy != NULL ? run->policy : "default");
    table_cell(t, "%s", run->size != 0 ? human_count(text, run->size) : "-");
    table_cell(t, "%s", human_share(text, r->total.hits, r->total.requests));
    cell_count(t, r->total.hits);
    cell_count(t, r->total.loads);
    if (costs)
        table_cell(t, "%s", human_us(text, (double)r->cost_us));
    cell_count(t, r->total.joins);
    cell_count(t, evictions);
    table_cell(t, "%s", human_bytes(text, bytes));
    cell_us(t, &r->layers[0].latency, r->layers[0].latency.p50_us);
    cell_us(t, &r->layers[0].latency, r->layers[0].latency.p99_us);
    cell_count(t, (uint64_t)per_second(r));
    table_row(t);
}

static void many_runs(const struct replay_report *report, FILE *to)
{
    static const char *const names[] = { "policy", "entries",   "hit ratio", "hits", "loads", "load time",
                                         "joins",  "evictions", "bytes",     "p50",  "p99",   "requests/s" };
    enum { LOAD_TIME = 5, NAMES = sizeof names / sizeof names[0] };
    struct table *t = table_new();
    const int costs = report->config.cost_ms != 0;
    size_t i;

    for (i = 0; i < NAMES; i++)
        if (i != LOAD_TIME || costs)
            table_cell(t, "%s", names[i]);
    table_row(t);
    for (i = 0; i < report->count; i++) {
        if (i > 0 && report->runs[i].size != report->runs[i - 1].size)
            table_row(t);
        run_row(t, &report->runs[i], costs);
    }
    table_print(t, to);
    fputs(
        "\n  hit ratio: requests answered without the origin; p50 and p99: time for an answer from the nearest layer\n",
        to);
    if (costs)
        fputs("  load time: what all loads count as taking, by --cost-ms; nothing waited for it\n", to);
}

void replay_report_table(const struct replay_report *report, FILE *to)
{
    char text[HUMAN_BYTES];

    fprintf(to, "\n  trace   %s, %s requests", strcmp(report->trace, "-") == 0 ? "stdin" : report->trace,
            human_count(text, report->runs[0].result.total.requests));
    if (report->unique != 0)
        fprintf(to, ", %s different keys", human_count(text, report->unique));
    if (report->empty != 0)
        fprintf(to, ", %s empty lines passed over", human_count(text, report->empty));
    if (report->count == 1)
        fprintf(to, "\n  layers  %s", report->runs[0].url);
    fprintf(to, "\n  origin  simulated, %s ms a load\n", human_count(text, report->config.origin_ms));
    if (report->config.cost_ms != 0)
        fprintf(to, "  costs   %s ms a load by the median, over %u decades\n",
                human_count(text, report->config.cost_ms), (unsigned)report->config.cost_decades);
    fprintf(to, "  threads %s\n\n", human_count(text, report->config.threads));
    if (report->count == 1)
        one_run(&report->runs[0], to);
    else
        many_runs(report, to);
    fputc('\n', to);
}

/* For programs ----------------------------------------------------------------------------------------------- */

static void json_us(struct json_out *json, const char *name, const strata_latency *latency, double us)
{
    if (latency->count != 0)
        json_real(json, name, us);
    else
        json_text(json, name, NULL);
}

static void json_latency(struct json_out *json, const strata_latency *latency)
{
    json_us(json, "p50_us", latency, latency->p50_us);
    json_us(json, "p99_us", latency, latency->p99_us);
    json_us(json, "mean_us", latency, latency->mean_us);
    json_us(json, "max_us", latency, latency->max_us);
}

static void json_layer(struct json_out *json, const strata_layer_stats *layer)
{
    uint64_t requests = layer->hits + layer->misses;

    json_open(json, NULL, '{');
    json_text(json, "name", layer->name);
    json_count(json, "requests", requests);
    json_count(json, "hits", layer->hits);
    json_real(json, "hit_ratio", requests != 0 ? (double)layer->hits / (double)requests : 0);
    json_latency(json, &layer->latency);
    json_count(json, "bytes", layer->bytes);
    json_count(json, "max_bytes", layer->max_bytes);
    json_count(json, "entries", layer->entries);
    json_count(json, "evictions", layer->evictions);
    json_count(json, "puts", layer->puts);
    json_count(json, "demotions", layer->demotions);
    json_count(json, "demotions_dropped", layer->demotions_dropped);
    json_count(json, "rejections", layer->rejections);
    json_count(json, "errors", layer->errors);
    json_close(json, '}');
}

/* The members of a run, into an object that is open. */
static void json_run(struct json_out *json, const struct replay_report *report, const struct replay_run *run)
{
    const struct replay_result *r = &run->result;
    size_t i;

    json_text(json, "policy", run->policy);
    if (run->size != 0)
        json_count(json, "size", run->size);
    else
        json_text(json, "size", NULL);
    json_text(json, "url", run->url);
    json_count(json, "threads", report->config.threads);
    json_count(json, "origin_ms", report->config.origin_ms);
    if (report->config.cost_ms != 0) {
        json_count(json, "cost_ms", report->config.cost_ms);
        json_count(json, "cost_decades", report->config.cost_decades);
        json_real(json, "load_seconds", (double)r->cost_us / 1e6);
    }
    json_count(json, "requests", r->total.requests);
    json_count(json, "hits", r->total.hits);
    json_real(json, "hit_ratio", replay_hit_ratio(r));
    json_count(json, "loads", r->total.loads);
    json_count(json, "joins", r->total.joins);
    json_count(json, "failed", r->failed);
    json_real(json, "seconds", r->seconds);
    json_real(json, "requests_per_second", per_second(r));
    json_open(json, "origin", '{');
    json_count(json, "loads", r->total.loads);
    json_latency(json, &r->total.load_latency);
    json_close(json, '}');
    json_open(json, "layers", '[');
    for (i = 0; i < r->layer_count; i++)
        json_layer(json, &r->layers[i]);
    json_close(json, ']');
}

void replay_report_json(const struct replay_report *report, FILE *to)
{
    struct json_out json = { to, 0, 0 };
    size_t i;

    json_open(&json, NULL, '{');
    json_text(&json, "strata", strata_version());
    json_text(&json, "trace", report->trace);
    if (report->unique != 0)
        json_count(&json, "unique_keys", report->unique);
    else
        json_text(&json, "unique_keys", NULL);
    json_count(&json, "empty_lines", report->empty);
    if (report->count == 1) {
        json_run(&json, report, &report->runs[0]);
    } else {
        json_count(&json, "requests", report->runs[0].result.total.requests);
        json_open(&json, "runs", '[');
        for (i = 0; i < report->count; i++) {
            json_line(&json);
            json_open(&json, NULL, '{');
            json_run(&json, report, &report->runs[i]);
            json_close(&json, '}');
        }
        json_close(&json, ']');
    }
    json_close(&json, '}');
}
