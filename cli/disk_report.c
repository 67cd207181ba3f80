/* disk_report.c - see disk_report.h. */
#include "cli/disk_report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/human.h"
#include "cli/json_out.h"
#include "cli/table.h"
#include "strata/version.h"

enum { DICTIONARIES = sizeof((strata_disk_report *)0)->dictionaries / sizeof(uint64_t) };

struct kept_damage {
    uint64_t offset;
    char file[64], what[128], advice[256];
};

void damage_list_add(struct damage_list *list, const strata_disk_damage *damage)
{
    struct kept_damage *item;

    if (list->count == list->room) {
        size_t room = list->room != 0 ? list->room * 2 : 16;
        struct kept_damage *more = realloc(list->items, room * sizeof *more);

        if (more == NULL) {
            list->failed = 1;
            return;
        }
        list->items = more;
        list->room = room;
    }
    item = &list->items[list->count++];
    item->offset = damage->offset;
    snprintf(item->file, sizeof item->file, "%s", damage->file);
    snprintf(item->what, sizeof item->what, "%s", damage->what);
    snprintf(item->advice, sizeof item->advice, "%s", damage->advice);
}

void damage_list_free(struct damage_list *list)
{
    free(list->items);
    memset(list, 0, sizeof *list);
}

/* For people ------------------------------------------------------------------------------------------------- */

void disk_report_damage(const strata_disk_damage *damage, FILE *to)
{
    fprintf(to, "%s, byte %" PRIu64 ": %s: %s\n", damage->file, damage->offset, damage->what, damage->advice);
}

void disk_report_summary(const char *path, const strata_disk_report *r, FILE *to)
{
    char segments[HUMAN_BYTES], records[HUMAN_BYTES], bytes[HUMAN_BYTES], damages[HUMAN_BYTES];

    fprintf(to, "%s: %s segments with %s records, %s verified: ", path, human_count(segments, r->segments),
            human_count(records, r->records), human_bytes(bytes, r->checked_bytes));
    if (r->damages == 0)
        fputs("nothing is wrong\n", to);
    else
        fprintf(to, "%s damaged\n", human_count(damages, r->damages));
    if (r->in_use)
        fputs("A cache has it open: what it is just writing was not judged.\n", to);
}

static void moment(const char *what, int64_t wall_ms, FILE *to)
{
    char age[HUMAN_BYTES], date[32] = "";
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;

    if (wall_ms == 0)
        return;
    if (gmtime_r(&seconds, &utc) != NULL)
        strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &utc);
    fprintf(to, "  %-11s %s UTC, %s ago\n", what, date, human_age(age, (int64_t)time(NULL) - wall_ms / 1000));
}

static void about(const char *path, const strata_disk_report *r, FILE *to)
{
    char a[HUMAN_BYTES], b[HUMAN_BYTES];

    fprintf(to, "\n  directory   %s\n", path);
    fprintf(to, "  identity    %s, format version %" PRIu32 "\n", r->id[0] != '\0' ? r->id : "unknown",
            r->format_version);
    if (r->in_use && r->in_use_by > 0)
        fprintf(to, "  state       in use by process %" PRId64 ": what it holds back in memory is not counted\n",
                r->in_use_by);
    else if (r->in_use)
        fputs("  state       in use: what that cache holds back in memory is not counted\n", to);
    else if (r->closed_cleanly)
        fputs("  state       closed cleanly\n", to);
    else
        fputs("  state       not closed, or without an index snapshot: opening it reads the segments\n", to);
    moment("made", r->created_wall_ms, to);
    fprintf(to, "  segments    %s, of them %s sealed\n", human_count(a, r->segments), human_count(b, r->sealed));
    moment("oldest from", r->oldest_wall_ms, to);
    moment("newest from", r->newest_wall_ms, to);
}

static void row(struct table *t, const char *what, uint64_t count, int counted, uint64_t bytes, uint64_t all)
{
    char text[HUMAN_BYTES];

    table_cell(t, "%s", what);
    table_cell(t, "%s", counted ? human_count(text, count) : "-");
    table_cell(t, "%s", human_bytes(text, bytes));
    table_cell(t, "%s", human_share(text, bytes, all));
    table_row(t);
}

static void what_is_in_it(const strata_disk_report *r, FILE *to)
{
    struct table *t = table_new();
    uint64_t recorded = r->live_bytes + r->dead_bytes;
    uint64_t dead = r->records > r->entries ? r->records - r->entries : 0;
    char expired[HUMAN_BYTES];

    table_cell(t, "what");
    table_cell(t, "records");
    table_cell(t, "bytes");
    table_cell(t, "share");
    table_row(t);
    row(t, "live", r->entries, 1, r->live_bytes, r->bytes);
    row(t, "overwritten or deleted", dead, 1, r->dead_bytes, r->bytes);
    row(t, "index, footers, free room", 0, 0, r->bytes > recorded ? r->bytes - recorded : 0, r->bytes);
    table_row(t);
    row(t, "all files", r->records, 1, r->bytes, r->bytes);
    fputc('\n', to);
    table_print(t, to);
    fprintf(to, "\n  %s of the live ones have expired\n", human_count(expired, r->expired));
}

static void dictionaries(const strata_disk_report *r, FILE *to)
{
    size_t i;

    fprintf(to, "  dictionaries that they were packed with:");
    for (i = 0; i < DICTIONARIES && r->dictionaries[i] != 0; i++)
        fprintf(to, " %" PRIu64, r->dictionaries[i]);
    fputs(i == DICTIONARIES ? ", and perhaps more\n" : "\n", to);
}

void disk_report_table(const char *path, const strata_disk_report *r, FILE *to)
{
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];

    about(path, r, to);
    what_is_in_it(r, to);
    if (r->bans != 0)
        fprintf(to, "  bans: %s; a clear is remembered while older entries are there\n", human_count(a, r->bans));
    if (r->measured_bytes != 0)
        fprintf(to, "  compression %.2f: %s values that were looked at have %s and take %s\n",
                (double)r->measured_raw_bytes / (double)r->measured_bytes, human_count(a, r->measured),
                human_bytes(b, r->measured_raw_bytes), human_bytes(c, r->measured_bytes));
    if (r->dictionaries[0] != 0)
        dictionaries(r, to);
    if (r->other_files != 0)
        fprintf(to, "  %s other files in it are none of the layer's\n", human_count(a, r->other_files));
    if (r->damages != 0)
        fprintf(to, "  %s damaged: `strata disk check %s` says what and where\n", human_count(a, r->damages), path);
    fputc('\n', to);
}

/* For programs ----------------------------------------------------------------------------------------------- */

static void json_moment(struct json_out *json, const char *name, int64_t wall_ms)
{
    if (wall_ms != 0)
        json_count(json, name, (uint64_t)wall_ms);
    else
        json_text(json, name, NULL);
}

static void json_damages(struct json_out *json, const struct damage_list *damages)
{
    size_t i;

    json_open(json, "damaged", '[');
    for (i = 0; i < damages->count; i++) {
        json_line(json);
        json_open(json, NULL, '{');
        json_text(json, "file", damages->items[i].file);
        json_count(json, "offset", damages->items[i].offset);
        json_text(json, "what", damages->items[i].what);
        json_text(json, "advice", damages->items[i].advice);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void json_state(struct json_out *json, const char *path, const strata_disk_report *r)
{
    json_text(json, "strata", strata_version());
    json_text(json, "path", path);
    json_text(json, "id", r->id[0] != '\0' ? r->id : NULL);
    json_count(json, "format_version", r->format_version);
    json_flag(json, "in_use", r->in_use);
    if (r->in_use_by > 0)
        json_count(json, "in_use_by", (uint64_t)r->in_use_by);
    else
        json_text(json, "in_use_by", NULL);
    json_flag(json, "closed_cleanly", r->closed_cleanly);
    json_moment(json, "created_ms", r->created_wall_ms);
    json_moment(json, "oldest_segment_ms", r->oldest_wall_ms);
    json_moment(json, "newest_segment_ms", r->newest_wall_ms);
}

void disk_report_json(const char *path, const strata_disk_report *r, const struct damage_list *damages, FILE *to)
{
    struct json_out json = { to, 0, 0 };
    size_t i;

    json_open(&json, NULL, '{');
    json_state(&json, path, r);
    json_count(&json, "segments", r->segments);
    json_count(&json, "sealed", r->sealed);
    json_count(&json, "bytes", r->bytes);
    json_count(&json, "live_bytes", r->live_bytes);
    json_count(&json, "dead_bytes", r->dead_bytes);
    json_count(&json, "entries", r->entries);
    json_count(&json, "expired", r->expired);
    json_count(&json, "records", r->records);
    json_count(&json, "tombstones", r->tombstones);
    json_count(&json, "bans", r->bans);
    json_count(&json, "measured", r->measured);
    json_count(&json, "measured_bytes", r->measured_bytes);
    json_count(&json, "measured_raw_bytes", r->measured_raw_bytes);
    if (r->measured_bytes != 0)
        json_real(&json, "compression_ratio", (double)r->measured_raw_bytes / (double)r->measured_bytes);
    else
        json_text(&json, "compression_ratio", NULL);
    json_open(&json, "dictionaries", '[');
    for (i = 0; i < DICTIONARIES && r->dictionaries[i] != 0; i++)
        json_count(&json, NULL, r->dictionaries[i]);
    json_close(&json, ']');
    json_count(&json, "checked_bytes", r->checked_bytes);
    json_count(&json, "other_files", r->other_files);
    json_count(&json, "damages", r->damages);
    if (damages != NULL)
        json_damages(&json, damages);
    json_close(&json, '}');
}
