// bench/peers/disk_log_duties.hpp - the bare log with the duties of a library's get, and nothing else.
//
// In a process that has another thread, as every program with a library that does things in the background, which makes
// the kernel count a file's users in each call; a block from malloc for each value, which its user gives back; a sum of
// what was read (XXH3, with every instruction this machine has); the whole key; a deadline, compared with a coarse clock;
// a pin on the file while it is read; a count.  What of a ratio to log_pread is the price of these, and what is a cache's
// own doing.
#ifndef BENCH_PEERS_DISK_LOG_DUTIES_HPP
#define BENCH_PEERS_DISK_LOG_DUTIES_HPP
#include "bench/peers/disk_log.hpp"
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <thread>
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace bench
{

class disk_log_duties : public disk_log
{
  public:
    explicit disk_log_duties(const disk_config &c)
        : disk_log(c, false, sizeof(head) + c.value_bytes()), record_(record_bytes)
    {
    }

    void open() override
    {
        disk_log::open();
        stop_ = false;
        other_ = std::thread([this] {
            std::unique_lock<std::mutex> lock(lock_);
            wake_.wait(lock, [this] { return stop_; });
        });
    }

    void close() override
    {
        {
            std::lock_guard<std::mutex> lock(lock_);
            stop_ = true;
        }
        wake_.notify_one();
        other_.join();
        disk_log::close();
    }

    void put(const key &k, size_t value_number) override
    {
        head h = { 0, now_ms() + 3600000, k };
        memcpy(record_.data() + sizeof h, value(value_number), cfg.value_bytes());
        memcpy(record_.data(), &h, sizeof h);
        h.sum = sum_of(record_.data());
        memcpy(record_.data(), &h.sum, sizeof h.sum);
        append(k, record_.data(), sizeof h, record_.data() + sizeof h);
    }

    bool get(const key &k, char *out) override
    {
        uint64_t hash = hash_key(k) | 1;
        const log_index::slot *s = index_.find(hash);
        if (s->hash == 0)
            return false;
        auto *block = (char *)malloc(record_bytes);
        if (block == nullptr)
            fail("malloc");
        pins_.fetch_add(1, std::memory_order_relaxed);
        const char *record = read(s->place, block);
        pins_.fetch_sub(1, std::memory_order_acq_rel);
        bool counts = record != nullptr && is_right(record, k);
        if (counts) {
            memcpy(out, record + sizeof(head), cfg.value_bytes());
            hits_.store(hits_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        }
        free(block);
        return counts;
    }

  private:
    struct head {
        uint64_t sum; // of everything behind it
        int64_t deadline;
        key name;
    };
    std::vector<char> record_;
    std::atomic<uint32_t> pins_{ 1 };
    std::atomic<uint64_t> hits_{ 0 };
    std::mutex lock_;
    std::condition_variable wake_;
    bool stop_ = false;
    std::thread other_;

    static int64_t now_ms()
    {
        timespec t;
        clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
        return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    }
    uint64_t sum_of(const char *record) const
    {
        return XXH3_64bits_withSeed(record + sizeof(uint64_t), record_bytes - sizeof(uint64_t), 77);
    }
    bool is_right(const char *record, const key &k) const
    {
        head h;
        memcpy(&h, record, sizeof h);
        return h.sum == sum_of(record) && h.name == k && now_ms() < h.deadline;
    }
};

} // namespace bench
#endif // BENCH_PEERS_DISK_LOG_DUTIES_HPP
