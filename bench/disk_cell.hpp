// bench/disk_cell.hpp - how one store on disk is measured: fill, get, overwrite, close, reopen, be killed, reopen.
//
// A child does it all and is then killed with SIGKILL, and the parent opens what it left.  Keys are made in lots, outside
// of the clock; within a lot one reading of the cycle counter ends an operation and begins the next, so that what is timed
// is what the caller waits, and their sum is the throughput.  Every value that is found is compared.
#ifndef BENCH_DISK_CELL_HPP
#define BENCH_DISK_CELL_HPP
#include "bench/bench_clock.h"
#include "bench/peers/disk_store.hpp"
#include <algorithm>
#include <functional>
#include <memory>

namespace bench
{

struct disk_plan {
    size_t entries = 200000, value_bytes = 1024;
    double get_seconds = 0.5;
    bool cold = false; // besides, reopen with nothing of it in the page cache
};

// Goes through a pipe from child to parent.
struct disk_row {
    double puts_s = 0, put_p50_us = 0, put_p99_us = 0, put_p999_us = 0;
    double gets_s = 0, get_p50_us = 0, get_p99_us = 0;
    double overwrites_s = 0, close_ms = 0, reopen_ms = 0, kill_reopen_ms = 0, cold_reopen_ms = 0;
    double entry_disk_bytes = 0, resident_bytes = 0;
    double kept = 0; // share of what was there at the clean close that is still there after the kill
    uint64_t stored = 0;
};

typedef std::function<std::unique_ptr<disk_store>(const disk_config &)> disk_maker;

struct lot_key {
    key k;
    size_t value_number;
};

struct timings {
    double ticks_per_ns;
    uint64_t ticks = 0;
    std::vector<uint32_t> each;

    double per_second() const { return (double)each.size() * 1e9 * ticks_per_ns / (double)ticks; }
    double us(double share)
    {
        auto at = each.begin() + (ptrdiff_t)((double)(each.size() - 1) * share);
        std::nth_element(each.begin(), at, each.end());
        return *at / ticks_per_ns / 1e3;
    }
};

const size_t LOT = 256;

// `count` operations: `next` gives the number of a key, `operation` is timed.
template <class Next, class Operation> void run_lot(timings &t, size_t count, Next next, Operation operation)
{
    lot_key lot[LOT];
    for (size_t i = 0; i < count; i++) {
        uint64_t number = next();
        lot[i] = { make_key(number), value_pool::number_of(number) };
    }
    uint64_t began = bench_ticks_end(), last = began;
    for (size_t i = 0; i < count; i++) {
        operation(lot[i]);
        uint64_t now = bench_ticks_end();
        t.each.push_back((uint32_t)std::min<uint64_t>(now - last, UINT32_MAX));
        last = now;
    }
    t.ticks += last - began;
}

template <class Do> double milliseconds(Do what)
{
    uint64_t began = bench_now_ns();
    what();
    return (double)(bench_now_ns() - began) / 1e6;
}

// The value that belongs to the key must be what is found: looked at from both ends.
inline bool is_value(const std::vector<char> &found, const char *expected)
{
    size_t tail = found.size() - 16;
    return memcmp(found.data(), expected, 16) == 0 && memcmp(found.data() + tail, expected + tail, 16) == 0;
}

struct disk_run {
    disk_run(const disk_plan &plan, const disk_config &cfg, const disk_maker &make)
        : todo_(plan), cfg_(cfg), store_(make(cfg)), out_(cfg.value_bytes()), ticks_per_ns_(bench_ticks_per_ns())
    {
    }

    // What the child does; afterwards it holds the store open, with puts that nobody has flushed.
    disk_row fill_and_use()
    {
        disk_row row;
        row.stored = cfg_.entries;
        uint64_t before = bench_resident_bytes();
        store_->open();
        fill(row);
        store_->flush();
        get(row);
        overwrite(row);
        row.resident_bytes = (double)bench_resident_bytes() - (double)before;
        row.close_ms = milliseconds([&] { store_->close(); });
        row.reopen_ms = reopen();
        for (size_t i = 0; i < cfg_.entries / 100; i++)
            store_->put(make_key(cfg_.entries + i), value_pool::number_of(cfg_.entries + i));
        return row;
    }

    // What the parent does, after that child was killed.
    void survive(disk_row &row)
    {
        row.kill_reopen_ms = reopen();
        const size_t asked = std::min<size_t>(cfg_.entries, 20000);
        size_t found = 0;
        for (size_t i = 0; i < asked; i++)
            found += holds(draw()) ? 1 : 0;
        row.kept = (double)found / (double)asked;
        store_->close();
    }

    // Opened, and a first get answered.
    double reopen()
    {
        return milliseconds([&] {
            store_->open();
            holds(cfg_.entries / 2);
        });
    }
    void close() { store_->close(); }

  private:
    const disk_plan &todo_;
    disk_config cfg_;
    std::unique_ptr<disk_store> store_;
    std::vector<char> out_;
    double ticks_per_ns_;
    random_source random_ = { 77 };

    uint64_t draw() { return random_.next() % cfg_.entries; }

    // A miss is for the caller to judge.
    bool holds(uint64_t number) { return holds({ make_key(number), value_pool::number_of(number) }); }
    bool holds(const lot_key &l)
    {
        if (!store_->get(l.k, out_.data()))
            return false;
        if (!is_value(out_, cfg_.values->at(l.value_number)))
            throw std::runtime_error("a key was given bytes that nobody stored under it");
        return true;
    }

    void fill(disk_row &row)
    {
        const uint64_t scatter = 2654435761u; // a prime: every number once, in no order that a tree would like
        timings t = { ticks_per_ns_, 0, {} };
        t.each.reserve(cfg_.entries);
        uint64_t i = 0;
        while (i < cfg_.entries)
            run_lot(
                t, std::min<size_t>(LOT, cfg_.entries - i), [&] { return i++ * scatter % cfg_.entries; },
                [&](const lot_key &l) { store_->put(l.k, l.value_number); });
        row.puts_s = t.per_second();
        row.put_p50_us = t.us(0.5);
        row.put_p99_us = t.us(0.99);
        row.put_p999_us = t.us(0.999);
    }

    void get(disk_row &row)
    {
        timings warm = { ticks_per_ns_, 0, {} }, t = warm;
        size_t missed = 0; // a cache may lose one of two keys that look alike to its index, but no more than that
        auto pass = [&](timings &into) {
            run_lot(
                into, LOT, [&] { return draw(); }, [&](const lot_key &l) { missed += holds(l) ? 0 : 1; });
        };
        while (warm.each.size() < std::min<size_t>(cfg_.entries, 50000))
            pass(warm);
        while ((double)t.ticks < todo_.get_seconds * 1e9 * ticks_per_ns_)
            pass(t);
        if (missed > (warm.each.size() + t.each.size()) / 10000)
            throw std::runtime_error("keys are missing, and there is room for all");
        row.gets_s = t.per_second();
        row.get_p50_us = t.us(0.5);
        row.get_p99_us = t.us(0.99);
    }

    // The last of them, in whatever buffer they are, are part of the work.
    void overwrite(disk_row &row)
    {
        timings t = { ticks_per_ns_, 0, {} };
        size_t count = std::max<size_t>(cfg_.entries / 10, 1);
        while (t.each.size() < count)
            run_lot(
                t, std::min<size_t>(LOT, count - t.each.size()), [&] { return draw(); },
                [&](const lot_key &l) { store_->put(l.k, l.value_number); });
        t.ticks += (uint64_t)(milliseconds([&] { store_->flush(); }) * 1e6 * ticks_per_ns_);
        row.overwrites_s = t.per_second();
    }
};

} // namespace bench
#endif // BENCH_DISK_CELL_HPP
