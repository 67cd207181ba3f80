/* redis_wire.c - commands as bytes: an array of bulk strings, written once, straight into the connection's buffer. */
#include <string.h>

#include "src/base/mem.h"
#include "src/link/redis_link_impl.h"

int strata__redis_buffer_reserve(const strata_allocator *mem, struct redis_buffer *buffer, size_t more)
{
    if (more <= buffer->room - buffer->size)
        return 1;
    if (more > SIZE_MAX / 4 - buffer->size)
        return 0;
    size_t room = buffer->room > 0 ? buffer->room : 1024;
    while (room - buffer->size < more)
        room *= 2;
    char *data = strata__realloc_array(mem, buffer->data, room, 1);
    if (data == NULL)
        return 0;
    buffer->data = data;
    buffer->room = room;
    return 1;
}

void strata__redis_buffer_reset(const strata_allocator *mem, struct redis_buffer *buffer)
{
    buffer->size = 0;
    if (buffer->room > REDIS_KEEP_ROOM)
        strata__redis_buffer_free(mem, buffer);
}

void strata__redis_buffer_free(const strata_allocator *mem, struct redis_buffer *buffer)
{
    strata__free(mem, buffer->data);
    *buffer = (struct redis_buffer){ 0 };
}

/* '*' or '$', the number, CR LF. */
static char *put_head(char *at, char kind, size_t number)
{
    char digits[20];
    size_t count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    *at++ = kind;
    while (count > 0)
        *at++ = digits[--count];
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

enum { HEAD_ROOM = 1 + 20 + 2 };

size_t strata__redis_command(const strata_allocator *mem, struct redis_buffer *buffer, const strata_slice *args,
                             size_t count)
{
    size_t most = HEAD_ROOM;
    for (size_t i = 0; i < count; i++) {
        if (args[i].size > SIZE_MAX / 8 - most)
            return 0;
        most += HEAD_ROOM + args[i].size + 2;
    }
    if (!strata__redis_buffer_reserve(mem, buffer, most))
        return 0;
    char *start = buffer->data + buffer->size;
    char *at = put_head(start, '*', count);
    for (size_t i = 0; i < count; i++) {
        at = put_head(at, '$', args[i].size);
        if (args[i].size > 0)
            memcpy(at, args[i].data, args[i].size);
        at += args[i].size;
        *at++ = '\r';
        *at++ = '\n';
    }
    size_t bytes = (size_t)(at - start);
    buffer->size += bytes;
    return bytes;
}
