/* memory_limit.c - the control group of this process, and what it may have.
 *
 * /proc/self/cgroup names the group from the root of its hierarchy, /proc/self/mountinfo says which group of that hierarchy is
 * seen where: in a container that is often the container's own.  A limit holds for all below it, so the least on the way up
 * counts.  What can't be read is no limit: a process that sees no group sees the machine. */
#include "src/layer/memory/memory_limit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/format/kernel_text.h"
#include "src/os/os_memory.h"
#include "strata/error.h"

enum { FIRST_ROOM = 16 << 10, MOST_ROOM = 4 << 20, NUMBER_ROOM = 64 };

/* A text of unknown length.  NULL with *out_rc STRATA_OK: it can't be read. */
static char *read_all(const char *path, const strata_allocator *mem, size_t *out_size, int *out_rc)
{
    *out_rc = STRATA_OK;
    for (size_t room = FIRST_ROOM; room <= MOST_ROOM; room *= 4) {
        char *text = strata__alloc(mem, room);
        if (text == NULL) {
            *out_rc = STRATA_ENOMEM;
            return NULL;
        }
        int failed = strata__os_text_read(path, text, room, out_size);
        if (failed == 0)
            return text;
        strata__free(mem, text);
        if (failed != EFBIG)
            return NULL;
    }
    return NULL;
}

/* The group's directory: of its path, what is below the group that is mounted there. */
static void join(struct memory_group *g, const char *path, const char *root, const char *at)
{
    size_t length = strlen(root);
    const char *below = path;
    if (strcmp(root, "/") != 0)
        below = strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == '\0') ? path + length : "";
    if (strcmp(below, "/") == 0 || strstr(below, "/..") != NULL) /* it is the mounted one, or outside of what is seen */
        below = "";
    int n = snprintf(g->dir, sizeof g->dir, "%s%s", at, below);
    if (n < 0 || (size_t)n >= sizeof g->dir)
        g->version = 0;
    g->top = strlen(at);
}

int strata__memory_group(struct memory_group *out, const strata_allocator *mem)
{
    char path[GROUP_ROOM], root[GROUP_ROOM], at[GROUP_ROOM];
    size_t size = 0;
    int rc;
    memset(out, 0, sizeof *out);
    char *text = read_all("/proc/self/cgroup", mem, &size, &rc);
    if (text == NULL)
        return rc;
    int version = strata__kernel_cgroup(text, size, path, sizeof path);
    strata__free(mem, text);
    if (version == 0)
        return STRATA_OK;
    text = read_all("/proc/self/mountinfo", mem, &size, &rc);
    if (text == NULL)
        return rc;
    if (strata__kernel_cgroup_mount(text, size, version, root, at, sizeof at) == 0) {
        out->version = version;
        join(out, path, root, at);
    }
    strata__free(mem, text);
    return STRATA_OK;
}

int strata__memory_group_up(struct memory_group *group)
{
    char *last = strrchr(group->dir, '/');
    if (last == NULL || strlen(group->dir) <= group->top)
        return 0;
    *last = '\0';
    if (strlen(group->dir) < group->top) /* never above the mount, whatever stood there */
        return 0;
    return 1;
}

int strata__memory_group_number(const struct memory_group *group, const char *file, uint64_t *out)
{
    char path[GROUP_ROOM + 64], text[NUMBER_ROOM];
    size_t size = 0;
    snprintf(path, sizeof path, "%s/%s", group->dir, file);
    if (strata__os_text_read(path, text, sizeof text, &size) != 0)
        return -1;
    return strata__kernel_number(text, size, out);
}

int strata__memory_limit(const strata_allocator *mem, uint64_t *out, int *out_is_group)
{
    struct memory_group group;
    uint64_t least = UINT64_MAX, ram = UINT64_MAX, limit;
    int rc = strata__memory_group(&group, mem);
    if (rc != STRATA_OK)
        return rc;
    if (group.version != 0) {
        const char *file = group.version == 2 ? "memory.max" : "memory.limit_in_bytes";
        do
            if (strata__memory_group_number(&group, file, &limit) == 0 && limit < least)
                least = limit;
        while (strata__memory_group_up(&group));
    }
    if (strata__os_memory_total(&ram) != 0 && least == UINT64_MAX)
        return STRATA_EUNSUPPORTED;
    *out_is_group = least < ram;
    *out = least < ram ? least : ram;
    return STRATA_OK;
}
