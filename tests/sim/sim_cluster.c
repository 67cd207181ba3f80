/* sim_cluster.c - see sim_cluster.h. */
#include "tests/sim/sim_cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/layer/redis/redis_layer_impl.h"
#include "src/core/core_impl.h"
#include "strata/ban.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/sim_world.h"

struct payload {
    uint64_t key, version;
};

struct batch {
    size_t count;
    strata_item items[CLUSTER_BATCH];
    strata_item_loader loaders[CLUSTER_BATCH];
    struct history_read reads[CLUSTER_BATCH];
};

struct call {
    enum call_kind kind;
    int node, done, orphan; /* its node has crashed: nobody hears the answer */
    size_t key;
    uint64_t versions[CLUSTER_KEYS]; /* a write's; 0: not of this key */
    struct history_read read;
    struct batch *batch; /* of a call for many keys */
    int behind;          /* a set that was queued */
};

static int is_read(enum call_kind kind) { return kind <= CALL_LOAD_EACH; }

/* A load that is completed later. */
struct later {
    struct timer timer;
    struct task task;
    strata_load *load;
    int node;
    struct payload payload;
};

static struct {
    struct cluster_options o;
    struct {
        strata *cache; /* NULL: it has left */
        int memory, crashed, member;
    } nodes[SIM_NODES_MOST];
    int count, members;
    struct sim_net *bus;
    struct call calls[CLUSTER_CALLS];
    size_t call_count;
} c;

struct cluster_seen cluster_seen;

const char *cluster_key(size_t key)
{
    static const char *const names[2][CLUSTER_KEYS] = { { "a-usual-key", "b-usual-key", "c-usual-key" },
                                                        { "a", "b", "c" } };
    return names[c.o.short_keys][key];
}

static strata_slice key_of(size_t k) { return strata_str(cluster_key(k)); }
static size_t number_of(strata_slice key) { return (size_t)(*(const char *)key.data - 'a'); }

/* Its key, and "all": what everything is tagged with. */
static void tags_of(size_t key, strata_slice out[2])
{
    out[0] = key_of(key);
    out[1] = strata_str("all");
}

/* Loading ------------------------------------------------------------------------------------------------------------- */

static void complete(strata_load *load, const struct payload *payload)
{
    if (c.o.fail_loads_in != 0 && sim_draw(c.o.fail_loads_in) == 0)
        (void)strata_load_fail(load, STRATA_EIO, NULL);
    else {
        strata_slice tags[2];
        tags_of(payload->key, tags);
        (void)strata_load_tags(load, tags, 2);
        (void)strata_load_copy(load, payload, sizeof *payload);
    }
}

static void complete_later(struct task *task)
{
    struct later *later = (struct later *)(void *)((char *)task - offsetof(struct later, task));
    complete(later->load, &later->payload);
    strata_load_unref(later->load);
    free(later);
}

static void due(struct timer *timer)
{
    struct later *later = (struct later *)(void *)((char *)timer - offsetof(struct later, timer));
    later->task.run = complete_later;
    ex_post_always(sim_inside(later->node), &later->task);
}

static int load_key(strata_load *load, strata_slice key, void *ctx)
{
    int node = (int)(uintptr_t)ctx;
    size_t k = number_of(key);
    struct payload payload = { k, history_origin(k) };
    struct executor *ex = sim_inside(node);
    int64_t takes_ms = (int64_t)sim_draw((uint64_t)c.o.load_most_ms + 1);
    struct parker parker = { 0 };
    cluster_seen.loads++;
    sim_trace("node %d loads key %zu: version %" PRIu64 ", takes %" PRId64 " ms", node, k, payload.version, takes_ms);
    if (sim_draw(3) != 0) {
        struct later *later = calloc(1, sizeof *later);
        if (later == NULL)
            sim_broken("no memory for a load");
        *later = (struct later){ .timer.fire = due, .load = strata_load_ref(load), .node = node, .payload = payload };
        ex_at(ex, &later->timer, ex_now_ms(ex) + takes_ms);
        return STRATA_PENDING;
    }
    if (takes_ms != 0)
        (void)ex_park(ex, &parker, ex_now_ms(ex) + takes_ms);
    complete(load, &payload);
    return STRATA_OK;
}

static int load_keys(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    int rc = STRATA_OK;
    for (size_t i = 0; i < count; i++)
        if (load_key(loads[i], keys[i], ctx) == STRATA_PENDING)
            rc = STRATA_PENDING;
    return rc;
}

/* Calls ------------------------------------------------------------------------------------------------------------------ */

static void judge_read(const struct history_read *read, int status, const strata_value *value)
{
    struct payload payload;
    cluster_seen.reads++;
    cluster_seen.stale += status == STRATA_STALE;
    if (status != STRATA_OK && status != STRATA_STALE)
        return;
    cluster_seen.values++;
    if (strata_value_size(value) != sizeof payload)
        sim_broken("node %d read %zu bytes", read->node, strata_value_size(value));
    memcpy(&payload, strata_value_data(value), sizeof payload);
    if (payload.key != read->key)
        sim_broken("node %d read key %" PRIu64 " instead of %zu", read->node, payload.key, read->key);
    sim_trace("node %d has read key %zu: version %" PRIu64 ", status %d", read->node, read->key, payload.version,
              status);
    history_judge(read, status, payload.version);
}

/* The call's own status is that of some item that failed, if one did. */
static void end_batch(const struct call *call, int status)
{
    int told = status >= 0;
    for (size_t i = 0; i < call->batch->count; i++) {
        strata_item *item = &call->batch->items[i];
        if (item->status == STRATA_PENDING || (status >= 0 && item->status < 0))
            sim_broken("node %d: key %zu of a batch ends with %d, and the batch with %d", call->node,
                       call->batch->reads[i].key, item->status, status);
        if (!call->orphan)
            judge_read(&call->batch->reads[i], item->status, item->value);
        told |= item->status == status;
        strata_value_unref(item->value);
    }
    if (!told)
        sim_broken("node %d: a batch ends with %d, and none of its keys does", call->node, status);
}

static enum history_write_kind history_kind(const struct call *call)
{
    const enum call_kind kind = call->kind;
    return call->behind           ? HISTORY_BEHIND
           : kind == CALL_CLEAR   ? HISTORY_CLEAR
           : kind == CALL_SET     ? HISTORY_SET
           : kind >= CALL_BAN_TAG ? HISTORY_BAN
                                  : HISTORY_DELETE;
}

static void end_write(const struct call *call, int status)
{
    cluster_seen.writes++;
    cluster_seen.writes_ok += status == STRATA_OK;
    cluster_seen.writes_failed += status < 0;
    for (size_t k = 0; k < CLUSTER_KEYS; k++)
        if (call->versions[k] != 0) {
            sim_trace("node %d has written key %zu: version %" PRIu64 ", kind %d, status %d", call->node, k,
                      call->versions[k], (int)call->kind, status);
            history_written(call->node, k, call->versions[k], history_kind(call), status);
        }
}

static void answered(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct call *call = ctx;
    (void)err;
    if (call->done)
        sim_broken("a call was answered twice");
    call->done = 1;
    if (call->batch != NULL)
        end_batch(call, status);
    else if (!call->orphan && is_read(call->kind))
        judge_read(&call->read, status, value);
    else if (!call->orphan)
        end_write(call, status);
    strata_value_unref(value);
}

static int writes(const struct call *call, size_t k)
{
    switch (call->kind) {
    case CALL_CLEAR:
    case CALL_BAN_PATTERN: return 1;
    case CALL_DELETE:
    case CALL_SET:
    case CALL_BAN_PREFIX: return call->key == k;
    case CALL_BAN_TAG: return call->key == k || call->key == CLUSTER_KEYS;
    default: return 0;
    }
}

static struct history_read begin_read(int node, size_t key)
{
    enum history_reader reader = !c.nodes[node].memory ? HISTORY_STORE : c.bus != NULL ? HISTORY_BUS : HISTORY_OWN;
    return history_read(node, key, reader, sim_now_ms());
}

static struct call *new_call(int node, enum call_kind kind, size_t key)
{
    if (c.call_count == CLUSTER_CALLS)
        sim_broken("more calls than there is room for");
    struct call *call = &c.calls[c.call_count];
    *call = (struct call){ .kind = kind, .node = node, .key = key };
    for (size_t k = 0; k < CLUSTER_KEYS; k++)
        if (writes(call, k) && history_is_writing(k))
            return NULL;
    for (size_t k = 0; k < CLUSTER_KEYS; k++)
        if (writes(call, k))
            call->versions[k] = history_write(k);
    if (key < CLUSTER_KEYS)
        call->read = begin_read(node, key);
    c.call_count++;
    return call;
}

static uint64_t sets_behind(strata *cache)
{
    strata_stats stats = { .size = sizeof stats };
    if (strata_stats_get(cache, &stats) != STRATA_OK)
        sim_broken("no stats");
    return stats.sets_behind;
}

void cluster_call(int node, enum call_kind kind, size_t key, const strata_policy *policy)
{
    struct call *call = new_call(node, kind, key);
    if (call == NULL)
        return;
    strata *cache = c.nodes[node].cache;
    struct payload payload = { key, key < CLUSTER_KEYS ? call->versions[key] : 0 };
    void *ctx = (void *)(uintptr_t)node;
    strata_slice tags[2];
    uint64_t behind = kind == CALL_SET ? sets_behind(cache) : 0;
    int rc;
    sim_trace("node %d is asked: kind %d, key %zu, version %" PRIu64, node, (int)kind, key, payload.version);
    switch (kind) {
    case CALL_GET: rc = strata_get_async(cache, key_of(key), NULL, answered, call, NULL); break;
    case CALL_LOAD:
        rc = strata_get_or_load_async(cache, key_of(key), load_key, ctx, policy, NULL, answered, call, NULL);
        break;
    case CALL_DELETE: rc = strata_delete_async(cache, key_of(key), NULL, answered, call, NULL); break;
    case CALL_SET:
        tags_of(key, tags);
        rc = strata_set_tagged_async(cache, key_of(key), strata_bytes(&payload, sizeof payload), tags, 2, policy, NULL,
                                     answered, call, NULL);
        break;
    case CALL_BAN_TAG:
        rc = strata_ban_tag_async(cache, key == CLUSTER_KEYS ? "all" : cluster_key(key), 0, NULL, answered, call, NULL);
        break;
    case CALL_BAN_PREFIX: rc = strata_ban_prefix_async(cache, key_of(key), 0, NULL, answered, call, NULL); break;
    case CALL_BAN_PATTERN: rc = strata_ban_pattern_async(cache, strata_str("?*"), 0, NULL, answered, call, NULL); break;
    default: rc = strata_clear_async(cache, NULL, answered, call, NULL); break;
    }
    call->behind = kind == CALL_SET && sets_behind(cache) != behind;
    cluster_seen.behind += (uint64_t)call->behind;
    if (rc != STRATA_PENDING)
        sim_broken("node %d did not accept a call: %d", node, rc);
}

void cluster_call_many(int node, enum call_kind kind, const size_t *keys, size_t count, const strata_policy *policy)
{
    struct call *call = new_call(node, kind, CLUSTER_KEYS);
    struct batch *b = calloc(1, sizeof *b);
    strata *cache = c.nodes[node].cache;
    void *ctx = (void *)(uintptr_t)node;
    int rc;
    if (b == NULL)
        sim_broken("no memory for a batch");
    call->batch = b;
    b->count = count;
    for (size_t i = 0; i < count; i++) {
        b->items[i] = (strata_item){ .key = key_of(keys[i]), .status = STRATA_PENDING };
        b->loaders[i] = (strata_item_loader){ load_key, ctx };
        b->reads[i] = begin_read(node, keys[i]);
        sim_trace("node %d is asked: kind %d, key %zu, %zu of %zu", node, (int)kind, keys[i], i + 1, count);
    }
    cluster_seen.batches++;
    cluster_seen.batched += count;
    if (kind == CALL_GET_MANY)
        rc = strata_get_many_async(cache, b->items, count, NULL, answered, call, NULL);
    else if (kind == CALL_LOAD_MANY)
        rc = strata_get_or_load_many_async(cache, b->items, count, load_keys, ctx, policy, NULL, answered, call, NULL);
    else
        rc = strata_get_or_load_each_async(cache, b->items, b->loaders, count, policy, NULL, answered, call, NULL);
    if (rc != STRATA_PENDING)
        sim_broken("node %d did not accept a call for many: %d", node, rc);
}

size_t cluster_calls_open(void)
{
    size_t open = 0;
    for (size_t i = 0; i < c.call_count; i++)
        open += !c.calls[i].done && !c.calls[i].orphan;
    return open;
}

/* Nodes ------------------------------------------------------------------------------------------------------------------ */

void cluster_open(const struct cluster_options *options)
{
    memset(&c, 0, sizeof c);
    c.o = *options;
    c.bus = options->bus != NULL ? sim_net_new(options->bus) : NULL;
}

static strata_layer *store_layer(int node)
{
    char url[64];
    strata_redis_options o = STRATA_REDIS_OPTIONS_INIT;
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", SIM_PORT + node);
    o.url = url;
    o.soft_timeout_ms = 40;
    o.timeout_ms = 60;
    o.connect_timeout_ms = 60;
    o.lease_ms = 200;
    o.lease_wait_ms = 100;
    o.breaker_open_ms = 100;
    o.tombstone_ms = c.o.tombstone_ms;
    o.compression = STRATA_COMPRESS_NONE;
    return strata__redis_layer(&o);
}

int cluster_join(int memory)
{
    int node = c.count++;
    strata_error err = STRATA_ERROR_INIT;
    strata_memory_options m = { .size = sizeof m, .max_bytes = 1 << 18 };
    strata_layer *layers[2];
    strata_bus *bus;
    size_t count = 0;
    if (node == SIM_NODES_MOST)
        sim_broken("more nodes than there is room for");
    struct executor *ex = sim_node_executor(node);
    if (memory)
        layers[count++] = strata_memory_layer(&m);
    layers[count++] = store_layer(node);
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = count;
    options.policy = &c.o.policy;
    options.coherence = &c.o.coherence;
    if (memory && c.bus != NULL) {
        bus = sim_net_bus(c.bus);
        options.buses = &bus;
        options.bus_count = 1;
        c.nodes[node].member = c.members++;
    }
    c.nodes[node].memory = memory;
    if (strata__open_with(&c.nodes[node].cache, &options, ex, &err) != STRATA_OK)
        sim_broken("node %d: %s: %s", node, err.where, err.message);
    return node;
}

size_t cluster_alive(int *out)
{
    size_t count = 0;
    for (int i = 0; i < c.count; i++)
        if (c.nodes[i].cache != NULL && !c.nodes[i].crashed && !sim_frozen(i))
            out[count++] = i;
    return count;
}

strata *cluster_cache(int node) { return c.nodes[node].cache; }
int cluster_has_memory(int node) { return c.nodes[node].memory; }

struct sim_net *cluster_bus(int node, int *out_member)
{
    *out_member = c.nodes[node].member;
    return c.nodes[node].memory && c.nodes[node].cache != NULL ? c.bus : NULL;
}

void cluster_crash(int node)
{
    sim_freeze(node);
    sim_net_block(node, 1);
    c.nodes[node].crashed = 1;
    for (size_t i = 0; i < c.call_count; i++) {
        struct call *call = &c.calls[i];
        if (call->node != node || call->done)
            continue;
        if (!is_read(call->kind))
            end_write(call, STRATA_ECLOSED); /* nobody knows */
        call->orphan = 1;
    }
}

void cluster_leave(int node)
{
    strata_stats s = { .size = sizeof s };
    if (strata_stats_get(c.nodes[node].cache, &s) == STRATA_OK) {
        cluster_seen.leases += s.leases;
        cluster_seen.lease_waits += s.lease_waits;
        cluster_seen.leases_lost += s.leases_lost;
        cluster_seen.fenced += s.fenced;
    }
    sim_thaw(node);
    int rc = strata_close(c.nodes[node].cache);
    if (rc != STRATA_OK && rc != STRATA_PENDING)
        sim_broken("node %d does not close: %d", node, rc);
    c.nodes[node].cache = NULL;
}

void cluster_close(void)
{
    for (int i = 0; i < c.count; i++)
        if (c.nodes[i].cache != NULL)
            cluster_leave(i);
    for (size_t i = 0; i < c.call_count; i++) {
        if (!c.calls[i].done)
            sim_broken("a call was never answered");
        free(c.calls[i].batch);
    }
    if (c.bus != NULL)
        sim_net_free(c.bus);
}
