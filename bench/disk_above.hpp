// bench/disk_above.hpp - is a hit in memory as quick above a disk that takes 100 ms a read?
//
// Two caches of one process, filled alike: memory alone, and memory above a disk whose gets are held for 100 ms, while 64
// gets of keys that only the disk has are waiting at all times.  Passes over hits alternate between them.
#ifndef BENCH_DISK_ABOVE_HPP
#define BENCH_DISK_ABOVE_HPP
#include "bench/bench_clock.h"
#include "bench/peers/disk_store.hpp"
#include "bench/peers/layer_tap.hpp"
#include "strata/disk.h"
#include "strata/strata.h"
#include <algorithm>
#include <atomic>
#include <thread>

namespace bench
{

// Times hits on keys below `hot`, all of which the cache has in memory.
struct hit_meter {
    size_t hot;
    double ticks_per_ns;
    random_source random;
    uint64_t sum; // of what was touched

    explicit hit_meter(size_t hot_keys) : hot(hot_keys), ticks_per_ns(bench_ticks_per_ns()), random{ 3 }, sum(0) {}

    void hit(strata *cache, const key &k)
    {
        strata_value *value;
        if (strata_get(cache, strata_bytes(k.text, k.size), &value, nullptr) != STRATA_OK)
            throw std::runtime_error("a key is not in memory, where there is room for all");
        sum += *(const unsigned char *)strata_value_data(value);
        strata_value_unref(value);
    }
    std::vector<key> lot()
    {
        std::vector<key> keys(20000);
        for (auto &k : keys)
            k = make_key(random.next() % hot);
        return keys;
    }
    double mean_ns(strata *cache)
    {
        auto keys = lot();
        uint64_t began = bench_now_ns(), operations = 0, now;
        do {
            for (auto &k : keys)
                hit(cache, k);
            operations += keys.size();
            now = bench_now_ns();
        } while (now - began < 50000000u);
        return (double)(now - began) / (double)operations;
    }
    double p99_ns(strata *cache)
    {
        std::vector<uint64_t> ticks;
        for (auto &k : lot()) {
            uint64_t began = bench_ticks_begin();
            hit(cache, k);
            ticks.push_back(bench_ticks_end() - began);
        }
        auto at = ticks.begin() + (ptrdiff_t)(ticks.size() * 99 / 100);
        std::nth_element(ticks.begin(), at, ticks.end());
        return (double)*at / ticks_per_ns;
    }
};

inline double middle(std::vector<double> v)
{
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

struct memory_above_disk {
    static constexpr size_t HOT = 100000, COLD = 20000, VALUE_BYTES = 100, WAITING = 64;
    static constexpr uint64_t NEED_BYTES = (uint64_t)256 << 20;
    static constexpr int64_t READ_MS = 100;

    explicit memory_above_disk(const std::string &folder) : path_(folder + "/strata"), meter_(HOT)
    {
        strata *below = open({ disk(0) });
        for (size_t i = 0; i < COLD; i++)
            set(below, HOT + i);
        strata_close(below);
        alone_ = open({ memory() });
        above_ = open({ memory(), disk(READ_MS) });
        for (size_t i = 0; i < HOT; i++) {
            set(alone_, i);
            set(above_, i);
        }
    }
    memory_above_disk(const memory_above_disk &) = delete;
    memory_above_disk &operator=(const memory_above_disk &) = delete;
    ~memory_above_disk()
    {
        strata_close(alone_);
        strata_close(above_);
    }

    // Prints one row: above,entries,alone_ns,alone_p99_ns,slow_ns,slow_p99_ns,reads (that the disk answered meanwhile)
    void measure()
    {
        std::vector<double> ns[2], p99[2];
        bench_pin_thread(1); // the caches have their threads by now, which are not held
        for (size_t i = 0; i < WAITING; i++)
            read_next();
        for (int i = 0; i < 9; i++)
            for (int which = 0; which < 2; which++) {
                ns[which].push_back(meter_.mean_ns(which == 0 ? alone_ : above_));
                p99[which].push_back(meter_.p99_ns(which == 0 ? alone_ : above_));
            }
        stopping_.store(true);
        while (waiting_.load() != 0)
            std::this_thread::yield();
        printf("above,%zu,%.2f,%.1f,%.2f,%.1f,%zu\n", (size_t)HOT, middle(ns[0]), middle(p99[0]), middle(ns[1]),
               middle(p99[1]), answered_.load());
    }

  private:
    std::string path_;
    hit_meter meter_;
    strata *alone_ = nullptr, *above_ = nullptr;
    std::atomic<size_t> next_cold_{ 0 }, waiting_{ 0 }, answered_{ 0 };
    std::atomic<bool> stopping_{ false };

    static strata_layer *memory()
    {
        strata_memory_options o = STRATA_MEMORY_OPTIONS_INIT;
        o.max_bytes = (uint64_t)128 << 20;
        return strata_memory_layer(&o);
    }
    strata_layer *disk(int64_t get_delay_ms) const
    {
        strata_disk_options o = STRATA_DISK_OPTIONS_INIT;
        o.path = path_.c_str();
        o.max_bytes = NEED_BYTES;
        return (new layer_tap(strata_disk_layer(&o), get_delay_ms))->layer();
    }
    static strata *open(std::vector<strata_layer *> layers)
    {
        strata *cache;
        strata_options options = STRATA_OPTIONS_INIT;
        strata_error err = STRATA_ERROR_INIT;
        options.layers = layers.data();
        options.layer_count = layers.size();
        if (strata_open(&cache, &options, &err) < 0)
            throw std::runtime_error(std::string(err.where) + ": " + err.message);
        return cache;
    }
    static void set(strata *cache, size_t number)
    {
        static const std::string bytes(VALUE_BYTES, 'v');
        key k = make_key(number);
        strata_error err = STRATA_ERROR_INIT;
        strata_slice v = strata_bytes(bytes.data(), bytes.size());
        if (strata_set(cache, strata_bytes(k.text, k.size), v, nullptr, &err) < 0)
            throw std::runtime_error(err.message);
    }

    // One more cold key is asked for; its answer asks for the next.
    void read_next()
    {
        size_t number = next_cold_.fetch_add(1);
        if (stopping_.load() || number >= COLD)
            return;
        key k = make_key(HOT + number);
        waiting_.fetch_add(1);
        int rc = strata_get_async(above_, strata_bytes(k.text, k.size), nullptr, read_done, this, nullptr);
        if (rc != STRATA_PENDING)
            waiting_.fetch_sub(1);
    }
    static void read_done(int status, strata_value *value, const strata_error *, void *ctx)
    {
        auto *self = (memory_above_disk *)ctx;
        strata_value_unref(value);
        if (status == STRATA_OK)
            self->answered_.fetch_add(1);
        self->read_next();
        self->waiting_.fetch_sub(1);
    }
};

} // namespace bench
#endif // BENCH_DISK_ABOVE_HPP
