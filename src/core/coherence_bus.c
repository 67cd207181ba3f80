/* coherence_bus.c - what buses say, and what the clock brings.
 *
 * What buses say is put into one list, and carried out by one worker at a time, in order; so are heartbeats.  A bus' own threads wait for no
 * lock that is held for long. */
#include <stdio.h>
#include <string.h>

#include "src/core/coherence_impl.h"

enum { INBOX_BYTES_MOST = 16 << 20, WORK_AT_ONCE = 256 };

/* Something that a bus has said; a message, or a word in its turn. */
enum said { SAID_MESSAGE, SAID_UP, SAID_DOWN, SAID_KEY, SAID_CHANGE, SAID_PROVEN };

struct delivery {
    struct delivery *next;
    enum said said;
    int64_t moment;
    size_t size, cursor_size; /* the cursor stands behind the message */
    unsigned char bytes[];
};

/* What buses say -------------------------------------------------------------------------------------------------- */

static struct bus_slot *slot_of(struct strata_bus_host *host)
{
    return (struct bus_slot *)(void *)((char *)host - offsetof(struct bus_slot, host));
}

static void work(struct task *task);

static void post_work_locked(struct coherence *c)
{
    if (c->work_posted) {
        c->work_again = 1;
        return;
    }
    c->work_posted = 1;
    c->work.run = work;
    root_hold(c->root);
    ex_post_always(c->root->ex, &c->work);
}

void strata__coherence_work(struct coherence *c)
{
    key_mutex_lock(&c->lock);
    if (!c->stopping)
        post_work_locked(c);
    key_mutex_unlock(&c->lock);
}

static void lost_locked(struct bus_slot *b, const char *why)
{
    if (!b->lost_soon)
        snprintf(b->lost_words, sizeof b->lost_words, "%s", why);
    b->lost_soon = 1;
}

static void say_at(struct bus_slot *b, enum said said, strata_slice bytes, strata_slice cursor, int64_t moment)
{
    struct coherence *c = b->c;
    struct delivery *d = strata__alloc(c->root->mem, sizeof *d + bytes.size + cursor.size);
    key_mutex_lock(&c->lock);
    int takes = b->started && !c->stopping;
    if (takes &&
        (d == NULL || ((said == SAID_MESSAGE || said == SAID_KEY) && b->inbox_bytes + bytes.size > INBOX_BYTES_MOST))) {
        lost_locked(b, "messages came faster than they could be carried out, or there was no memory for them");
        takes = 0;
        post_work_locked(c);
    }
    if (takes) {
        *d = (struct delivery){ .said = said, .moment = moment, .size = bytes.size, .cursor_size = cursor.size };
        if (bytes.size != 0)
            memcpy(d->bytes, bytes.data, bytes.size);
        if (cursor.size != 0)
            memcpy(d->bytes + bytes.size, cursor.data, cursor.size);
        *b->last = d;
        b->last = &d->next;
        b->inbox_bytes += sizeof *d + bytes.size;
        post_work_locked(c);
        d = NULL;
    }
    key_mutex_unlock(&c->lock);
    strata__free(c->root->mem, d);
}

static void say(struct bus_slot *b, enum said said, strata_slice bytes, int64_t moment)
{
    say_at(b, said, bytes, strata_bytes("", 0), moment);
}

static void host_delivered(struct strata_bus_host *host, strata_slice bytes, strata_slice cursor)
{
    struct bus_slot *b = slot_of(host);
    if (!b->c->publish_only)
        say_at(b, SAID_MESSAGE, bytes, cursor, 0);
}

static void host_up(struct strata_bus_host *host)
{
    struct bus_slot *b = slot_of(host);
    key_mutex_lock(&b->c->lock);
    if (!b->up)
        b->since_ms = ex_now_ms(b->c->root->ex);
    b->up = 1;
    key_mutex_unlock(&b->c->lock);
    say(b, SAID_UP, strata_bytes("", 0), 0);
}

static void host_down(struct strata_bus_host *host, const strata_error *why)
{
    struct bus_slot *b = slot_of(host);
    key_mutex_lock(&b->c->lock);
    if (b->up)
        b->since_ms = ex_now_ms(b->c->root->ex);
    b->up = 0;
    if (why != NULL) {
        b->down = *why;
        b->down_ms = ex_now_ms(b->c->root->ex);
    }
    key_mutex_unlock(&b->c->lock);
    say(b, SAID_DOWN, strata_bytes("", 0), 0);
}

static void host_lost(struct strata_bus_host *host, const char *why)
{
    struct bus_slot *b = slot_of(host);
    key_mutex_lock(&b->c->lock);
    lost_locked(b, why != NULL ? why : "messages were lost");
    if (!b->c->stopping)
        post_work_locked(b->c);
    key_mutex_unlock(&b->c->lock);
}

static void host_key_changed(struct strata_bus_host *host, strata_slice key)
{
    struct bus_slot *b = slot_of(host);
    if (!b->c->publish_only)
        say(b, SAID_KEY, key, 0);
}

void strata__say_change(struct bus_slot *b, strata_slice key, uint64_t version)
{
    say(b, SAID_CHANGE, key, (int64_t)version);
}

void strata__say_key(struct bus_slot *b, strata_slice key) { say(b, SAID_KEY, key, 0); }

static int host_follow(struct strata_bus_host *host, strata_follow *how, strata_error *err)
{
    return strata__bus_follow(slot_of(host), how, err);
}

static void host_proven(struct strata_bus_host *host, int64_t sent_ms)
{
    say(slot_of(host), SAID_PROVEN, strata_bytes("", 0), sent_ms);
}

static int64_t host_now(struct strata_bus_host *host) { return ex_now_ms(slot_of(host)->c->root->ex); }

static int host_after(struct strata_bus_host *host, int64_t delay_ms, void (*fn)(void *ctx), void *ctx)
{
    struct root *root = slot_of(host)->c->root;
    return root->host.after(&root->host, delay_ms, fn, ctx);
}

/* Carrying it out ------------------------------------------------------------------------------------------------- */

static void fire(struct bus_slot *b, uint32_t kind, int status, const char *words)
{
    strata *cache = b->c->root->handle;
    if (!event_wanted(b->c->root, kind))
        return;
    strata_event e = {
        .size = sizeof e, .kind = kind, .status = status, .cache = cache, .layer = b->bus->name, .message = words
    };
    strata__event_fire(cache, &e);
}

static void came_up(struct bus_slot *b)
{
    struct coherence *c = b->c;
    int again = b->was_up;
    if (!again && !b->resumes)
        strata__trust_restart(c, b, "it has just begun to listen");
    else if (again && !(b->flags & STRATA_BUS_REPLAYS))
        strata__trust_lost(c, b, "what was published while it was away did not come");
    key_mutex_lock(&c->lock);
    b->was_up = 1;
    b->mourns = 0;
    if (b->publishes && !c->publish_only) {
        b->hello_due |= !again;
        b->heartbeat_due = 1;
    }
    key_mutex_unlock(&c->lock);
    if (b->told != TOLD_UP) {
        b->told = TOLD_UP;
        fire(b, STRATA_EVENT_BUS_UP, STRATA_OK, NULL);
    }
    strata__out_pump(b);
}

/* Each try that fails says why, and strata_health_bus() tells of the last: a change is the first alone. */
static void went_down(struct bus_slot *b)
{
    strata_error why;
    if (b->told == TOLD_DOWN)
        return;
    b->told = TOLD_DOWN;
    key_mutex_lock(&b->c->lock);
    why = b->down;
    key_mutex_unlock(&b->c->lock);
    strata__out_gone(b);
    fire(b, STRATA_EVENT_BUS_DOWN, why.status, why.message);
}

static void carry_out(struct bus_slot *b, const struct delivery *d)
{
    strata_slice bytes = strata_bytes(d->bytes, d->size);
    int64_t moment;
    switch (d->said) {
    case SAID_MESSAGE:
        strata__apply_message(b, bytes);
        strata__note_moved(b, strata_bytes(d->bytes + d->size, d->cursor_size));
        return;
    case SAID_UP: came_up(b); return;
    case SAID_DOWN: went_down(b); return;
    case SAID_KEY: strata__apply_key(b, bytes); return;
    case SAID_CHANGE: strata__apply_change(b, bytes, (uint64_t)d->moment); return;
    case SAID_PROVEN:
        moment = strata__checks_bound(b->c, d->moment);
        if ((b->flags & STRATA_BUS_RECEIVES_ONLY) && moment > b->lost_ms)
            strata__trust_proven(b->c, b, moment);
        return;
    }
}

/* 1: there may be more. */
static int work_on(struct bus_slot *b)
{
    struct coherence *c = b->c;
    char words[sizeof b->lost_words];
    for (int i = 0; i < WORK_AT_ONCE; i++) {
        key_mutex_lock(&c->lock);
        int lost = b->lost_soon;
        memcpy(words, b->lost_words, sizeof words);
        b->lost_soon = 0;
        struct delivery *d = lost ? NULL : b->first;
        if (d != NULL) {
            b->first = d->next;
            b->last = b->first != NULL ? b->last : &b->first;
            b->inbox_bytes -= sizeof *d + d->size;
        }
        key_mutex_unlock(&c->lock);
        if (lost)
            strata__trust_lost(c, b, words);
        else if (d == NULL)
            return 0;
        else
            carry_out(b, d);
        strata__free(c->root->mem, d);
    }
    return 1;
}

static void beat_fires(struct timer *timer);

static void beat_locked(struct coherence *c)
{
    if (c->beating || c->stopping)
        return;
    c->beating = 1;
    c->beat = (struct timer){ .fire = beat_fires };
    root_hold(c->root); /* the timer's */
    ex_at(c->root->ex, &c->beat, ex_now_ms(c->root->ex) + c->heartbeat_ms);
}

static void on_beat(struct coherence *c)
{
    strata__trust_tick(c);
    strata__layers_heard(c->root, 0);
    for (size_t i = 0; i < c->count; i++) {
        struct bus_slot *b = &c->buses[i];
        strata__peers_tick(b);
        if (b->doubts)
            strata__trust_lost(c, b, "messages are refused: give all nodes the same secret and version");
        b->doubts = 0;
        key_mutex_lock(&c->lock);
        b->heartbeat_due = b->publishes && !c->publish_only;
        key_mutex_unlock(&c->lock);
        strata__out_pump(b);
    }
    strata__out_release(c, ex_now_ms(c->root->ex) - c->trust_ms);
}

static void work(struct task *task)
{
    struct coherence *c = (struct coherence *)(void *)((char *)task - offsetof(struct coherence, work));
    struct root *root = c->root;
    int more = 0;
    key_mutex_lock(&c->lock);
    int beat = c->beat_due;
    c->beat_due = c->work_again = 0;
    key_mutex_unlock(&c->lock);
    for (size_t i = 0; i < c->count; i++)
        more |= work_on(&c->buses[i]);
    for (size_t i = 0; i < c->count; i++)
        strata__peers_prove(&c->buses[i]);
    if (beat)
        on_beat(c);
    strata__note_tick(c);
    key_mutex_lock(&c->lock);
    if (beat)
        beat_locked(c);
    more |= c->work_again;
    c->work_posted = (unsigned char)more;
    if (more)
        ex_post_always(root->ex, &c->work);
    key_mutex_unlock(&c->lock);
    if (!more)
        root_leave(root);
}

/* It may be the last that holds the root for this: the work holds it, too, from here on. */
static void beat_fires(struct timer *timer)
{
    struct coherence *c = (struct coherence *)(void *)((char *)timer - offsetof(struct coherence, beat));
    struct root *root = c->root;
    key_mutex_lock(&c->lock);
    c->beating = 0;
    c->beat_due = 1;
    post_work_locked(c);
    key_mutex_unlock(&c->lock);
    root_leave(root);
}

void strata__beat_begin(struct coherence *c)
{
    key_mutex_lock(&c->lock);
    beat_locked(c);
    key_mutex_unlock(&c->lock);
}

/* Beginning and end ----------------------------------------------------------------------------------------------- */

static void fill_host(struct bus_slot *b)
{
    b->host = (struct strata_bus_host){ .mem = b->c->root->mem,
                                        .delivered = host_delivered,
                                        .up = host_up,
                                        .down = host_down,
                                        .lost = host_lost,
                                        .key_changed = host_key_changed,
                                        .now_ms = host_now,
                                        .proven = host_proven,
                                        .follow = host_follow,
                                        .after = host_after };
}

/* As after a fork: nobody was heard, nothing is under way. */
void strata__bus_slot_begin(struct bus_slot *b)
{
    fill_host(b);
    b->proven = b->doubted_ms = NEVER;
    b->since_ms = ex_now_ms(b->c->root->ex);
    b->first = NULL;
    b->last = &b->first;
    list_init(&b->peers);
    b->publishes = !(b->flags & STRATA_BUS_RECEIVES_ONLY);
}

void strata__inbox_forget(struct bus_slot *b)
{
    while (b->first != NULL) {
        struct delivery *d = b->first;
        b->first = d->next;
        strata__free(b->c->root->mem, d);
    }
    b->last = &b->first;
}
