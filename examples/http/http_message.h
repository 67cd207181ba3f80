/* http_message.h - a request and a response, as the cache sees them: no server's types, so that it goes into any server.
 *
 * A block is a row of texts, each with its NUL: "name\0value\0name\0value\0".  It is what responses keep their fields in, and what is
 * stored, so that a hit hands the stored bytes to the server as they are. */
#ifndef HTTP_MESSAGE_H
#define HTTP_MESSAGE_H
#include <stddef.h>

/* Bytes that grow.  After a failure (no memory) nothing more is added, and `failed` says so: look once, at the end. */
struct http_text {
    char *data;
    size_t size, room;
    int failed;
};
void http_text_add(struct http_text *text, const void *data, size_t size);
void http_text_add_string(struct http_text *text, const char *string); /* with its NUL */
void http_text_free(struct http_text *text);

/* One field of a request.  Anything but 0 ends the visit. */
typedef int (*http_visit)(const char *name, const char *value, void *ctx);

struct http_request {
    const char *method;
    const char *target; /* as it came, undecoded: "/users?limit=3" */
    const void *body;
    size_t body_size;
    /* Calls `visit` for each field, names in any case. */
    void (*each)(const struct http_request *request, http_visit visit, void *ctx);
    const void *fields; /* for `each` */
};

/* The first field of that name (in any case), or NULL. */
const char *http_request_field(const struct http_request *request, const char *name);
/* All of that name, joined by ", " and ended with a NUL; 0: there is none.  `out` is filled, or failed. */
int http_request_joined(const struct http_request *request, const char *name, struct http_text *out);

/* A request whose text is its own. */
struct http_request_copy {
    struct http_request request;
    struct http_text text; /* method, target, then a block of fields */
};
/* 0, or -1 without memory.  Without fields that make a server answer with less than the whole: Range, If-...; and without a body. */
int http_request_copy(const struct http_request *request, struct http_request_copy *out);
/* One that is made of a target and a block of fields: what a stored response says that it was asked with. */
void http_request_of(const char *target, const char *block, size_t size, struct http_request_copy *out);
void http_request_copy_free(struct http_request_copy *copy);

struct http_response {
    int status;
    struct http_text fields; /* a block */
    struct http_text body;
};
void http_response_field(struct http_response *response, const char *name, const char *value);
void http_response_free(struct http_response *response);

/* In a block: the first value of that name, or NULL. */
const char *http_block_find(const char *block, size_t size, const char *name);
/* The next pair after *at (start with 0); 0 at the end. */
int http_block_next(const char *block, size_t size, size_t *at, const char **name, const char **value);

/* What a program answers a request with: fills the response.  0, or -1: it failed, and there is no response. */
typedef int (*http_handler)(const struct http_request *request, struct http_response *response, void *ctx);

#endif /* HTTP_MESSAGE_H */
