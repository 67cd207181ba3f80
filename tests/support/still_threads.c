/* still_threads.c - see still_threads.h. */
#include "tests/support/still_threads.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int sleeps(const char *task)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", task);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return 1; /* it has ended meanwhile */
    size_t n = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[n] = 0;
    const char *name_end = strrchr(line, ')');
    return name_end == NULL || name_end[1] == 0 || name_end[2] == 'S';
}

static int all_sleep(void)
{
    DIR *tasks = opendir("/proc/self/task");
    long self = syscall(SYS_gettid);
    int still = 1;
    if (tasks == NULL)
        return 1;
    for (struct dirent *d; still && (d = readdir(tasks)) != NULL;)
        if (d->d_name[0] != '.' && atol(d->d_name) != self)
            still = sleeps(d->d_name);
    closedir(tasks);
    return still;
}

void wait_for_still_threads(void)
{
    while (!all_sleep())
        (void)sched_yield();
}
