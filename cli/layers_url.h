/* layers_url.h - put the command's own wishes (size, policy, shards) into the URL of a stack of layers. */
#ifndef STRATA_CLI_LAYERS_URL_H
#define STRATA_CLI_LAYERS_URL_H
#include <stddef.h>
#include <stdint.h>

#include "strata/error.h"

enum { LAYERS_URL_BYTES = 1024 };

/* What to put into the first memory layer; 0 or NULL: nothing. */
struct layers_wish {
    uint64_t max_entries;
    uint64_t max_bytes; /* dropped where the URL has its own */
    const char *policy;
    uint64_t shards;
};

/* Write the URL into `out` (LAYERS_URL_BYTES).  STRATA_EINVAL where it has no memory layer, or says so itself. */
int layers_url(char *out, const char *url, const struct layers_wish *wish, strata_error *err);

/* Make stars of what stands between "//" and "@", and of parameters that are passwords, in place: they are nobody's business on a
 * screen. */
void layers_url_hide(char *url);

#endif /* STRATA_CLI_LAYERS_URL_H */
