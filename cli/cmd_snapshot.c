/* cmd_snapshot.c - `strata snapshot export FILE --layers URL` and `strata snapshot import FILE --layers URL`: what layers hold, to a
 * file and back. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_error.h"
#include "cli/commands.h"
#include "cli/human.h"
#include "cli/json_out.h"
#include "cli/layers_url.h"
#include "cli/opt.h"
#include "cli/progress.h"
#include "strata/strata.h"

enum { OPTIONS = 9, WORDS = 2 };

struct snapshot_job {
    const char *words[WORDS];
    size_t word_count;
    const char *layers;
    const char *entries_text, *bytes_text, *age_text, *level_text;
    uint64_t age_ms, level;
    int plain, json, exports;
    strata_snapshot_options options;
    struct progress progress;
};

static void option_table(struct opt *out, struct snapshot_job *job)
{
    const struct opt table[OPTIONS] = {
        { "layers", "URL", "the stack, nearest layer first: 'disk:/var/cache/shop?max_bytes=4gb'", &job->layers, NULL },
        { "layer", "NAME", "export: this layer of it alone", &job->options.layer, NULL },
        { "max-entries", "N", "stop at so many; default: all", &job->entries_text, NULL },
        { "max-bytes", "N", "stop before keys and values are more bytes; default: all", &job->bytes_text, NULL },
        { "max-age-ms", "N", "pass over what was loaded or set longer ago; default: any age", &job->age_text, NULL },
        { "base-dir", "DIR", "FILE is below it, and no link leads out of it", &job->options.base_dir, NULL },
        { "level", "N", "export: of zstd, 1 to 22; default 1", &job->level_text, NULL },
        { "plain", NULL, "export: do not pack", NULL, &job->plain },
        { "json", NULL, "print one JSON object; `man strata` explains its names", NULL, &job->json },
    };

    memcpy(out, table, sizeof table);
}

void cmd_snapshot_help(void)
{
    struct snapshot_job unused;
    struct opt options[OPTIONS];

    option_table(options, &unused);
    puts("usage: strata snapshot export FILE --layers URL [OPTIONS]\n"
         "       strata snapshot import FILE --layers URL [OPTIONS]\n\n"
         "export writes what the layers hold to FILE, with deadlines and tags.  import puts it back, but over\n"
         "nothing that is there and as good; what has expired meanwhile, or was banned, stays away.  - is\n"
         "standard output or input.  Export --layer redis if it is a server's entries that are wanted; a disk\n"
         "layer's directory must not be in use.\n");
    opt_explain(options, OPTIONS);
    puts("\nExamples:\n"
         "  strata snapshot export shop.snap --layers 'disk:/var/cache/shop?max_bytes=4gb'\n"
         "  strata snapshot import shop.snap --layers 'redis://10.0.0.1?prefix=shop:'");
}

static int show_progress(const strata_snapshot_report *so_far, void *ctx)
{
    struct snapshot_job *job = ctx;

    if (progress_due(&job->progress))
        progress_show(&job->progress, so_far->entries, -1);
    return 0;
}

static int to_stdout(const void *bytes, size_t size, void *ctx)
{
    (void)ctx;
    return fwrite(bytes, 1, size, stdout) == size ? 0 : STRATA_EIO;
}

static int from_stdin(void *bytes, size_t room, size_t *out_size, void *ctx)
{
    (void)ctx;
    *out_size = fread(bytes, 1, room, stdin);
    return ferror(stdin) ? STRATA_EIO : 0;
}

static void report_json(const struct snapshot_job *job, const strata_snapshot_report *r)
{
    struct json_out json = { .to = stdout };

    json_open(&json, NULL, '{');
    json_text(&json, "strata", strata_version());
    json_text(&json, "path", job->words[1]);
    json_count(&json, "entries", r->entries);
    json_count(&json, "bytes", r->bytes);
    json_count(&json, "stream_bytes", r->stream_bytes);
    json_count(&json, "expired", r->expired);
    json_count(&json, "banned", r->banned);
    json_count(&json, "kept", r->kept);
    json_count(&json, "suspect", r->suspect);
    json_count(&json, "refused", r->refused);
    json_count(&json, "failed", r->failed);
    json_flag(&json, "limited", r->limited != 0);
    json_close(&json, '}');
}

static void say(FILE *to, const char *what, uint64_t count)
{
    char text[HUMAN_BYTES];

    if (count != 0)
        fprintf(to, "  %-9s %s\n", human_count(text, count), what);
}

/* Where the snapshot itself goes to stdout, this does not. */
static void report_words(const struct snapshot_job *job, const strata_snapshot_report *r)
{
    FILE *to = job->exports && strcmp(job->words[1], "-") == 0 ? stderr : stdout;
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];

    fprintf(to, "%s: %s entries %s, %s; the snapshot has %s\n", job->words[1], human_count(a, r->entries),
            job->exports ? "written" : "imported", human_bytes(b, r->bytes), human_bytes(c, r->stream_bytes));
    say(to, "passed over: expired, or too old", r->expired);
    say(to, "passed over: banned", r->banned);
    say(to, "passed over: something as good is there", r->kept);
    say(to, "passed over: an invalidation may have been missed", r->suspect);
    say(to, "not taken: no room, or too large", r->refused);
    say(to, "failed", r->failed);
    if (r->limited)
        fputs("  and there was more: --max-entries or --max-bytes ended it\n", to);
}

static int carry_out(struct snapshot_job *job, strata *cache, strata_snapshot_report *report, strata_error *err)
{
    const char *path = job->words[1];
    int streams = strcmp(path, "-") == 0;

    if (streams && job->exports)
        return strata_snapshot_export(cache, &job->options, to_stdout, NULL, report, err);
    if (streams)
        return strata_snapshot_import(cache, &job->options, from_stdin, NULL, report, err);
    return job->exports ? strata_snapshot_save(cache, path, &job->options, report, err)
                        : strata_snapshot_load(cache, path, &job->options, report, err);
}

static int run_job(struct snapshot_job *job)
{
    strata_snapshot_report report = STRATA_SNAPSHOT_REPORT_INIT;
    strata_error err = STRATA_ERROR_INIT;
    strata *cache = NULL;
    int rc = strata_open_url(&cache, job->layers, NULL, &err);

    if (rc != STRATA_OK)
        return cli_report(&err);
    job->options.open_namespaces = STRATA_ON;
    job->options.progress = show_progress;
    job->options.progress_ctx = job;
    progress_start(&job->progress, job->exports ? "exporting" : "importing");
    rc = carry_out(job, cache, &report, &err);
    progress_end(&job->progress);
    if (strata_close(cache) == STRATA_PENDING)
        fputs("strata: snapshot: a server could not be told of all that was to be deleted there\n", stderr);
    if (rc != STRATA_OK)
        return cli_report(&err);
    if (job->json)
        report_json(job, &report);
    else
        report_words(job, &report);
    return CLI_OK;
}

static int parse_numbers(struct snapshot_job *job)
{
    const uint64_t most = (uint64_t)1 << 42;
    int code = opt_u64("max-entries", job->entries_text, 1, most, &job->options.max_entries);

    if (code == CLI_OK)
        code = opt_u64("max-bytes", job->bytes_text, 1, most, &job->options.max_bytes);
    if (code == CLI_OK)
        code = opt_u64("max-age-ms", job->age_text, 1, most, &job->age_ms);
    if (code == CLI_OK)
        code = opt_u64("level", job->level_text, 1, 22, &job->level);
    job->options.max_age_ms = (int64_t)job->age_ms;
    job->options.compression_level = (uint32_t)job->level;
    if (job->plain)
        job->options.compression = STRATA_OFF;
    return code;
}

int cmd_snapshot(int argc, char **argv)
{
    struct snapshot_job job = { .options = STRATA_SNAPSHOT_OPTIONS_INIT };
    struct opt options[OPTIONS];
    int code;

    option_table(options, &job);
    code = opt_parse("snapshot", options, OPTIONS, argc, argv, job.words, WORDS, &job.word_count);
    if (code == CLI_OK)
        code = parse_numbers(&job);
    if (code != CLI_OK)
        return code;
    if (job.word_count == 0)
        return cli_usage("snapshot: what shall be done?  strata snapshot export FILE --layers URL, or import");
    job.exports = strcmp(job.words[0], "export") == 0;
    if (!job.exports && strcmp(job.words[0], "import") != 0)
        return cli_usage("snapshot: \"%s\" is neither export nor import; `strata help snapshot` explains", job.words[0]);
    if (job.word_count != 2)
        return cli_usage("snapshot: which file?  strata snapshot %s FILE --layers URL", job.words[0]);
    if (job.layers == NULL)
        return cli_usage("snapshot: which layers?  --layers URL, as `strata help snapshot` shows");
    if (!job.exports && (job.options.layer != NULL || job.level_text != NULL || job.plain))
        return cli_usage("snapshot: --%s is for export alone; import goes to all of --layers", job.options.layer != NULL
                                                                                                   ? "layer"
                                                                                               : job.plain ? "plain"
                                                                                                           : "level");
    if (job.exports && job.json && strcmp(job.words[1], "-") == 0)
        return cli_usage("snapshot: --json and the snapshot would both go to standard output: name a file");
    if (job.exports && strcmp(job.words[1], "-") == 0 && isatty(STDOUT_FILENO))
        return cli_usage(
            "snapshot: a terminal has no use for a snapshot: name a file, or send standard output elsewhere");
    return run_job(&job);
}
