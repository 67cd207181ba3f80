/* json_out.c - see json_out.h. */
#include "cli/json_out.h"

#include <inttypes.h>
#include <string.h>

/* Length of the UTF-8 sequence at p, 0 where it is none (a truncated one ends in the NUL, which is no tail byte). */
static size_t sequence(const unsigned char *p)
{
    size_t length = p[0] >= 0xc2 && p[0] < 0xe0   ? 2
                    : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
                    : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                                  : 0;
    size_t i;

    for (i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] >= 0x90))
        return 0; /* overlong, surrogate, or past the last code point */
    return length;
}

/* File names are any bytes; JSON is UTF-8: what is none becomes U+FFFD. */
static void quote(FILE *to, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    fputc('"', to);
    while (*p != '\0') {
        size_t length = *p < 0x80 ? 1 : sequence(p);

        if (*p == '"' || *p == '\\')
            fprintf(to, "\\%c", *p);
        else if (*p < 0x20)
            fprintf(to, "\\u%04x", *p);
        else if (length == 0)
            fputs("\\ufffd", to);
        else
            fwrite(p, 1, length, to);
        p += length != 0 ? length : 1;
    }
    fputc('"', to);
}

static void begin(struct json_out *json, const char *name)
{
    if (json->more)
        fputc(',', json->to);
    json->more = 1;
    if (name != NULL) {
        quote(json->to, name);
        fputc(':', json->to);
    }
}

void json_open(struct json_out *json, const char *name, char bracket)
{
    begin(json, name);
    fputc(bracket, json->to);
    json->depth++;
    json->more = 0;
}

void json_close(struct json_out *json, char bracket)
{
    fputc(bracket, json->to);
    json->more = 1;
    if (--json->depth == 0)
        fputc('\n', json->to);
}

void json_text(struct json_out *json, const char *name, const char *text)
{
    begin(json, name);
    if (text == NULL)
        fputs("null", json->to);
    else
        quote(json->to, text);
}

void json_count(struct json_out *json, const char *name, uint64_t n)
{
    begin(json, name);
    fprintf(json->to, "%" PRIu64, n);
}

void json_flag(struct json_out *json, const char *name, int yes)
{
    begin(json, name);
    fputs(yes ? "true" : "false", json->to);
}

void json_real(struct json_out *json, const char *name, double x)
{
    begin(json, name);
    if (x >= 1e6)
        fprintf(json->to, "%.0f", x);
    else
        fprintf(json->to, "%.6g", x);
}

void json_line(struct json_out *json)
{
    if (json->more) {
        fputc(',', json->to);
        json->more = 0;
    }
    fputc('\n', json->to);
}
