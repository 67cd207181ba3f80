/* heap.h - a priority queue of nodes that live in the caller's structs.
 *
 * A pairing heap (Fredman, Sedgewick, Sleator, Tarjan, 1986): linked instead of an array, so that inserting allocates
 * nothing and cannot fail.  insert O(1); remove and pop O(log n) amortised.  Most timers are set and cancelled again,
 * which is what it is best at.  Equal elements leave in any order, the same one in every run. */
#ifndef STRATA_BASE_HEAP_H
#define STRATA_BASE_HEAP_H
#include <stddef.h>

/* All zero: in no heap. */
struct heap_node {
    struct heap_node *child; /* the first of its children */
    struct heap_node *next;  /* the next child of the same parent */
    struct heap_node *prev;  /* the previous one, the parent for the first, itself for the root; NULL in no heap */
};

struct heap {
    struct heap_node *root;
    int (*less)(const struct heap_node *a, const struct heap_node *b); /* does a leave before b? */
    size_t count;
};

void strata__heap_init(struct heap *heap, int (*less)(const struct heap_node *a, const struct heap_node *b));
/* The node must be in no heap. */
void strata__heap_insert(struct heap *heap, struct heap_node *node);
/* The node must be in this heap. */
void strata__heap_remove(struct heap *heap, struct heap_node *node);
/* The least one, taken out; NULL when empty. */
struct heap_node *strata__heap_pop(struct heap *heap);

static inline struct heap_node *heap_peek(const struct heap *heap) { return heap->root; }

static inline int heap_holds(const struct heap_node *node) { return node->prev != NULL; }

#endif /* STRATA_BASE_HEAP_H */
