/* strata/version.h - which strata this is.  Part of the stable API. */
#ifndef STRATA_VERSION_H
#define STRATA_VERSION_H
#include "strata/base.h"

#define STRATA_VERSION_MAJOR 0
#define STRATA_VERSION_MINOR 1
#define STRATA_VERSION_PATCH 0

STRATA_BEGIN_DECLS

/** The version of the library that runs, "0.1.0".  Static text. */
STRATA_API const char *strata_version(void);

/** The components built in, separated by spaces, as "memory zstd".  Static text. */
STRATA_API const char *strata_features(void);

STRATA_END_DECLS
#endif /* STRATA_VERSION_H */
