/* http_record.h - a response as it is stored: a head, then blocks (http_message.h), then the body.
 *
 *   head | fields of the response | names of Vary | target and fields that it was asked with | body
 *
 * What comes back from a layer is input: it is checked before anything is read.  Numbers are the machine's own: machines of two
 * byte orders that share a store find nothing of each other's. */
#ifndef HTTP_RECORD_H
#define HTTP_RECORD_H
#include "http_message.h"
#include <stdint.h>
#include <strata/strata.h>

enum http_record_kind {
    HTTP_RECORD_RESPONSE = 1,
    HTTP_RECORD_VARY = 2,   /* of a target whose responses differ by fields of the request: their names */
    HTTP_RECORD_NOTHING = 3 /* the response was for who asked alone */
};

struct http_record {
    uint32_t kind, status;
    int64_t born_us;  /* Unix time at which it came from the origin */
    int64_t age_s;    /* how old it was then */
    int64_t fresh_s;  /* for how long it is fresh, from age 0 */
    uint64_t variant; /* of a HTTP_RECORD_VARY: what its variants have in their keys */
    const char *fields, *vary, *asked, *body;
    size_t fields_size, vary_size, asked_size, body_size;
};

/* 0, or -1: no memory.  *out is malloc()ed. */
int http_record_write(const struct http_record *record, void **out, size_t *out_size);
/* 1 where `data` is one; it borrows. */
int http_record_read(strata_slice data, struct http_record *out);

#endif /* HTTP_RECORD_H */
