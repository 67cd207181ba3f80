/* http_record.c - see http_record.h. */
#include "http_record.h"

#include <stdlib.h>
#include <string.h>

struct head {
    char magic[8];
    uint32_t kind, status;
    int64_t born_us, age_s, fresh_s;
    uint64_t variant, fields_size, vary_size, asked_size, body_size;
};
static const char MAGIC[8] = { 'h', 't', 't', 'p', 'r', 'e', 'c', '1' };

int http_record_write(const struct http_record *r, void **out, size_t *out_size)
{
    struct head head = { .kind = r->kind,
                         .status = r->status,
                         .born_us = r->born_us,
                         .age_s = r->age_s,
                         .fresh_s = r->fresh_s,
                         .variant = r->variant,
                         .fields_size = r->fields_size,
                         .vary_size = r->vary_size,
                         .asked_size = r->asked_size,
                         .body_size = r->body_size };
    struct http_text text = { 0 };
    memcpy(head.magic, MAGIC, sizeof MAGIC);
    http_text_add(&text, &head, sizeof head);
    http_text_add(&text, r->fields, r->fields_size);
    http_text_add(&text, r->vary, r->vary_size);
    http_text_add(&text, r->asked, r->asked_size);
    http_text_add(&text, r->body, r->body_size);
    if (text.failed) {
        http_text_free(&text);
        return -1;
    }
    *out = text.data;
    *out_size = text.size;
    return 0;
}

/* A block ends with a NUL, or is empty. */
static int take_block(const char **at, size_t *left, uint64_t size, const char **block, size_t *block_size)
{
    if (size > *left || (size > 0 && (*at)[size - 1] != '\0'))
        return 0;
    *block = *at;
    *block_size = (size_t)size;
    *at += size;
    *left -= (size_t)size;
    return 1;
}

int http_record_read(strata_slice data, struct http_record *out)
{
    struct head head;
    const char *at = data.data;
    size_t left = data.size;
    if (data.data == NULL || left < sizeof head)
        return 0;
    memcpy(&head, at, sizeof head);
    at += sizeof head;
    left -= sizeof head;
    *out = (struct http_record){ .kind = head.kind,
                                 .status = head.status,
                                 .born_us = head.born_us,
                                 .age_s = head.age_s,
                                 .fresh_s = head.fresh_s,
                                 .variant = head.variant };
    if (memcmp(head.magic, MAGIC, sizeof MAGIC) != 0 || head.kind < HTTP_RECORD_RESPONSE ||
        head.kind > HTTP_RECORD_NOTHING || head.status > 999 ||
        !take_block(&at, &left, head.fields_size, &out->fields, &out->fields_size) ||
        !take_block(&at, &left, head.vary_size, &out->vary, &out->vary_size) ||
        !take_block(&at, &left, head.asked_size, &out->asked, &out->asked_size) || head.body_size != left)
        return 0;
    out->body = at;
    out->body_size = left;
    return 1;
}
