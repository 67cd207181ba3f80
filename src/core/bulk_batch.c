/* bulk_batch.c - the flights of a bulk read, which go their way together.
 *
 * A bulk read enters a flight for each key that the nearest layer does not answer.  Keys that others load already are
 * joined; the new flights form a batch, whose strand asks each layer once for all of them, and then calls the bulk loader
 * once for all that are missing.  From there each flight goes on by itself: as soon as its own load is completed. */
#include <string.h>

#include "src/core/bulk_batch.h"

/* The batch ---------------------------------------------------------------------------------------------------- */

static struct batch *batch_of(struct strand *s)
{
    return (struct batch *)(void *)((char *)s - offsetof(struct batch, strand));
}

static void ref_batch(struct strand *s) { atomic_fetch_add_explicit(&batch_of(s)->refs, 1, memory_order_relaxed); }

static void unref_batch(struct strand *s)
{
    struct batch *b = batch_of(s);
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct root *root = b->root;
    strata__free(root->mem, b->memory);
    strata__free(root->mem, b);
    strata__root_unref(root);
}

static void leases_answered(struct batch *b);
static void load_unleased(struct batch *b);
static void go_on_admitted(struct batch *b);

static void run_batch(struct strand *s)
{
    struct batch *b = batch_of(s);
    switch (b->stage) {
    case BATCH_READS: strata__read_run(&b->read); return;
    case BATCH_ASKS: leases_answered(b); return;
    case BATCH_ADMITS: go_on_admitted(b); return;
    case BATCH_UNLEASED: load_unleased(b); return;
    }
}

/* The strand's own reference ends with its work. */
static void batch_over(struct read *read)
{
    strata__strand_detach(read->strand);
    unref_batch(read->strand);
}

/* One call for all that have the loader of the first one. */
static void load_together(struct batch *b, size_t count)
{
    struct flight *first = b->loading[0];
    struct frame frame;
    frame_push(&frame, b->root, FRAME_LOADER);
    frame.flights = b->loading;
    frame.flight_count = count;
    for (size_t i = 0; i < count; i++) {
        strata__load_note_start(b->loading[i]);
        b->loads[i] = &b->loading[i]->load;
        b->keys[i] = b->loading[i]->key.plain;
    }
    int rc = root_usable(b->root) ? first->bulk(b->loads, b->keys, count, first->loader_ctx) : STRATA_OK;
    frame.kind = FRAME_STRAND;
    for (size_t i = 0; i < count; i++) {
        struct flight *f = flight_ref(b->loading[i]);
        frame.flights = b->loading + i; /* those before have ended, or go on elsewhere */
        frame.flight_count = count - i;
        if (strata__load_returned(f, rc))
            strata__flight_loaded(f);
        strata__flight_unref(f);
    }
    frame_end(&frame);
}

/* Which of the flights are to be loaded?  They stand last then; how many.  Until it has looked at a flight, and where that
 * one is to be loaded, this thread is what keeps it from ending: the frame says so to listeners. */
static size_t choose_loads(struct root *root, struct flight **flights, size_t count)
{
    size_t chosen = 0;
    struct frame frame;
    frame_push(&frame, root, FRAME_STRAND);
    for (size_t i = 0; i < count; i++) {
        struct flight *f = flight_ref(flights[i]);
        frame.flights = flights + i - chosen;
        frame.flight_count = count - i + chosen;
        if (strata__flight_needs_load(f, chosen != 0 ? flights[i - chosen] : NULL)) {
            chosen++;
        } else {
            flights[i] = flights[i - chosen];
            flights[i - chosen] = f;
        }
        strata__flight_unref(f);
    }
    frame_end(&frame);
    return chosen;
}

/* Those that have another loader: a single caller may have brought its own to a flight of a bulk get. */
static void load_alone(struct root *root, struct flight **flights, size_t count)
{
    struct frame frame;
    frame_push(&frame, root, FRAME_STRAND);
    for (size_t i = 0; i < count; i++) {
        struct flight *f = flight_ref(flights[i]);
        frame.flights = flights + i;
        frame.flight_count = count - i;
        strata__load_run(f);
        strata__flight_unref(f);
    }
    frame_end(&frame);
}

/* Nobody's thread waits for them here: all but the first go on wherever there is a worker, or a caller on one that waits for them.  Those
 * without a lease share one place, and stay.  How many are left. */
static size_t spread(const struct batch *b, struct flight **flights, size_t count)
{
    if (!b->spreads || b->stage == BATCH_UNLEASED)
        return count;
    for (size_t i = 1; i < count; i++)
        strata__strand_wake(&flights[i]->strand);
    return count != 0;
}

/* Those that all layers have missed, and whose leases were asked for, where there are any. */
static void load_missed(struct batch *b, struct flight **flights, size_t count)
{
    size_t together = 0, alone = 0;
    for (size_t i = count - choose_loads(b->root, flights, count); i < count; i++) {
        struct flight *f = flights[i];
        if (f->bulk != NULL &&
            (together == 0 || (f->bulk == b->loading[0]->bulk && f->loader_ctx == b->loading[0]->loader_ctx)))
            b->loading[together++] = f;
        else
            flights[alone++] = f;
    }
    struct frame frame;
    frame_push(&frame, b->root, FRAME_STRAND);
    frame.flights = flights;
    frame.flight_count = alone;
    if (together != 0)
        load_together(b, together);
    frame_end(&frame);
    load_alone(b->root, flights, spread(b, flights, alone));
}

/* Others load them: each waits for itself, now that nobody waits for a load of ours any more that could have been begun. */
static void wait_for_leases(struct root *root, struct flight **flights, size_t count)
{
    struct frame frame;
    frame_push(&frame, root, FRAME_STRAND);
    for (size_t i = 0; i < count; i++) {
        struct flight *f = flight_ref(flights[i]);
        frame.flights = flights + i;
        frame.flight_count = count - i;
        strata__flight_let_go(f);
        strata__lease_run(f);
        strata__flight_unref(f);
    }
    frame_end(&frame);
}

static void move_forward(struct batch *b, size_t i)
{
    struct flight **flights = b->read.flights, *f = flights[i];
    size_t at = b->failed + b->waiting;
    flights[i] = flights[at];
    flights[at] = f;
    if (f->lease_state != LEASE_FAILED) {
        b->waiting++;
        return;
    }
    flights[at] = flights[b->failed];
    flights[b->failed++] = f;
}

/* Let those go on that have an answer; sort the others. */
static void sort_answers(struct batch *b)
{
    struct read *read = &b->read;
    size_t left = read->count;
    struct frame frame;
    frame_push(&frame, b->root, FRAME_STRAND);
    frame.flights = read->flights;
    for (size_t i = 0; i < left;) {
        struct flight *f = read->flights[i];
        frame.flight_count = left;
        enum lease_answer answer = f->asks != NULL ? strata__lease_judge(f) : LEASE_LOAD;
        if (answer == LEASE_HIT) {
            read->flights[i] = read->flights[--left];
            read->flights[left] = flight_ref(f);
            strata__flight_let_go(f);
            strata__flight_store(f);
            strata__flight_unref(f);
            continue;
        }
        if (answer != LEASE_LOAD || f->lease_state == LEASE_FAILED)
            move_forward(b, i);
        i++;
    }
    frame_end(&frame);
    read->count = left;
}

static void load_unleased(struct batch *b)
{
    load_missed(b, b->read.flights, b->read.count);
    batch_over(&b->read);
}

/* Breakers and limits, before a loader is called for the flights from `from` on. */
static void admit(struct batch *b, size_t from, void (*admitted)(struct batch *b))
{
    size_t count = b->read.count - from;
    b->stage = BATCH_ADMITS;
    b->admits = from;
    b->admitted = admitted;
    count = strata__admit_singly(b->root, b->read.flights + from, count);
    b->read.count = from + count;
    if (!strata__admit_together(b->read.flights + from, &count, &b->strand))
        return;
    b->read.count = from + count;
    admitted(b);
}

static void go_on_admitted(struct batch *b)
{
    size_t count = b->read.count - b->admits;
    strata__admitted_many(b->read.flights + b->admits, &count);
    b->read.count = b->admits + count;
    b->admitted(b);
}

/* Those whose lease could not be asked for. */
static void enter_unleased(struct batch *b)
{
    struct read *read = &b->read;
    b->stage = BATCH_UNLEASED;
    if (read->count == 0)
        batch_over(read);
    else if (strata__unleased_enter(b->root, &read->flights[0]->place, &b->strand))
        load_unleased(b);
}

/* What is ours is loaded before anything is waited for: two that want the same keys in another order end, both of them. */
static void load_ours(struct batch *b)
{
    struct read *read = &b->read;
    size_t others = b->failed + b->waiting;
    struct frame frame;
    frame_push(&frame, b->root, FRAME_STRAND);
    frame.flights = read->flights;
    frame.flight_count = others;
    load_missed(b, read->flights + others, read->count - others);
    frame.flight_count = b->failed;
    wait_for_leases(b->root, read->flights + b->failed, b->waiting);
    frame_end(&frame);
    read->count = b->failed;
    admit(b, 0, enter_unleased);
}

static void leases_answered(struct batch *b)
{
    sort_answers(b);
    admit(b, b->failed + b->waiting, load_ours);
}

/* Gets that nobody brought a loader to end here.  The others have theirs, and their policy, for good: whoever joins brings none. */
static void end_unloaded(struct batch *b)
{
    struct flight **flights = b->read.flights;
    size_t count = b->read.count, left = 0;
    struct frame frame;
    frame_push(&frame, b->root, FRAME_STRAND);
    for (size_t i = 0; i < count; i++) {
        struct flight *f = flight_ref(flights[i]);
        frame.flights = flights + i - left;
        frame.flight_count = count - i + left;
        if (strata__flight_ends_unloaded(f)) {
            flights[i] = flights[i - left];
            flights[i - left] = f;
        } else {
            left++;
        }
        strata__flight_unref(f);
    }
    frame_end(&frame);
    memmove(flights, flights + count - left, left * sizeof(struct flight *));
    b->read.count = left;
}

/* How many leases are to be asked for; the operations stand in read->ops. */
static uint32_t prepare_leases(struct batch *b)
{
    struct read *read = &b->read;
    uint32_t n = 0;
    struct frame frame;
    frame_push(&frame, b->root, FRAME_STRAND);
    frame.flights = read->flights;
    frame.flight_count = read->count;
    for (size_t i = 0; i < read->count; i++) {
        strata_op *op = strata__lease_prepare(read->flights[i], read->strand, STRATA_OP_NOWAIT);
        if (op != NULL)
            read->ops[n++] = op;
    }
    frame_end(&frame);
    return n;
}

static void batch_missed(struct read *read)
{
    struct batch *b = batch_of(read->strand);
    end_unloaded(b);
    if (!root_leases(b->root)) {
        admit(b, 0, load_ours);
        return;
    }
    b->stage = BATCH_ASKS;
    uint32_t n = prepare_leases(b);
    if (n == 0 || strata__leases_submit(b->root, read->strand, read->ops, n))
        leases_answered(b);
}

struct batch *strata__batch_new(struct root *root, size_t room)
{
    struct batch *b = strata__alloc_zero(root->mem, sizeof *b);
    size_t each = sizeof(strata_slice) + 2 * sizeof(struct flight *) + sizeof(strata_op *) + sizeof(strata_load *);
    void *memory = b != NULL ? strata__alloc_array(root->mem, room, each) : NULL;
    if (memory == NULL) {
        strata__free(root->mem, b);
        return NULL;
    }
    strata__strand_init(&b->strand, root->ex, run_batch, ref_batch, unref_batch);
    atomic_init(&b->refs, 1);
    strata__root_ref(root);
    b->root = root;
    b->room = room;
    b->memory = memory;
    b->keys = memory;
    b->loading = (struct flight **)(void *)(b->keys + room);
    b->loads = (strata_load **)(void *)(b->loading + room);
    b->read = (struct read){ .strand = &b->strand, .root = root, .over = batch_over, .missed = batch_missed };
    b->read.flights = (struct flight **)(void *)(b->loads + room);
    b->read.ops = (strata_op **)(void *)(b->read.flights + room);
    return b;
}
