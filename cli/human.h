/* human.h - numbers as people read them: 95,607   72.3 %   0.42 us   1.5 MiB.  A dash where there is no number. */
#ifndef STRATA_CLI_HUMAN_H
#define STRATA_CLI_HUMAN_H
#include <stdint.h>

enum { HUMAN_BYTES = 32 }; /* room that every text here fits */

/* Each writes into `out` (HUMAN_BYTES) and returns it. */
char *human_count(char *out, uint64_t n);
char *human_share(char *out, uint64_t part, uint64_t whole); /* "72.26 %" */
char *human_us(char *out, double us);                        /* us, ms or s */
char *human_bytes(char *out, uint64_t bytes);                /* B, KiB, MiB, GiB, TiB */
char *human_age(char *out, int64_t seconds);                 /* "3 days"; below 0 is 0 */

#endif /* STRATA_CLI_HUMAN_H */
