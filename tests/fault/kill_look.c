/* kill_look.c - the child that opens what another one left, and looks at every key: see kill_rounds.h. */
#include <unistd.h>

#include "tests/fault/kill_rounds.h"

struct sight {
    unsigned char there[HISTORY_KEYS];
    size_t sure[HISTORY_KEYS];
    uint64_t end[HISTORY_KEYS];
    int replaced[HISTORY_KEYS];
};

/* Before anything is looked at: what is expected. */
static void expect(struct history *h, struct sight *sight)
{
    for (uint32_t k = 0; k < HISTORY_KEYS; k++) {
        sight->sure[k] = history_sure(h, k, &sight->end[k], &sight->replaced[k]);
        uint64_t begin = atomic_load(&h->write[atomic_load(&h->key[k].last)].begin);
        if (sight->sure[k] != 0 && sight->replaced[k] && begin > atomic_load(&h->waited))
            atomic_store(&h->waited, begin);
    }
}

static void look(struct kill_store *s, struct sight *sight)
{
    struct history *h = s->history;
    for (uint32_t k = 0; k < HISTORY_KEYS && !atomic_load(&h->failed); k++) {
        strata_value *value = kill_store_look(s, k);
        sight->there[k] = value != NULL;
        history_seen(h, k, value != NULL ? strata_value_data(value) : NULL,
                     value != NULL ? strata_value_size(value) : 0);
        strata_value_unref(value);
        h->seen += sight->there[k];
    }
}

/* Nothing had to leave, so what is gone was in the last buffers. */
static void account(const struct plan *plan, struct history *h, const struct sight *sight)
{
    size_t bytes = 0;
    for (uint32_t k = 0; k < HISTORY_KEYS && !atomic_load(&h->failed); k++) {
        if (sight->sure[k] == 0 || sight->there[k])
            continue;
        uint64_t begin = atomic_load(&h->write[atomic_load(&h->key[k].last)].begin);
        if (begin < h->life_began)
            history_fail(h, "key %u is gone, which an earlier process had put", k);
        else if (plan->kind == STORE_DEMOTED)
            ; /* it may have been in memory */
        else if (atomic_load(&h->closed))
            history_fail(h, "key %u is gone, though it was closed", k);
        else if (sight->replaced[k])
            history_fail(h, "key %u is gone, whose last put had replaced another value, and returned", k);
        else if (sight->end[k] < atomic_load(&h->waited))
            history_fail(h, "key %u is gone, which was put before something else returned that waits for all before it",
                         k);
        bytes += sight->sure[k] - 1;
        h->lost++;
    }
    h->lost_bytes += bytes;
    if (plan->kind != STORE_DEMOTED && plan->options.compression == 0 && bytes > 2 * plan->options.write_buffer_bytes)
        history_fail(h, "%zu bytes were lost, more than two buffers", bytes);
}

static void no_damage(struct kill_store *s)
{
    strata_layer_stats stats = kill_store_stats(s);
    if (stats.errors != 0)
        history_fail(s->history, "%llu errors were counted at opening: a death is no damage",
                     (unsigned long long)stats.errors);
}

static int says_full(const char *call, void *ctx)
{
    (void)ctx;
    return kill_disk_says_full(call);
}

void kill_look(const struct plan *plan, struct history *h, uint64_t random)
{
    static const struct os_fault_hook full = { says_full, NULL, NULL };
    static struct sight first, second;
    strata_error err = STRATA_ERROR_INIT;
    kill_be_a_child();
    struct kill_store *s = kill_store_of(plan, h);
    expect(h, &first);
    if (plan->disk == DISK_SAYS_FULL && below(&random, 2))
        strata__os_fault_set(&full);
    int rc = kill_store_open(s, draw(&random), &err);
    if (rc != STRATA_OK) {
        history_fail(h, "not opened after a death: %d, %s", rc, err.message);
        _exit(1);
    }
    if (plan->disk == DISK_WELL)
        no_damage(s);
    look(s, &first);
    if (plan->roomy)
        account(plan, h, &first);
    if (below(&random, 2)) {
        kill_store_close(s);
        if (kill_store_open(s, draw(&random), &err) != STRATA_OK)
            history_fail(h, "not opened after a close: %s", err.message);
        else
            look(s, &second);
        for (uint32_t k = 0; k < HISTORY_KEYS; k++)
            if (first.there[k] && !second.there[k])
                history_fail(h, "key %u was lost by a close", k);
        if (below(&random, 2))
            kill_store_close(s);
    }
    _exit(0);
}
