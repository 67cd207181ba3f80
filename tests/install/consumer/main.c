/* main.c - a user's whole program: open, load through the cache, look, close. */
#include <stdio.h>
#include <string.h>
#include <strata/strata.h>

static int load(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    *(int *)ctx += 1;
    return strata_load_copy(load, "value", 5);
}

int main(void)
{
    strata *cache = NULL;
    strata_value *value = NULL;
    strata_error err = STRATA_ERROR_INIT;
    strata_memory_options memory = STRATA_MEMORY_OPTIONS_INIT;
    strata_stats stats = STRATA_STATS_INIT;
    strata_layer_stats layer = STRATA_LAYER_STATS_INIT;
    strata_inspection inspection = STRATA_INSPECTION_INIT;
    int loads = 0, round, bad = 0;

    if (strata_open_url(&cache, "memory:?max_bytes=1mb", NULL, &err) != STRATA_OK) {
        fprintf(stderr, "%s: %s\n", err.where, err.message);
        return 1;
    }
    for (round = 0; round < 2; round++) {
        if (strata_get_or_load(cache, strata_str("key"), load, &loads, NULL, &value, &err) != STRATA_OK) {
            fprintf(stderr, "%s: %s\n", err.where, err.message);
            bad = 1;
        } else {
            bad |= strata_value_size(value) != 5 || memcmp(strata_value_data(value), "value", 5) != 0;
        }
        strata_value_unref(value);
    }
    bad |= strata_stats_get(cache, &stats) != STRATA_OK || stats.requests != 2 || memory.size != sizeof memory;
    bad |= strata_stats_layer(cache, 0, &layer) != STRATA_OK || layer.entries != 1;
    bad |= strata_inspect(cache, strata_str("key"), &inspection, NULL) != STRATA_OK || inspection.value_bytes != 5;
    strata_close(cache);
    printf("strata %s: %d load\n", strata_version(), loads);
    return bad || loads != 1;
}
