/* chart_svg.h - hit ratios as bars: a group a size, a bar a policy.  A picture for a README, in one SVG file. */
#ifndef STRATA_CLI_CHART_SVG_H
#define STRATA_CLI_CHART_SVG_H
#include "cli/replay_report.h"

/* Runs of one size stand side by side in the report.  STRATA_OK or STRATA_EIO. */
int chart_svg_write(const struct replay_report *report, const char *path, strata_error *err);

#endif /* STRATA_CLI_CHART_SVG_H */
