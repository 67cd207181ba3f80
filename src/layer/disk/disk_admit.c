/* disk_admit.c - who may come in: keys on their second sighting, and bytes within the budget of the day.
 *
 * Sightings stand in two Bloom filters, of the current window and of the one before; a window is as many new keys as the layer
 * may hold entries.  The budget is a bucket that fills evenly, and holds what an hour brings, at least a segment. */
#include <string.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/layer/disk/disk_impl.h"

enum { BITS_A_KEY = 8, PROBES = 4, LEAST_WINDOW = 1024, HOURS = 24 };
#define DAY_MS (24.0 * 3600 * 1000)

int strata__admission_init(struct disk *d)
{
    struct admission *a = &d->admission;
    uint64_t keys = d->options.max_entries != 0 ? d->options.max_entries : d->options.max_bytes / 1024;
    int code = strata__os_mutex_init(&a->lock);
    if (code != 0)
        return code;
    a->window = keys > LEAST_WINDOW ? keys : LEAST_WINDOW;
    if (d->options.write_bytes_per_day != 0) {
        a->per_ms = (double)d->options.write_bytes_per_day / DAY_MS;
        a->burst = (double)d->options.write_bytes_per_day / HOURS;
        if (a->burst < (double)d->segment_bytes)
            a->burst = (double)d->segment_bytes;
        a->tokens = a->burst;
        a->filled_ms = strata_host_now_ms(d->host);
    }
    if (d->options.admission != STRATA_ADMIT_SECOND)
        return 0;
    a->words = 16;
    while (a->words * 64 < a->window * BITS_A_KEY)
        a->words *= 2;
    for (int i = 0; i < 2; i++)
        a->bits[i] = strata__alloc_array(d->mem, a->words, sizeof(uint64_t));
    if (a->bits[0] != NULL && a->bits[1] != NULL)
        return 0;
    strata__admission_deinit(d);
    return -1;
}

void strata__admission_deinit(struct disk *d)
{
    for (int i = 0; i < 2; i++) {
        strata__free(d->mem, d->admission.bits[i]);
        d->admission.bits[i] = NULL;
    }
    strata__os_mutex_deinit(&d->admission.lock);
}

/* Are all of the key's bits set?  `set` sets them. */
static int probe(const struct admission *a, uint64_t *bits, uint64_t hash, int set)
{
    uint64_t step = strata__mix64(hash) | 1;
    int all = 1;
    for (int i = 0; i < PROBES; i++, hash += step) {
        uint64_t bit = hash >> 7 & (a->words * 64 - 1);
        all &= (int)(bits[bit / 64] >> bit % 64 & 1);
        if (set)
            bits[bit / 64] |= UINT64_C(1) << bit % 64;
    }
    return all;
}

int strata__admission_admits(struct disk *d, uint64_t hash)
{
    struct admission *a = &d->admission;
    os_mutex_lock(&a->lock);
    if (a->noted >= a->window) {
        a->current ^= 1;
        memset(a->bits[a->current], 0, a->words * sizeof(uint64_t));
        a->noted = 0;
    }
    int before = probe(a, a->bits[a->current ^ 1], hash, 0);
    int seen = probe(a, a->bits[a->current], hash, 1);
    a->noted += !seen;
    os_mutex_unlock(&a->lock);
    return seen || before;
}

int strata__admission_spend(struct disk *d, uint64_t bytes)
{
    struct admission *a = &d->admission;
    if (a->per_ms <= 0)
        return 1;
    int64_t now = strata_host_now_ms(d->host);
    os_mutex_lock(&a->lock);
    if (now > a->filled_ms) {
        a->tokens += (double)(now - a->filled_ms) * a->per_ms;
        a->filled_ms = now;
        if (a->tokens > a->burst)
            a->tokens = a->burst;
    }
    int enough = a->tokens >= (double)bytes;
    if (enough)
        a->tokens -= (double)bytes;
    os_mutex_unlock(&a->lock);
    return enough;
}
