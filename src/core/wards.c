/* wards.c - see wards.h. */
#include "src/core/wards.h"

#include "src/base/mem.h"

enum { LOOKS = 16 }; /* so many of the oldest are tried */

static struct list_node *chain_of(const struct wards *wards, uint64_t id) { return &wards->chains[id % WARD_CHAINS]; }

static int begin(struct wards *wards, const strata_allocator *mem)
{
    if (wards->chains != NULL)
        return 1;
    wards->chains = strata__alloc_array(mem, WARD_CHAINS, sizeof *wards->chains);
    if (wards->chains == NULL)
        return 0;
    for (int i = 0; i < WARD_CHAINS; i++)
        list_init(&wards->chains[i]);
    list_init(&wards->age);
    return 1;
}

struct ward *strata__ward_find(struct wards *wards, uint64_t id)
{
    if (wards->chains == NULL)
        return NULL;
    LIST_EACH(node, chain_of(wards, id))
    {
        struct ward *w = list_entry(node, struct ward, chain);
        if (w->id != id)
            continue;
        list_remove(&w->age);
        list_push_back(&wards->age, &w->age);
        return w;
    }
    return NULL;
}

/* 1: there is room for one more. */
static int has_room(struct wards *wards, const strata_allocator *mem)
{
    int looks = 0;
    if (wards->count < WARDS_MOST)
        return 1;
    LIST_EACH(node, &wards->age)
    {
        struct ward *w = list_entry(node, struct ward, age);
        if (w->users == 0) {
            strata__ward_drop(wards, mem, w);
            return 1;
        }
        if (++looks == LOOKS)
            return 0;
    }
    return 0;
}

struct ward *strata__ward_make(struct wards *wards, const strata_allocator *mem, uint64_t id, size_t size)
{
    struct ward *w = strata__ward_find(wards, id);
    if (w != NULL)
        return w;
    if (!begin(wards, mem) || !has_room(wards, mem))
        return NULL;
    w = strata__alloc_zero(mem, size);
    if (w == NULL)
        return NULL;
    w->id = id;
    list_push_back(chain_of(wards, id), &w->chain);
    list_push_back(&wards->age, &w->age);
    wards->count++;
    return w;
}

void strata__ward_drop(struct wards *wards, const strata_allocator *mem, struct ward *ward)
{
    list_remove(&ward->chain);
    list_remove(&ward->age);
    wards->count--;
    strata__free(mem, ward);
}

void strata__wards_free(struct wards *wards, const strata_allocator *mem)
{
    if (wards->chains == NULL)
        return;
    while (!list_empty(&wards->age))
        strata__ward_drop(wards, mem, list_entry(wards->age.next, struct ward, age));
    strata__free(mem, wards->chains);
    wards->chains = NULL;
}
