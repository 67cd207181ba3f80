/* generation.h - names that all entries of a namespace, and of those below it, carry as a tag, so that one ban takes them all.
 *
 * The tag's number is made of the name with a seed of its own: no application's tag has it, and wherever the name is used in the
 * fleet it is the same.  A bump is a ban of that tag in the whole cache. */
#ifndef STRATA_CORE_GENERATION_H
#define STRATA_CORE_GENERATION_H
#include "src/core/bans.h"

/* Made with the handle whose option names it, and gone with it; those below have it, too, and keep it. */
struct generation {
    struct list_node link;    /* bans->generations; tree lock */
    struct generation *above; /* of the nearest namespace above that names another one; NULL: none.  A reference */
    _Atomic(uint32_t) refs;
    uint64_t id;              /* of the tag */
    _Atomic(uint64_t) placed; /* the last bump's number in the shared store; 0 none */
    _Atomic(uint64_t) local;  /* our own, where there is no such store; 0 none */
    uint32_t count;           /* of ids: this one's and those above, each once */
    strata_value *ids;        /* the tags of an entry that has no others */
};

/* Under the tree lock, while the handle is made; `name` NULL: its parent's.  STRATA_OK, STRATA_EINVAL, STRATA_ENOMEM. */
int strata__generation_give_locked(strata *h, const char *name, strata_error *err);
/* With the handle. */
void strata__generation_free(strata *h);
/* Was the handle made with this option? */
int strata__generation_is(const strata *h, const char *name);

/* A ban holds here from now on, or was given its place in the store's list.  Under the tree lock. */
void strata__generation_heard_locked(struct root *root, const struct ban *ban);

/* An entry of this namespace has these tags, *tags (a reference, NULL where *count is 0 or they are unknown): the generations' are
 * added.  Without memory or past STRATA_TAGS_MAX they are unknown: it counts as having any. */
void strata__generation_tag(const strata *h, strata_value **tags, uint32_t *count);

#endif /* STRATA_CORE_GENERATION_H */
