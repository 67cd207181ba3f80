/* heap.c - see heap.h.
 *
 * Children of a node are a singly linked list with back links.  Taking out the root leaves its children, which are
 * melded in pairs from left to right, and the pairs from right to left: that is what makes it logarithmic.  Both passes
 * are loops: a heap of a million timers must not need a million stack frames. */
#include "src/base/heap.h"

/* Two roots become one; either may be NULL.  The result's links to siblings are the caller's to set. */
static struct heap_node *meld(struct heap *heap, struct heap_node *a, struct heap_node *b)
{
    if (a == NULL)
        return b;
    if (b == NULL)
        return a;
    if (heap->less(b, a)) {
        struct heap_node *other = a;
        a = b;
        b = other;
    }
    b->prev = a;
    b->next = a->child;
    if (a->child != NULL)
        a->child->prev = b;
    a->child = b;
    return a;
}

/* Meld a list of siblings into one root. */
static struct heap_node *meld_siblings(struct heap *heap, struct heap_node *first)
{
    struct heap_node *pairs = NULL; /* a stack, linked by next */
    while (first != NULL) {
        struct heap_node *a = first;
        struct heap_node *b = a->next;
        first = b != NULL ? b->next : NULL;
        a->next = NULL;
        if (b != NULL)
            b->next = NULL;
        a = meld(heap, a, b);
        a->next = pairs;
        pairs = a;
    }
    struct heap_node *root = NULL;
    while (pairs != NULL) {
        struct heap_node *pair = pairs;
        pairs = pair->next;
        pair->next = NULL;
        root = meld(heap, root, pair);
    }
    return root;
}

static void set_root(struct heap *heap, struct heap_node *root)
{
    heap->root = root;
    if (root != NULL) {
        root->prev = root;
        root->next = NULL;
    }
}

void strata__heap_init(struct heap *heap, int (*less)(const struct heap_node *a, const struct heap_node *b))
{
    heap->root = NULL;
    heap->less = less;
    heap->count = 0;
}

void strata__heap_insert(struct heap *heap, struct heap_node *node)
{
    node->child = NULL;
    node->next = NULL;
    set_root(heap, meld(heap, heap->root, node));
    heap->count++;
}

void strata__heap_remove(struct heap *heap, struct heap_node *node)
{
    struct heap_node *children = node->child;
    if (node == heap->root) {
        set_root(heap, meld_siblings(heap, children));
    } else {
        if (node->prev->child == node)
            node->prev->child = node->next; /* prev is the parent */
        else
            node->prev->next = node->next;
        if (node->next != NULL)
            node->next->prev = node->prev;
        set_root(heap, meld(heap, heap->root, meld_siblings(heap, children)));
    }
    node->child = NULL;
    node->next = NULL;
    node->prev = NULL;
    heap->count--;
}

struct heap_node *strata__heap_pop(struct heap *heap)
{
    struct heap_node *least = heap->root;
    if (least != NULL)
        strata__heap_remove(heap, least);
    return least;
}
