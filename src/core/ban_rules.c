/* ban_rules.c - bans that are compared one by one: prefixes, patterns, lists of tags that an entry has all of, and what became of
 * those when there were too many.
 *
 * The list is in the order of arrival, so an entry is compared from the end. */
#include "src/core/bans.h"
#include "src/policy/pattern.h"

/* Does it belong to the handle's namespace, or one above? */
static int applies_to(const struct rule *r, const strata *handle)
{
    for (const strata *h = handle; h != NULL; h = h->parent)
        if (h->path_hash == r->path_hash)
            return 1;
    return 0;
}

static int has_tag(const strata_meta *meta, const uint64_t *tags, uint64_t tag)
{
    for (uint32_t i = 0; i < meta->tag_count; i++)
        if (tags[i] == tag)
            return 1;
    return 0;
}

static int has_all(const struct rule *r, const strata_meta *meta, const uint64_t *tags)
{
    const uint64_t *wanted = (const uint64_t *)(const void *)r->bytes;
    if (meta->tag_count == 0)
        return 0;
    for (uint32_t i = 0; tags != NULL && i < r->tag_count; i++)
        if (!has_tag(meta, tags, wanted[i]))
            return 0;
    return 1;
}

static int matches(const struct rule *r, const strata_meta *meta, strata_slice key, const uint64_t *tags)
{
    switch (r->kind) {
    case BAN_PREFIX:
        return key.size >= r->text_size && (r->text_size == 0 || memcmp(key.data, r->bytes, r->text_size) == 0);
    case BAN_PATTERN: return strata__pattern_matches(strata_bytes(r->bytes, r->text_size), key);
    case BAN_TAGS_ALL: return has_all(r, meta, tags);
    default: return 1;
    }
}

enum ban_verdict strata__rules_judge(const strata *handle, const struct layer_slot *slot, const strata_meta *meta,
                                     strata_slice key, const uint64_t *tags)
{
    const struct root *root = handle->root;
    const struct bans *b = root->bans;
    enum ban_verdict worst = BAN_NONE;
    for (uint32_t i = b->rule_count; i-- > 0 && worst != BAN_HARD;) {
        const struct rule *r = b->rules[i];
        /* Those of other lives, and what was put together with them, stand in no order: so to the end. */
        if (meta->life == root->life && (r->mark.life != root->life || r->mark.position <= meta->position))
            continue;
        enum ban_verdict v = r->soft ? BAN_SOFT : BAN_HARD;
        if (v > worst && applies_to(r, handle) && strata__mark_after(root, slot, meta, &r->mark) &&
            matches(r, meta, key, tags))
            worst = v;
    }
    return worst;
}

/* The list ----------------------------------------------------------------------------------------------------- */

static void take_out(struct root *root, uint32_t i)
{
    struct bans *b = root->bans;
    strata__free(root->mem, b->rules[i]);
    b->rule_count--;
    memmove(&b->rules[i], &b->rules[i + 1], (b->rule_count - i) * sizeof b->rules[0]);
}

/* An older one of all of the same namespace says nothing more than this one; a soft one does whom the store knows as the later. */
static void take_out_included(struct root *root, uint32_t by)
{
    struct bans *b = root->bans;
    struct rule *r = b->rules[by];
    for (uint32_t i = by; i-- > 0;) {
        struct rule *old = b->rules[i];
        if (old->path_hash != r->path_hash || old->soft < r->soft ||
            (old->soft > r->soft && old->mark.store_position > r->mark.store_position))
            continue;
        strata__mark_raise(root, &r->mark, &old->mark);
        take_out(root, i);
    }
}

/* It becomes coarser: a ban of the first of its tags, or of all of its namespace, of which there is one. */
static int widen(struct root *root, uint32_t i)
{
    struct rule *r = root->bans->rules[i];
    if (r->kind == BAN_TAGS_ALL) {
        const uint64_t *tags = (const uint64_t *)(const void *)r->bytes;
        if (!strata__tag_ban_put(root, r->path_hash, tags[0], r->soft, &r->mark))
            return 0;
        take_out(root, i);
        return 1;
    }
    r->kind = BAN_ALL;
    take_out_included(root, i);
    return 1;
}

/* The older half, of however many namespaces, becomes a hard and a soft ban of everything. */
static int widen_half(struct root *root)
{
    struct bans *b = root->bans;
    for (uint32_t i = b->rule_count / 2; i-- > 0;) {
        struct rule *r = b->rules[i];
        if (r->kind == BAN_TAGS_ALL) {
            if (!widen(root, i))
                return 0;
            continue;
        }
        r->kind = BAN_ALL;
        r->path_hash = strata__path_hash(strata_bytes(NULL, 0));
    }
    for (uint32_t i = b->rule_count; i-- > 0;) {
        if (i < b->rule_count && b->rules[i]->kind == BAN_ALL)
            take_out_included(root, i);
    }
    return 1;
}

/* Of this namespace, those that are not of all of it. */
static uint32_t oldest_of(const struct bans *b, uint64_t path_hash, uint32_t *out_count)
{
    uint32_t oldest = 0;
    *out_count = 0;
    for (uint32_t i = b->rule_count; i-- > 0;)
        if (b->rules[i]->path_hash == path_hash && b->rules[i]->kind != BAN_ALL) {
            oldest = i;
            ++*out_count;
        }
    return oldest;
}

static int make_room(struct root *root, uint64_t path_hash)
{
    struct bans *b = root->bans;
    uint32_t count, oldest = oldest_of(b, path_hash, &count);
    if (count >= RULES_A_NAMESPACE && !widen(root, oldest))
        return 0;
    if (b->rule_count >= RULES && !widen_half(root))
        return 0;
    if (b->rule_count < b->rule_room)
        return 1;
    uint32_t room = b->rule_room != 0 ? b->rule_room * 2 : 16;
    struct rule **more = strata__realloc_array(root->mem, b->rules, room, sizeof *more);
    if (more == NULL)
        return 0;
    b->rules = more;
    b->rule_room = room;
    return 1;
}

/* What a rule keeps of it. */
static strata_slice bytes_of(const struct ban *ban)
{
    if (ban->kind == BAN_TAGS_ALL)
        return strata_bytes(ban->tags, ban->tag_count * sizeof(uint64_t));
    return ban->kind == BAN_ALL ? strata_bytes("", 0) : ban->text;
}

static int says_the_same(const struct rule *r, const struct ban *ban, uint64_t path_hash)
{
    const strata_slice bytes = bytes_of(ban);
    size_t size = r->kind == BAN_TAGS_ALL ? r->tag_count * sizeof(uint64_t) : r->text_size;
    return r->kind == ban->kind && r->soft == ban->soft && r->path_hash == path_hash && size == bytes.size &&
           (size == 0 || memcmp(r->bytes, bytes.data, size) == 0);
}

int strata__rules_put(struct root *root, const struct ban *ban, uint64_t path_hash, const struct mark *mark)
{
    struct bans *b = root->bans;
    int is_tags = ban->kind == BAN_TAGS_ALL;
    const strata_slice bytes = bytes_of(ban);
    struct rule *r = strata__alloc(root->mem, sizeof *r + bytes.size);
    if (r == NULL)
        return 0;
    *r = (struct rule){ .kind = ban->kind,
                        .soft = ban->soft,
                        .path_hash = path_hash,
                        .mark = *mark,
                        .tag_count = is_tags ? ban->tag_count : 0,
                        .text_size = is_tags ? 0 : bytes.size,
                        .bytes = (unsigned char *)(r + 1) };
    if (bytes.size != 0)
        memcpy(r->bytes, bytes.data, bytes.size);
    if (!make_room(root, path_hash)) {
        strata__free(root->mem, r);
        return 0;
    }
    for (uint32_t i = b->rule_count; i-- > 0;)
        if (says_the_same(b->rules[i], ban, path_hash)) { /* this one says it later */
            strata__mark_raise(root, &r->mark, &b->rules[i]->mark);
            take_out(root, i);
        }
    b->rules[b->rule_count++] = r;
    if (r->kind == BAN_ALL)
        take_out_included(root, b->rule_count - 1);
    return 1;
}

/* It stands in the rule that says the same, whatever came since, or in one that took that in, and which it has left open.  Where that
 * can't be told any more, those do that may have taken it in. */
int strata__rules_placed(struct root *root, const struct ban *ban, uint64_t path_hash)
{
    struct bans *b = root->bans;
    int found = 0, count = (int)b->rule_count;
    for (int i = count; i-- > 0;) {
        struct mark *mark = &b->rules[i]->mark;
        if (!says_the_same(b->rules[i], ban, path_hash) && (mark->life != ban->life || mark->unplaced != ban->position))
            continue;
        strata__mark_placed(mark, ban);
        found = 1;
    }
    for (int i = count; i-- > 0 && !found;) {
        struct rule *r = b->rules[i];
        if (r->soft == ban->soft && (r->kind == BAN_ALL || (r->kind == ban->kind && r->path_hash == path_hash)))
            strata__mark_placed(&r->mark, ban);
    }
    return found;
}

void strata__rules_retire(struct root *root)
{
    struct bans *b = root->bans;
    uint32_t left = 0;
    for (uint32_t i = 0; i < b->rule_count; i++) {
        struct rule *r = b->rules[i];
        if (mark_retires(root, &r->mark, b->floor))
            strata__free(root->mem, r);
        else
            b->rules[left++] = r;
    }
    b->rule_count = left;
}
