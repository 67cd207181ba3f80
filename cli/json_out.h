/* json_out.h - JSON to a file, in the order in which it is called: names, commas and escapes are its business. */
#ifndef STRATA_CLI_JSON_OUT_H
#define STRATA_CLI_JSON_OUT_H
#include <stdint.h>
#include <stdio.h>

/* Storage is the caller's: { .to = stdout }. */
struct json_out {
    FILE *to;
    int depth;
    int more; /* something stands before, on this depth */
};

/* `name` NULL inside an array and at the top. */
void json_open(struct json_out *json, const char *name, char bracket);     /* '{' or '[' */
void json_close(struct json_out *json, char bracket);                      /* '}' or ']' */
void json_text(struct json_out *json, const char *name, const char *text); /* NULL is null */
void json_count(struct json_out *json, const char *name, uint64_t n);
void json_flag(struct json_out *json, const char *name, int yes);
void json_real(struct json_out *json, const char *name, double x); /* six significant places */
/* The next value begins on a line of its own: so line tools can pick the elements of an array. */
void json_line(struct json_out *json);

#endif /* STRATA_CLI_JSON_OUT_H */
