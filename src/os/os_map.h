/* os_map.h - address space first, memory later.
 *
 * A range is reserved once, at its largest size, without memory behind it; parts become usable as they are committed.
 * So what lies in it never moves, and 32-bit offsets into it stay right while it grows.
 * Sizes and addresses given to commit and decommit are multiples of the page size; a part may be committed again. */
#ifndef STRATA_OS_MAP_H
#define STRATA_OS_MAP_H
#include <stddef.h>

/* What ranges are aligned to and rounded up to: a huge page of x86-64 and (4 KiB granule) AArch64. */
enum { OS_MAP_ALIGN = 2 << 20 };

size_t strata__os_page_size(void);
/* `bytes` is rounded up to OS_MAP_ALIGN.  0 or an errno; *out is NULL then. */
int strata__os_map_reserve(void **out, size_t bytes);
/* Make it readable and writable, filled with zeros where it was never committed.  `huge` asks for huge pages where the
 * system has them, and is no error where it has none.  0 or an errno. */
int strata__os_map_commit(void *at, size_t bytes, int huge);
/* Give the memory back, keep the addresses.  Unusable until committed again, then zeros. */
void strata__os_map_decommit(void *at, size_t bytes);
/* The same for whole multiples of OS_MAP_ALIGN, of which parts were decommitted before: huge pages can come there again, which what is
 * left of small ones' page tables would prevent. */
void strata__os_map_decommit_huge(void *at, size_t bytes);
/* The whole range, with the address and size given to reserve.  NULL is a no-op. */
void strata__os_map_release(void *base, size_t bytes);

#endif /* STRATA_OS_MAP_H */
