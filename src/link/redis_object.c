/* redis_object.c - hiredis' reader, with replies from the link's allocator.
 *
 * A text that is a reply by itself is not copied: who asked gets it as it stands in the reader's buffer, which moves when the reader
 * returns.  Any other reply is one block: the box, and a string's bytes behind it.  An array grows with what has come, whatever length it
 * announced: a server, or what poses as one, cannot make us allocate for what it never sends. */
#include <errno.h>
#include <hiredis.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/link/redis_link_impl.h"

struct box {
    redisReply reply;
    const strata_allocator *mem;
    size_t room; /* of reply.element */
};

enum { FIRST_ELEMENTS = 16 };

static struct box *box_of(redisReply *reply) { return (struct box *)(void *)reply; }

static int grow(struct box *box, size_t wanted)
{
    if (wanted <= box->room)
        return 1;
    size_t room = box->room > 0 ? box->room : FIRST_ELEMENTS;
    while (room < wanted)
        room *= 2;
    redisReply **element = strata__realloc_array(box->mem, box->reply.element, room, sizeof *element);
    if (element == NULL)
        return 0;
    box->reply.element = element;
    box->room = room;
    return 1;
}

static int is_known(const struct redis_replies *replies, int type)
{
#if HIREDIS_MAJOR >= 1
    if (replies->resp3 &&
        (type == REDIS_REPLY_MAP || type == REDIS_REPLY_SET || type == REDIS_REPLY_PUSH || type == REDIS_REPLY_VERB))
        return 1;
#else
    (void)replies;
#endif
    return type >= REDIS_REPLY_STRING && type <= REDIS_REPLY_ERROR;
}

/* A new one with room for `more` bytes, in its place in the array around it; NULL: no memory, or of no known type. */
static struct box *make(const redisReadTask *task, size_t more)
{
    struct redis_replies *replies = task->privdata;
    if (!is_known(replies, task->type)) {
        replies->foreign = 1;
        return NULL;
    }
    if (more > SIZE_MAX - sizeof(struct box))
        return NULL;
    struct box *box = strata__alloc(replies->mem, sizeof *box + more);
    if (box == NULL)
        return NULL;
    memset(box, 0, sizeof *box);
    box->reply.type = task->type;
    box->mem = replies->mem;
    if (task->parent != NULL) {
        struct box *around = task->parent->obj;
        /* Elements come in order: idx is how many there are. */
        if (!grow(around, (size_t)task->idx + 1)) {
            strata__free(box->mem, box);
            return NULL;
        }
        around->reply.element[task->idx] = &box->reply;
        around->reply.elements = (size_t)task->idx + 1;
    }
    return box;
}

static struct box lent;
struct redisReply *const strata__redis_lent = &lent.reply;

static void *make_string(const redisReadTask *task, char *bytes, size_t size)
{
    struct redis_replies *replies = task->privdata;
    if (task->parent == NULL && task->type == REDIS_REPLY_STRING && replies->lend != NULL) {
        redisReply reply = { .type = task->type, .str = bytes, .len = size };
        replies->lend(replies->ctx, &reply);
        return &lent;
    }
    struct box *box = size < SIZE_MAX ? make(task, size + 1) : NULL;
    if (box == NULL)
        return NULL;
#if HIREDIS_MAJOR >= 1
    enum { FORMAT = 4 }; /* "txt:": a text says so, as INFO does in RESP3 */
    if (task->type == REDIS_REPLY_VERB) {
        box->reply.type = REDIS_REPLY_STRING;
        bytes += size < FORMAT ? size : FORMAT;
        size -= size < FORMAT ? size : FORMAT;
    }
#endif
    box->reply.str = (char *)(box + 1);
    memcpy(box->reply.str, bytes, size);
    box->reply.str[size] = '\0';
    box->reply.len = size;
    return box;
}

#if HIREDIS_MAJOR >= 1
static void *make_array(const redisReadTask *task, size_t size)
#else
static void *make_array(const redisReadTask *task, int size)
#endif
{
    (void)size; /* what it announces */
    return make(task, 0);
}

static void *make_integer(const redisReadTask *task, long long number)
{
    struct box *box = make(task, 0);
    if (box != NULL)
        box->reply.integer = number;
    return box;
}

static void *make_nil(const redisReadTask *task)
{
    struct box *box = make(task, 0);
    if (box != NULL)
        box->reply.type = REDIS_REPLY_NIL; /* the task's is what it would have been: a string, an array */
    return box;
}

#if HIREDIS_MAJOR >= 1
/* Without these, hiredis makes up pointers for types that nobody asks for. */
static void *make_double(const redisReadTask *task, double number, char *text, size_t size)
{
    (void)number;
    (void)text;
    (void)size;
    return make(task, 0);
}

static void *make_bool(const redisReadTask *task, int truth)
{
    (void)truth;
    return make(task, 0);
}
#endif

static void free_object(void *object)
{
    if (object != NULL)
        strata__redis_reply_free(object);
}

/* hiredis wants to write to it, and never does. */
static redisReplyObjectFunctions functions = {
    .createString = make_string,
    .createArray = make_array,
    .createInteger = make_integer,
#if HIREDIS_MAJOR >= 1
    .createDouble = make_double,
    .createBool = make_bool,
#endif
    .createNil = make_nil,
    .freeObject = free_object,
};

/* Nesting is bounded by the reader, at nine levels. */
void strata__redis_reply_free(struct redisReply *reply)
{
    struct box *box = box_of(reply);
    if (box == &lent)
        return;
    for (size_t i = 0; i < reply->elements; i++)
        strata__redis_reply_free(reply->element[i]);
    strata__free(box->mem, reply->element);
    strata__free(box->mem, box);
}

struct redisReader *strata__redis_reader_new(struct redis_replies *replies)
{
    redisReader *reader = redisReaderCreateWithFunctions(&functions);
    if (reader != NULL)
        reader->privdata = replies;
    return reader;
}

void strata__redis_reader_free(struct redisReader *reader)
{
    if (reader != NULL)
        redisReaderFree(reader);
}

int strata__redis_reader_next(struct redisReader *reader, struct redisReply **out, const char **out_why)
{
    void *reply = NULL;
    *out = NULL;
    if (redisReaderGetReply(reader, &reply) == REDIS_OK) {
        *out = reply;
        return reply != NULL;
    }
    const struct redis_replies *replies = reader->privdata;
    if (reader->err == REDIS_ERR_OOM && !replies->foreign) {
        *out_why = "no memory for a reply";
        return -ENOMEM;
    }
    *out_why = replies->foreign ? "a type that nobody asked for" : reader->errstr;
    return -EPROTO;
}

int strata__redis_reader_feed(struct redisReader *reader, const char *bytes, size_t size)
{
    return redisReaderFeed(reader, bytes, size) == REDIS_OK;
}

int strata__redis_reader_inside(const struct redisReader *reader)
{
    return reader->len > reader->pos || reader->ridx >= 0;
}

enum redis_reply_kind strata__redis_kind(const struct redisReply *reply)
{
    switch (reply->type) {
    case REDIS_REPLY_STRING: return REDIS_IS_TEXT;
    case REDIS_REPLY_STATUS: return REDIS_IS_STATUS;
    case REDIS_REPLY_ERROR: return REDIS_IS_ERROR;
    case REDIS_REPLY_INTEGER: return REDIS_IS_INTEGER;
#if HIREDIS_MAJOR >= 1
    case REDIS_REPLY_MAP:
    case REDIS_REPLY_SET:
    case REDIS_REPLY_PUSH:
#endif
    case REDIS_REPLY_ARRAY: return REDIS_IS_ARRAY;
    default: return REDIS_IS_NIL;
    }
}

#if HIREDIS_MAJOR >= 1
int strata__redis_pushes(void) { return 1; }

int strata__redis_is_push(const struct redisReply *reply) { return reply->type == REDIS_REPLY_PUSH; }
#else
int strata__redis_pushes(void) { return 0; }

int strata__redis_is_push(const struct redisReply *reply)
{
    (void)reply;
    return 0;
}
#endif

strata_slice strata__redis_text(const struct redisReply *reply) { return strata_bytes(reply->str, reply->len); }

int64_t strata__redis_integer(const struct redisReply *reply) { return reply->integer; }

size_t strata__redis_count(const struct redisReply *reply) { return reply->elements; }

const struct redisReply *strata__redis_at(const struct redisReply *reply, size_t i) { return reply->element[i]; }
