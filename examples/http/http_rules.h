/* http_rules.h - what RFC 9111 says of one request and one response: pure decisions of texts, and the time is an argument.
 * The cache is a shared one. */
#ifndef HTTP_RULES_H
#define HTTP_RULES_H
#include "http_message.h"
#include <stdint.h>

/* Cache-Control, of either side.  Seconds; -1: not there.  What is no number, where one must be, counts as 0: the strictest reading. */
struct cache_control {
    int no_store, no_cache, is_private, is_public, must_revalidate, only_if_cached;
    int64_t max_age, s_maxage, stale_while_revalidate, stale_if_error, min_fresh;
};
void cache_control_parse(const char *text, struct cache_control *out);

/* Seconds since 1970 of "Sun, 06 Nov 1994 08:49:37 GMT"; -1: it is none. */
int64_t http_date_parse(const char *text);

/* Why a request does not go through the cache at all; NULL: it may. */
const char *http_request_bypass(const struct http_request *request);
/* Does a name in the query speak of secrets: token, api_key, session...?  In any case, percent-encoded or not. */
int http_query_sensitive(const char *target);
/* Methods that change nothing, and whose responses may be stored. */
int http_method_cacheable(const char *method);
/* Methods after which what is stored of the target is out of date: all that are not known to be safe. */
int http_method_unsafe(const char *method);

enum http_verdict {
    HTTP_STORE,  /* for freshness.fresh_s and the windows after it */
    HTTP_SHARE,  /* an error of the origin: for all who wait for it now, and for nobody later */
    HTTP_PRIVATE /* for who asked, and nobody else */
};
struct http_freshness {
    int64_t fresh_s, age_s;
    int64_t stale_while_revalidate_s, stale_if_error_s;
};
/* `default_s` is for responses that say nothing of how long they are fresh; 0: such are private. */
enum http_verdict http_response_judge(const struct http_response *response, int64_t now_s, int64_t default_s,
                                      struct http_freshness *out);

/* Does "If-None-Match: text" name this entity tag (weakly)? */
int http_etag_matches(const char *text, const char *etag);
/* Fields that belong to one connection, or that the cache writes anew. */
int http_field_stored(const char *name, const char *connection);
/* Is `name` among the words of a list that commas separate? */
int http_list_has(const char *list, const char *name);

#endif /* HTTP_RULES_H */
