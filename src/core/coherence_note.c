/* coherence_note.c - what a durable layer of this node held before it was opened: suspect, unless every bus goes on from where it was.
 *
 * With each message comes a cursor.  When the message was carried out, which includes that slow layers of this node have answered, the
 * bus' cursor moves.  From time to time, and when the cache is closed, the cursors are kept in those layers (their keep()), with the
 * lives whose entries have missed nothing up to there.  So a note is never ahead of what a layer has lost, and whatever ends the
 * process costs a replay of some seconds.
 *
 * Who opens the layer next gives each bus its cursor.  A bus that can go on from there delivers what came meanwhile; one that can't says
 * that something was lost, and then nothing is left of the note.  When all that came before this node's first heartbeat was carried out,
 * and as long as trust is proven, the entries of those lives are as good as any.  Numbers of the nodes that were heard are kept, too: a
 * message that is missing between the last one before and the first one after is noticed.  What this node itself had published behind its
 * cursor comes back, too, and says nothing new: it was carried out here before it was published. */
#include <string.h>

#include "src/core/coherence_impl.h"

enum { NOTE_EVERY_MS = 5000, NODE_BYTES = BUS_NODE_ID + 8 };

/* A number that a node had reached before this cache was opened. */
struct heard_before {
    uint8_t id[BUS_NODE_ID];
    uint64_t number;
};

static int keeps(const struct layer_slot *slot)
{
    const strata_layer_ops *ops = slot->layer->ops;
    return !(slot->flags & STRATA_LAYER_SHARED) && ops->size >= offsetof(strata_layer_ops, kept) + sizeof ops->kept &&
           ops->keep != NULL && ops->kept != NULL;
}

/* Can all of the buses go on from somewhere? */
static int can_resume(const struct coherence *c)
{
    int can = !c->publish_only;
    for (size_t i = 0; i < c->count; i++)
        can &= (c->buses[i].flags & STRATA_BUS_REPLAYS) != 0 && c->buses[i].publishes;
    return can;
}

/* Opening ---------------------------------------------------------------------------------------------------------- */

struct found {
    struct coherence *c;
    unsigned char *bytes;
    size_t size;
    int differ; /* layers tell different things, or there was no memory */
};

static void look(strata_slice note, void *ctx)
{
    struct found *f = ctx;
    if (f->bytes != NULL) {
        f->differ |= f->size != note.size || memcmp(f->bytes, note.data, note.size) != 0;
        return;
    }
    f->bytes = strata__alloc(f->c->root->mem, note.size + 1);
    f->differ |= f->bytes == NULL;
    f->size = note.size;
    if (f->bytes != NULL)
        memcpy(f->bytes, note.data, note.size);
}

/* One note, of all layers that keep any. */
static int find(struct coherence *c, struct found *out)
{
    struct root *root = c->root;
    int layers = 0, notes = 0;
    *out = (struct found){ .c = c };
    for (size_t i = 0; i < root->layer_count; i++) {
        strata_layer *layer = root->layers[i].layer;
        if (!keeps(&root->layers[i]))
            continue;
        layers++;
        notes += layer->ops->kept(layer, look, out) == STRATA_OK;
    }
    c->keeps = layers != 0 && can_resume(c);
    return c->keeps && notes == layers && !out->differ;
}

static int fits(const struct coherence *c, const struct bus_note *note)
{
    int fit = note->channel == c->channel && note->buses == c->count && note->lives != 0;
    for (uint32_t i = 0; fit && i < note->buses; i++)
        fit = note->bus[i].kind == strata__note_kind(c->buses[i].bus->ops->kind) && note->bus[i].cursor.size != 0;
    return fit;
}

static int take_bus(struct bus_slot *b, const struct note_bus *from)
{
    b->before = strata__alloc_array(b->c->root->mem, (size_t)from->nodes + 1, sizeof *b->before);
    if (b->before == NULL)
        return 0;
    b->before_count = from->nodes;
    for (uint32_t i = 0; i < from->nodes; i++) {
        memcpy(b->before[i].id, strata__note_id(from, i), BUS_NODE_ID);
        b->before[i].number = strata__note_number(from, i);
    }
    memcpy(b->cursor, from->cursor.data, from->cursor.size);
    b->cursor_size = (unsigned char)from->cursor.size;
    return 1;
}

void strata__note_load(struct coherence *c)
{
    struct found found;
    struct bus_note note;
    int all = 1;
    c->life_count = 0;
    if (find(c, &found) && strata__note_read(&note, strata_bytes(found.bytes, found.size)) == FORMAT_OK &&
        fits(c, &note)) {
        for (uint32_t i = 0; i < note.buses; i++)
            all &= take_bus(&c->buses[i], &note.bus[i]);
        for (size_t i = 0; i < c->count; i++) {
            c->buses[i].resumes = (unsigned char)all;
            c->buses[i].cursor_size = all ? c->buses[i].cursor_size : 0;
        }
        memcpy(c->lives, note.life, sizeof c->lives);
        c->life_count = all ? note.lives : 0;
    }
    strata__free(c->root->mem, found.bytes);
}

uint64_t strata__note_heard(const struct bus_slot *b, const uint8_t id[BUS_NODE_ID])
{
    for (uint32_t i = 0; i < b->before_count; i++)
        if (memcmp(b->before[i].id, id, BUS_NODE_ID) == 0)
            return b->before[i].number;
    return 0;
}

void strata__note_forget(struct bus_slot *b)
{
    strata__free(b->c->root->mem, b->before);
    b->before = NULL;
    b->before_count = 0;
}

/* What a layer holds from before --------------------------------------------------------------------------------- */

/* Coherence lock. */
static int covers(const struct coherence *c, uint64_t life, uint32_t position)
{
    for (uint32_t i = 0; i < c->life_count; i++)
        if (c->lives[i].life == life)
            return position >= c->lives[i].position;
    return 0;
}

int strata__foreign_level(struct root *root, const struct layer_slot *slot, const strata_meta *meta, int64_t now,
                          uint32_t *out_position)
{
    struct coherence *c = root->coherence;
    int level = SUSPECT_OLD;
    *out_position = 0;
    if (!keeps(slot))
        return SUSPECT_OLD;
    key_mutex_lock(&c->lock);
    if (c->proven != NEVER && covers(c, meta->life, meta->position)) {
        int64_t until = c->proven + c->trust_ms;
        *out_position = c->epochs[c->lost].begin;
        level = now < until                   ? SUSPECT_NOT
                : c->suspect_ms == STRATA_OFF ? SUSPECT_NEVER
                : now - until < c->suspect_ms ? SUSPECT_STALE
                                              : SUSPECT_OLD;
    }
    key_mutex_unlock(&c->lock);
    return level;
}

/* Keeping ------------------------------------------------------------------------------------------------------------ */

/* Positions of this life begin at its last loss; earlier lives count as long as there was none. */
static void put_lives_locked(const struct coherence *c, struct bus_note *note)
{
    note->life[note->lives++] = (struct note_life){ c->root->life, c->epochs[c->lost].begin };
    for (uint32_t i = 0; i < c->life_count && note->lives < NOTE_LIVES; i++)
        if (c->lives[i].life != c->root->life)
            note->life[note->lives++] = c->lives[i];
}

/* This node, those that were heard in this life, and those of before that were not yet.  What this node said in its life before is
 * over with the first proof. */
static uint32_t put_nodes(const struct bus_slot *b, uint8_t *at)
{
    uint32_t count = 1;
    strata__note_put_node(at, b->c->id, NOTE_SELF);
    LIST_EACH(node, &b->peers)
    {
        const struct peer *p = list_entry(node, struct peer, link);
        if (count < NOTE_NODES)
            strata__note_put_node(at + (size_t)count++ * NODE_BYTES, p->id, p->highest);
    }
    for (uint32_t i = 0; i < b->before_count && count < NOTE_NODES; i++) {
        int heard = b->before[i].number == NOTE_SELF && b->c->proven != NEVER;
        LIST_EACH(node, &b->peers)
        heard |= memcmp(list_entry(node, struct peer, link)->id, b->before[i].id, BUS_NODE_ID) == 0;
        if (!heard)
            strata__note_put_node(at + (size_t)count++ * NODE_BYTES, b->before[i].id, b->before[i].number);
    }
    return count;
}

/* 0: there is nothing to be kept.  `nodes`, `cursors`: room of the caller's. */
static int compose(struct coherence *c, struct bus_note *note, uint8_t *nodes)
{
    int all = c->count != 0;
    memset(note, 0, sizeof *note);
    key_mutex_lock(&c->lock);
    note->channel = c->channel;
    note->buses = (uint32_t)c->count;
    put_lives_locked(c, note);
    for (size_t i = 0; i < c->count; i++) {
        struct bus_slot *b = &c->buses[i];
        uint8_t *at = nodes + i * NOTE_NODES * NODE_BYTES;
        note->bus[i] = (struct note_bus){ .kind = strata__note_kind(b->bus->ops->kind),
                                          .cursor = strata_bytes(b->cursor, b->cursor_size),
                                          .nodes = put_nodes(b, at),
                                          .encoded = at };
        all &= b->cursor_size != 0 && !b->doubts; /* nor behind what was refused, and has not cost the trust yet */
    }
    key_mutex_unlock(&c->lock);
    return all;
}

static void keep(struct coherence *c, strata_slice note)
{
    struct root *root = c->root;
    for (size_t i = 0; i < root->layer_count; i++) {
        strata_layer *layer = root->layers[i].layer;
        strata_error words = STRATA_ERROR_INIT;
        int rc = keeps(&root->layers[i]) ? layer->ops->keep(layer, note, &words) : STRATA_OK;
        if (rc < 0)
            strata__event_error(root->handle, strata_bytes(NULL, 0), layer->name, rc, words.message);
    }
}

void strata__note_save(struct coherence *c)
{
    const strata_allocator *mem = c->root->mem;
    struct bus_note note;
    if (!c->keeps)
        return;
    c->note_due = 0;
    c->note_at = ex_now_ms(c->root->ex) + NOTE_EVERY_MS;
    uint8_t *nodes = strata__alloc(mem, (size_t)NOTE_BUSES * NOTE_NODES * NODE_BYTES);
    uint8_t *bytes = strata__alloc(mem, NOTE_MOST);
    /* Without memory: in five seconds, then. */
    if (nodes != NULL && bytes != NULL && compose(c, &note, nodes)) {
        strata__note_write(bytes, &note);
        keep(c, strata_bytes(bytes, strata__note_size(&note)));
    }
    strata__free(mem, nodes);
    strata__free(mem, bytes);
}

void strata__note_tick(struct coherence *c)
{
    if (c->keeps && (c->note_due || ex_now_ms(c->root->ex) >= c->note_at))
        strata__note_save(c);
}

void strata__note_moved(struct bus_slot *b, strata_slice cursor)
{
    if (cursor.size == 0 || cursor.size > sizeof b->cursor)
        return;
    key_mutex_lock(&b->c->lock);
    memcpy(b->cursor, cursor.data, cursor.size);
    b->cursor_size = (unsigned char)cursor.size;
    key_mutex_unlock(&b->c->lock);
}
