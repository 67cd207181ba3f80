/* sim_thread.c - see sim_thread.h.  The baton is passed by unpark, and waited for by park: that also orders memory.
 * Its own memory is malloc's, not the cache's: a test that makes the cache's allocations fail means those of core. */
#include "src/loop/sim_thread.h"

#include "src/base/mem.h"
#include "src/os/os_futex.h"

/* For ever, but not in the words of the library's own sleepers: a test that puts these into virtual time can tell (tests/sim). */
static void wait_for_baton(struct sim_thread *self) { (void)strata__os_park(&self->baton, INT64_MAX - 1); }

static void live(void *ctx)
{
    struct sim_thread *self = ctx;
    for (;;) {
        wait_for_baton(self);
        if (self->task == NULL)
            return; /* resumed without a task: the end */
        self->task->run(self->task);
        self->task = NULL;
        strata__os_unpark(&self->resumer->baton);
    }
}

struct sim_thread *strata__sim_thread_new(void)
{
    struct sim_thread *thread = strata__alloc_zero(NULL, sizeof *thread);
    if (thread != NULL && strata__os_thread_start(&thread->thread, "strata-sim", live, thread) != 0) {
        strata__free(NULL, thread);
        thread = NULL;
    }
    return thread;
}

void strata__sim_thread_free(struct sim_thread *thread)
{
    strata__os_unpark(&thread->baton);
    strata__os_thread_join(&thread->thread);
    strata__free(NULL, thread);
}

void strata__sim_thread_resume(struct sim_thread *thread, struct sim_thread *self)
{
    thread->resumer = self;
    strata__os_unpark(&thread->baton);
    wait_for_baton(self);
}

void strata__sim_thread_yield(struct sim_thread *self)
{
    strata__os_unpark(&self->resumer->baton);
    wait_for_baton(self);
}
