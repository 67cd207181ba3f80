/* tzif.h - zoneinfo files (RFC 8536), version 2 and later: a table of changes, and the rule that holds after it. */
#ifndef STRATA_FORMAT_TZIF_H
#define STRATA_FORMAT_TZIF_H
#include <stddef.h>
#include <stdint.h>

/* Where things stand in a file that was read whole. */
struct tzif {
    const unsigned char *moments; /* `count` of 8 bytes, rising */
    const unsigned char *kinds;   /* `count` of 1 */
    const unsigned char *offsets; /* `kind_count` of 6 */
    size_t count, kind_count;
    const char *rule; /* `rule_size` bytes; may be none */
    size_t rule_size;
};

/* 1: it is one; everything that it names lies within it. */
int strata__tzif_read(const void *bytes, size_t size, struct tzif *out);
/* When change i comes, and how many seconds clocks are ahead of UTC from then on. */
int64_t strata__tzif_moment(const struct tzif *t, size_t i);
int64_t strata__tzif_offset(const struct tzif *t, size_t i);
/* The same before the first change. */
int64_t strata__tzif_first_offset(const struct tzif *t);

#endif /* STRATA_FORMAT_TZIF_H */
