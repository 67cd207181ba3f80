/* unleased.c - see unleased.h.  Strands are woken under no lock of ours: one at a time is taken out for that. */
#include "src/core/unleased.h"

#include "src/core/flight.h"

enum { STUCK_MS = 1000 };

void strata__unleased_init(struct root *root)
{
    struct unleased *u = &root->unleased;
    *u = (struct unleased){ 0 };
    key_mutex_init(&u->lock);
    list_init(&u->queue);
}

/* The next one is let in: who is to be woken for it. */
static struct strand *let_in_locked(struct root *root)
{
    struct unleased *u = &root->unleased;
    struct list_node *node = list_pop_front(&u->queue);
    if (node == NULL)
        return NULL;
    struct unleased_place *p = list_entry(node, struct unleased_place, link);
    atomic_store(&p->state, UNLEASED_IN);
    u->inside++;
    u->moved_ms = ex_now_ms(root->ex);
    return p->strand;
}

static void arm_locked(struct root *root);

/* On a worker. */
static void look(struct task *task)
{
    struct unleased *u = (struct unleased *)(void *)((char *)task - offsetof(struct unleased, task));
    struct root *root = (struct root *)(void *)((char *)u - offsetof(struct root, unleased));
    struct strand *next = NULL;
    key_mutex_lock(&u->lock);
    u->armed = 0;
    if (ex_now_ms(root->ex) - u->moved_ms >= STUCK_MS)
        next = let_in_locked(root);
    if (!list_empty(&u->queue))
        arm_locked(root);
    key_mutex_unlock(&u->lock);
    if (next != NULL)
        strata__strand_wake(next);
    root_leave(root);
}

static void fire(struct timer *timer)
{
    struct unleased *u = (struct unleased *)(void *)((char *)timer - offsetof(struct unleased, timer));
    struct root *root = (struct root *)(void *)((char *)u - offsetof(struct root, unleased));
    ex_post_always(root->ex, &u->task);
}

static void arm_locked(struct root *root)
{
    struct unleased *u = &root->unleased;
    if (u->armed)
        return;
    u->armed = 1;
    u->timer = (struct timer){ .fire = fire };
    u->task.run = look;
    root_hold(root);
    ex_at(root->ex, &u->timer, ex_now_ms(root->ex) + STUCK_MS);
}

int strata__unleased_enter(struct root *root, struct unleased_place *place, struct strand *strand)
{
    struct unleased *u = &root->unleased;
    int passes = strata__inside(root);
    key_mutex_lock(&u->lock);
    int waits = !passes && root_usable(root) &&
                (u->inside >= root->options.max_unleased_loads || !list_empty(&u->queue));
    if (waits) {
        place->strand = strand;
        atomic_store(&place->state, UNLEASED_WAITS);
        list_push_back(&u->queue, &place->link);
        count_up(root->handle, COUNT_UNLEASED_WAITS);
        arm_locked(root);
    } else {
        atomic_store(&place->state, UNLEASED_IN);
        u->inside++;
        u->moved_ms = ex_now_ms(root->ex);
    }
    key_mutex_unlock(&u->lock);
    return !waits;
}

void strata__unleased_leave(struct root *root, struct unleased_place *place)
{
    struct unleased *u = &root->unleased;
    struct strand *next = NULL;
    key_mutex_lock(&u->lock);
    if (atomic_load(&place->state) == UNLEASED_IN) {
        atomic_store(&place->state, UNLEASED_OUT);
        u->inside--;
        u->moved_ms = ex_now_ms(root->ex);
        if (u->inside < root->options.max_unleased_loads)
            next = let_in_locked(root);
    }
    key_mutex_unlock(&u->lock);
    if (next != NULL)
        strata__strand_wake(next);
}

void strata__unleased_flush(struct root *root)
{
    struct unleased *u = &root->unleased;
    struct strand *next;
    key_mutex_lock(&u->lock);
    int stopped = u->armed && ex_cancel(root->ex, &u->timer);
    if (stopped)
        u->armed = 0;
    key_mutex_unlock(&u->lock);
    if (stopped)
        root_leave(root);
    do {
        key_mutex_lock(&u->lock);
        next = let_in_locked(root);
        key_mutex_unlock(&u->lock);
        if (next != NULL)
            strata__strand_wake(next);
    } while (next != NULL);
}
