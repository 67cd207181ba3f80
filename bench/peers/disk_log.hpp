// bench/peers/disk_log.hpp - the physical limit of a store that writes in order: one file, appended to through a buffer of
// 256 KiB, an index of 16 bytes a slot in memory, a get by one pread (or one copy out of a mapping).
//
// No checksum, no eviction, no expiry, no reuse of room, one thread.  The index is a shared mapping, so that reopening
// costs nothing and a kill -9 loses the buffer alone.
#ifndef BENCH_PEERS_DISK_LOG_HPP
#define BENCH_PEERS_DISK_LOG_HPP
#include "bench/peers/disk_store.hpp"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace bench
{

// 16 bytes a slot, at most half of them taken, in a file that is mapped.
struct log_index {
    struct slot {
        uint64_t hash, place;
    };
    slot *slots = nullptr;
    size_t mask = 0;

    explicit log_index(size_t entries)
    {
        size_t count = 1;
        while (count < entries * 2)
            count *= 2;
        mask = count - 1;
    }
    size_t bytes() const { return (mask + 1) * sizeof(slot); }
    slot *find(uint64_t hash)
    {
        size_t i = (hash >> 8) & mask;
        while (slots[i].hash != 0 && slots[i].hash != hash)
            i = (i + 1) & mask;
        return &slots[i];
    }
};

class disk_log : public disk_store
{
  public:
    disk_log(const disk_config &c, bool mapped) : disk_log(c, mapped, sizeof(key) + c.value_bytes()) {}

    void open() override
    {
        fd_ = open_file("log");
        written_ = (uint64_t)lseek(fd_, 0, SEEK_END);
        buffer_.reserve(BUFFER);
        int slots = open_file("index");
        if (ftruncate(slots, (off_t)index_.bytes()) != 0)
            fail("ftruncate");
        index_.slots = (log_index::slot *)map(index_.bytes(), PROT_READ | PROT_WRITE, slots);
        ::close(slots);
        if (mapped_)
            bytes_ = (const char *)map(cfg.most_bytes(), PROT_READ, fd_);
    }

    void close() override
    {
        flush();
        munmap(index_.slots, index_.bytes());
        if (mapped_)
            munmap((void *)(uintptr_t)bytes_, cfg.most_bytes());
        ::close(fd_);
    }

    void flush() override
    {
        if (pwrite(fd_, buffer_.data(), buffer_.size(), (off_t)written_) != (ssize_t)buffer_.size())
            fail("pwrite");
        written_ += buffer_.size();
        buffer_.clear();
    }

    void put(const key &k, size_t value_number) override { append(k, &k, sizeof k, value(value_number)); }

    bool get(const key &k, char *out) override
    {
        uint64_t hash = hash_key(k) | 1;
        const log_index::slot *s = index_.find(hash);
        if (s->hash == 0)
            return false;
        const char *record = read(s->place, scratch_.data());
        if (record == nullptr || memcmp(record, &k, sizeof k) != 0)
            return false;
        memcpy(out, record + sizeof k, cfg.value_bytes());
        return true;
    }

  protected:
    const size_t record_bytes;
    log_index index_;

    disk_log(const disk_config &c, bool mapped, size_t bytes)
        : disk_store(c), record_bytes(bytes), index_(c.entries), mapped_(mapped), scratch_(bytes)
    {
    }

    void append(const key &k, const void *head, size_t head_bytes, const char *bytes)
    {
        if (buffer_.size() + record_bytes > BUFFER)
            flush();
        uint64_t hash = hash_key(k) | 1;
        *index_.find(hash) = { hash, written_ + buffer_.size() };
        buffer_.insert(buffer_.end(), (const char *)head, (const char *)head + head_bytes);
        buffer_.insert(buffer_.end(), bytes, bytes + cfg.value_bytes());
    }

    // Where the record is: read into `room` unless it lies in memory.  NULL: a kill -9 took it.
    const char *read(uint64_t place, char *room) const
    {
        if (place >= written_)
            return buffer_.data() + (place - written_);
        if (mapped_)
            return bytes_ + place;
        return pread(fd_, room, record_bytes, (off_t)place) == (ssize_t)record_bytes ? room : nullptr;
    }

  private:
    static constexpr size_t BUFFER = 256 << 10;
    bool mapped_;
    int fd_ = -1;
    uint64_t written_ = 0;
    const char *bytes_ = nullptr;
    std::vector<char> buffer_, scratch_;

    int open_file(const char *name) const
    {
        int fd = ::open((cfg.folder + "/" + name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            fail(name);
        return fd;
    }
    static void *map(size_t size, int protection, int fd)
    {
        void *at = mmap(nullptr, size, protection, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED)
            fail("mmap");
        return at;
    }
};

} // namespace bench
#endif // BENCH_PEERS_DISK_LOG_HPP
