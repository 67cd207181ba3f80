// bench/peers/disk_store.hpp - what a backend of disk_bench is: a store of keys and values in a folder.
//
// To add one: derive from disk_store, in a header of its own, and name it in disk_bench.cpp.  One thread uses it.  What fails throws.  Nobody
// asks for durability: what is measured are caches, which may lose what was put last.
#ifndef BENCH_PEERS_DISK_STORE_HPP
#define BENCH_PEERS_DISK_STORE_HPP
#include "bench/bench_keys.hpp"
#include <cerrno>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench
{

// The values of all keys: so many pieces of one pool, half of it random and half text, so that whoever compresses has
// something to gain and something not to.
class value_pool
{
  public:
    static constexpr size_t COUNT = 1024;

    explicit value_pool(size_t value_bytes) : size_(value_bytes), bytes_(((size_t)1 << 20) + value_bytes)
    {
        random_source random = { 5 };
        for (size_t i = 0; i < bytes_.size(); i++)
            bytes_[i] = (i / 64) % 2 != 0 ? (char)('a' + random.next() % 6) : (char)random.next();
    }
    size_t size() const { return size_; }
    static size_t number_of(uint64_t key_number) { return key_number % COUNT; }
    const char *at(size_t number) const { return bytes_.data() + number * 7919 % ((size_t)1 << 20); }

  private:
    size_t size_;
    std::vector<char> bytes_;
};

struct disk_config {
    std::string folder; // is there, and empty before the first open()
    size_t entries;     // that will be put at most
    const value_pool *values;

    size_t value_bytes() const { return values->size(); }
    // Room for all of them with ample overhead, each overwritten once.
    uint64_t most_bytes() const { return (uint64_t)entries * (value_bytes() + 400) * 3 + ((uint64_t)64 << 20); }
};

class disk_store
{
  public:
    explicit disk_store(const disk_config &c) : cfg(c) {}
    virtual ~disk_store() {}
    virtual void open() = 0;
    virtual void close() = 0;
    virtual void put(const key &k, size_t value_number) = 0;
    // Copies the value to `out`; false where there is none.
    virtual bool get(const key &k, char *out) = 0;
    // What was put before is visible to gets, and in the state in which gets shall find it.
    virtual void flush() {}

  protected:
    disk_config cfg;

    const char *value(size_t number) const { return cfg.values->at(number); }

    [[noreturn]] static void fail(const char *what, const std::string &why)
    {
        throw std::runtime_error(std::string(what) + ": " + why);
    }
    [[noreturn]] static void fail(const char *what) { fail(what, strerror(errno)); }
};

} // namespace bench
#endif // BENCH_PEERS_DISK_STORE_HPP
