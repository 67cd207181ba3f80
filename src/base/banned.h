/* banned.h - included before everything by the build: calls that this code base does not make. */
#ifndef STRATA_BASE_BANNED_H
#define STRATA_BASE_BANNED_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#undef strcpy
#undef strcat
#undef strncpy
#undef sprintf
#undef vsprintf
#undef strtok
#undef gets
#define strcpy(a, b) strata_banned_strcpy_use_memcpy
#define strcat(a, b) strata_banned_strcat_use_snprintf
#define strncpy(a, b, n) strata_banned_strncpy_use_snprintf
#define sprintf(...) strata_banned_sprintf_use_snprintf
#define vsprintf(...) strata_banned_vsprintf_use_vsnprintf
#define strtok(a, b) strata_banned_strtok_use_strcspn
#define gets(a) strata_banned_gets
#endif /* STRATA_BASE_BANNED_H */
