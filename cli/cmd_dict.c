/* cmd_dict.c - `strata dict train SAMPLES FILE` and `strata dict show FILE`: dictionaries for small values that are alike. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli_error.h"
#include "cli/commands.h"
#include "cli/dict_samples.h"
#include "cli/human.h"
#include "cli/json_out.h"
#include "cli/opt.h"
#include "cli/out_file.h"

enum { OPTIONS = 3, WORDS = 3, PATH_ROOM = 4096, LEAST_BYTES = 256, MOST_BYTES = 16 << 20, SAMPLES_A_BYTE = 600 };

struct dict_job {
    const char *words[WORDS];
    size_t word_count;
    const char *bytes_text;
    uint64_t bytes;
    int force, json;
};

static void option_table(struct opt *out, struct dict_job *job)
{
    const struct opt table[OPTIONS] = {
        { "bytes", "N", "the most that the dictionary takes; default 112640", &job->bytes_text, NULL },
        { "force", NULL, "write over FILE; what was packed with it before can be read no more", NULL, &job->force },
        { "json", NULL, "print one JSON object; `man strata` explains its names", NULL, &job->json },
    };

    memcpy(out, table, sizeof table);
}

void cmd_dict_help(void)
{
    struct dict_job unused;
    struct opt options[OPTIONS];

    option_table(options, &unused);
    puts("usage: strata dict train SAMPLES FILE [OPTIONS]\n"
         "       strata dict show FILE [--json]\n\n"
         "train makes a dictionary for zstd of samples, and writes it to FILE.  SAMPLES is a directory, each\n"
         "file in it one value, or a file, each line one; - is standard input.  Good are some thousands of\n"
         "values as the cache stores them, a hundred times the dictionary's size together.  It says what\n"
         "values take with it that it was not trained with.  show tells the id of one.\n\n"
         "Layers take it as dictionary=FILE; keep old ones, named *.dict, in a directory that is given as\n"
         "dictionaries=PATH, until nothing that was packed with them is left.\n");
    opt_explain(options, OPTIONS);
    puts("\nExamples:\n"
         "  strata dict train samples/ users-1.dict\n"
         "  strata replay trace --layers 'disk:/var/cache/shop?dictionary=users-1.dict'");
}

/* The name under which it is written.  Before anything is read: could it be? */
static int check_place(char part[PATH_ROOM], const char *path, strata_error *err)
{
    int length = snprintf(part, PATH_ROOM, "%s.part", path);

    if (length < 0 || length >= PATH_ROOM)
        return cli_fail(err, STRATA_EIO, "dict", "%.180s: %s", path, strerror(ENAMETOOLONG));
    return out_file_check(part, "dict", err);
}

/* The file appears at once and whole: a cache may be opened at any moment. */
static int write_file(const char *part, const char *path, const void *bytes, size_t size, strata_error *err)
{
    FILE *file = fopen(part, "wb");
    int written;

    if (file == NULL)
        return cli_fail(err, STRATA_EIO, "dict", "%.180s: %s", part, strerror(errno));
    written = fwrite(bytes, 1, size, file) == size;
    written = fclose(file) == 0 && written;
    if (written && rename(part, path) == 0)
        return STRATA_OK;
    cli_fail(err, STRATA_EIO, "dict", "%.180s cannot be written: %s", path, strerror(errno));
    remove(part);
    return STRATA_EIO;
}

static void report_json(const char *path, size_t samples, const strata_dict_report *r)
{
    struct json_out json = { .to = stdout };

    json_open(&json, NULL, '{');
    json_text(&json, "strata", strata_version());
    json_text(&json, "path", path);
    json_count(&json, "id", r->id);
    json_count(&json, "bytes", r->bytes);
    if (samples != 0) {
        json_count(&json, "samples", samples);
        json_count(&json, "measured", r->measured);
        json_count(&json, "measured_bytes", r->measured_bytes);
        json_count(&json, "alone_bytes", r->alone_bytes);
        json_count(&json, "packed_bytes", r->packed_bytes);
    }
    json_close(&json, '}');
}

static void report_words(const char *path, const struct dict_samples *samples, const strata_dict_report *r)
{
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES], share[HUMAN_BYTES];

    printf("%s: dictionary %" PRIu64 ", %s bytes, of %s samples", path, r->id, human_count(a, r->bytes),
           human_count(b, samples->count));
    if (samples->left_out != 0)
        printf(" (%s more were left out: those are enough)", human_count(c, samples->left_out));
    printf("\n%s of them that it %s: %s", human_count(a, r->measured),
           samples->count >= 100 ? "was not trained with" : "knows, for they are few",
           human_bytes(b, r->measured_bytes));
    printf("; packed without it %s, with it %s (%s)\n", human_bytes(a, r->alone_bytes), human_bytes(b, r->packed_bytes),
           human_share(share, r->packed_bytes, r->measured_bytes));
}

static int train(const struct dict_job *job)
{
    const char *path = job->words[2];
    struct dict_samples samples = { 0 };
    strata_dict_report report = STRATA_DICT_REPORT_INIT;
    strata_error err = STRATA_ERROR_INIT;
    char part[PATH_ROOM];
    struct stat is;
    size_t made = 0;
    void *bytes;
    int rc;

    if (stat(path, &is) == 0 &&
        !S_ISREG(is.st_mode)) /* a rename takes the name of anything, that of a link to it, too */
        return cli_usage("dict: %s is no plain file: choose another name", path);
    if (out_file_same(path, job->words[1]))
        return cli_usage("dict: %s: those are the samples, which would be gone: choose another name", path);
    if (!job->force && access(path, F_OK) == 0)
        return cli_usage("dict: %s is there, and values may have been packed with it: choose another name, or --force",
                         path);
    bytes = malloc((size_t)job->bytes);
    rc = bytes != NULL
             ? check_place(part, path, &err)
             : cli_fail(&err, STRATA_ENOMEM, "dict", "no memory for %s bytes: lower --bytes", job->bytes_text);
    if (rc == STRATA_OK)
        rc = dict_samples_read(&samples, job->words[1], job->bytes * SAMPLES_A_BYTE, &err);
    if (rc == STRATA_OK)
        rc = strata_dict_train(samples.list, samples.count, bytes, (size_t)job->bytes, &made, &report, &err);
    if (rc == STRATA_OK)
        rc = write_file(part, path, bytes, made, &err);
    if (rc == STRATA_OK && job->json)
        report_json(path, samples.count, &report);
    else if (rc == STRATA_OK)
        report_words(path, &samples, &report);
    free(bytes);
    dict_samples_free(&samples);
    return rc == STRATA_OK ? CLI_OK : (cli_report(&err), CLI_FAILED);
}

static int show(const struct dict_job *job)
{
    const char *path = job->words[1];
    strata_dict_report report = STRATA_DICT_REPORT_INIT;
    unsigned char head[64];
    char bytes[HUMAN_BYTES];
    FILE *file = fopen(path, "rb");
    long size = -1;
    size_t got = 0;

    if (file != NULL) {
        got = fread(head, 1, sizeof head, file);
        size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
        fclose(file);
    }
    report.id = got != 0 ? strata_dict_id(head, got) : 0;
    if (file == NULL || size < 0) {
        fprintf(stderr, "strata: dict: %s: %s\n", path, strerror(errno));
        return CLI_FAILED;
    }
    if (report.id == 0) {
        fprintf(stderr, "strata: dict: %s is no trained dictionary: make one with `strata dict train`\n", path);
        return CLI_FAILED;
    }
    report.bytes = (uint64_t)size;
    if (job->json)
        report_json(path, 0, &report);
    else
        printf("%s: dictionary %" PRIu64 ", %s bytes\n", path, report.id, human_count(bytes, report.bytes));
    return CLI_OK;
}

int cmd_dict(int argc, char **argv)
{
    struct dict_job job = { .bytes = STRATA_DICT_BYTES };
    struct opt options[OPTIONS];
    int code, shows;

    option_table(options, &job);
    code = opt_parse("dict", options, OPTIONS, argc, argv, job.words, WORDS, &job.word_count);
    if (code == CLI_OK)
        code = opt_u64("bytes", job.bytes_text, LEAST_BYTES, MOST_BYTES, &job.bytes);
    if (code != CLI_OK)
        return code;
    if (job.word_count == 0)
        return cli_usage("dict: what shall be done?  strata dict train SAMPLES FILE, or strata dict show FILE");
    shows = strcmp(job.words[0], "show") == 0;
    if (!shows && strcmp(job.words[0], "train") != 0)
        return cli_usage("dict: \"%s\" is neither train nor show; `strata help dict` explains", job.words[0]);
    if (shows && job.word_count != 2)
        return cli_usage("dict: show takes one file: strata dict show FILE");
    if (shows && (job.force || job.bytes_text != NULL))
        return cli_usage("dict: --%s is for train alone", job.force ? "force" : "bytes");
    if (!shows && job.word_count != 3)
        return cli_usage("dict: train takes samples and the file to write: strata dict train SAMPLES FILE");
    return shows ? show(&job) : train(&job);
}
