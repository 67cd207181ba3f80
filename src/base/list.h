/* list.h - a doubly linked ring of nodes that live in the caller's structs.
 *
 * The list itself is a node, so that nothing is a special case.  A node that is all zero, or was removed, is in no
 * list. */
#ifndef STRATA_BASE_LIST_H
#define STRATA_BASE_LIST_H
#include <stddef.h>

struct list_node {
    struct list_node *next;
    struct list_node *prev;
};

/* The struct around a node: list_entry(node, struct flight, link). */
#define list_entry(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* `node` may be removed in the body. */
#define LIST_EACH(node, list) \
    for (struct list_node *node = (list)->next, *node##_next_ = node->next; node != (list); \
         node = node##_next_, node##_next_ = node->next)

static inline void list_init(struct list_node *list)
{
    list->next = list;
    list->prev = list;
}

static inline int list_empty(const struct list_node *list) { return list->next == list; }

/* Is this node in a list? */
static inline int list_linked(const struct list_node *node) { return node->next != NULL; }

static inline void list_insert_after(struct list_node *at, struct list_node *node)
{
    node->prev = at;
    node->next = at->next;
    at->next->prev = node;
    at->next = node;
}

static inline void list_push_back(struct list_node *list, struct list_node *node)
{
    list_insert_after(list->prev, node);
}

static inline void list_push_front(struct list_node *list, struct list_node *node) { list_insert_after(list, node); }

static inline void list_remove(struct list_node *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = NULL;
    node->prev = NULL;
}

/* NULL when empty. */
static inline struct list_node *list_pop_front(struct list_node *list)
{
    struct list_node *node = list->next;
    if (node == list)
        return NULL;
    list_remove(node);
    return node;
}

/* Append everything of `from`, which is empty afterwards. */
static inline void list_move_all(struct list_node *list, struct list_node *from)
{
    if (list_empty(from))
        return;
    from->next->prev = list->prev;
    list->prev->next = from->next;
    from->prev->next = list;
    list->prev = from->prev;
    list_init(from);
}

#endif /* STRATA_BASE_LIST_H */
