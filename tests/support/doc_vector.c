/* doc_vector.c - compares without white space, so that each side may break its lines. */
#include "tests/support/doc_vector.h"

#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VECTOR_MAX = 4096 };

static size_t squeeze(char *out, const char *in, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < size; i++)
        if (in[i] != ' ' && in[i] != '\n' && in[i] != '\r' && in[i] != '\t')
            out[used++] = in[i];
    out[used] = '\0';
    return used;
}

/* The document without white space; freed by the caller. */
static char *document(void)
{
    FILE *file = fopen(STRATA_FORMATS_MD, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    assert_true(size > 0);
    rewind(file);
    char *text = malloc((size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    fclose(file);
    squeeze(text, text, (size_t)size);
    return text;
}

static void documented(const char *squeezed)
{
    char *text = document();
    if (strstr(text, squeezed) == NULL)
        print_error("docs/formats.md has no vector %s\n", squeezed);
    assert_non_null(strstr(text, squeezed));
    free(text);
}

void doc_vector_check(const char *hex, const void *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    char expected[VECTOR_MAX * 2 + 1], found[VECTOR_MAX * 2 + 1];
    const uint8_t *at = bytes;
    assert_true(strlen(hex) < sizeof expected && size <= VECTOR_MAX);
    squeeze(expected, hex, strlen(hex));
    for (size_t i = 0; i < size; i++) {
        found[2 * i] = digits[at[i] >> 4];
        found[2 * i + 1] = digits[at[i] & 15];
    }
    found[2 * size] = '\0';
    assert_string_equal(found, expected);
    documented(expected);
}

static uint8_t digit(char c)
{
    assert_true((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

size_t doc_vector_bytes(const char *hex, uint8_t *out, size_t room)
{
    char squeezed[VECTOR_MAX * 2 + 1];
    assert_true(strlen(hex) < sizeof squeezed);
    size_t size = squeeze(squeezed, hex, strlen(hex)) / 2;
    assert_true(size <= room);
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(digit(squeezed[2 * i]) << 4 | digit(squeezed[2 * i + 1]));
    documented(squeezed);
    return size;
}
