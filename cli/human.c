/* human.c - see human.h. */
#include "cli/human.h"

#include <inttypes.h>
#include <stdio.h>

char *human_count(char *out, uint64_t n)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, n);
    int i, at = 0;

    for (i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

char *human_share(char *out, uint64_t part, uint64_t whole)
{
    if (whole == 0)
        snprintf(out, HUMAN_BYTES, "-");
    else
        snprintf(out, HUMAN_BYTES, "%.2f %%", 100.0 * (double)part / (double)whole);
    return out;
}

char *human_us(char *out, double us)
{
    if (us < 0.01)
        snprintf(out, HUMAN_BYTES, "< 0.01 us"); /* the clock's resolution */
    else if (us < 10)
        snprintf(out, HUMAN_BYTES, "%.2f us", us);
    else if (us < 1000)
        snprintf(out, HUMAN_BYTES, "%.0f us", us);
    else if (us < 1e6)
        snprintf(out, HUMAN_BYTES, us < 1e4 ? "%.2f ms" : us < 1e5 ? "%.1f ms" : "%.0f ms", us / 1e3);
    else
        snprintf(out, HUMAN_BYTES, "%.2f s", us / 1e6);
    return out;
}

char *human_bytes(char *out, uint64_t bytes)
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
    double value = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        snprintf(out, HUMAN_BYTES, "%" PRIu64 " B", bytes);
        return out;
    }
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    snprintf(out, HUMAN_BYTES, "%.1f %s", value, units[unit]);
    return out;
}

char *human_age(char *out, int64_t seconds)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = { { 86400, "days" }, { 3600, "hours" }, { 60, "minutes" } };
    size_t i;

    for (i = 0; i < sizeof units / sizeof units[0]; i++)
        if (seconds >= 2 * units[i].seconds) {
            snprintf(out, HUMAN_BYTES, "%" PRId64 " %s", seconds / units[i].seconds, units[i].name);
            return out;
        }
    snprintf(out, HUMAN_BYTES, "%" PRId64 " s", seconds > 0 ? seconds : 0);
    return out;
}
