/* strata/zone.h - time zones, for entries that end when a clock shows a certain time.  Part of the stable API. */
#ifndef STRATA_ZONE_H
#define STRATA_ZONE_H
#include "strata/base.h"
#include "strata/error.h"
STRATA_BEGIN_DECLS

/** A time zone with its changes between standard and summer time.  Never changes: to follow new rules of a country, read it
 *  anew.  Threads: any number at once. */
typedef struct strata_zone strata_zone;

/**
 * A zone by its name ("Europe/Berlin": from /usr/share/zoneinfo), by a file's path ("/etc/localtime"), or by its rule, as POSIX
 * writes it in TZ ("CET-1CEST,M3.5.0,M10.5.0/3", "<+0545>-5:45"; one with summer time needs its dates).
 * @param[out] out owned by the caller: strata_zone_free(), after caches that use it are closed.  NULL on failure.
 * @return STRATA_OK; STRATA_EINVAL (no zone of this name, no rule, or a damaged file), STRATA_EIO, STRATA_ENOMEM.
 * Blocks: reads a file.
 */
STRATA_API int strata_zone_new(strata_zone **out, const char *name, strata_error *err);

/** How many milliseconds its clocks are ahead of UTC at a moment, Unix time in milliseconds; `zone` NULL is UTC.  For functions that
 *  work out moments themselves (strata_policy.align).  Threads: any number at once. */
STRATA_API int64_t strata_zone_offset_ms(const strata_zone *zone, int64_t unix_ms);

/** Give it back.  NULL is a no-op. */
STRATA_API void strata_zone_free(strata_zone *zone);

STRATA_END_DECLS
#endif /* STRATA_ZONE_H */
