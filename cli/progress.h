/* progress.h - one line on the terminal that says how far it is.  Nothing where stderr is no terminal. */
#ifndef STRATA_CLI_PROGRESS_H
#define STRATA_CLI_PROGRESS_H
#include <stdint.h>

struct progress {
    int on;
    const char *what; /* "s3-fifo at 1,376 entries" */
    double began;
    double shown;
};

void progress_start(struct progress *progress, const char *what);
/* 1 ten times a second. */
int progress_due(struct progress *progress);
/* `share` 0 to 1; below 0: unknown. */
void progress_show(struct progress *progress, uint64_t requests, double share);
/* The same of bytes. */
void progress_show_bytes(struct progress *progress, uint64_t done, uint64_t total);
/* Wipe the line: something else is going to be printed. */
void progress_wipe(const struct progress *progress);
/* Wipe it for good. */
void progress_end(struct progress *progress);

#endif /* STRATA_CLI_PROGRESS_H */
