/* frames.c - what core runs on this thread right now: loaders, callbacks, moments under a key lock.
 *
 * The stack of frames answers three questions: may this thread close the cache, may it wait for that flight, and must an
 * eviction be told later because a lock is held.  For the second one, flights whose loaders sleep for other flights say
 * so (`waits`, graph lock): following these notes finds a circle through any number of threads. */
#include <string.h>

#include "src/core/flight.h"

_Thread_local struct frame *strata__frames;

int strata__inside(const struct root *root)
{
    for (const struct frame *f = strata__frames; f != NULL; f = f->up)
        if (f->root == root && (f->kind == FRAME_LOADER || f->kind == FRAME_CALLBACK))
            return 1;
    return 0;
}

void strata__frame_note(struct frame *f, struct evicted_note *first, struct evicted_note *last)
{
    if (f->notes == NULL && f->kind != FRAME_LOCKED)
        root_hold(f->root); /* what the frame tells of may end the call that it belongs to */
    last->next = f->notes;
    f->notes = first;
}

static void leave_to(struct frame *up, struct evicted_note *first)
{
    struct evicted_note *last = first;
    while (last->next != NULL)
        last = last->next;
    strata__frame_note(up, first, last);
}

void strata__frame_tell(struct frame *f)
{
    struct evicted_note *n = f->notes, *ordered = NULL;
    struct root *root = f->root;
    f->notes = NULL;
    if (f->up != NULL && f->up->root == root && frame_notes(f->up)) {
        leave_to(f->up, n);
        n = NULL;
    }
    while (n != NULL) { /* they were pushed in front */
        struct evicted_note *next = n->next;
        n->next = ordered;
        ordered = n;
        n = next;
    }
    while (ordered != NULL) {
        n = ordered;
        ordered = n->next;
        strata__event_evicted(root, n->layer, n->space, strata_bytes(n->key, n->key_size));
        strata__free(root->mem, n);
    }
    if (f->kind != FRAME_LOCKED)
        root_leave(root);
}

static const struct frame *innermost_loader(const struct root *root)
{
    const struct frame *f = strata__frames;
    while (f != NULL && (f->root != root || (f->kind != FRAME_LOADER && f->kind != FRAME_STRAND)))
        f = f->up;
    return f;
}

/* Does this thread keep `flight` from ending?  One that it runs has given its answer already or has not: that is for
 * this thread alone to say. */
static int loaded_here(const struct flight *flight)
{
    for (const struct frame *f = strata__frames; f != NULL; f = f->up)
        for (size_t i = 0; (f->kind == FRAME_LOADER || f->kind == FRAME_STRAND) && i < f->flight_count; i++)
            if (f->flights[i] == flight)
                return f->kind == FRAME_LOADER || !flight->delivered;
    return 0;
}

/* Does `flight` wait for something that this thread loads? */
static int leads_here(struct flight *flight, uint64_t walk)
{
    if (loaded_here(flight))
        return 1;
    if (flight->walked == walk)
        return 0;
    flight->walked = walk;
    if (flight->behind != NULL && leads_here(flight->behind, walk))
        return 1;
    for (const struct wait_note *note = flight->waits; note != NULL; note = note->outer)
        for (size_t i = 0; i < note->count; i++)
            if (note->waiters[i].noted && leads_here(note->waiters[i].flight, walk))
                return 1;
    return 0;
}

/* The next frame around one whose flights this thread keeps waiting as well: those of a batch that loads one after the other; NULL:
 * there is none.  What a loader around them keeps waiting has a note of its own. */
static const struct frame *batch_around(const struct frame *f)
{
    const struct root *root = f->root;
    do
        f = f->up;
    while (f != NULL && (f->root != root || (f->kind != FRAME_LOADER && f->kind != FRAME_STRAND)));
    return f != NULL && f->kind == FRAME_STRAND ? f : NULL;
}

static void set_waits(const struct frame *f, const struct wait_note *note)
{
    for (; f != NULL; f = batch_around(f))
        for (size_t i = 0; i < f->flight_count; i++)
            f->flights[i]->waits = note;
}

static void reset_waits(const struct frame *f, const struct wait_note *note)
{
    for (; f != NULL; f = batch_around(f))
        for (size_t i = 0; i < f->flight_count; i++)
            if (f->flights[i]->waits == note)
                f->flights[i]->waits = note->outer;
}

int strata__wait_begin(struct root *root, struct wait_note *note, struct waiter *w, strata_slice key, strata_error *err)
{
    const struct frame *mine = innermost_loader(root);
    if (mine == NULL)
        return STRATA_OK;
    key_mutex_lock(&root->graph_lock);
    int circle = leads_here(w->flight, ++root->graph_walks);
    w->noted = (unsigned char)!circle;
    if (!circle && mine->flights[0]->waits != note)
        note->outer = mine->flights[0]->waits;
    if (!circle)
        set_waits(mine, note);
    key_mutex_unlock(&root->graph_lock);
    if (!circle)
        return STRATA_OK;
    char text[64];
    return strata__fail(err, STRATA_EDEADLOCK, "loader",
                        "the loader asks for \"%s\", which waits for this very loader: get it another way, or with an "
                        "asynchronous call that nobody waits for",
                        strata__key_text(key, text, sizeof text));
}

void strata__wait_left(struct root *root, struct waiter *w)
{
    if (innermost_loader(root) == NULL)
        return;
    key_mutex_lock(&root->graph_lock);
    w->noted = 0;
    key_mutex_unlock(&root->graph_lock);
}

void strata__wait_over(struct root *root, const struct wait_note *note)
{
    const struct frame *mine = innermost_loader(root);
    if (mine == NULL)
        return;
    key_mutex_lock(&root->graph_lock);
    reset_waits(mine, note);
    key_mutex_unlock(&root->graph_lock);
}

const char *strata__key_text(strata_slice key, char *out, size_t room)
{
    const unsigned char *bytes = key.data;
    size_t n = 0;
    for (size_t i = 0; i < key.size && n + 1 < room; i++)
        out[n++] = bytes[i] >= 32 && bytes[i] < 127 ? (char)bytes[i] : '?';
    if (n < key.size && room > 4)
        memcpy(out + room - 4, "...", 4);
    else
        out[n] = 0;
    return out;
}
