/* schedule_world.c - see schedule_world.h. */
#include "tests/unit/schedule_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/core/flight.h"

struct world world;

uint64_t draw(uint64_t below)
{
    world.random += 0x9e3779b97f4a7c15u;
    return strata__mix64(world.random) % below;
}

void world_broken(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: not so: %s; STRATA_SEED=%llu shows it again\n", file, line, what,
            (unsigned long long)world.seed);
    abort();
}

strata_slice key_of(size_t k)
{
    static const char *const names[KEYS] = { "a key of a usual size", "b", "a", "c, which is long" };
    return strata_str(names[k]);
}

strata *cache_of(size_t k) { return k < 2 ? world.cache : world.space; }

uint64_t payload_version(const strata_value *v, size_t k)
{
    struct payload p;
    CHECK(strata_value_size(v) == sizeof p);
    memcpy(&p, strata_value_data(v), sizeof p);
    CHECK(p.key == k);
    return p.version;
}

void note_invalidated(size_t k)
{
    if (!world.closed) /* the clock goes with the cache */
        world.invalidated_ms[k] = ex_now_ms(world.ex);
}

/* Loaders ----------------------------------------------------------------------------------------------------------- */

int finish_load(struct load *l, int how)
{
    struct payload p = { l->key, l->version };
    strata_load *load = l->load;
    l->completed = 1;
    switch (how) {
    case 0: return strata_load_fail(load, STRATA_EIO, NULL);
    case 1: return strata_load_absent(load);
    case 2: return strata_load_decline(load, &p, sizeof p);
    case 3: /* an honest one */
        if (strata_load_previous(load) != NULL && payload_version(strata_load_previous(load), l->key) == l->version)
            return strata_load_not_modified(load);
        break;
    default: break;
    }
    return strata_load_copy(load, &p, sizeof p);
}

/* It comes late to its loader: its key was invalidated after it began, and a newer one may have been faster. */
static int overtaken(const struct load *l)
{
    const struct flight *f = flight_of_load(l->load);
    return (f->poisoned || f->position < atomic_load(&f->handle->min_position)) &&
           f->begun_ms <= world.invalidated_ms[l->key];
}

static void check_alone(const struct load *mine)
{
    if (mine->off || world.closing || overtaken(mine) || strata_load_canceled(mine->load))
        return;
    for (size_t i = 0; i < world.load_count; i++) {
        const struct load *l = &world.loads[i];
        if (l == mine || l->key != mine->key || l->completed || l->load == NULL || l->off || overtaken(l))
            continue;
        int old = mine->began_ms - l->began_ms + 4 * SLOW_MOST_MS > REFRESH_MS;
        CHECK(old || strata_load_canceled(l->load));
    }
}

static struct load *note_load(strata_load *load, size_t k, int off)
{
    CHECK(world.load_count < LOADS_MOST);
    struct load *l = &world.loads[world.load_count++];
    *l = (struct load){ .load = strata_load_ref(load),
                        .key = k,
                        .off = off || world.few_flights,
                        .version = world.origin[k],
                        .began_ms = ex_now_ms(world.ex) };
    check_alone(l);
    return l;
}

void give_back(struct load *l)
{
    strata_load *load = l->load;
    l->load = NULL;
    strata_load_unref(load);
}

static void nap(int64_t ms)
{
    struct parker parker = { 0 };
    ex_park(world.ex, &parker, ex_now_ms(world.ex) + ms);
}

static void load_another(size_t k)
{
    strata_value *v = NULL;
    size_t other = draw(KEYS);
    if (other == k || world.depth > 2 || !world.nesting || world.closing)
        return;
    world.depth++;
    int rc = strata_get_or_load(cache_of(other), key_of(other), load_one, (void *)(uintptr_t)other, NULL, &v, NULL);
    CHECK(rc != STRATA_MISS);
    world.depth--;
    strata_value_unref(v);
}

/* One load as a loader would do it: its answer. */
static int begin_load(strata_load *load, size_t k, int off)
{
    struct load *l = note_load(load, k, off);
    int rc = STRATA_OK;
    uint64_t how = draw(12);
    l->held = how > 2;
    switch (how) {
    case 0: /* somebody else, some day */
    case 1:
    case 2: return STRATA_PENDING;
    case 3: /* nobody: a wrong loader */ l->completed = 1; break;
    case 4:
        l->completed = 1;
        rc = STRATA_ECODEC;
        break;
    case 5:
        rc = finish_load(l, 4);
        CHECK(rc == STRATA_OK || rc == STRATA_ECLOSED || rc == STRATA_EALREADY);
        rc = finish_load(l, 4);
        CHECK(rc == STRATA_EALREADY || rc == STRATA_ECLOSED);
        rc = STRATA_OK;
        break;
    case 6:
        nap(1 + (int64_t)draw(8));
        finish_load(l, (int)draw(8));
        break;
    case 7:
        load_another(k);
        finish_load(l, 4);
        break;
    default: finish_load(l, (int)draw(10)); break;
    }
    give_back(l);
    return rc;
}

int load_one(strata_load *load, strata_slice key, void *ctx)
{
    size_t k = (uintptr_t)ctx & 7;
    CHECK(key.size == key_of(k).size && memcmp(key.data, key_of(k).data, key.size) == 0);
    return begin_load(load, k, ((uintptr_t)ctx & 8) != 0);
}

/* Keys 0 and 1 alone: a bulk call is one of one namespace. */
int load_some(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    int pending = 0, rc = STRATA_OK;
    int off = ctx != NULL;
    for (size_t i = 0; i < count; i++) {
        int one = begin_load(loads[i], memcmp(keys[i].data, "a", 1) == 0 ? 0 : 1, off);
        pending |= one == STRATA_PENDING;
        rc = one < 0 ? one : rc;
    }
    if (rc < 0)
        for (size_t i = 0; i < world.load_count; i++) /* all of this call fail with it */
            for (size_t n = 0; n < count; n++)
                if (world.loads[i].load == loads[n])
                    world.loads[i].completed = 1;
    return rc < 0 ? rc : pending ? STRATA_PENDING : STRATA_OK;
}

void complete_some_load(void)
{
    size_t from = world.load_count != 0 ? draw(world.load_count) : 0;
    for (size_t i = 0; i < world.load_count; i++) {
        struct load *l = &world.loads[(from + i) % world.load_count];
        if (l->load == NULL || l->held)
            continue;
        if (draw(8) != 0)
            finish_load(l, (int)draw(10));
        l->completed = 1;
        give_back(l); /* without a completion that fails it */
        return;
    }
}

/* Judging ----------------------------------------------------------------------------------------------------------- */

static void pin(strata_value *v, size_t k, uint64_t version)
{
    if (world.pin_count == PINS_MOST || draw(4) != 0) {
        strata_value_unref(v);
        return;
    }
    world.pins[world.pin_count] = v;
    world.pin_key[world.pin_count] = k;
    world.pin_version[world.pin_count++] = version;
}

static void judge_read(size_t k, uint64_t floor, int loads, int status, strata_value *v)
{
    if (status == STRATA_OK || status == STRATA_STALE) {
        CHECK(v != NULL);
        CHECK(status == STRATA_OK || world.stale);
        uint64_t version = payload_version(v, k);
        CHECK(version >= floor);
        CHECK(version <= world.origin[k]);
        pin(v, k, version);
        return;
    }
    CHECK(v == NULL);
    CHECK(status != STRATA_MISS || !loads);
    if (status < 0 && status != STRATA_ECLOSED)
        CHECK(loads && (status == STRATA_EIO || status == STRATA_ECODEC || status == STRATA_ELOADER ||
                        status == STRATA_ETIMEDOUT || status == STRATA_EDEADLOCK || status == STRATA_EBUSY));
    CHECK(status != STRATA_ECLOSED || world.closing);
}

static void raise_floor(size_t k, uint64_t version)
{
    if (world.floor[k] < version)
        world.floor[k] = version;
}

/* What a clear that begins now surely covers: not what a set that is on its way may still bring. */
void note_covered(struct call *c)
{
    for (size_t k = 0; k < KEYS; k++)
        c->covered[k] = world.origin[k];
    for (size_t i = 0; i < world.call_count; i++) {
        const struct call *other = &world.calls[i];
        if (other->kind == KIND_SET && other->accepted && !other->done && other->version < c->covered[other->key])
            c->covered[other->key] = other->version;
    }
}

static void judge_write(struct call *c, int status)
{
    if (status == STRATA_ECLOSED) {
        CHECK(world.closing);
        return;
    }
    CHECK(status == STRATA_OK || (status == STRATA_MISS && c->kind == KIND_EXPIRE));
    if (c->kind == KIND_CLEAR || c->kind == KIND_CLEAR_SPACE) {
        for (size_t k = c->kind == KIND_CLEAR ? 0 : 2; k < KEYS; k++) {
            raise_floor(k, c->covered[k]);
            note_invalidated(k);
        }
    } else if (c->kind != KIND_EXPIRE || !world.stale) {
        raise_floor(c->key, c->version);
    }
}

void judge(struct call *c, int status, strata_value *value)
{
    switch (c->kind) {
    case KIND_GET:
    case KIND_LOAD: judge_read(c->key, c->floor[c->key], c->kind == KIND_LOAD, status, value); return;
    case KIND_GET_MANY:
    case KIND_LOAD_MANY:
        for (size_t i = 0; i < 2 && status != STRATA_ECLOSED; i++)
            judge_read(i, c->floor[i], c->kind == KIND_LOAD_MANY, c->items[i].status, c->items[i].value);
        for (size_t i = 0; i < 2 && status == STRATA_ECLOSED; i++)
            strata_value_unref(c->items[i].value);
        return;
    case KIND_HAS: CHECK(status == 0 || status == 1 || (status == STRATA_ECLOSED && world.closing)); return;
    default: judge_write(c, status); return;
    }
}
