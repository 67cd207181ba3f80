// bench/peers/tbb_maps.hpp - oneTBB: concurrent_lru_cache (a map behind an aggregator; it can only get-or-load) and
// concurrent_hash_map (a lock an entry, never evicts).
#ifndef BENCH_PEERS_TBB_MAPS_HPP
#define BENCH_PEERS_TBB_MAPS_HPP
#include "bench/peers/peer.hpp"
#define TBB_PREVIEW_CONCURRENT_LRU_CACHE 1
#include <memory>
#include <tbb/concurrent_hash_map.h>
#include <tbb/concurrent_lru_cache.h>
#include <tbb/version.h>

namespace bench
{

struct tbb_lru : peer {
    static constexpr const char *name = "tbb_lru";
    static constexpr bool evicts = true, loads = true;

    explicit tbb_lru(const config &c) : peer(c), cache_(load, c.capacity) { loader_config() = c; }

    template <class Use> bool get(const key &k, Use use)
    {
        loaded() = false;
        {
            auto handle = cache_[ordered_key{ k }];
            use(handle.value().get());
        }
        return !loaded();
    }
    void put(const key &k) { auto handle = cache_[ordered_key{ k }]; }

  private:
    struct ordered_key {
        key k;
        bool operator<(const ordered_key &other) const
        {
            size_t shorter = k.size < other.k.size ? k.size : other.k.size;
            int order = memcmp(k.text, other.k.text, shorter);
            return order != 0 ? order < 0 : k.size < other.k.size;
        }
    };
    // The loader is a plain function: what it needs must be global.
    static config &loader_config()
    {
        static config c;
        return c;
    }
    static bool &loaded()
    {
        static thread_local bool flag;
        return flag;
    }
    static std::shared_ptr<char> load(ordered_key)
    {
        loaded() = true;
        return std::shared_ptr<char>(copy_of_value(loader_config()), free);
    }
    tbb::concurrent_lru_cache<ordered_key, std::shared_ptr<char>, std::shared_ptr<char> (*)(ordered_key)> cache_;
};

struct tbb_hash_map : peer {
    static constexpr const char *name = "tbb_hash_map";

    explicit tbb_hash_map(const config &c) : peer(c), map_(c.entries) {}

    template <class Use> bool get(const key &k, Use use)
    {
        typename table::const_accessor found;
        if (!map_.find(found, k))
            return false;
        use(found->second);
        return true;
    }
    void put(const key &k) { map_.insert(std::make_pair(k, copy_of_value(cfg))); }

  private:
    struct compare {
        static size_t hash(const key &k) { return hash_key(k); }
        static bool equal(const key &a, const key &b) { return a == b; }
    };
    // TBB's own scalable allocator is left out: every peer allocates with malloc.
    typedef tbb::concurrent_hash_map<key, char *, compare, std::allocator<std::pair<const key, char *>>> table;
    table map_;
};

} // namespace bench
#endif // BENCH_PEERS_TBB_MAPS_HPP
