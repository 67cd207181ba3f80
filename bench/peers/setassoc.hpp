// bench/peers/setassoc.hpp - the floor of get-or-insert: the least that a bounded cache has to do.
//
// 14 ways a 64-byte bucket with 16-bit tags and counters from 0 to 3 under a clock hand, values in fixed slots of one
// size.  No lock, so one thread only; no list, no free memory to manage, no expiry, no pins.
#ifndef BENCH_PEERS_SETASSOC_HPP
#define BENCH_PEERS_SETASSOC_HPP
#include "bench/peers/peer.hpp"

namespace bench
{

struct setassoc : peer {
    static constexpr const char *name = "setassoc_1t";
    static constexpr bool evicts = true, single_threaded = true, floor = true;

    explicit setassoc(const config &c) : peer(c)
    {
        buckets_ = (c.capacity + WAYS - 1) / WAYS;
        entry_bytes_ = (sizeof(key) + c.value_bytes + 15) & ~(size_t)15;
        bucket_ = (bucket *)(void *)map_pages(buckets_ * sizeof(bucket), true);
        arena_ = map_pages(buckets_ * WAYS * entry_bytes_, true);
    }

    template <class Use> bool get(const key &k, Use use)
    {
        uint64_t hash = hash_key(k);
        size_t at = index_of(hash);
        bucket &b = bucket_[at];
        for (unsigned way = 0; way < WAYS; way++) {
            if (b.tag[way] != tag_of(hash))
                continue;
            const char *entry = arena_ + (at * WAYS + way) * entry_bytes_;
            if (!(*(const key *)(const void *)entry == k))
                continue;
            if (b.uses[way] < 3)
                b.uses[way]++;
            use(entry + sizeof(key));
            return true;
        }
        return false;
    }

    void put(const key &k)
    {
        uint64_t hash = hash_key(k);
        size_t at = index_of(hash);
        bucket &b = bucket_[at];
        unsigned way = choose(b);
        char *entry = arena_ + (at * WAYS + way) * entry_bytes_;
        b.tag[way] = tag_of(hash);
        b.uses[way] = 0;
        memcpy(entry, &k, sizeof k);
        memcpy(entry + sizeof k, cfg.source, cfg.value_bytes);
    }

  private:
    static constexpr unsigned WAYS = 14;
    struct bucket {
        uint16_t tag[WAYS]; // 0: free
        uint8_t uses[WAYS];
        uint8_t hand;
        uint8_t unused[21];
    };
    static_assert(sizeof(bucket) == 64, "one cache line");

    size_t index_of(uint64_t hash) const { return (size_t)(((unsigned __int128)hash * buckets_) >> 64); }
    static uint16_t tag_of(uint64_t hash) { return (uint16_t)(hash | 1); }
    static unsigned choose(bucket &b)
    {
        for (unsigned way = 0; way < WAYS; way++) {
            if (b.tag[way] == 0)
                return way;
        }
        for (;;) {
            unsigned way = b.hand;
            b.hand = (uint8_t)((way + 1) % WAYS);
            if (b.uses[way] == 0)
                return way;
            b.uses[way]--;
        }
    }

    bucket *bucket_;
    char *arena_;
    size_t buckets_, entry_bytes_;
};

} // namespace bench
#endif // BENCH_PEERS_SETASSOC_HPP
