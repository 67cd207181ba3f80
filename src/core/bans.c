/* bans.c - the tables of bans, and what they say of an entry: see bans.h. */
#include "src/core/bans.h"

#include "src/base/hash.h"
#include "src/core/generation.h"

enum { TAG_SEED = 0x7a67, PATH_SEED = 0x6874, FIRST_ROOM = 64 };

uint64_t strata__tag_id(strata_slice tag) { return strata__hash(tag.data, tag.size, TAG_SEED); }
uint64_t strata__path_hash(strata_slice path) { return strata__hash(path.data, path.size, PATH_SEED); }

int strata__bans_new(struct root *root)
{
    root->bans = strata__alloc_zero(root->mem, sizeof *root->bans);
    if (root->bans != NULL)
        list_init(&root->bans->generations);
    return root->bans != NULL ? STRATA_OK : STRATA_ENOMEM;
}

static void forget(struct root *root)
{
    struct bans *b = root->bans;
    for (uint32_t i = 0; i < b->rule_count; i++)
        strata__free(root->mem, b->rules[i]);
    strata__free(root->mem, b->rules);
    strata__free(root->mem, b->tags);
    strata__free(root->mem, b->folded);
    b->rules = NULL;
    b->tags = b->folded = NULL;
    b->rule_count = b->rule_room = b->tag_count = b->tag_room = 0;
}

void strata__bans_free(struct root *root)
{
    if (root->bans != NULL) {
        forget(root);
        strata__free(root->mem, root->bans->lurker.lines);
    }
    strata__free(root->mem, root->bans);
    root->bans = NULL;
}

void strata__bans_reopen(struct root *root)
{
    struct bans *b = root->bans;
    int whole = os_lock_try(&b->lock.lock);
    key_mutex_init(&b->lock);
    if (b->lurker.state == LURK_RESTS) /* else its list may be half changed, too */
        b->lurker = (struct lurker){ .lines = b->lurker.lines, .line_room = b->lurker.line_room };
    else
        b->lurker = (struct lurker){ 0 };
    if (whole)
        return;
    b->rules = NULL; /* half changed by a thread that is not here: lost, and all that is older with it */
    b->tags = b->folded = NULL;
    b->rule_count = b->rule_room = b->tag_count = b->tag_room = 0;
    strata__clear_here(root, strata_bytes(NULL, 0));
}

/* Tags --------------------------------------------------------------------------------------------------------- */

static uint64_t tag_key(uint64_t path_hash, uint64_t tag)
{
    uint64_t key = strata__mix64(tag ^ path_hash);
    return key != 0 ? key : 1;
}

static struct tag_ban *find(struct tag_ban *tags, uint32_t room, uint64_t key)
{
    uint32_t at = (uint32_t)key & (room - 1);
    while (tags[at].key != 0 && tags[at].key != key)
        at = (at + 1) & (room - 1);
    return &tags[at];
}

static int grow(struct root *root)
{
    struct bans *b = root->bans;
    uint32_t room = b->tag_room != 0 ? b->tag_room * 2 : FIRST_ROOM;
    struct tag_ban *more = strata__alloc_zero(root->mem, room * sizeof *more);
    if (more == NULL)
        return 0;
    for (uint32_t i = 0; i < b->tag_room; i++)
        if (b->tags[i].key != 0)
            *find(more, room, b->tags[i].key) = b->tags[i];
    strata__free(root->mem, b->tags);
    b->tags = more;
    b->tag_room = room;
    return 1;
}

/* The later one of two: what this life issued is later than anything else; of other lives, by their time. */
void strata__mark_raise(const struct root *root, struct mark *mark, const struct mark *by)
{
    struct mark was = *mark;
    if (!mark_is_set(by))
        return;
    int ours = by->life == root->life && mark->life != root->life;
    int theirs = by->life != root->life && mark->life == root->life;
    int later = mark->life == by->life ? by->position >= mark->position : by->wall_ms >= mark->wall_ms;
    if (ours || (later && !theirs))
        *mark = *by;
    /* A ban that the store is yet to hear of, and one that it took before that: then clocks decide about what was stored in between. */
    mark->unplaced = by->unplaced > was.unplaced ? by->unplaced : was.unplaced;
    mark->wall_ms = by->wall_ms > was.wall_ms ? by->wall_ms : was.wall_ms;
    mark->store_position = by->store_position > was.store_position ? by->store_position : was.store_position;
}

/* The store took it after this node had issued it, and so after all that this node had entered before: what is younger there is younger
 * than those, too.  What was entered since, another node's that came meanwhile or this very one, read from the list before its own
 * answer came, changes nothing about that. */
void strata__mark_placed(struct mark *mark, const struct ban *ban)
{
    if (mark->store_position < ban->store_position)
        mark->store_position = ban->store_position;
    if (mark->life == ban->life && mark->unplaced <= ban->position)
        mark->unplaced = 0;
}

static int is_older(const struct tag_ban *t, uint32_t position, uint64_t life)
{
    return (t->hard.life != life || t->hard.position <= position) &&
           (t->soft.life != life || t->soft.position <= position);
}

/* The table is full: what is older than the middle goes into the array.  Positions of this life count; others are older. */
static int fold(struct root *root)
{
    struct bans *b = root->bans;
    uint32_t now = next_position(root), oldest = now;
    struct tag_ban *left = strata__alloc_zero(root->mem, b->tag_room * sizeof *left);
    if (b->folded == NULL)
        b->folded = strata__alloc_zero(root->mem, TAG_FOLDS * sizeof *b->folded);
    if (left == NULL || b->folded == NULL) {
        strata__free(root->mem, left);
        return 0;
    }
    for (uint32_t i = 0; i < b->tag_room; i++) {
        const struct tag_ban *t = &b->tags[i];
        uint32_t last = t->hard.life == root->life && t->hard.position > t->soft.position ? t->hard.position
                                                                                          : t->soft.position;
        if (t->key != 0 && last < oldest)
            oldest = last;
    }
    uint32_t middle = oldest + (now - oldest) / 2; /* now, where all are of one call */
    b->tag_count = 0;
    for (uint32_t i = 0; i < b->tag_room; i++) {
        const struct tag_ban *t = &b->tags[i];
        if (t->key == 0)
            continue;
        if (is_older(t, middle, root->life)) {
            strata__mark_raise(root, &b->folded[t->key % TAG_FOLDS].hard, &t->hard);
            strata__mark_raise(root, &b->folded[t->key % TAG_FOLDS].soft, &t->soft);
        } else {
            *find(left, b->tag_room, t->key) = *t;
            b->tag_count++;
        }
    }
    strata__free(root->mem, b->tags);
    b->tags = left;
    return 1;
}

int strata__tag_ban_put(struct root *root, uint64_t path_hash, uint64_t tag, int soft, const struct mark *mark)
{
    struct bans *b = root->bans;
    uint64_t key = tag_key(path_hash, tag);
    struct tag_ban *t = b->tag_room != 0 ? find(b->tags, b->tag_room, key) : NULL;
    if (t == NULL || t->key == 0) {
        if (b->tag_count >= TAG_BANS && !fold(root))
            return 0;
        if (b->tag_count * 2 >= b->tag_room && !grow(root))
            return 0;
        t = find(b->tags, b->tag_room, key);
        b->tag_count += t->key == 0;
        t->key = key;
    }
    strata__mark_raise(root, soft ? &t->soft : &t->hard, mark);
    return 1;
}

/* Judging ------------------------------------------------------------------------------------------------------ */

/* Nothing of a shared store that was born in the same second is told apart by clocks. */
enum { CLOCKS_DIFFER_MS = 1000 };

int strata__mark_after(const struct root *root, const struct layer_slot *slot, const strata_meta *meta,
                       const struct mark *mark)
{
    if (mark->wall_ms == 0 && mark->position == 0)
        return 0;
    if (meta->life == mark->life)
        return meta->position < mark->position;
    if (meta->life == root->life)
        return 0; /* what an earlier life banned was older */
    uint32_t flags = slot != NULL ? slot->flags : 0;
    /* What was stored in a shared store without a position knew of no ban there. */
    if (mark->store_position != 0 && (meta->store_position != 0 || (flags & STRATA_LAYER_SHARED))) {
        if (meta->store_position < mark->store_position)
            return 1;
        if (mark->unplaced == 0)
            return 0;
    }
    if ((flags & STRATA__LAYER_ALONE) && mark->life == root->life)
        return 1;
    int64_t slack = flags & STRATA_LAYER_SHARED ? CLOCKS_DIFFER_MS : 0;
    return meta->born_wall_ms <= mark->wall_ms + slack;
}

static enum ban_verdict judge_ban(const struct root *root, const struct layer_slot *slot, const strata_meta *meta,
                                  const struct tag_ban *t)
{
    if (strata__mark_after(root, slot, meta, &t->hard))
        return BAN_HARD;
    return strata__mark_after(root, slot, meta, &t->soft) ? BAN_SOFT : BAN_NONE;
}

static enum ban_verdict judge_tag(const strata *handle, const struct layer_slot *slot, const strata_meta *meta,
                                  uint64_t tag)
{
    const struct root *root = handle->root;
    const struct bans *b = root->bans;
    enum ban_verdict worst = BAN_NONE;
    for (const strata *h = handle; h != NULL && worst != BAN_HARD; h = h->parent) {
        uint64_t key = tag_key(h->path_hash, tag);
        const struct tag_ban *t = b->tag_room != 0 ? find(b->tags, b->tag_room, key) : NULL;
        enum ban_verdict v = t != NULL && t->key != 0 ? judge_ban(root, slot, meta, t) : BAN_NONE;
        worst = v > worst ? v : worst;
        v = b->folded != NULL ? judge_ban(root, slot, meta, &b->folded[key % TAG_FOLDS]) : BAN_NONE;
        worst = v > worst ? v : worst;
    }
    return worst;
}

/* Its tags are unknown: any that was banned since is one of them. */
static enum ban_verdict judge_unknown(const struct root *root, const struct layer_slot *slot, const strata_meta *meta)
{
    const struct bans *b = root->bans;
    enum ban_verdict worst = BAN_NONE;
    for (uint32_t i = 0; i < b->tag_room && worst != BAN_HARD; i++) {
        enum ban_verdict v = b->tags[i].key != 0 ? judge_ban(root, slot, meta, &b->tags[i]) : BAN_NONE;
        worst = v > worst ? v : worst;
    }
    for (uint32_t i = 0; b->folded != NULL && i < TAG_FOLDS && worst != BAN_HARD; i++) {
        enum ban_verdict v = judge_ban(root, slot, meta, &b->folded[i]);
        worst = v > worst ? v : worst;
    }
    return worst;
}

static enum ban_verdict judge_tags(const strata *handle, const struct layer_slot *slot, const strata_meta *meta,
                                   const uint64_t *tags)
{
    enum ban_verdict worst = BAN_NONE;
    if (meta->tag_count == 0)
        return BAN_NONE;
    if (tags == NULL)
        return judge_unknown(handle->root, slot, meta);
    for (uint32_t i = 0; i < meta->tag_count && worst != BAN_HARD; i++) {
        enum ban_verdict v = judge_tag(handle, slot, meta, tags[i]);
        worst = v > worst ? v : worst;
    }
    return worst;
}

/* Has a ban come since that may concern it?  Not, of this life's, what is not below the line of its kind, or that of any tag of its. */
static int below_line(const strata *handle, const strata_meta *meta, const uint64_t *tags)
{
    const struct bans *b = handle->root->bans;
    if (meta->life != handle->root->life)
        return 1;
    if (meta->position < __atomic_load_n(&handle->lines.plain, __ATOMIC_ACQUIRE))
        return 1;
    if (meta->tag_count == 0 || meta->position >= __atomic_load_n(&handle->lines.tagged, __ATOMIC_ACQUIRE))
        return 0;
    for (uint32_t i = 0; tags != NULL && i < meta->tag_count; i++)
        if (meta->position < __atomic_load_n(&b->lines[tags[i] & (TAG_FOLDS - 1)], __ATOMIC_RELAXED))
            return 1;
    return tags == NULL;
}

/* It may have been taken by a ban that was forgotten. */
static int below_floor(const struct root *root, const strata_meta *meta)
{
    const struct bans *b = root->bans;
    return b->floor != 0 && (meta->life != root->life || meta->position < b->floor);
}

enum ban_verdict strata__bans_judge_ids(strata *handle, const struct layer_slot *slot, const strata_meta *meta,
                                        strata_slice key, const uint64_t *tags)
{
    struct bans *b = handle->root->bans;
    if (atomic_load_explicit(&b->any, memory_order_acquire) == 0 || !below_line(handle, meta, tags))
        return BAN_NONE;
    key_mutex_lock(&b->lock);
    enum ban_verdict verdict = below_floor(handle->root, meta) ? BAN_HARD : judge_tags(handle, slot, meta, tags);
    if (verdict != BAN_HARD) {
        enum ban_verdict v = strata__rules_judge(handle, slot, meta, key, tags);
        verdict = v > verdict ? v : verdict;
    }
    key_mutex_unlock(&b->lock);
    return verdict;
}

enum ban_verdict strata__bans_judge(strata *handle, const struct layer_slot *slot, const strata_meta *meta,
                                    strata_slice key, const strata_value *tags)
{
    const int whole = tags != NULL && tags->size >= meta->tag_count * sizeof(uint64_t);
    return strata__bans_judge_ids(handle, slot, meta, key, whole ? tags->data : NULL);
}

int strata__banned_since(strata *handle, strata_slice key, uint32_t position, uint32_t tag_count,
                         const strata_value *tags)
{
    strata_meta born = { .life = handle->root->life, .position = position, .tag_count = tag_count };
    return cleared_since(handle, position) || strata__bans_judge(handle, NULL, &born, key, tags) == BAN_HARD;
}

/* Applying ----------------------------------------------------------------------------------------------------- */

static void raise_line(uint32_t *line, uint32_t position) { __atomic_store_n(line, position, __ATOMIC_RELEASE); }

/* Which entries are to be compared from now on.  Lines of tags first: who sees the line of all looks at them. */
static void raise_lines_locked(strata *h, const struct ban *ban, uint32_t position)
{
    if (ban->kind != BAN_TAGS_ANY && ban->kind != BAN_TAGS_ALL)
        raise_line(&h->lines.plain, position);
    raise_line(&h->lines.tagged, position);
    LIST_EACH(node, &h->children)
    raise_lines_locked(list_entry(node, strata, sibling), ban, position);
}

/* A namespace that is opened later begins with lines at the position of then. */
static void raise_below_locked(struct root *root, const struct ban *ban, uint64_t path_hash, uint32_t position)
{
    for (uint32_t i = 0; i < root->space_count; i++)
        if (root->spaces[i]->path_hash == path_hash) {
            raise_lines_locked(root->spaces[i], ban, position);
            return;
        }
}

static int is_ban(const struct ban *ban)
{
    switch (ban->kind) {
    case BAN_PREFIX:
    case BAN_PATTERN:
    case BAN_ALL: return 1;
    case BAN_TAGS_ANY: return ban->tag_count != 0 && ban->tags != NULL;
    case BAN_TAGS_ALL: return ban->tag_count != 0 && ban->tags != NULL && ban->tag_count <= BAN_TAGS_ALL_MOST;
    default: return 0;
    }
}

static int enter_locked(struct root *root, const struct ban *ban, uint64_t path_hash, const struct mark *mark)
{
    struct bans *b = root->bans;
    if (ban->kind == BAN_TAGS_ANY) {
        for (uint32_t i = 0; i < ban->tag_count; i++)
            if (!strata__tag_ban_put(root, path_hash, ban->tags[i], ban->soft, mark))
                return 0;
    } else if (!strata__rules_put(root, ban, path_hash, mark)) {
        return 0;
    }
    /* Whoever has all of them has the first. */
    uint32_t lines = ban->kind == BAN_TAGS_ANY ? ban->tag_count : ban->kind == BAN_TAGS_ALL ? 1 : 0;
    for (uint32_t i = 0; i < lines; i++)
        raise_line(&b->lines[ban->tags[i] & (TAG_FOLDS - 1)], next_position(root));
    atomic_store_explicit(&b->any, 1, memory_order_release);
    return 1;
}

/* What is stored from here on has to come after it: else it would be banned for ever. */
static void note_heard(struct root *root, uint64_t store_position)
{
    uint64_t heard = atomic_load(&root->host.store_heard);
    while (store_position > heard && !atomic_compare_exchange_weak(&root->host.store_heard, &heard, store_position))
        ;
}

/* STRATA_OK, with its position in this life; STRATA_ENOMEM, and then part of it may hold. */
static int apply_locked(struct root *root, const struct ban *ban, uint32_t *out_position)
{
    uint32_t position = next_position(root);
    uint64_t path_hash = strata__path_hash(ban->path);
    struct mark mark = { .life = ban->life != 0 ? ban->life : root->life,
                         .position = ban->life != 0 ? ban->position : position,
                         .store_position = ban->store_position,
                         .unplaced = ban->store_position != 0 ? 0 : position,
                         .wall_ms = ban->wall_ms != 0 ? ban->wall_ms : ex_wall_ms(root->ex) };
    key_mutex_lock(&root->bans->lock);
    int entered = enter_locked(root, ban, path_hash, &mark);
    key_mutex_unlock(&root->bans->lock);
    if (!entered)
        return STRATA_ENOMEM;
    note_heard(root, ban->store_position);
    raise_below_locked(root, ban, path_hash, position);
    atomic_store_explicit(&root->bans->newest, position, memory_order_relaxed);
    publish_position(root, position);
    strata__generation_heard_locked(root, ban);
    *out_position = position;
    return STRATA_OK;
}

int strata__ban_enter(struct root *root, const struct ban *ban, uint32_t *out_position)
{
    key_mutex_lock(&root->tree_lock);
    int rc = apply_locked(root, ban, out_position);
    key_mutex_unlock(&root->tree_lock);
    return rc;
}

/* Retiring ------------------------------------------------------------------------------------------------------ */

static int retire_mark(const struct root *root, struct mark *mark)
{
    if (mark_is_set(mark) && mark_retires(root, mark, root->bans->floor))
        *mark = (struct mark){ 0 };
    return !mark_is_set(mark);
}

static int retire_tag(const struct root *root, struct tag_ban *t)
{
    int hard = retire_mark(root, &t->hard);
    return retire_mark(root, &t->soft) && hard;
}

/* Those behind it that would be looked for from here on move up. */
static void take_out(struct bans *b, uint32_t hole)
{
    const uint32_t mask = b->tag_room - 1;
    for (uint32_t at = (hole + 1) & mask; b->tags[at].key != 0; at = (at + 1) & mask) {
        uint32_t home = (uint32_t)b->tags[at].key & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        b->tags[hole] = b->tags[at];
        hole = at;
    }
    b->tags[hole] = (struct tag_ban){ 0 };
    b->tag_count--;
}

static void retire_folded(struct root *root)
{
    struct bans *b = root->bans;
    int left = 0;
    for (uint32_t i = 0; b->folded != NULL && i < TAG_FOLDS; i++)
        left |= !retire_tag(root, &b->folded[i]);
    if (left)
        return;
    strata__free(root->mem, b->folded);
    b->folded = NULL;
}

/* Most of the room is empty.  Without memory for a smaller table it stays. */
static void shrink(struct root *root)
{
    struct bans *b = root->bans;
    uint32_t room = FIRST_ROOM;
    while (room < b->tag_count * 4)
        room *= 2;
    if (room >= b->tag_room)
        return;
    struct tag_ban *less = b->tag_count != 0 ? strata__alloc_zero(root->mem, room * sizeof *less) : NULL;
    if (less == NULL && b->tag_count != 0)
        return;
    for (uint32_t i = 0; less != NULL && i < b->tag_room; i++)
        if (b->tags[i].key != 0)
            *find(less, room, b->tags[i].key) = b->tags[i];
    strata__free(root->mem, b->tags);
    b->tags = less;
    b->tag_room = less != NULL ? room : 0;
}

int strata__bans_retire_locked(struct root *root, uint32_t *io_at, uint32_t most)
{
    struct bans *b = root->bans;
    uint32_t at = *io_at;
    if (at == 0) {
        strata__rules_retire(root);
        retire_folded(root);
    }
    for (; at < b->tag_room && most > 0; most--)
        if (b->tags[at].key == 0 || !retire_tag(root, &b->tags[at]))
            at++;
        else
            take_out(b, at);
    *io_at = at;
    if (at < b->tag_room)
        return 0;
    shrink(root);
    return 1;
}

uint32_t strata__bans_count(struct root *root)
{
    struct bans *b = root->bans;
    key_mutex_lock(&b->lock);
    uint32_t count = b->rule_count + b->tag_count + (b->folded != NULL);
    key_mutex_unlock(&b->lock);
    return count;
}

/* A ban comes by the bus, and in the store's list: the second time it says nothing more. */
static int is_placed(struct root *root, const struct ban *ban)
{
    struct bans *b = root->bans;
    int placed = 0;
    if (ban->store_position == 0 || ban->kind == BAN_ALL)
        return 0;
    key_mutex_lock(&b->lock);
    for (uint32_t i = 0; i < BANS_PLACED && !placed; i++)
        placed = b->placed[i] == ban->store_position;
    key_mutex_unlock(&b->lock);
    return placed;
}

/* Once it holds. */
static void note_placed(struct root *root, const struct ban *ban)
{
    struct bans *b = root->bans;
    if (ban->store_position == 0 || ban->kind == BAN_ALL)
        return;
    key_mutex_lock(&b->lock);
    b->placed[b->placed_count++ % BANS_PLACED] = ban->store_position;
    key_mutex_unlock(&b->lock);
}

static void tag_placed(struct bans *b, uint64_t key, const struct ban *ban)
{
    struct tag_ban *t = b->tag_room != 0 ? find(b->tags, b->tag_room, key) : NULL;
    if (t == NULL || t->key == 0) /* a free place is nobody's */
        t = b->folded != NULL ? &b->folded[key % TAG_FOLDS] : NULL;
    if (t != NULL)
        strata__mark_placed(ban->soft ? &t->soft : &t->hard, ban);
}

void strata__ban_placed(struct root *root, const struct ban *ban)
{
    struct bans *b = root->bans;
    uint64_t path_hash = strata__path_hash(ban->path);
    key_mutex_lock(&b->lock);
    if (ban->kind == BAN_TAGS_ANY)
        for (uint32_t i = 0; i < ban->tag_count; i++)
            tag_placed(b, tag_key(path_hash, ban->tags[i]), ban);
    else if (!strata__rules_placed(root, ban, path_hash) && ban->kind == BAN_TAGS_ALL)
        tag_placed(b, tag_key(path_hash, ban->tags[0]), ban);
    key_mutex_unlock(&b->lock);
    note_heard(root, ban->store_position);
    note_placed(root, ban);
    key_mutex_lock(&root->tree_lock);
    strata__generation_heard_locked(root, ban);
    key_mutex_unlock(&root->tree_lock);
}

static void latest(const struct mark *mark, uint64_t *store_position, int64_t *wall_ms)
{
    *store_position = mark->store_position > *store_position ? mark->store_position : *store_position;
    *wall_ms = mark->wall_ms > *wall_ms ? mark->wall_ms : *wall_ms;
}

void strata__ban_tag_known(struct root *root, uint64_t tag, uint64_t *store_position, int64_t *wall_ms)
{
    struct bans *b = root->bans;
    uint64_t whole = strata__path_hash(strata_bytes(NULL, 0)), key = tag_key(whole, tag);
    *store_position = 0;
    *wall_ms = 0;
    key_mutex_lock(&b->lock);
    const struct tag_ban *found[] = { b->tag_room != 0 ? find(b->tags, b->tag_room, key) : NULL,
                                      b->folded != NULL ? &b->folded[key % TAG_FOLDS] : NULL };
    for (size_t i = 0; i < 2; i++)
        if (found[i] != NULL && (i == 1 || found[i]->key != 0)) { /* what was folded has no key */
            latest(&found[i]->hard, store_position, wall_ms);
            latest(&found[i]->soft, store_position, wall_ms);
        }
    for (uint32_t i = 0; i < b->rule_count; i++)
        if (b->rules[i]->kind == BAN_ALL && b->rules[i]->path_hash == whole)
            latest(&b->rules[i]->mark, store_position, wall_ms);
    key_mutex_unlock(&b->lock);
}

int strata__ban_apply(struct root *root, const struct ban *ban)
{
    uint32_t position;
    if (!is_ban(ban))
        return STRATA_EINVAL;
    if (is_placed(root, ban))
        return STRATA_OK;
    if (strata__ban_enter(root, ban, &position) != STRATA_OK)
        strata__clear_here(root, ban->path);
    note_placed(root, ban);
    return STRATA_OK;
}
