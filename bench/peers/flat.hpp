// bench/peers/flat.hpp - the floor of a lookup: what a hit costs where nothing but the lookup is done.
//
// Open addressing at a load of at most one half, 8 bytes a slot (16 bits of hash, 48 of address), key beside value.
// No lock, no eviction, no counters, no expiry, no deletion.  flat_thp has it in 2 MiB pages, flat in 4 KiB pages.
#ifndef BENCH_PEERS_FLAT_HPP
#define BENCH_PEERS_FLAT_HPP
#include "bench/peers/peer.hpp"
#include <time.h>

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
        uint64_t hash = hash_key(k);
        const char *value = find_from(hash & mask_, hash & TAG, k);
        if (value == nullptr)
            return false;
        use(value);
        return true;
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

  protected:
    static constexpr uint64_t TAG = 0xffff000000000000u;
    const char *find_from(size_t i, uint64_t tag, const key &k) const
    {
        for (;; i = (i + 1) & mask_) {
            uint64_t s = __atomic_load_n(&slot_[i], __ATOMIC_ACQUIRE);
            if (s == 0)
                return nullptr;
            if ((s & TAG) != tag)
                continue;
            const char *entry = (const char *)(uintptr_t)(s & ~TAG);
            if (*(const key *)(const void *)entry == k)
                return entry + sizeof(key);
        }
    }
    // The first slot from here on that has the tag, or is empty.
    size_t tagged(size_t i, uint64_t tag) const
    {
        for (;; i = (i + 1) & mask_) {
            uint64_t s = __atomic_load_n(&slot_[i], __ATOMIC_ACQUIRE);
            if (s == 0 || (s & TAG) == tag)
                return i;
        }
    }

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

// flat_thp asked for 16 keys at once, so that their waits for memory overlap: what is to be had where the keys are known together.
struct flat_thp_batch16 : flat_table<true> {
    static constexpr const char *name = "flat_thp_batch16";
    static constexpr size_t batch = 16;
    using flat_table::flat_table;

    template <class Use> size_t get_many(const key *keys, Use use)
    {
        uint64_t hashes[batch];
        size_t at[batch], hits = 0;
        for (size_t n = 0; n < batch; n++) {
            hashes[n] = hash_key(keys[n]);
            __builtin_prefetch(&slot_[hashes[n] & mask_]);
        }
        for (size_t n = 0; n < batch; n++) {
            at[n] = tagged(hashes[n] & mask_, hashes[n] & TAG);
            const char *entry = (const char *)(uintptr_t)(slot_[at[n]] & ~TAG);
            __builtin_prefetch(entry);
            __builtin_prefetch(entry + 64);
        }
        for (size_t n = 0; n < batch; n++) {
            const char *value = find_from(at[n], hashes[n] & TAG, keys[n]);
            if (value != nullptr) {
                use(value);
                hits++;
            }
        }
        return hits;
    }
};

// flat_thp with the duties of a cache's hit, and nothing else: behind a call, as a library's; a deadline that is compared
// with a coarse clock; a count of hits; a pin that is published while the value is used, and taken back.  What of a ratio
// to flat_thp is the price of these, and what is a cache's own doing.
struct flat_duties : peer {
    static constexpr const char *name = "flat_duties";
    static constexpr bool floor = true;

    explicit flat_duties(const config &c) : peer(c)
    {
        slots_ = 1;
        while (slots_ < c.entries * 2)
            slots_ <<= 1;
        slot_ = (uint64_t *)(void *)map_pages(slots_ * sizeof slot_[0], true);
        entry_bytes_ = (sizeof(head) + c.value_bytes + 15) & ~(size_t)15;
        arena_ = map_pages(entry_bytes_ * c.entries, true);
    }

    template <class Use> bool get(const key &k, Use use)
    {
        const char *value = find(k);
        if (value == nullptr)
            return false;
        use(value);
        give_back();
        return true;
    }

    void put(const key &k)
    {
        uint64_t hash = hash_key(k);
        char *entry = arena_ + entry_bytes_ * used_++;
        head h = { now_ms() + 3600000, k };
        memcpy(entry, &h, sizeof h);
        memcpy(entry + sizeof h, cfg.source, cfg.value_bytes);
        size_t i = hash & (slots_ - 1);
        while (slot_[i] != 0)
            i = (i + 1) & (slots_ - 1);
        slot_[i] = (hash & TAG) | (uint64_t)(uintptr_t)entry;
    }

  private:
    static constexpr uint64_t TAG = 0xffff000000000000u;
    struct head {
        int64_t deadline;
        key name;
    };
    struct alignas(64) own {
        const void *pin;
        uint64_t hits;
    };
    static own &mine()
    {
        static thread_local own o;
        return o;
    }

    static int64_t now_ms()
    {
        timespec t;
        clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
        return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    }

    __attribute__((noinline)) const char *find(const key &k)
    {
        uint64_t hash = hash_key(k), tag = hash & TAG;
        int64_t now = now_ms();
        for (size_t i = hash & (slots_ - 1);; i = (i + 1) & (slots_ - 1)) {
            uint64_t s = __atomic_load_n(&slot_[i], __ATOMIC_ACQUIRE);
            if (s == 0)
                return nullptr;
            if ((s & TAG) != tag)
                continue;
            const char *entry = (const char *)(uintptr_t)(s & ~TAG);
            const head *h = (const head *)(const void *)entry;
            if (h->name == k) {
                own &o = mine();
                __atomic_store_n(&o.pin, entry, __ATOMIC_RELEASE);
                o.hits++;
                return h->deadline > now ? entry + sizeof *h : nullptr;
            }
        }
    }
    __attribute__((noinline)) void give_back() { __atomic_store_n(&mine().pin, nullptr, __ATOMIC_RELEASE); }

    uint64_t *slot_;
    size_t slots_, entry_bytes_, used_ = 0;
    char *arena_;
};

} // namespace bench
#endif // BENCH_PEERS_FLAT_HPP
