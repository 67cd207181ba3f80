/* fuzz_kernel_text.c - the kernel's files, whatever stands in them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/format/kernel_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    uint64_t some, full;
    char root[64], at[64];
    (void)strata__kernel_number(text, size, &some);
    (void)strata__kernel_psi(text, size, &some, &full);
    if (strata__kernel_cgroup(text, size, at, sizeof at) != 0 && (at[0] != '/' || strlen(at) >= sizeof at))
        abort();
    for (int version = 1; version <= 2; version++)
        if (strata__kernel_cgroup_mount(text, size, version, root, at, sizeof at) == 0 && (root[0] == 0 || at[0] == 0))
            abort();
    return 0;
}
