/* json_check.c - json_check NAME...: 0 if stdin is one JSON value (RFC 8259) and each NAME is a member somewhere in it.
 *
 * A machine that has just been set up has no tool that can tell, so here is one: a recursive descent that reads, and
 * keeps the member names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 1 << 20, DEPTH = 64 };

static char text[ROOM + 1];
static const char *at;
static int names_wanted;
static char **names;
static char seen[256];

static void die(const char *what)
{
    fprintf(stderr, "json_check: %s at byte %d: %.40s\n", what, (int)(at - text), at);
    exit(1);
}

static void blank(void) { at += strspn(at, " \t\r\n"); }

/* A string; `is_name` notes it as a member's name. */
static void string(int is_name)
{
    const char *begin = at + 1;
    int i;

    if (*at++ != '"')
        die("no string");
    while (*at != '"') {
        if ((unsigned char)*at < 0x20)
            die("a control character in a string");
        if (*at == '\\') {
            at++;
            if (*at == 'u') {
                if (strspn(at + 1, "0123456789abcdefABCDEF") < 4)
                    die("a bad \\u");
                at += 4;
            } else if (*at == '\0' || strchr("\"\\/bfnrt", *at) == NULL) {
                die("a bad escape");
            }
        }
        at++;
    }
    for (i = 0; is_name && i < names_wanted; i++)
        if (strlen(names[i]) == (size_t)(at - begin) && memcmp(names[i], begin, (size_t)(at - begin)) == 0)
            seen[i] = 1;
    at++;
}

static void digits(void)
{
    size_t n = strspn(at, "0123456789");

    if (n == 0)
        die("no digit");
    at += n;
}

static void number(void)
{
    if (*at == '-')
        at++;
    if (*at == '0')
        at++;
    else
        digits();
    if (*at == '.') {
        at++;
        digits();
    }
    if (*at == 'e' || *at == 'E') {
        at++;
        if (*at == '+' || *at == '-')
            at++;
        digits();
    }
}

static void value(int depth);

static void members(int depth, char closing)
{
    at++;
    blank();
    if (*at == closing) {
        at++;
        return;
    }
    for (;;) {
        blank();
        if (closing == '}') {
            string(1);
            blank();
            if (*at++ != ':')
                die("no colon");
        }
        value(depth + 1);
        blank();
        if (*at == closing)
            break;
        if (*at++ != ',')
            die("no comma");
    }
    at++;
}

static void value(int depth)
{
    static const char *const words[] = { "true", "false", "null" };
    size_t i;

    if (depth > DEPTH)
        die("too deep");
    blank();
    if (*at == '{' || *at == '[') {
        members(depth, *at == '{' ? '}' : ']');
        return;
    }
    if (*at == '"') {
        string(0);
        return;
    }
    for (i = 0; i < 3; i++)
        if (strncmp(at, words[i], strlen(words[i])) == 0) {
            at += strlen(words[i]);
            return;
        }
    number();
}

int main(int argc, char **argv)
{
    size_t size = fread(text, 1, ROOM, stdin);
    int i, missing = 0;

    if (argc - 1 > (int)sizeof seen || size == ROOM) {
        fputs("json_check: too many names, or more than 1 MiB\n", stderr);
        return 2;
    }
    names = argv + 1;
    names_wanted = argc - 1;
    at = text;
    value(0);
    blank();
    if (at != text + size)
        die("something after the value");
    for (i = 0; i < names_wanted; i++)
        if (!seen[i]) {
            fprintf(stderr, "json_check: no member \"%s\"\n", names[i]);
            missing = 1;
        }
    return missing;
}
