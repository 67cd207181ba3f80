/* os_random.h - unpredictable numbers from the system, for seeds. */
#ifndef STRATA_OS_RANDOM_H
#define STRATA_OS_RANDOM_H
#include <stdint.h>

/* Never fails: where the system gives nothing, it is made of clocks and addresses. */
uint64_t strata__os_random(void);

#endif /* STRATA_OS_RANDOM_H */
