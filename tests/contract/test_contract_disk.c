/* test_contract_disk.c - the disk layer under contract: as it is, with the smallest parts, packed, and below memory. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/contract/contract.h"
#include "tests/support/temp_dir.h"

enum { DIRS_MOST = 4096 };

static char dirs[DIRS_MOST][256];
static size_t dir_count;

static strata_layer *make_in_new_dir(strata_disk_options options)
{
    if (dir_count == DIRS_MOST)
        abort();
    temp_dir_make(dirs[dir_count], sizeof dirs[0]);
    options.size = sizeof options;
    options.path = dirs[dir_count++];
    options.max_bytes = 64u << 20;
    return strata_disk_layer(&options);
}

static strata_layer *make_plain(void) { return make_in_new_dir((strata_disk_options){ 0 }); }

static strata_layer *make_small(void)
{
    return make_in_new_dir((strata_disk_options){ .segment_bytes = 64u << 10, .write_buffer_bytes = 4096 });
}

static strata_layer *make_zstd(void)
{
    return make_in_new_dir((strata_disk_options){ .compression = STRATA_COMPRESS_ZSTD, .compress_above_bytes = 1 });
}

static void remove_dirs(void)
{
    while (dir_count > 0)
        temp_dir_remove(dirs[--dir_count]);
}

int main(void)
{
    static const struct contract_subject subjects[] = {
        { "disk", make_plain, 1, 1000, 1, 0, 0 },
        { "disk, small parts", make_small, 1, 1000, 1, 0, 0 },
        { "disk, zstd", make_zstd, 1, 300, 1, 0, 0 },
    };
    strata_error err;
    int failed = 0;
    atexit(remove_dirs);
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
        strata_layer *probe = subjects[i].make();
        int built = probe->failed.status != STRATA_EUNSUPPORTED;
        strata_layer_free(probe);
        if (built)
            failed += contract_run_layer(&subjects[i]);
    }
    (void)err;
    failed += contract_run_cache(&subjects[0]);
    return failed;
}
