/* kernel_text.h - what Linux says of memory, in text: the files of /proc and of control groups.  Pure: text in, numbers out.
 *
 * None of it needs to end with a zero byte. */
#ifndef STRATA_FORMAT_KERNEL_TEXT_H
#define STRATA_FORMAT_KERNEL_TEXT_H
#include <stddef.h>
#include <stdint.h>

/* memory.max, memory.high, memory.current, memory.limit_in_bytes: a number, or "max", which is UINT64_MAX.  0, -1. */
int strata__kernel_number(const char *text, size_t size, uint64_t *out);

/* /proc/pressure/memory, memory.pressure: for how many microseconds some, and all, tasks have stood still for want of memory since
 * the counting began.  A kernel that does not count the second says nothing of it: 0.  0, -1. */
int strata__kernel_psi(const char *text, size_t size, uint64_t *out_some_us, uint64_t *out_full_us);

/* /proc/self/cgroup: the group whose memory is limited, from the hierarchy's root, as "/a/b".  1: of version 1; 2: of
 * version 2; 0: there is none, or it is longer than `room`. */
int strata__kernel_cgroup(const char *text, size_t size, char *out, size_t room);

/* /proc/self/mountinfo: where the hierarchy of this version is to be found, and which of its groups stands there.  0, -1. */
int strata__kernel_cgroup_mount(const char *text, size_t size, int version, char *out_root, char *out_at, size_t room);

#endif /* STRATA_FORMAT_KERNEL_TEXT_H */
