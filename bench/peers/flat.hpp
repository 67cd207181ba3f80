// bench/peers/flat.hpp - the floor of a lookup: what a hit costs where nothing but the lookup is done.
//
// Open addressing at a load of at most one half, 8 bytes a slot (16 bits of hash, 48 of address), key beside value.
// No lock, no eviction, no counters, no expiry, no deletion.  flat_thp has it in 2 MiB pages, flat in 4 KiB pages.
#ifndef BENCH_PEERS_FLAT_HPP
#define BENCH_PEERS_FLAT_HPP
#include "bench/peers/peer.hpp"

namespace bench
{

template <bool HUGE_PAGES> struct flat_table : peer {
    static constexpr bool floor = true;

    explicit flat_table(const config &c) : peer(c)
    {
        size_t slots = 1;
        while (slots < c.entries * 2)
            slots <<= 1;
        mask_ = slots - 1;
        slot_ = (uint64_t *)(void *)map_pages(slots * sizeof slot_[0], HUGE_PAGES);
        entry_bytes_ = (sizeof(key) + c.value_bytes + 15) & ~(size_t)15;
        arena_ = map_pages(entry_bytes_ * c.entries, HUGE_PAGES);
    }

    template <class Use> bool get(const key &k, Use use)
    {
        uint64_t hash = hash_key(k), tag = hash & TAG;
        for (size_t i = hash & mask_;; i = (i + 1) & mask_) {
            uint64_t s = __atomic_load_n(&slot_[i], __ATOMIC_ACQUIRE);
            if (s == 0)
                return false;
            if ((s & TAG) != tag)
                continue;
            const char *entry = (const char *)(uintptr_t)(s & ~TAG);
            if (*(const key *)(const void *)entry == k) {
                use(entry + sizeof(key));
                return true;
            }
        }
    }

    void put(const key &k)
    {
        uint64_t hash = hash_key(k);
        char *entry = arena_ + entry_bytes_ * used_++;
        memcpy(entry, &k, sizeof k);
        memcpy(entry + sizeof k, cfg.source, cfg.value_bytes);
        size_t i = hash & mask_;
        while (slot_[i] != 0)
            i = (i + 1) & mask_;
        slot_[i] = (hash & TAG) | (uint64_t)(uintptr_t)entry;
    }

  private:
    static constexpr uint64_t TAG = 0xffff000000000000u;
    uint64_t *slot_;
    size_t mask_, entry_bytes_, used_ = 0;
    char *arena_;
};

struct flat : flat_table<false> {
    static constexpr const char *name = "flat";
    using flat_table::flat_table;
};

struct flat_thp : flat_table<true> {
    static constexpr const char *name = "flat_thp";
    using flat_table::flat_table;
};

} // namespace bench
#endif // BENCH_PEERS_FLAT_HPP
