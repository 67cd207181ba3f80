// bench/peers/rocksdb_cache.hpp - RocksDB's two block caches, LRUCache and HyperClockCache, used on their own.
//
// Each entry is charged 1, so that capacity counts entries.  HyperClockCache takes 16-byte keys only: it is given a
// 128-bit hash and never compares a key, which is in its favour.  The interface changed with RocksDB 8.
#ifndef BENCH_PEERS_ROCKSDB_CACHE_HPP
#define BENCH_PEERS_ROCKSDB_CACHE_HPP
#include "bench/peers/peer.hpp"
#include <memory>
#include <rocksdb/cache.h>
#include <rocksdb/version.h>
#if ROCKSDB_MAJOR >= 8
#include <rocksdb/advanced_cache.h>
#endif

namespace bench
{

struct rocksdb_cache : peer {
    static constexpr bool evicts = true;
    using peer::peer;

  protected:
    std::shared_ptr<rocksdb::Cache> cache;

    template <class Use> bool look_up(const rocksdb::Slice &k, Use use)
    {
        auto *handle = cache->Lookup(k);
        if (handle == nullptr)
            return false;
        use((const char *)cache->Value(handle));
        cache->Release(handle);
        return true;
    }

    void insert(const rocksdb::Slice &k)
    {
#if ROCKSDB_MAJOR >= 8
        static const rocksdb::Cache::CacheItemHelper helper(
            rocksdb::CacheEntryRole::kMisc, [](rocksdb::Cache::ObjectPtr v, rocksdb::MemoryAllocator *) { free(v); });
        cache->Insert(k, copy_of_value(cfg), &helper, 1).PermitUncheckedError();
#else
        cache->Insert(k, copy_of_value(cfg), 1, [](const rocksdb::Slice &, void *v) { free(v); }).PermitUncheckedError();
#endif
    }
};

struct rocksdb_lru : rocksdb_cache {
    static constexpr const char *name = "rocksdb_lru";
    explicit rocksdb_lru(const config &c) : rocksdb_cache(c)
    {
        rocksdb::LRUCacheOptions o;
        o.capacity = c.capacity;
        o.num_shard_bits = 6; // what RocksDB takes for a large block cache
        o.strict_capacity_limit = false;
        o.high_pri_pool_ratio = 0.0;
        o.metadata_charge_policy = rocksdb::kDontChargeCacheMetadata;
        cache = rocksdb::NewLRUCache(o);
    }
    template <class Use> bool get(const key &k, Use use) { return look_up(rocksdb::Slice(k.text, k.size), use); }
    void put(const key &k) { insert(rocksdb::Slice(k.text, k.size)); }
};

struct rocksdb_hcc : rocksdb_cache {
    static constexpr const char *name = "rocksdb_hcc";
    explicit rocksdb_hcc(const config &c) : rocksdb_cache(c)
    {
        rocksdb::HyperClockCacheOptions o(c.capacity, 1, 6, false, nullptr, rocksdb::kDontChargeCacheMetadata);
        cache = o.MakeSharedCache();
    }
    template <class Use> bool get(const key &k, Use use)
    {
        hashed h(k);
        return look_up(rocksdb::Slice((const char *)&h, sizeof h), use);
    }
    void put(const key &k)
    {
        hashed h(k);
        insert(rocksdb::Slice((const char *)&h, sizeof h));
    }

  private:
    struct hashed {
        uint64_t low, high;
        explicit hashed(const key &k) : low(hash_key(k)), high(hash_key(k, 0x1234567)) {}
    };
};

} // namespace bench
#endif // BENCH_PEERS_ROCKSDB_CACHE_HPP
