/* open_alone.h - caches over a server that have no bus: for tests that look at a layer alone, count what its server is asked, or take the
 * server away. */
#ifndef STRATA_TESTS_OPEN_ALONE_H
#define STRATA_TESTS_OPEN_ALONE_H
#include "strata/strata.h"

static const strata_coherence_options open_alone_coherence = { .size = sizeof(strata_coherence_options),
                                                               .default_bus = STRATA_OFF };

static inline int open_alone(strata **out, const strata_options *given, strata_error *err)
{
    strata_options options = *given;
    options.coherence = &open_alone_coherence;
    return strata_open(out, &options, err);
}

static inline int open_url_alone(strata **out, const char *url, const strata_options *given, strata_error *err)
{
    strata_options options = STRATA_OPTIONS_INIT;
    if (given != NULL)
        options = *given;
    options.coherence = &open_alone_coherence;
    return strata_open_url(out, url, &options, err);
}

#endif /* STRATA_TESTS_OPEN_ALONE_H */
