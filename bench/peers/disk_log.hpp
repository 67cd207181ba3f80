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
    disk_log(const disk_config &c, bool mapped)
        : disk_store(c), mapped_(mapped), index_(c.entries), scratch_(record_bytes())
    {
    }

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

    void put(const key &k, size_t value_number) override
    {
        if (buffer_.size() + record_bytes() > BUFFER)
            flush();
        uint64_t place = written_ + buffer_.size(), hash = hash_key(k) | 1;
        buffer_.insert(buffer_.end(), (const char *)&k, (const char *)(&k + 1));
        buffer_.insert(buffer_.end(), value(value_number), value(value_number) + cfg.value_bytes());
        *index_.find(hash) = { hash, place };
    }

    bool get(const key &k, char *out) override
    {
        uint64_t hash = hash_key(k) | 1;
        const log_index::slot *s = index_.find(hash);
        if (s->hash == 0)
            return false;
        const char *record = read(s->place);
        if (record == nullptr || memcmp(record, &k, sizeof k) != 0)
            return false;
        memcpy(out, record + sizeof k, cfg.value_bytes());
        return true;
    }

  private:
    static constexpr size_t BUFFER = 256 << 10;
    bool mapped_;
    int fd_ = -1;
    uint64_t written_ = 0;
    log_index index_;
    const char *bytes_ = nullptr;
    std::vector<char> buffer_, scratch_;

    size_t record_bytes() const { return sizeof(key) + cfg.value_bytes(); }

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
    const char *read(uint64_t place)
    {
        if (place >= written_)
            return buffer_.data() + (place - written_);
        if (mapped_)
            return bytes_ + place;
        bool whole = pread(fd_, scratch_.data(), record_bytes(), (off_t)place) == (ssize_t)record_bytes();
        return whole ? scratch_.data() : nullptr; // what a kill -9 lost
    }
};

} // namespace bench
#endif // BENCH_PEERS_DISK_LOG_HPP
