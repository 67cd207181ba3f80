/* spare.c - see spare.h. */
#include "src/os/spare.h"

#include <pthread.h>

#include "src/base/mem.h"

struct spare {
    void *block;
    size_t room;
    int noticed; /* this thread's end will be */
};

static _Thread_local struct spare spare;
static pthread_key_t exit_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int usable; /* 0: thread ends can't be noticed, so that nothing may be kept */

static void leave(void *mine)
{
    struct spare *s = mine;
    strata__free(NULL, s->block);
    *s = (struct spare){ NULL, 0, 0 }; /* destructors that run later may bring another: noticed again */
}

static void init(void) { usable = pthread_key_create(&exit_key, leave) == 0; }

static int join(void)
{
    pthread_once(&once, init);
    spare.noticed = usable && pthread_setspecific(exit_key, &spare) == 0;
    return spare.noticed;
}

/* Only malloc's: another allocator may be gone before this thread is. */
static int keeps(const strata_allocator *mem, size_t room)
{
    return MEM_KEEPS && room >= SPARE_LEAST && room <= SPARE_MOST &&
           (mem == NULL || mem->alloc == strata__malloc.alloc);
}

void *strata__spare_alloc(const strata_allocator *mem, size_t bytes, size_t *out_room)
{
    *out_room = bytes;
    /* Not one that is much too large: who holds many values would hold as much again of nothing. */
    if (spare.room >= bytes && spare.room - bytes <= bytes / 8 && keeps(mem, bytes)) {
        void *block = spare.block;
        *out_room = spare.room;
        spare.block = NULL;
        spare.room = 0;
        return block;
    }
    return strata__alloc(mem, bytes);
}

void strata__spare_free(const strata_allocator *mem, void *block, size_t room)
{
    if (block != NULL && keeps(mem, room) && (spare.noticed || join())) {
        void *old = spare.block;
        spare.block = block;
        spare.room = room;
        block = old; /* the newer is in this processor's caches */
    }
    strata__free(mem, block);
}
