/* fake_kernel.h - a directory that holds what /proc and /sys would say. */
#ifndef STRATA_TESTS_FAKE_KERNEL_H
#define STRATA_TESTS_FAKE_KERNEL_H

struct fake_kernel {
    char root[256];
};

/* An empty one, which src/os reads from here on instead of the machine's own. */
void fake_kernel_make(struct fake_kernel *k);
/* "/sys/fs/cgroup/memory.max" says that; its directories are made. */
void fake_kernel_says(const struct fake_kernel *k, const char *path, const char *text);
/* The file is not there any more. */
void fake_kernel_forgets(const struct fake_kernel *k, const char *path);
/* The real one is read again; the directory is gone. */
void fake_kernel_remove(struct fake_kernel *k);

#endif /* STRATA_TESTS_FAKE_KERNEL_H */
