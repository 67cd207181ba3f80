/* shops.c - starting the processes, and talking with them; see shops.h. */
#include "demo/shops.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include "cli/cli_error.h"

int shop_read(int fd, void *out, size_t size)
{
    char *at = out;

    while (size > 0) {
        ssize_t got = read(fd, at, size);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return 0;
        at += got;
        size -= (size_t)got;
    }
    return 1;
}

int shop_write(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;

    while (size > 0) {
        ssize_t sent = write(fd, at, size);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return 0;
        at += sent;
        size -= (size_t)sent;
    }
    return 1;
}

static _Noreturn void become_shop(const char *folder, const char *url, int from_fd, int to_fd)
{
    char self[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);

#if defined(__linux__)
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    if (size > 0 && dup2(from_fd, STDIN_FILENO) >= 0 && dup2(to_fd, STDOUT_FILENO) >= 0) {
        self[size] = '\0';
        execl(self, "strata-demo", "--shop", folder, url, (char *)NULL);
    }
    _exit(127);
}

static int start_one(struct shops *shops, int i, const char *folder, const char *url)
{
    int down[2], up[2], k;

    if (pipe(down) != 0)
        return 0;
    if (pipe(up) != 0) {
        close(down[0]);
        close(down[1]);
        return 0;
    }
    fflush(NULL);
    shops->all[i].pid = fork();
    if (shops->all[i].pid == 0) {
        for (k = 0; k < i; k++) { /* theirs: they end when their last writer is gone */
            close(shops->all[k].to_fd);
            close(shops->all[k].from_fd);
        }
        close(down[1]);
        close(up[0]);
        become_shop(folder, url, down[0], up[1]);
    }
    close(down[0]);
    close(up[1]);
    shops->all[i].to_fd = down[1];
    shops->all[i].from_fd = up[0];
    shops->running++;
    return shops->all[i].pid > 0;
}

int shops_start(struct shops *shops, const char *folder, strata_error *err)
{
    char url[160];
    int i, status;

    signal(SIGPIPE, SIG_IGN); /* a process that is gone is noticed where its answer is missing */
    status = demo_redis_start(&shops->redis, folder, err);
    if (status != STRATA_OK)
        return status;
    snprintf(url, sizeof url,
             "memory:?max_bytes=16mb|redis://127.0.0.1:%u?prefix=shop:&soft_timeout_ms=50ms&timeout_ms=500ms"
             "&breaker_open_ms=500ms",
             (unsigned)shops->redis.port);
    for (i = 0; i < SHOPS; i++)
        if (!start_one(shops, i, folder, url))
            return cli_fail(err, STRATA_EIO, "demo", "no more processes can be started: end some programs");
    for (i = 0; i < SHOPS; i++) {
        struct shop_answer answer = shops_hear(shops, i);

        if (answer.status != STRATA_OK)
            return cli_fail(err, answer.status, "demo", "a shop does not open: %s", answer.words);
    }
    return STRATA_OK;
}

void shops_tell(struct shops *shops, int which, const struct shop_order *order)
{
    (void)shop_write(shops->all[which].to_fd, order, sizeof *order);
}

struct shop_answer shops_hear(struct shops *shops, int which)
{
    struct shop_answer answer;

    if (!shop_read(shops->all[which].from_fd, &answer, sizeof answer)) {
        memset(&answer, 0, sizeof answer);
        answer.status = STRATA_EIO;
        answer.failed = 1;
        answer.cents = -1;
        snprintf(answer.words, sizeof answer.words, "its process has ended");
    }
    return answer;
}

struct shop_answer shops_ask(struct shops *shops, int which, const struct shop_order *order)
{
    shops_tell(shops, which, order);
    return shops_hear(shops, which);
}

void shops_stop(struct shops *shops)
{
    int i;

    demo_redis_resume(&shops->redis);
    for (i = 0; i < shops->running; i++)
        close(shops->all[i].to_fd);
    for (i = 0; i < shops->running; i++) {
        if (shops->all[i].pid > 0)
            waitpid(shops->all[i].pid, NULL, 0);
        close(shops->all[i].from_fd);
    }
    shops->running = 0;
    demo_redis_stop(&shops->redis);
}
