/* memory_aside.h - entries that stand aside of the policy's queues, for eviction may not choose them: residents, and those whom a
 * share of memory holds; and what may be moved instead. */
#ifndef STRATA_LAYER_MEMORY_ASIDE_H
#define STRATA_LAYER_MEMORY_ASIDE_H
#include "src/layer/memory/memory_impl.h"

/* What is a namespace's in a shard, whatever others put there (memory_share.c). */
struct share {
    struct queue held; /* whom the policy has chosen, and who stays for the share's sake */
    uint64_t count;    /* of its entries, "absent" left out */
    uint64_t used;     /* what they take, in bytes: blocks, values on the heap, and so much of the index */
    uint64_t ppm;      /* of the budget it is to have so much */
};

/* memory_resident.c: who is not evicted.  Under the shard's lock. */
/* It may be resident, in place of `old` or of nobody: what of that is bounded has room for it. */
int strata__resident_fits(const struct shard *s, const struct entry *e, const struct entry *old);
void strata__resident_in(struct shard *s, struct entry *e);
void strata__resident_out(struct shard *s, struct entry *e);
/* An entry that was out of the policy's hands is new to it.  Also between missed() and insert() of another one. */
void strata__policy_return(struct shard *s, struct entry *e, uint64_t hash);
/* Those for whom there is no room any more become the policy's, the oldest first: at most so many.  1: there are more. */
int strata__resident_fit(struct shard *s, uint32_t most);

/* memory_share.c: what is a namespace's, whatever others put here.  Under the shard's lock; where s->shares is not NULL. */
/* It is there now; it leaves, or has left its queue. */
void strata__share_in(struct shard *s, const struct entry *e);
void strata__share_out(struct shard *s, const struct entry *e);
/* Without it, its namespace would have less than its share. */
int strata__share_protects(const struct shard *s, const struct entry *e);
/* As eviction_ops.victim, but of those who may leave. */
struct entry *strata__share_victim(struct shard *s);
/* Of those who may not, for there is nobody else.  NULL: of these neither. */
struct entry *strata__share_last(struct shard *s);
/* Bytes of all shares that are not there for others. */
uint64_t strata__share_kept(const struct shard *s);
/* The queue that one stands in who is held. */
struct queue *strata__share_held(const struct shard *s, const struct entry *e);
/* It leaves that. */
void strata__share_unhold(struct shard *s, struct entry *e);
/* It was held, and somebody has read it: the policy's again. */
void strata__share_return(struct shard *s, struct entry *e, uint64_t hash);
/* No lock, or before anybody else knows the shard. */
int strata__memory_share(strata_layer *layer, const strata_share *what, strata_error *err);
int strata__share_init(struct shard *s);
void strata__share_deinit(struct shard *s);

/* memory_move.c */
/* Another block for it, outside of its chunk if that is hidden; what is read stays where it is.  Under the shard's lock.  0: there is
 * none. */
int strata__memory_move(struct shard *s, struct entry *e);

#endif /* STRATA_LAYER_MEMORY_ASIDE_H */
