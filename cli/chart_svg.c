/* chart_svg.c - see chart_svg.h.  The width follows from the number of bars; every bar carries its number, so that the
 * picture needs no reader who measures. */
#include "cli/chart_svg.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cli/cli_error.h"
#include "cli/human.h"

enum { BAR_WIDTH = 44, BAR_GAP = 6, GROUP_GAP = 36, LEFT = 56, TOP = 64, PLOT = 240, BOTTOM = 64, LEAST_WIDTH = 420 };

static const char *const colours[] = { "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2" };
enum { COLOURS = sizeof colours / sizeof colours[0] };

static void text_escaped(FILE *to, const char *text)
{
    for (; *text != '\0'; text++)
        if (*text == '<')
            fputs("&lt;", to);
        else if (*text == '&')
            fputs("&amp;", to);
        else if ((unsigned char)*text >= 0x20)
            fputc(*text, to);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return strcmp(path, "-") == 0 ? "stdin" : slash != NULL ? slash + 1 : path;
}

static const char *label(const struct replay_run *run) { return run->policy != NULL ? run->policy : "default"; }

/* Where the bar of run i begins. */
static int bar_x(const struct replay_report *report, size_t i)
{
    int x = LEFT + BAR_GAP;
    size_t k;

    for (k = 1; k <= i; k++) {
        x += BAR_WIDTH + BAR_GAP;
        if (report->runs[k].size != report->runs[k - 1].size)
            x += GROUP_GAP;
    }
    return x;
}

static void axes(const struct replay_report *report, FILE *to, int width)
{
    char text[HUMAN_BYTES];
    int percent;

    fprintf(to, "<text x=\"%d\" y=\"26\" font-size=\"16\" font-weight=\"bold\">Hit ratio: ", LEFT);
    text_escaped(to, base_name(report->trace));
    fprintf(to, "</text>\n<text x=\"%d\" y=\"46\" fill=\"#666\">%s requests, ", LEFT,
            human_count(text, report->runs[0].result.total.requests));
    fprintf(to, "%s different keys</text>\n", report->unique != 0 ? human_count(text, report->unique) : "uncounted");
    for (percent = 0; percent <= 100; percent += 25) {
        int y = TOP + PLOT - PLOT * percent / 100;

        fprintf(to, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"#ddd\"/>\n", LEFT, y, width - 16, y);
        fprintf(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\" fill=\"#666\">%d %%</text>\n", LEFT - 8, y + 4,
                percent);
    }
}

/* The same policy has the same colour in every group. */
static const char *colour(const struct replay_report *report, size_t i)
{
    size_t k = 0;

    while (k < i && strcmp(label(&report->runs[k]), label(&report->runs[i])) != 0)
        k++;
    return colours[k % COLOURS];
}

static void bars(const struct replay_report *report, FILE *to)
{
    size_t i;

    for (i = 0; i < report->count; i++) {
        const struct replay_run *run = &report->runs[i];
        double ratio = replay_hit_ratio(&run->result);
        double height = PLOT * ratio;
        int x = bar_x(report, i), middle = x + BAR_WIDTH / 2;

        fprintf(to, "<rect x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%.1f\" fill=\"%s\"/>\n", x, TOP + PLOT - height,
                (int)BAR_WIDTH, height, colour(report, i));
        fprintf(to, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"middle\">%.1f</text>\n", middle, TOP + PLOT - height - 5,
                ratio * 100);
        fprintf(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" font-size=\"10\">", middle, TOP + PLOT + 16);
        text_escaped(to, label(run));
        fputs("</text>\n", to);
    }
}

static void groups(const struct replay_report *report, FILE *to)
{
    size_t i = 0;

    while (i < report->count) {
        char text[HUMAN_BYTES];
        size_t last = i;

        while (last + 1 < report->count && report->runs[last + 1].size == report->runs[i].size)
            last++;
        if (report->runs[i].size != 0)
            fprintf(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"#444\">%s entries</text>\n",
                    (bar_x(report, i) + bar_x(report, last) + BAR_WIDTH) / 2, TOP + PLOT + 42,
                    human_count(text, report->runs[i].size));
        i = last + 1;
    }
}

int chart_svg_write(const struct replay_report *report, const char *path, strata_error *err)
{
    FILE *to = fopen(path, "w");
    int width = bar_x(report, report->count - 1) + BAR_WIDTH + 28;
    int height = TOP + PLOT + BOTTOM, broken;

    if (to == NULL)
        return cli_fail(err, STRATA_EIO, "--chart", "%s cannot be written: %s", path, strerror(errno));
    if (width < LEAST_WIDTH)
        width = LEAST_WIDTH;
    fprintf(to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            width, height, width, height);
    axes(report, to, width);
    bars(report, to);
    groups(report, to);
    fputs("</svg>\n", to);
    broken = ferror(to);
    if (fclose(to) != 0 || broken)
        return cli_fail(err, STRATA_EIO, "--chart", "%s could not be written in full: is the disk full?", path);
    return STRATA_OK;
}
