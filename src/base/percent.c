/* percent.c - see percent.h. */
#include "src/base/percent.h"

#include "src/base/err.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int strata__percent_decode(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        int high = *from == '%' ? hex(from[1]) : 0;
        int low = *from == '%' && high >= 0 ? hex(from[2]) : 0;
        if (high < 0 || low < 0 || (*from == '%' && high == 0 && low == 0))
            return 0;
        int is_escape = *from == '%'; /* before what stands there is overwritten */
        *to++ = (char)(is_escape ? high << 4 | low : *from);
        from += is_escape ? 2 : 0;
    }
    *to = '\0';
    return 1;
}

int strata__percent_decode_part(char *text, const char *what, strata_error *err)
{
    if (strata__percent_decode(text))
        return STRATA_OK;
    return strata__fail(err, STRATA_EINVAL, "url",
                        "%s has a percent sign before what is no byte: write the sign itself as %%25", what);
}
