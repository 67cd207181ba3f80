/* os_thread.c - see os_thread.h. */
#include "src/os/os_thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "src/os/os_clock.h"
#include "src/os/os_fault.h"

/* Locks of this library are held for some hundred nanoseconds: where the system has it, a mutex spins a little before it
 * sleeps. */
int strata__os_mutex_init(struct os_mutex *mutex)
{
    int failed = strata__os_fault("pthread_mutex_init");
    if (failed != 0)
        return failed;
#if defined(__GLIBC__)
    pthread_mutexattr_t how;
    failed = pthread_mutexattr_init(&how);
    if (failed != 0)
        return failed;
    (void)pthread_mutexattr_settype(&how, PTHREAD_MUTEX_ADAPTIVE_NP);
    failed = pthread_mutex_init(&mutex->native, &how);
    (void)pthread_mutexattr_destroy(&how);
    return failed;
#else
    return pthread_mutex_init(&mutex->native, NULL);
#endif
}

void strata__os_mutex_deinit(struct os_mutex *mutex)
{
    if (pthread_mutex_destroy(&mutex->native) != 0)
        STRATA_BUG("a mutex was given back that is still held");
}

/* macOS cannot set a condition's clock; there waits are told how long instead of until when. */
int strata__os_cond_init(struct os_cond *cond)
{
    int failed = strata__os_fault("pthread_cond_init");
    if (failed != 0)
        return failed;
#if defined(__APPLE__)
    return pthread_cond_init(&cond->native, NULL);
#else
    pthread_condattr_t attr;
    failed = pthread_condattr_init(&attr);
    if (failed != 0)
        return failed;
    failed = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (failed == 0)
        failed = pthread_cond_init(&cond->native, &attr);
    pthread_condattr_destroy(&attr);
    return failed;
#endif
}

void strata__os_cond_deinit(struct os_cond *cond) { (void)pthread_cond_destroy(&cond->native); }

static struct timespec from_us(int64_t us)
{
    struct timespec t;
    t.tv_sec = (time_t)(us / 1000000);
    t.tv_nsec = (long)(us % 1000000) * 1000;
    return t;
}

int strata__os_cond_wait(struct os_cond *cond, struct os_mutex *mutex, int64_t deadline_us)
{
    int answer;
    if (deadline_us == INT64_MAX) {
        answer = pthread_cond_wait(&cond->native, &mutex->native);
    } else {
#if defined(__APPLE__)
        int64_t left = deadline_us - strata__os_now_us();
        struct timespec t = from_us(left > 0 ? left : 0);
        answer = pthread_cond_timedwait_relative_np(&cond->native, &mutex->native, &t);
#else
        struct timespec t = from_us(deadline_us > 0 ? deadline_us : 0);
        answer = pthread_cond_timedwait(&cond->native, &mutex->native, &t);
#endif
    }
    if (answer != 0 && answer != ETIMEDOUT)
        STRATA_BUG("a condition could not be waited for");
    return answer == ETIMEDOUT;
}

void strata__os_cond_signal(struct os_cond *cond) { (void)pthread_cond_signal(&cond->native); }

void strata__os_cond_broadcast(struct os_cond *cond) { (void)pthread_cond_broadcast(&cond->native); }

static void *begin(void *ctx)
{
    struct os_thread *thread = ctx;
#if defined(__APPLE__)
    (void)pthread_setname_np(thread->name);
#else
    (void)pthread_setname_np(pthread_self(), thread->name);
#endif
    thread->run(thread->ctx);
    return NULL;
}

int strata__os_thread_start(struct os_thread *thread, const char *name, void (*run)(void *ctx), void *ctx)
{
    int failed = strata__os_fault("pthread_create");
    if (failed != 0)
        return failed;
    thread->run = run;
    thread->ctx = ctx;
    (void)snprintf(thread->name, sizeof thread->name, "%s", name);
    /* A new thread inherits the mask, so that it never has a moment in which a signal could reach it. */
    sigset_t all, before;
    sigfillset(&all);
    failed = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (failed != 0)
        return failed;
    failed = pthread_create(&thread->native, NULL, begin, thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

void strata__os_thread_join(struct os_thread *thread)
{
    if (pthread_join(thread->native, NULL) != 0)
        STRATA_BUG("a thread could not be joined");
}
