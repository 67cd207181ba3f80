/* progress.c - see progress.h. */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/human.h"
#include "cli/stopwatch.h"

enum { BAR = 30 };

void progress_start(struct progress *p, const char *what)
{
    const char *term = getenv("TERM");

    p->on = isatty(STDERR_FILENO) && (term == NULL || strcmp(term, "dumb") != 0);
    p->what = what;
    p->began = p->shown = stopwatch_now_s();
}

int progress_due(struct progress *p)
{
    double now;

    if (!p->on)
        return 0;
    now = stopwatch_now_s();
    if (now - p->shown < 0.1)
        return 0;
    p->shown = now;
    return 1;
}

static void fill_bar(char *bar, double share)
{
    int i, filled = share < 0 ? 0 : share > 1 ? BAR : (int)(share * BAR);

    for (i = 0; i < BAR; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR] = '\0';
}

void progress_show(struct progress *p, uint64_t requests, double share)
{
    char bar[BAR + 1], count[HUMAN_BYTES], rate[HUMAN_BYTES];
    double seconds = p->shown - p->began;

    fill_bar(bar, share);
    human_count(count, requests);
    human_count(rate, seconds > 0 ? (uint64_t)((double)requests / seconds) : 0);
    if (share < 0)
        fprintf(stderr, "\r\033[K%s  %s requests  %s/s", p->what, count, rate);
    else
        fprintf(stderr, "\r\033[K%s  [%s] %3.0f %%  %s requests  %s/s", p->what, bar, share * 100, count, rate);
    fflush(stderr);
}

void progress_show_bytes(struct progress *p, uint64_t done, uint64_t total)
{
    char bar[BAR + 1], bytes[HUMAN_BYTES], rate[HUMAN_BYTES];
    double seconds = p->shown - p->began, share = total != 0 ? (double)done / (double)total : 1;

    fill_bar(bar, share);
    human_bytes(bytes, done);
    human_bytes(rate, seconds > 0 ? (uint64_t)((double)done / seconds) : 0);
    fprintf(stderr, "\r\033[K%s  [%s] %3.0f %%  %s  %s/s", p->what, bar, share * 100, bytes, rate);
    fflush(stderr);
}

void progress_wipe(const struct progress *p)
{
    if (p->on)
        fputs("\r\033[K", stderr);
}

void progress_end(struct progress *p)
{
    progress_wipe(p);
    p->on = 0;
}
