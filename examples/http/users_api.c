/* users_api.c - see users_api.h. */
#define _DEFAULT_SOURCE /* strdup(), nanosleep(), also with -std=c11 */
#include "users_api.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct users_api {
    pthread_mutex_t lock; /* one at a time */
    sqlite3 *db;
    long work_ms;
    unsigned long answered;
    int failing;
};

struct users_api *users_api_open(long work_ms)
{
    struct users_api *api = calloc(1, sizeof *api);
    if (api == NULL)
        return NULL;
    pthread_mutex_init(&api->lock, NULL);
    api->work_ms = work_ms;
    if (sqlite3_open(":memory:", &api->db) == SQLITE_OK &&
        sqlite3_exec(
            api->db,
            "create table users (id integer primary key, name text not null, version integer not null default 1);"
            "with recursive n(i) as (values(1) union all select i + 1 from n where i < 1000)"
            "insert into users (id, name) select i, 'the name of user ' || i from n",
            NULL, NULL, NULL) == SQLITE_OK)
        return api;
    users_api_close(api);
    return NULL;
}

void users_api_close(struct users_api *api)
{
    if (api == NULL)
        return;
    sqlite3_close(api->db);
    pthread_mutex_destroy(&api->lock);
    free(api);
}

static void text(struct http_response *response, const char *words)
{
    http_text_add(&response->body, words, strlen(words));
}

static void refuse(struct http_response *response, int status, const char *words)
{
    response->status = status;
    text(response, words);
}

/* "Ann" as JSON: what a database holds may have quotes in it. */
static void quoted(struct http_text *out, const char *name)
{
    char code[8];
    http_text_add(out, "\"", 1);
    for (; *name != '\0'; name++) {
        if (*name == '"' || *name == '\\')
            http_text_add(out, "\\", 1);
        if ((unsigned char)*name < ' ')
            http_text_add(out, code, (size_t)snprintf(code, sizeof code, "\\u%04x", (unsigned)*name));
        else
            http_text_add(out, name, 1);
    }
    http_text_add(out, "\"", 1);
}

static void row(struct http_text *out, sqlite3_stmt *statement)
{
    char head[40];
    http_text_add(
        out, head,
        (size_t)snprintf(head, sizeof head, "{\"id\":%lld,\"name\":", (long long)sqlite3_column_int64(statement, 0)));
    quoted(out, (const char *)sqlite3_column_text(statement, 1));
    http_text_add(out, "}\n", 2);
}

static void get_users(struct users_api *api, long long id, struct http_response *response)
{
    sqlite3_stmt *statement = NULL;
    char etag[48];
    int count = 0;
    if (sqlite3_prepare_v2(api->db, "select id, name, version from users where ?1 = 0 or id = ?1 limit 20", -1,
                           &statement, NULL) != SQLITE_OK) {
        refuse(response, 500, "the database does not answer\n");
        return;
    }
    sqlite3_bind_int64(statement, 1, id);
    for (; sqlite3_step(statement) == SQLITE_ROW; count++) {
        row(&response->body, statement);
        snprintf(etag, sizeof etag, "\"%lld-%lld\"", id, (long long)sqlite3_column_int64(statement, 2));
    }
    sqlite3_finalize(statement);
    http_response_field(response, "Content-Type", id != 0 ? "application/json" : "application/jsonl");
    if (count == 0) {
        http_response_field(response, "Cache-Control", "max-age=5");
        refuse(response, 404, "{\"error\":\"there is no such user\"}\n");
    } else {
        http_response_field(response, "Cache-Control", "max-age=60, stale-while-revalidate=60, stale-if-error=3600");
        if (id != 0)
            http_response_field(response, "ETag", etag);
    }
}

static void put_user(struct users_api *api, long long id, const struct http_request *request,
                     struct http_response *response)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(api->db, "update users set name = ?2, version = version + 1 where id = ?1", -1, &statement,
                           NULL) != SQLITE_OK) {
        refuse(response, 500, "the database does not answer\n");
        return;
    }
    sqlite3_bind_int64(statement, 1, id);
    sqlite3_bind_text(statement, 2, request->body, (int)request->body_size, SQLITE_STATIC);
    int done = sqlite3_step(statement) == SQLITE_DONE && sqlite3_changes(api->db) == 1;
    sqlite3_finalize(statement);
    response->status = done ? 204 : 404;
}

static void greet(const struct http_request *request, struct http_response *response)
{
    const char *language = http_request_field(request, "accept-language");
    http_response_field(response, "Vary", "Accept-Language");
    http_response_field(response, "Cache-Control", "max-age=60");
    http_response_field(response, "Content-Type", "text/plain");
    text(response, language != NULL && strncmp(language, "de", 2) == 0 ? "Guten Tag\n" : "Good day\n");
}

static void control(struct users_api *api, const struct http_request *request, struct http_response *response)
{
    if (strcmp(request->target, "/fail") == 0)
        api->failing = 1;
    else if (strcmp(request->target, "/mend") == 0)
        api->failing = 0;
    else
        refuse(response, 404, "nothing is here\n");
}

static void answer_locked(struct users_api *api, const struct http_request *request, struct http_response *response)
{
    const char *target = request->target;
    char words[32];
    if (strncmp(target, "/users/", 7) == 0 && strcmp(request->method, "PUT") == 0) {
        put_user(api, strtoll(target + 7, NULL, 10), request, response);
    } else if (strcmp(request->method, "POST") == 0) {
        control(api, request, response);
    } else if (strncmp(target, "/users/", 7) == 0 && strtoll(target + 7, NULL, 10) > 0) {
        get_users(api, strtoll(target + 7, NULL, 10), response);
    } else if (strncmp(target, "/users", 6) == 0 && (target[6] == '\0' || target[6] == '?')) {
        get_users(api, 0, response);
    } else if (strcmp(target, "/greeting") == 0) {
        greet(request, response);
    } else if (strcmp(target, "/me") == 0) {
        http_response_field(response, "Cache-Control", "private, max-age=60");
        text(response, "you\n");
    } else if (strcmp(target, "/login") == 0) {
        http_response_field(response, "Cache-Control", "max-age=60");
        http_response_field(response, "Set-Cookie", "session=1234");
        text(response, "welcome\n");
    } else if (strcmp(target, "/count") == 0) {
        http_response_field(response, "Cache-Control", "no-store");
        snprintf(words, sizeof words, "%lu\n", api->answered);
        text(response, words);
    } else {
        refuse(response, 404, "nothing is here\n");
    }
}

int users_api_answer(const struct http_request *request, struct http_response *response, void *ctx)
{
    struct users_api *api = ctx;
    pthread_mutex_lock(&api->lock);
    struct timespec work = { .tv_sec = api->work_ms / 1000, .tv_nsec = api->work_ms % 1000 * 1000000 };
    if (api->work_ms > 0)
        nanosleep(&work, NULL);
    if (api->failing && strcmp(request->method, "POST") != 0 && strcmp(request->target, "/count") != 0)
        refuse(response, 503, "out of order\n");
    else
        answer_locked(api, request, response);
    api->answered += strcmp(request->target, "/count") != 0;
    pthread_mutex_unlock(&api->lock);
    return 0;
}
