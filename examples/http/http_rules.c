/* http_rules.c - see http_rules.h. */
#include "http_rules.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The next element of a list: name, and value where there is a "=".  Commas within quotes separate nothing. */
static const char *next_element(const char *at, const char **name, size_t *name_size, const char **value,
                                size_t *value_size)
{
    int quoted = 0;
    while (*at == ' ' || *at == '\t' || *at == ',')
        at++;
    if (*at == '\0')
        return NULL;
    *name = at;
    *value = NULL;
    for (; *at != '\0' && (quoted || *at != ','); at++) {
        if (*at == '\\' && quoted && at[1] != '\0')
            at++;
        else if (*at == '"')
            quoted = !quoted;
        else if (*at == '=' && *value == NULL && !quoted)
            *value = at + 1;
    }
    const char *end = at;
    while (end > *name && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *name_size = (size_t)((*value != NULL ? *value - 1 : end) - *name);
    *value_size = *value != NULL ? (size_t)(end - *value) : 0;
    return at;
}

static int same(const char *text, size_t size, const char *word)
{
    return strlen(word) == size && strncasecmp(text, word, size) == 0;
}

/* Numbers past 2^31 count as that (RFC 9111, 1.2.2). */
static int64_t seconds(const char *text, size_t size)
{
    int64_t n = 0;
    if (text != NULL && size >= 2 && text[0] == '"' && text[size - 1] == '"') {
        text++;
        size -= 2;
    }
    if (text == NULL || size == 0)
        return 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return 0;
        n = n > INT32_MAX ? n : n * 10 + (text[i] - '0');
    }
    return n > INT32_MAX ? (int64_t)INT32_MAX + 1 : n;
}

/* Of two that contradict each other the stricter. */
static void keep_smaller(int64_t *field, int64_t value)
{
    if (*field < 0 || value < *field)
        *field = value;
}

void cache_control_parse(const char *text, struct cache_control *out)
{
    const char *name, *value;
    size_t n, v;
    *out = (struct cache_control){ 0, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1 };
    while (text != NULL && (text = next_element(text, &name, &n, &value, &v)) != NULL) {
        out->no_store |= same(name, n, "no-store");
        out->no_cache |= same(name, n, "no-cache"); /* with names of fields, too: they are not told apart here */
        out->is_private |= same(name, n, "private");
        out->is_public |= same(name, n, "public");
        out->must_revalidate |= same(name, n, "must-revalidate") || same(name, n, "proxy-revalidate");
        out->only_if_cached |= same(name, n, "only-if-cached");
        if (same(name, n, "max-age"))
            keep_smaller(&out->max_age, seconds(value, v));
        else if (same(name, n, "s-maxage"))
            keep_smaller(&out->s_maxage, seconds(value, v));
        else if (same(name, n, "stale-while-revalidate"))
            keep_smaller(&out->stale_while_revalidate, seconds(value, v));
        else if (same(name, n, "stale-if-error"))
            keep_smaller(&out->stale_if_error, seconds(value, v));
        else if (same(name, n, "min-fresh"))
            keep_smaller(&out->min_fresh, seconds(value, v));
    }
}

int64_t http_date_parse(const char *text)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int day, year, hour, minute, second, end = 0;
    char month[4] = "";
    if (text == NULL ||
        sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", &day, month, &year, &hour, &minute, &second,
               &end) != 6 ||
        end == 0 || text[end] != '\0')
        return -1;
    const char *found = strlen(month) == 3 ? strstr(months, month) : NULL;
    if (found == NULL || (found - months) % 3 != 0 || day < 1 || day > 31 || year < 1970 || hour < 0 || hour > 23 ||
        minute < 0 || minute > 59 || second < 0 || second > 60)
        return -1;
    /* Days since 1970 of a calendar whose years begin in March. */
    int64_t m = (found - months) / 3 + 1, y = m <= 2 ? year - 1 : year;
    int64_t days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + day - 1 - 719468;
    return days * 86400 + hour * 3600 + minute * 60 + second;
}

int http_method_cacheable(const char *method) { return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0; }

int http_method_unsafe(const char *method)
{
    return !http_method_cacheable(method) && strcmp(method, "OPTIONS") != 0 && strcmp(method, "TRACE") != 0;
}

static int hex(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

int http_query_sensitive(const char *target)
{
    static const char *const words[] = {
        "access_token", "api_key",    "apikey",         "auth",     "authorization", "client_secret",
        "code",         "credential", "credentials",    "id_token", "jwt",           "key",
        "otp",          "passwd",     "password",       "pwd",      "refresh_token", "secret",
        "session",      "session_id", "sessionid",      "sid",      "sig",           "signature",
        "token",        "x-api-key",  "x-amz-signature"
    };
    const char *at = strchr(target, '?');
    while (at != NULL && *at != '\0') {
        char name[32];
        size_t n = 0;
        for (at++; *at != '\0' && *at != '=' && *at != '&' && *at != ';'; at++) {
            int c = tolower((unsigned char)*at);
            if (c == '%' && hex((char)tolower((unsigned char)at[1])) >= 0 &&
                hex((char)tolower((unsigned char)at[2])) >= 0) {
                c = tolower(hex((char)tolower((unsigned char)at[1])) * 16 + hex((char)tolower((unsigned char)at[2])));
                at += 2;
            }
            if (n < sizeof name - 1)
                name[n++] = (char)c;
        }
        name[n] = '\0';
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            if (strcmp(name, words[i]) == 0)
                return 1;
        at = at[0] == '=' ? at + strcspn(at, "&;") : at;
    }
    return 0;
}

const char *http_request_bypass(const struct http_request *request)
{
    struct http_text text = { 0 };
    struct cache_control cc;
    http_request_joined(request, "cache-control", &text);
    cache_control_parse(text.failed ? "no-store" : text.data, &cc);
    http_text_free(&text);
    if (cc.no_store)
        return "no-store";
    if (http_request_field(request, "authorization") != NULL)
        return "authorization";
    if (http_request_field(request, "cookie") != NULL)
        return "cookie";
    if (http_request_field(request, "range") != NULL)
        return "range";
    if (request->body_size != 0)
        return "body";
    if (http_query_sensitive(request->target))
        return "sensitive-query";
    return NULL;
}

/* Statuses that may be stored where nothing says for how long (RFC 9110, 15.1), but for 206 and those of a server that fails. */
static int default_status(int status)
{
    return status == 200 || status == 203 || status == 204 || status == 300 || status == 301 || status == 308 ||
           status == 404 || status == 405 || status == 410 || status == 414;
}

/* How long the response says that it is fresh; -1: it doesn't. */
static int64_t lifetime(const struct http_response *response, const struct cache_control *cc, int64_t now_s)
{
    const struct http_text *fields = &response->fields;
    const char *expires = http_block_find(fields->data, fields->size, "expires");
    if (cc->s_maxage >= 0)
        return cc->s_maxage;
    if (cc->max_age >= 0)
        return cc->max_age;
    if (expires == NULL)
        return -1;
    int64_t end = http_date_parse(expires);
    int64_t date = http_date_parse(http_block_find(fields->data, fields->size, "date"));
    return end < 0 ? 0 : end - (date >= 0 ? date : now_s) > 0 ? end - (date >= 0 ? date : now_s) : 0;
}

static void join_values(const struct http_text *fields, const char *wanted, struct http_text *out)
{
    const char *name, *value;
    for (size_t at = 0; http_block_next(fields->data, fields->size, &at, &name, &value);)
        if (strcasecmp(name, wanted) == 0) {
            http_text_add(out, value, strlen(value));
            http_text_add(out, ",", 1);
        }
    http_text_add(out, "", 1);
}

enum http_verdict http_response_judge(const struct http_response *response, int64_t now_s, int64_t default_s,
                                      struct http_freshness *out)
{
    const struct http_text *fields = &response->fields;
    struct http_text control = { 0 }, vary = { 0 };
    struct cache_control cc;
    join_values(fields, "cache-control", &control);
    join_values(fields, "vary", &vary);
    const char *age = http_block_find(fields->data, fields->size, "age");
    cache_control_parse(control.failed ? "no-store" : control.data, &cc);
    int forbidden = cc.no_store || cc.is_private || cc.no_cache || vary.failed || http_list_has(vary.data, "*") ||
                    http_block_find(fields->data, fields->size, "set-cookie") != NULL;
    http_text_free(&control);
    http_text_free(&vary);
    if (forbidden)
        return HTTP_PRIVATE;
    if (response->status >= 500)
        return HTTP_SHARE;
    int64_t fresh = lifetime(response, &cc, now_s);
    if (fresh < 0)
        fresh = default_status(response->status) ? default_s : 0;
    out->age_s = age != NULL ? seconds(age, strlen(age)) : 0;
    out->fresh_s = fresh;
    out->stale_while_revalidate_s = cc.must_revalidate || cc.stale_while_revalidate < 0 ? 0 : cc.stale_while_revalidate;
    out->stale_if_error_s = cc.must_revalidate || cc.stale_if_error < 0 ? 0 : cc.stale_if_error;
    if (response->status < 200 || response->status == 206 || response->status == 304 || fresh <= out->age_s)
        return HTTP_PRIVATE;
    return HTTP_STORE;
}

int http_list_has(const char *list, const char *wanted)
{
    const char *name, *value;
    size_t n, v;
    while (list != NULL && (list = next_element(list, &name, &n, &value, &v)) != NULL)
        if (same(name, n, wanted))
            return 1;
    return 0;
}

int http_etag_matches(const char *text, const char *etag)
{
    const char *name, *value;
    size_t n, v;
    if (text == NULL || etag == NULL)
        return 0;
    etag += strncmp(etag, "W/", 2) == 0 ? 2 : 0;
    while ((text = next_element(text, &name, &n, &value, &v)) != NULL) {
        if (value != NULL) /* a "=" is a letter as any in a tag */
            n += 1 + v;
        if (n == 1 && *name == '*')
            return 1;
        if (n > 2 && strncmp(name, "W/", 2) == 0) {
            name += 2;
            n -= 2;
        }
        if (strlen(etag) == n && memcmp(name, etag, n) == 0)
            return 1;
    }
    return 0;
}

int http_field_stored(const char *name, const char *connection)
{
    static const char *const dropped[] = { "age",        "cache-status",       "connection",       "content-length",
                                           "keep-alive", "proxy-authenticate", "proxy-connection", "te",
                                           "trailer",    "transfer-encoding",  "upgrade",          "x-cache" };
    for (size_t i = 0; i < sizeof dropped / sizeof dropped[0]; i++)
        if (strcasecmp(name, dropped[i]) == 0)
            return 0;
    return !http_list_has(connection, name);
}
