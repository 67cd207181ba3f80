/* os_futex_posix.c - os_futex.h on mutexes and conditions: wherever there is no futex(2).
 *
 * Words that hash to the same bucket share its mutex and condition.  Everything that touches a word happens under the
 * bucket's mutex, so that a sleeper which has seen its signal may free the word. */
#include "src/os/os_futex.h"

#include <pthread.h>
#include <stddef.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/os/os_clock.h"
#include "src/os/os_thread.h"

enum { BUCKETS = 64 };

static struct bucket {
    struct os_mutex mutex;
    struct os_cond cond;
} buckets[BUCKETS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void prepare(void)
{
    for (int i = 0; i < BUCKETS; i++)
        if (strata__os_mutex_init(&buckets[i].mutex) != 0 || strata__os_cond_init(&buckets[i].cond) != 0)
            STRATA_BUG("the system has no mutex for sleeping threads");
}

static struct bucket *bucket_of(_Atomic(uint32_t) *word)
{
    (void)pthread_once(&once, prepare);
    return &buckets[strata__mix64((uint64_t)(uintptr_t)word) % BUCKETS];
}

int strata__os_park(_Atomic(uint32_t) *word, int64_t deadline_us)
{
    struct bucket *bucket = bucket_of(word);
    int passed = 0;
    os_mutex_lock(&bucket->mutex);
    for (;;) {
        if (atomic_load_explicit(word, memory_order_relaxed) != 0) {
            atomic_store_explicit(word, 0, memory_order_relaxed);
            break;
        }
        passed = deadline_us != INT64_MAX && strata__os_now_us() >= deadline_us;
        if (passed)
            break;
        (void)strata__os_cond_wait(&bucket->cond, &bucket->mutex, deadline_us);
    }
    os_mutex_unlock(&bucket->mutex);
    return passed;
}

void strata__os_unpark(_Atomic(uint32_t) *word)
{
    struct bucket *bucket = bucket_of(word);
    os_mutex_lock(&bucket->mutex);
    atomic_store_explicit(word, 1, memory_order_relaxed);
    /* All: another word's sleeper may be the one that a single signal reaches. */
    strata__os_cond_broadcast(&bucket->cond);
    os_mutex_unlock(&bucket->mutex);
}
