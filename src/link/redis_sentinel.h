/* redis_sentinel.h - where the master is, as Sentinels say: asked before each connection of a link is made, and once a second.
 *
 * A thread asks, for a Sentinel may be slow, or gone; the link's thread never waits for one.  The one that answered last is asked
 * first; after one that did not, or whose master turned out to be none, the next. */
#ifndef STRATA_LINK_REDIS_SENTINEL_H
#define STRATA_LINK_REDIS_SENTINEL_H
#include "src/link/redis_link.h"
#include "src/link/redis_slots.h"

struct redis_sentinel;

/* Those of link's options, which live as long as it. */
int strata__redis_sentinel_open(struct redis_sentinel **out, struct redis_link *link,
                                const struct redis_link_options *options, strata_error *err);
/* Once the link's thread has ended.  NULL is a no-op. */
void strata__redis_sentinel_close(struct redis_sentinel *s);
void strata__redis_sentinel_abandon(struct redis_sentinel *s);

/* Begins to ask; what find() is given. */
uint32_t strata__redis_sentinel_ask(struct redis_sentinel *s);
/* 1: *out is the master's place, and *out_generation its number, which changes with it; 0: not answered yet, the link is woken
 * then; < 0 with words: nobody says. */
int strata__redis_sentinel_find(struct redis_sentinel *s, uint32_t ticket, struct redis_place *out,
                                uint32_t *out_generation, strata_error *why);
/* Is the place of that number still the master's? */
int strata__redis_sentinel_holds(struct redis_sentinel *s, uint32_t generation);
/* What was found there is no master: another Sentinel may know better. */
void strata__redis_sentinel_doubt(struct redis_sentinel *s);

#endif /* STRATA_LINK_REDIS_SENTINEL_H */
