// bench/peers/disk_files.hpp - a file a key, in 256 folders, written aside and renamed: what most caches on disk do.
#ifndef BENCH_PEERS_DISK_FILES_HPP
#define BENCH_PEERS_DISK_FILES_HPP
#include "bench/peers/disk_store.hpp"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace bench
{

class disk_files : public disk_store
{
  public:
    using disk_store::disk_store;

    void open() override
    {
        for (unsigned i = 0; i < 256; i++)
            if (mkdir(folder(i).c_str(), 0700) != 0 && errno != EEXIST)
                fail("mkdir");
    }
    void close() override {}

    void put(const key &k, size_t value_number) override
    {
        std::string aside = cfg.folder + "/new";
        int fd = ::open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, value(value_number), cfg.value_bytes()) != (ssize_t)cfg.value_bytes() ||
            ::close(fd) != 0 || rename(aside.c_str(), path(k).c_str()) != 0)
            fail("put");
    }

    bool get(const key &k, char *out) override
    {
        int fd = ::open(path(k).c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return false;
        ssize_t n = read(fd, out, cfg.value_bytes());
        ::close(fd);
        return n == (ssize_t)cfg.value_bytes();
    }

  private:
    std::string folder(unsigned i) const
    {
        static const char hex[] = "0123456789abcdef";
        return cfg.folder + "/" + hex[i / 16] + hex[i % 16];
    }
    std::string path(const key &k) const
    {
        return folder((unsigned)(hash_key(k) & 255)) + "/" + std::string(k.text, k.size);
    }
};

} // namespace bench
#endif // BENCH_PEERS_DISK_FILES_HPP
