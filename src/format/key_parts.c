/* key_parts.c - keys of several parts: strata/key.h says how they look.
 *
 * Every part says where it ends before another can begin, and has one form alone: so a row of parts is read in one way, which is
 * why no two rows make one key.  A reader that took a second form ("i01:") would break that, and refuses it. */
#include <string.h>

#include "strata/key.h"

enum { DIGITS = 20 }; /* of the largest number */

/* Up to `room` bytes that end at `end`; how many. */
static size_t write_digits(uint64_t number, char *end)
{
    size_t n = 0;
    do {
        *--end = (char)('0' + number % 10);
        number /= 10;
        n++;
    } while (number != 0);
    return n;
}

void strata_key_begin(strata_key *key)
{
    key->used = 0;
    key->failed = 0;
}

/* All of it, or nothing any more. */
static int add(strata_key *key, const char *head, size_t head_size, strata_slice text)
{
    const size_t left = sizeof key->data - key->used;
    if (key->failed || head_size > left || text.size > left - head_size) {
        key->failed = 1;
        return STRATA_EKEYSIZE;
    }
    memcpy(key->data + key->used, head, head_size);
    if (text.size != 0)
        memcpy(key->data + key->used + head_size, text.data, text.size);
    key->used += (uint32_t)(head_size + text.size);
    return STRATA_OK;
}

static int add_number(strata_key *key, char letter, int below, uint64_t number, strata_slice text)
{
    char head[DIGITS + 3];
    char *end = head + sizeof head;
    *--end = ':';
    size_t n = write_digits(number, end);
    end -= n;
    if (below)
        *--end = '-';
    *--end = letter;
    return add(key, end, (size_t)(head + sizeof head - end), text);
}

static const strata_slice no_text = { NULL, 0 };

int strata_key_text(strata_key *key, strata_slice text) { return add_number(key, 's', 0, text.size, text); }

int strata_key_int(strata_key *key, int64_t number)
{
    return add_number(key, 'i', number < 0, number < 0 ? 0 - (uint64_t)number : (uint64_t)number, no_text);
}

int strata_key_uint(strata_key *key, uint64_t number) { return add_number(key, 'i', 0, number, no_text); }

int strata_key_list(strata_key *key, uint32_t count) { return add_number(key, 'l', 0, count, no_text); }

int strata_key_flag(strata_key *key, int flag) { return add(key, flag ? "t:" : "f:", 2, no_text); }

int strata_key_none(strata_key *key) { return add(key, "n:", 2, no_text); }

#define NO_NUMBER UINT64_C(0x7ff8000000000000)
#define MINUS_ZERO (UINT64_C(1) << 63)

static int is_number(uint64_t bits) { return (bits & ~MINUS_ZERO) <= UINT64_C(0x7ff0000000000000); }

int strata_key_real(strata_key *key, double number)
{
    char head[18] = { 'd' };
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    if (!is_number(bits))
        bits = NO_NUMBER;
    if (bits == MINUS_ZERO)
        bits = 0;
    for (int i = 0; i < 16; i++)
        head[1 + i] = "0123456789abcdef"[bits >> (60 - 4 * i) & 15];
    head[17] = ':';
    return add(key, head, sizeof head, no_text);
}

/* Reading ------------------------------------------------------------------------------------------------------- */

/* Digits and a colon at `at`, in the one form that a number has: the place behind them, or 0. */
static size_t read_digits(const char *data, size_t size, size_t at, uint64_t *out)
{
    const size_t first = at;
    uint64_t n = 0;
    for (; at < size && data[at] >= '0' && data[at] <= '9'; at++)
        if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(data[at] - '0'), &n))
            return 0;
    if (at == first || at == size || data[at] != ':' || (data[first] == '0' && at > first + 1))
        return 0;
    *out = n;
    return at + 1;
}

static size_t read_text(const char *data, size_t size, strata_key_part *out)
{
    uint64_t length;
    size_t at = read_digits(data, size, 1, &length);
    if (at == 0 || length > size - at)
        return 0;
    out->type = STRATA_PART_TEXT;
    out->text = strata_bytes(data + at, (size_t)length);
    return at + (size_t)length;
}

static size_t read_int(const char *data, size_t size, strata_key_part *out)
{
    const int below = size > 1 && data[1] == '-';
    uint64_t n;
    size_t at = read_digits(data, size, below ? 2 : 1, &n);
    if (at == 0 || (below && (n == 0 || n > MINUS_ZERO))) /* 2^63, the furthest below 0 */
        return 0;
    out->type = below || n <= INT64_MAX ? STRATA_PART_INT : STRATA_PART_UINT;
    if (below)
        out->integer = n == MINUS_ZERO ? INT64_MIN : -(int64_t)n;
    else
        out->uinteger = n;
    if (!below && n <= INT64_MAX)
        out->integer = (int64_t)n;
    return at;
}

static size_t read_real(const char *data, size_t size, strata_key_part *out)
{
    uint64_t bits = 0;
    if (size < 18 || data[17] != ':')
        return 0;
    for (int i = 1; i <= 16; i++) {
        const char c = data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return 0;
        bits = bits << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    if (bits == MINUS_ZERO || (!is_number(bits) && bits != NO_NUMBER))
        return 0;
    out->type = STRATA_PART_REAL;
    memcpy(&out->real, &bits, sizeof bits);
    return 18;
}

static size_t read_list(const char *data, size_t size, strata_key_part *out)
{
    uint64_t count;
    size_t at = read_digits(data, size, 1, &count);
    if (at == 0 || count > UINT32_MAX)
        return 0;
    out->type = STRATA_PART_LIST;
    out->count = (uint32_t)count;
    return at;
}

static size_t read_word(const char *data, size_t size, strata_key_part *out)
{
    if (size < 2 || data[1] != ':')
        return 0;
    out->type = data[0] == 'n' ? STRATA_PART_NONE : STRATA_PART_FLAG;
    out->flag = data[0] == 't';
    return 2;
}

int strata_key_next(strata_slice *rest, strata_key_part *out)
{
    const char *data = rest->data;
    size_t taken = 0;
    *out = (strata_key_part){ 0 };
    if (rest->size == 0)
        return STRATA_MISS;
    switch (data[0]) {
    case 's': taken = read_text(data, rest->size, out); break;
    case 'i': taken = read_int(data, rest->size, out); break;
    case 'd': taken = read_real(data, rest->size, out); break;
    case 'l': taken = read_list(data, rest->size, out); break;
    case 't':
    case 'f':
    case 'n': taken = read_word(data, rest->size, out); break;
    default: break;
    }
    if (taken == 0) {
        *out = (strata_key_part){ 0 };
        return STRATA_EINVAL;
    }
    *rest = strata_bytes(data + taken, rest->size - taken);
    return STRATA_OK;
}
