/* os_env.h - what the environment asks of the library, and standard error. */
#ifndef STRATA_OS_ENV_H
#define STRATA_OS_ENV_H
#include <stddef.h>

/* A variable, as getenv(), but of a program with more rights than its user NULL. */
const char *strata__os_env(const char *name);

/* One line, in one call where the system takes it so; what it does not take is lost. */
void strata__os_stderr(const char *text, size_t size);

#endif /* STRATA_OS_ENV_H */
