/* cmd_disk.c - `strata disk check PATH` and `strata disk stats PATH`: is the directory of a disk layer whole, and what is in it?
 *
 * Exit codes: 0 nothing is wrong, 1 something is damaged, 2 the command line is wrong, the directory could not be looked at, or what
 * was found could not be written. */
#include <inttypes.h>
#include <string.h>

#include "cli/cli_error.h"
#include "cli/commands.h"
#include "cli/disk_report.h"
#include "cli/opt.h"
#include "cli/progress.h"
#include "cli/stopwatch.h"

enum { CLEAN = 0, DAMAGED = 1, NOT_LOOKED_AT = 2, OPTIONS = 2, PATIENCE_S = 1 };

struct disk_job {
    const char *path;
    int check, in_use, json;
    strata_disk_report report;
    struct damage_list damages;
    struct progress progress;
};

static void option_table(struct opt *out, struct disk_job *job)
{
    const struct opt table[OPTIONS] = {
        { "in-use", NULL,
          "check it although a cache has it open; what that one is just writing is not\n"
          "judged (stats looks anyway)",
          NULL, &job->in_use },
        { "json", NULL, "print one JSON object; `man strata` explains its names", NULL, &job->json },
    };

    memcpy(out, table, sizeof table);
}

void cmd_disk_help(void)
{
    struct disk_job unused;
    struct opt options[OPTIONS];

    option_table(options, &unused);
    puts("usage: strata disk check PATH [OPTIONS]\n"
         "       strata disk stats PATH [OPTIONS]\n\n"
         "check reads every file of a disk layer's directory and verifies every record: a line for each\n"
         "thing that is damaged says the file, the offset in it, what is wrong and what to do.\n"
         "stats tells what is in the directory.  Neither changes anything; a cache that wants to open the\n"
         "directory meanwhile is told that it is in use.\n");
    opt_explain(options, OPTIONS);
    puts("\nExit codes: 0 nothing is wrong, 1 something is damaged, 2 the command line is wrong, the\n"
         "directory could not be looked at, or this could not be written.\n\n"
         "Examples:\n"
         "  strata disk check /var/cache/shop\n"
         "  strata disk stats /var/cache/shop --json");
}

static int parse(int argc, char **argv, struct disk_job *job)
{
    const char *words[2];
    struct opt options[OPTIONS];
    size_t count;
    int code;

    option_table(options, job);
    code = opt_parse("disk", options, OPTIONS, argc, argv, words, 2, &count);
    if (code != CLI_OK)
        return code;
    if (count == 0)
        return cli_usage("disk: what shall be done?  strata disk check PATH, or strata disk stats PATH");
    job->check = strcmp(words[0], "check") == 0;
    if (!job->check && strcmp(words[0], "stats") != 0)
        return cli_usage("disk: \"%s\" is neither check nor stats; `strata help disk` explains", words[0]);
    if (count == 1)
        return cli_usage("disk: which directory?  strata disk %s PATH; it stands behind disk: in a layer's URL",
                         words[0]);
    job->path = words[1];
    return CLI_OK;
}

static void on_damage(const strata_disk_damage *damage, void *ctx)
{
    struct disk_job *job = ctx;

    if (job->json)
        damage_list_add(&job->damages, damage);
    if (job->json || !job->check)
        return;
    progress_wipe(&job->progress);
    disk_report_damage(damage, stdout);
}

static int on_progress(uint64_t done, uint64_t total, void *ctx)
{
    struct disk_job *job = ctx;

    /* Most directories are done before anybody wonders. */
    if (progress_due(&job->progress) && stopwatch_now_s() - job->progress.began > PATIENCE_S)
        progress_show_bytes(&job->progress, done, total);
    return 0;
}

static int look(struct disk_job *job)
{
    strata_disk_inspect_options options = STRATA_DISK_INSPECT_OPTIONS_INIT;
    strata_error err = STRATA_ERROR_INIT;
    int status;

    options.flags = job->check ? STRATA_DISK_INSPECT_RECORDS : 0;
    if (job->in_use || !job->check)
        options.flags |= STRATA_DISK_INSPECT_IN_USE;
    options.on_damage = on_damage;
    options.on_progress = on_progress;
    options.ctx = job;
    job->report.size = sizeof job->report;
    progress_start(&job->progress, job->check ? "checking" : "reading");
    status = strata_disk_inspect(job->path, &options, &job->report, &err);
    progress_end(&job->progress);
    if (status == STRATA_OK && job->damages.failed)
        status = cli_fail(&err, STRATA_ENOMEM, "disk", "no memory for the list of damages: leave --json out");
    if (status == STRATA_OK)
        return CLEAN;
    if (status == STRATA_EBUSY)
        fprintf(stderr, "strata: %s: %s (--in-use)\n", err.where, err.message);
    else
        cli_report(&err);
    return NOT_LOOKED_AT;
}

int cmd_disk(int argc, char **argv)
{
    struct disk_job job = { 0 };
    int code = parse(argc, argv, &job);

    if (code == CLI_OK)
        code = look(&job);
    if (code != CLI_OK) {
        damage_list_free(&job.damages);
        return code;
    }
    if (job.json)
        disk_report_json(job.path, &job.report, job.check ? &job.damages : NULL, stdout);
    else if (job.check)
        disk_report_summary(job.path, &job.report, stdout);
    else
        disk_report_table(job.path, &job.report, stdout);
    damage_list_free(&job.damages);
    return job.report.damages != 0 ? DAMAGED : CLEAN;
}
