/* counter.c - see counter.h: who owns which cell. */
#include "src/base/counter.h"

#include <pthread.h>

_Thread_local uint32_t strata__counter_slot;

static _Atomic(uint32_t) taken[COUNTER_OWNED];
static _Atomic(uint32_t) strangers;
static pthread_key_t exit_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int usable; /* 0: thread ends can't be noticed, so that no cell may be owned */

static void (*_Atomic left)(void);

void strata__counter_when_left(void (*fn)(void)) { atomic_store(&left, fn); }

static void leave(void *slot)
{
    void (*tell)(void) = atomic_load(&left);
    if (tell != NULL)
        tell();
    uint32_t index = (uint32_t)(uintptr_t)slot - 1;
    /* Destructors that run later may count again: in a shared cell. */
    strata__counter_slot = COUNTER_OWNED + 1;
    atomic_store_explicit(&taken[index], 0, memory_order_release);
}

static void init(void) { usable = pthread_key_create(&exit_key, leave) == 0; }

uint32_t strata__counter_join(void)
{
    pthread_once(&once, init);
    for (uint32_t i = 0; usable && i < COUNTER_OWNED; i++) {
        uint32_t nobody = 0;
        /* Acquire: the last owner's stores come before ours. */
        if (!atomic_compare_exchange_strong_explicit(&taken[i], &nobody, 1, memory_order_acquire, memory_order_relaxed))
            continue;
        if (pthread_setspecific(exit_key, (void *)(uintptr_t)(i + 1)) == 0)
            return strata__counter_slot = i + 1;
        atomic_store_explicit(&taken[i], 0, memory_order_release);
        break;
    }
    uint32_t stranger = atomic_fetch_add_explicit(&strangers, 1, memory_order_relaxed);
    return strata__counter_slot = COUNTER_OWNED + stranger % COUNTER_SHARED + 1;
}

uint64_t strata__counter_sum(const struct counter_cell *cells, unsigned word)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < COUNTER_CELLS; i++)
        sum += atomic_load_explicit(&cells[i].words[word], memory_order_acquire);
    return sum;
}
