/* os_thread.h - named threads, mutexes, conditions.
 *
 * Threads of the library block every signal, so that the program's handlers run on the program's threads.
 * init and start answer 0 or an errno; the rest cannot fail unless used wrongly, which aborts. */
#ifndef STRATA_OS_THREAD_H
#define STRATA_OS_THREAD_H
#include <pthread.h>
#include <stdint.h>

#include "src/base/err.h"

struct os_mutex {
    pthread_mutex_t native;
};

struct os_cond {
    pthread_cond_t native;
};

/* Storage stays where it is from start to join. */
struct os_thread {
    pthread_t native;
    void (*run)(void *ctx);
    void *ctx;
    char name[16]; /* what ps and gdb show: 15 characters */
};

int strata__os_mutex_init(struct os_mutex *mutex);
void strata__os_mutex_deinit(struct os_mutex *mutex);

int strata__os_cond_init(struct os_cond *cond);
void strata__os_cond_deinit(struct os_cond *cond);
/* Sleep until signalled, or until the monotonic clock passes deadline_us (INT64_MAX: none).  0, or 1 when it passed.
 * May also wake for no reason: look again. */
int strata__os_cond_wait(struct os_cond *cond, struct os_mutex *mutex, int64_t deadline_us);
void strata__os_cond_signal(struct os_cond *cond);
void strata__os_cond_broadcast(struct os_cond *cond);

/* Names longer than 15 characters are cut. */
int strata__os_thread_start(struct os_thread *thread, const char *name, void (*run)(void *ctx), void *ctx);
void strata__os_thread_join(struct os_thread *thread);

static inline void os_mutex_lock(struct os_mutex *mutex)
{
    if (pthread_mutex_lock(&mutex->native) != 0)
        STRATA_BUG("a mutex could not be locked");
}

static inline void os_mutex_unlock(struct os_mutex *mutex)
{
    if (pthread_mutex_unlock(&mutex->native) != 0)
        STRATA_BUG("a mutex was unlocked that was not held");
}

/* 1 when it is now held. */
static inline int os_mutex_try(struct os_mutex *mutex) { return pthread_mutex_trylock(&mutex->native) == 0; }

#endif /* STRATA_OS_THREAD_H */
