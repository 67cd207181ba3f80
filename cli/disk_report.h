/* disk_report.h - what `strata disk` found, for people and as JSON. */
#ifndef STRATA_CLI_DISK_REPORT_H
#define STRATA_CLI_DISK_REPORT_H
#include <stdio.h>

#include "strata/disk.h"

/* Damages, kept until they are printed as JSON.  All zero is empty. */
struct damage_list {
    struct kept_damage *items;
    size_t count, room;
    int failed; /* there was no memory for one */
};

void damage_list_add(struct damage_list *list, const strata_disk_damage *damage);
void damage_list_free(struct damage_list *list);

/* One line. */
void disk_report_damage(const strata_disk_damage *damage, FILE *to);
/* The line below those. */
void disk_report_summary(const char *path, const strata_disk_report *report, FILE *to);
void disk_report_table(const char *path, const strata_disk_report *report, FILE *to);
/* `damages` NULL: nobody asked for them. */
void disk_report_json(const char *path, const strata_disk_report *report, const struct damage_list *damages, FILE *to);

#endif /* STRATA_CLI_DISK_REPORT_H */
