/* percent.h - %40 in a part of a URL is the byte that it names. */
#ifndef STRATA_BASE_PERCENT_H
#define STRATA_BASE_PERCENT_H
#include "strata/error.h"

/* In place.  1; 0: a percent sign stands before what is no byte, or before 00; then `text` is as good as lost. */
int strata__percent_decode(char *text);
/* The same for an option "url": STRATA_EINVAL, with words.  `what` names the part, which is not shown. */
int strata__percent_decode_part(char *text, const char *what, strata_error *err);

#endif /* STRATA_BASE_PERCENT_H */
