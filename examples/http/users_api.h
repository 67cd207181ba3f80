/* users_api.h - the slow thing that is cached: an API over a SQLite database, which answers one request at a time. */
#ifndef USERS_API_H
#define USERS_API_H
#include "http_message.h"

struct users_api;

/* With so many milliseconds of work for each request.  A new database in memory; NULL where that fails. */
struct users_api *users_api_open(long work_ms);
void users_api_close(struct users_api *api);

/*
 * GET  /users/1        60 s fresh, 60 s more while it is loaded anew, an hour more while that fails
 * PUT  /users/1        the body is the new name
 * GET  /users          the first twenty
 * GET  /greeting       in the language of Accept-Language
 * GET  /me             private
 * GET  /login          sets a cookie
 * GET  /count          how many requests it has answered, this one not counted; not stored
 * POST /fail, /mend    from now on it answers with 503, and no more
 */
int users_api_answer(const struct http_request *request, struct http_response *response, void *api);

#endif /* USERS_API_H */
