// bench/peers/strata_cache.hpp - strata, through its public interface and as a user gets it: one memory layer, ttl and
// counters at their defaults, real key compare, pin and unpin on every hit.
#ifndef BENCH_PEERS_STRATA_CACHE_HPP
#define BENCH_PEERS_STRATA_CACHE_HPP
#include "bench/peers/peer.hpp"
#include "strata/strata.h"
#include <cstdio>

namespace bench
{

struct strata_base : peer {
    static constexpr bool evicts = true;

    explicit strata_base(const config &c) : peer(c)
    {
        strata_memory_options memory = {};
        memory.size = sizeof memory;
        // The limit is the count of entries where it is to evict; the bytes are ample either way.
        memory.max_bytes = ((uint64_t)32 << 20) + c.capacity * (c.value_bytes + 160);
        memory.max_entries = c.bounded ? c.capacity : 0;
        strata_layer *layer = strata_memory_layer(&memory);
        strata_options options = STRATA_OPTIONS_INIT;
        options.layers = &layer;
        options.layer_count = 1;
        strata_error err = STRATA_ERROR_INIT;
        int status = strata_open(&cache, &options, &err);
        if (status < 0)
            fail("strata_open", err);
    }

    void put(const key &k)
    {
        strata_error err = STRATA_ERROR_INIT;
        int status = strata_set(cache, strata_bytes(k.text, k.size), strata_bytes(cfg.source, cfg.value_bytes), nullptr,
                                &err);
        if (status != STRATA_OK)
            fail("strata_set", err);
    }

  protected:
    strata *cache = nullptr;

    [[noreturn]] static void fail(const char *what, const strata_error &err)
    {
        fprintf(stderr, "mem_bench: %s: %s: %s\n", what, err.where, err.message);
        exit(1);
    }
};

// get, then set where it was missing.
struct strata_get_set : strata_base {
    static constexpr const char *name = "strata";
    using strata_base::strata_base;

    template <class Use> bool get(const key &k, Use use)
    {
        strata_value *value;
        int status = strata_get(cache, strata_bytes(k.text, k.size), &value, nullptr);
        if (status == STRATA_OK) {
            use((const char *)strata_value_data(value));
            strata_value_unref(value);
            return true;
        }
        if (status != STRATA_MISS)
            fail_get(status);
        return false;
    }

  private:
    [[noreturn]] static void fail_get(int status)
    {
        fprintf(stderr, "mem_bench: strata_get: %s\n", strata_status_text(status));
        exit(1);
    }
};

// 16 keys a call: each value touched, and given back by itself.
struct strata_get_many_keys : strata_base {
    static constexpr const char *name = "strata_many";
    static constexpr bool evicts = false;
    static constexpr size_t batch = 16;
    using strata_base::strata_base;

    template <class Use> size_t get_many(const key *keys, Use use)
    {
        strata_item items[batch];
        for (size_t i = 0; i < batch; i++)
            items[i].key = strata_bytes(keys[i].text, keys[i].size);
        strata_error err = STRATA_ERROR_INIT;
        int status = strata_get_many(cache, items, batch, &err);
        if (status < 0)
            fail("strata_get_many", err);
        size_t hits = 0;
        for (auto &item : items) {
            if (item.status == STRATA_OK) {
                use((const char *)strata_value_data(item.value));
                strata_value_unref(item.value);
                hits++;
            }
        }
        return hits;
    }
};

// One get_or_load, whose loader copies the value.
struct strata_load_through : strata_base {
    static constexpr const char *name = "strata_gol";
    static constexpr bool loads = true;
    using strata_base::strata_base;

    template <class Use> bool get(const key &k, Use use)
    {
        call c = { &cfg, false };
        strata_value *value;
        strata_error err = STRATA_ERROR_INIT;
        int status = strata_get_or_load(cache, strata_bytes(k.text, k.size), load, &c, nullptr, &value, &err);
        if (status != STRATA_OK)
            fail("strata_get_or_load", err);
        use((const char *)strata_value_data(value));
        strata_value_unref(value);
        return !c.loaded;
    }

  private:
    struct call {
        const config *cfg;
        bool loaded;
    };
    static int load(strata_load *l, strata_slice, void *ctx)
    {
        auto *c = (call *)ctx;
        c->loaded = true;
        return strata_load_copy(l, c->cfg->source, c->cfg->value_bytes);
    }
};

} // namespace bench
#endif // BENCH_PEERS_STRATA_CACHE_HPP
