// bench/disk_scratch.hpp - a folder for one run: made if there is room for what it will hold, gone when the run is.
#ifndef BENCH_DISK_SCRATCH_HPP
#define BENCH_DISK_SCRATCH_HPP
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <ftw.h>
#include <string>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace bench
{

class scratch
{
  public:
    // Exits where the folder can't be made, or less than `need` bytes are free.
    scratch(const std::string &parent, uint64_t need)
    {
        struct statvfs room;
        path_ = parent + "/disk_bench.XXXXXX";
        if (statvfs(parent.c_str(), &room) != 0)
            refuse("can't look at", parent, strerror(errno));
        if ((uint64_t)room.f_bavail * room.f_frsize < need)
            refuse("too little room in", parent, std::to_string(need >> 20) + " MiB are needed; see --dir");
        if (mkdtemp(&path_[0]) == nullptr)
            refuse("can't make a folder in", parent, strerror(errno));
        owner_ = getpid();
    }
    ~scratch()
    {
        if (getpid() == owner_) // a child that was forked meanwhile leaves it alone
            nftw(path_.c_str(), remove_one, 64, FTW_DEPTH | FTW_PHYS);
    }
    scratch(const scratch &) = delete;
    scratch &operator=(const scratch &) = delete;

    const std::string &path() const { return path_; }

    // Blocks taken, of all files.
    uint64_t bytes() const
    {
        total() = 0;
        nftw(path_.c_str(), add_one, 64, FTW_PHYS);
        return total();
    }

    // Write everything back, and ask the system to forget what it has in memory of it.
    void cool_down() const { nftw(path_.c_str(), cool_one, 64, FTW_PHYS); }

  private:
    std::string path_;
    pid_t owner_;

    static uint64_t &total()
    {
        static uint64_t bytes;
        return bytes;
    }
    static int add_one(const char *, const struct stat *s, int, struct FTW *)
    {
        total() += (uint64_t)s->st_blocks * 512;
        return 0;
    }
    static int remove_one(const char *path, const struct stat *, int, struct FTW *)
    {
        remove(path);
        return 0;
    }
    static int cool_one(const char *path, const struct stat *s, int, struct FTW *)
    {
        int fd = S_ISREG(s->st_mode) ? open(path, O_RDWR | O_CLOEXEC) : -1;
        if (fd < 0)
            return 0;
        fsync(fd);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
        return 0;
    }
    [[noreturn]] static void refuse(const char *what, const std::string &where, const std::string &why)
    {
        fprintf(stderr, "disk_bench: %s %s: %s\n", what, where.c_str(), why.c_str());
        exit(3); // nothing is there yet that would have to be removed
    }
};

} // namespace bench
#endif // BENCH_DISK_SCRATCH_HPP
