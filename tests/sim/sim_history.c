/* sim_history.c - see sim_history.h. */
#include "tests/sim/sim_history.h"

#include <inttypes.h>
#include <string.h>

#include "strata/error.h"
#include "tests/sim/sim_world.h"

enum { FLOORS_MOST = 256, WILD_MOST = 64 };

struct key {
    uint64_t origin;
    int writing;
    struct {
        int64_t at_ms;
        uint64_t version;
    } floors[FLOORS_MOST]; /* rising */
    size_t floor_count;
    uint64_t store; /* the last floor that the store knows of */
    uint64_t own[HISTORY_NODES];
    uint64_t wild[WILD_MOST];
    size_t wild_count;
    uint64_t behind[WILD_MOST]; /* queued since the last clear or ban */
    size_t behind_count;
};

static struct {
    struct history_bounds bounds;
    struct key keys[HISTORY_KEYS];
} h;

void history_open(const struct history_bounds *bounds)
{
    memset(&h, 0, sizeof h);
    h.bounds = *bounds;
}

uint64_t history_origin(size_t key) { return h.keys[key].origin; }
int history_is_writing(size_t key) { return h.keys[key].writing; }

uint64_t history_write(size_t key)
{
    struct key *k = &h.keys[key];
    if (k->writing)
        sim_broken("two writes of one key at once are no test");
    k->writing = 1;
    return ++k->origin;
}

/* What nothing older than may have been read from `ms` on. */
static uint64_t floor_at(const struct key *k, int64_t ms)
{
    uint64_t version = 0;
    for (size_t i = 0; i < k->floor_count && k->floors[i].at_ms <= ms; i++)
        version = k->floors[i].version;
    return version;
}

/* One more; with 0 a clear or a ban, past which they may arrive. */
static void note_behind(struct key *k, uint64_t version)
{
    if (k->behind_count + k->wild_count >= WILD_MOST)
        sim_broken("more queued sets than the history has room for");
    if (version != 0)
        k->behind[k->behind_count++] = version;
    else
        while (k->behind_count != 0)
            k->wild[k->wild_count++] = k->behind[--k->behind_count];
}

void history_written(int node, size_t key, uint64_t version, enum history_write_kind kind, int status)
{
    struct key *k = &h.keys[key];
    k->writing = 0;
    if (kind == HISTORY_BEHIND || kind == HISTORY_CLEAR || kind == HISTORY_BAN)
        note_behind(k, kind == HISTORY_BEHIND ? version : 0);
    if (kind == HISTORY_BEHIND)
        return;
    if (status != STRATA_OK && kind == HISTORY_SET) {
        if (k->wild_count == WILD_MOST)
            sim_broken("more failed sets than the history has room for");
        k->wild[k->wild_count++] = version;
    }
    if ((status == STRATA_OK || (status == STRATA_PENDING && kind != HISTORY_SET)) && k->own[node] < version)
        k->own[node] = version;
    if (status != STRATA_OK || kind == HISTORY_BAN)
        return;
    if (k->floor_count == FLOORS_MOST)
        sim_broken("more writes than the history has room for");
    k->store = version;
    k->floors[k->floor_count].at_ms = sim_now_ms();
    k->floors[k->floor_count++].version = version;
}

struct history_read history_read(int node, size_t key, enum history_reader reader, int64_t now_ms)
{
    const struct key *k = &h.keys[key];
    return (struct history_read){
        .key = key, .node = node, .reader = reader, .began_ms = now_ms, .own = k->own[node], .store = k->store
    };
}

static int is_wild(const struct key *k, uint64_t version)
{
    for (size_t i = 0; i < k->wild_count; i++)
        if (k->wild[i] == version)
            return 1;
    return 0;
}

void history_judge(const struct history_read *read, int status, uint64_t version)
{
    const struct key *k = &h.keys[read->key];
    const char *whose = "a write of its own";
    uint64_t least = read->own;
    if (version > k->origin)
        sim_broken("node %d read version %" PRIu64 " of key %zu, which never was", read->node, version, read->key);
    if (read->reader == HISTORY_STORE && read->store > least) {
        least = read->store;
        whose = "a write that had returned";
    }
    if (read->reader == HISTORY_BUS) {
        int64_t bound_ms = status == STRATA_STALE ? h.bounds.stale_ms : h.bounds.ok_ms;
        uint64_t told = floor_at(k, read->began_ms - bound_ms);
        if (told > least) {
            least = told;
            whose = "a write that had returned longer ago than the bound";
        }
    }
    if (version >= least || is_wild(k, version))
        return;
    sim_violation("node %d read version %" PRIu64 " of key %zu (status %d), superseded by %s: %" PRIu64, read->node,
                  version, read->key, status, whose, least);
}
