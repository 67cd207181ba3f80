/* fleet.c - see fleet.h.  Orders and answers are structs in pipes: both ends are one program. */
#include "tests/support/fleet.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include "strata/strata.h"
#include "tests/support/open_alone.h"

static _Noreturn void give_up(const char *what, const char *why)
{
    (void)fprintf(stderr, "fleet: %s: %s\n", what, why);
    abort();
}

static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* 0: the other side is gone. */
static int read_whole(int fd, void *out, size_t size)
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

static int write_whole(int fd, const void *bytes, size_t size)
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

/* A member --------------------------------------------------------------------------------------------------------- */

struct member {
    strata *cache;
    strata_queue *queue;
    struct fleet_shared *shared;
    int64_t load_ms;
    struct fleet_answer answer;
    uint32_t left;
};

static int load_origin(strata_load *load, strata_slice key, void *ctx)
{
    struct member *m = ctx;
    char text[FLEET_TEXT];
    struct timespec pause = { m->load_ms / 1000, (long)(m->load_ms % 1000) * 1000000 };
    (void)key;
    int size = snprintf(text, sizeof text, "origin %" PRIu64, atomic_load(&m->shared->origin));
    atomic_fetch_add(&m->shared->loads, 1); /* who sees it knows that the origin was read */
    if (m->load_ms > 0)
        (void)nanosleep(&pause, NULL);
    return strata_load_copy(load, text, (size_t)size);
}

static void note(struct fleet_answer *a, int status, strata_value *value, const strata_error *err)
{
    if (value != NULL && strata_value_size(value) < sizeof a->text) {
        memcpy(a->text, strata_value_data(value), strata_value_size(value));
        a->text[strata_value_size(value)] = '\0';
    }
    a->served += status == STRATA_OK || status == STRATA_STALE;
    if (status < 0 && err != NULL)
        (void)snprintf(a->words, sizeof a->words, "%s", err->message);
    if (a->status == STRATA_OK || status < a->status)
        a->status = status;
    strata_value_unref(value);
}

static void arrived(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct member *m = ctx;
    note(&m->answer, status, value, err);
    m->left--;
}

static void stampede(struct member *m, const struct fleet_order *order)
{
    strata_error err = STRATA_ERROR_INIT;
    for (uint32_t i = 0; i < order->callers; i++) {
        int rc = strata_get_or_load_async(m->cache, strata_str(order->key), load_origin, m, NULL, m->queue, arrived, m,
                                          &err);
        if (rc == STRATA_PENDING)
            m->left++;
        else
            note(&m->answer, rc, NULL, &err);
    }
    while (m->left > 0) {
        strata_queue_wait(m->queue, -1);
        strata_queue_run(m->queue, 0);
    }
}

static void one_call(struct member *m, const struct fleet_order *order)
{
    strata_error err = STRATA_ERROR_INIT;
    strata_value *value = NULL;
    strata_layer_stats stats = STRATA_LAYER_STATS_INIT;
    strata_slice key = strata_str(order->key);
    int rc = STRATA_OK;
    switch (order->what) {
    case FLEET_LOAD: rc = strata_get_or_load(m->cache, key, load_origin, m, NULL, &value, &err); break;
    case FLEET_GET: rc = strata_get(m->cache, key, &value, &err); break;
    case FLEET_SET: rc = strata_set(m->cache, key, strata_str(order->text), NULL, &err); break;
    case FLEET_DELETE: rc = strata_delete(m->cache, key, &err); break;
    default:
        rc = strata_stats_layer(m->cache, order->layer, &stats);
        m->answer.breaker = stats.breaker;
        m->answer.queued_deletes = stats.queued_deletes;
    }
    note(&m->answer, rc, value, &err);
}

static _Noreturn void serve(struct fleet_shared *shared, const char *url, int from_parent, int to_parent)
{
    struct member m = { .shared = shared };
    struct fleet_order order;
    strata_error err = STRATA_ERROR_INIT;
#if defined(__linux__)
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a parent that crashes takes it along */
#endif
    m.answer.status = open_url_alone(&m.cache, url, NULL, &err);
    if (m.answer.status == STRATA_OK)
        m.answer.status = strata_queue_open(&m.queue, &err);
    (void)snprintf(m.answer.words, sizeof m.answer.words, "%s", err.message);
    while (write_whole(to_parent, &m.answer, sizeof m.answer) && read_whole(from_parent, &order, sizeof order) &&
           order.what != FLEET_END) {
        memset(&m.answer, 0, sizeof m.answer);
        m.load_ms = order.load_ms;
        if (order.what == FLEET_STAMPEDE)
            stampede(&m, &order);
        else
            one_call(&m, &order);
        m.answer.done_ns = now_ns();
    }
    int rc = strata_close(m.cache);
    strata_queue_close(m.queue);
    _exit(rc == STRATA_OK || rc == STRATA_PENDING ? 0 : 1);
}

/* Their parent ----------------------------------------------------------------------------------------------------- */

static void start_member(struct fleet *f, int i, const char *url)
{
    int down[2], up[2];
    if (pipe(down) != 0 || pipe(up) != 0)
        give_up("pipe", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        give_up("fork", strerror(errno));
    if (pid == 0) {
        for (int k = 0; k < i; k++) { /* or they would not see their own pipes end */
            (void)close(f->members[k].to_fd);
            (void)close(f->members[k].from_fd);
        }
        (void)close(down[1]);
        (void)close(up[0]);
        serve(f->shared, url, down[0], up[1]);
    }
    (void)close(down[0]);
    (void)close(up[1]);
    f->members[i].pid = pid;
    f->members[i].to_fd = down[1];
    f->members[i].from_fd = up[0];
}

void fleet_start(struct fleet *f, int count, const char *url)
{
    memset(f, 0, sizeof *f);
    void *shared = mmap(NULL, sizeof *f->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || count > FLEET_MOST)
        give_up("mmap", strerror(errno));
    f->shared = shared;
    (void)fflush(NULL);
    for (int i = 0; i < count; i++) {
        start_member(f, i, url);
        f->count++;
    }
    for (int i = 0; i < count; i++) {
        struct fleet_answer answer;
        fleet_hear(f, i, &answer);
        if (answer.status < 0)
            give_up(url, answer.words);
    }
}

void fleet_tell(struct fleet *f, int member, const struct fleet_order *order)
{
    if (!write_whole(f->members[member].to_fd, order, sizeof *order))
        give_up("a member", "it is gone");
}

void fleet_hear(struct fleet *f, int member, struct fleet_answer *answer)
{
    if (!read_whole(f->members[member].from_fd, answer, sizeof *answer))
        give_up("a member", "it is gone");
}

struct fleet_answer fleet_ask(struct fleet *f, int member, const struct fleet_order *order)
{
    struct fleet_answer answer;
    fleet_tell(f, member, order);
    fleet_hear(f, member, &answer);
    return answer;
}

void fleet_kill(struct fleet *f, int member)
{
    (void)kill(f->members[member].pid, SIGKILL);
    (void)waitpid(f->members[member].pid, NULL, 0);
    f->members[member].pid = 0;
}

int fleet_stop(struct fleet *f)
{
    int failed = 0;
    for (int i = 0; i < f->count; i++) /* their pipes end: that is an order, too */
        (void)close(f->members[i].to_fd);
    for (int i = 0; i < f->count; i++) {
        int status = 0;
        if (f->members[i].pid != 0 && waitpid(f->members[i].pid, &status, 0) == f->members[i].pid)
            failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
        (void)close(f->members[i].from_fd);
    }
    (void)munmap(f->shared, sizeof *f->shared);
    f->count = 0;
    return failed;
}

struct fleet_crowd fleet_stampede(struct fleet *f, const char *key, uint32_t callers, int64_t load_ms)
{
    struct fleet_order order = { .what = FLEET_STAMPEDE, .callers = callers, .load_ms = load_ms };
    struct fleet_crowd crowd = { 0 };
    uint64_t loads = atomic_load(&f->shared->loads);
    int64_t began = now_ns(), last = began;
    (void)snprintf(order.key, sizeof order.key, "%s", key);
    for (int i = 0; i < f->count; i++)
        fleet_tell(f, i, &order);
    for (int i = 0; i < f->count; i++) {
        struct fleet_answer answer;
        fleet_hear(f, i, &answer);
        crowd.served += answer.served;
        last = answer.done_ns > last ? answer.done_ns : last;
        if (answer.words[0] != '\0')
            memcpy(crowd.words, answer.words, sizeof crowd.words);
    }
    crowd.loads = atomic_load(&f->shared->loads) - loads;
    crowd.ms = (double)(last - began) / 1e6;
    return crowd;
}
