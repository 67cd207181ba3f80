/* kill_child.c - the child that works and dies: see kill_rounds.h. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include "tests/fault/kill_rounds.h"

#if defined(__SANITIZE_THREAD__)
/* A child that is killed has no exit status to tell of a race: it ends by itself, where there is one. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "halt_on_error=1"; }
#endif

/* What a round's workers do, of 10,000 steps; the rest are gets.  `hot`: how many puts of ten go to few keys; `few` of the
 * rest do, of ten. */
struct mixture {
    uint32_t puts, removes, clears, hot, few;
};
static const struct mixture mixtures[] = {
    { 4200, 1400, 30, 5, 5 }, /* of everything */
    { 8000, 200, 30, 0, 0 },  /* mostly first puts */
    { 4000, 1000, 2, 10, 0 }, /* segments that soon hold nothing but what took other keys away */
};
enum { MIXTURES = sizeof mixtures / sizeof mixtures[0], FEW_KEYS = 40 };

struct worker {
    pthread_t thread;
    struct kill_store *store;
    struct death *death;
    uint64_t random;
    const struct mixture *mixture;
};

static uint32_t some_size(uint64_t *random)
{
    uint32_t what = below(random, 100);
    return what < 10   ? below(random, 20)
           : what < 60 ? below(random, 400)
           : what < 90 ? below(random, 4096)
           : what < 98 ? below(random, 16384)
                       : below(random, 65537);
}

static void die_now(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void clear(struct worker *w)
{
    kill_store_clear(w->store, below(&w->random, HISTORY_CLASSES + 1));
    if (w->death->how == AFTER_A_CLEAR && atomic_fetch_add(&w->death->seen, 1) + 1 == w->death->nth)
        die_now();
}

static void one_step(struct worker *w)
{
    const struct mixture *m = w->mixture;
    uint32_t what = below(&w->random, 10000);
    uint32_t hot = what < m->puts ? m->hot : m->few;
    uint32_t key = below(&w->random, below(&w->random, 10) < hot ? FEW_KEYS : HISTORY_KEYS);
    if (what < m->puts)
        kill_store_put(w->store, key, some_size(&w->random));
    else if (what < m->puts + m->removes)
        kill_store_remove(w->store, key);
    else if (what < m->puts + m->removes + m->clears)
        clear(w);
    else
        kill_store_get(w->store, key);
}

static int is_closing(const struct death *death, struct history *h)
{
    return death->how == WHILE_CLOSING && atomic_load(&h->steps) >= death->close_at;
}

static void *work(void *ctx)
{
    struct worker *w = ctx;
    struct history *h = w->store->history;
    while (atomic_load(&h->writes) < HISTORY_WRITES - 1 && !atomic_load(&h->failed) && !is_closing(w->death, h)) {
        one_step(w);
        atomic_fetch_add(&h->steps, 1);
    }
    return NULL;
}

static void *maintain(void *ctx)
{
    struct worker *w = ctx;
    const struct timespec a_while = { 0, 500000 };
    while (!is_closing(w->death, w->store->history)) {
        kill_store_maintain(w->store);
        nanosleep(&a_while, NULL);
    }
    return NULL;
}

int kill_disk_says_full(const char *call)
{
    return strcmp(call, "pwrite") == 0 || strcmp(call, "posix_fallocate") == 0 ? ENOSPC : 0;
}

static int on_call(const char *call, void *ctx)
{
    struct death *death = ctx;
    int moves = strcmp(call, "pread") == 0 || strcmp(call, "pwrite") == 0, failed = 0;
    if (death->full_from != 0 && atomic_load(&death->history->ready))
        failed = kill_disk_says_full(call);
    if (failed != 0 && atomic_fetch_add(&death->writes, 1) / death->full_from % 2 == 0)
        failed = 0;
    if (death->how == WHILE_CLOSING ? !atomic_load(&death->closing)
                                    : death->how < BEFORE_A_CALL || death->how > WHILE_WRITING)
        return failed;
    if ((death->how == BEFORE_A_RARE_CALL && moves) || (death->how == WHILE_WRITING && strcmp(call, "pwrite") != 0))
        return failed;
    if (atomic_fetch_add(&death->seen, 1) + 1 != death->nth)
        return failed;
    if (death->how != WHILE_WRITING)
        die_now();
    atomic_store(&death->history->shoot, 1);
    return failed;
}

/* Not the parent's to wait for for ever, where the parent is killed. */
void kill_be_a_child(void)
{
    /* A crash is one, and nothing for the test's framework, which would end us with an exit status. */
    static const int crashes[] = { SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE };
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
        signal(crashes[i], SIG_DFL);
#if defined(__linux__)
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
}

struct kill_store *kill_store_of(const struct plan *plan, struct history *h)
{
    struct kill_store *s = calloc(1, sizeof *s);
    if (s == NULL)
        abort();
    s->kind = plan->kind;
    s->options = plan->options;
    s->options.path = plan->path;
    s->history = h;
    return s;
}

/* It is the one that dies, in the middle or after it. */
static void close_and_die(struct kill_store *s, struct death *death, struct worker *workers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
    atomic_store(&death->closing, 1);
    kill_store_close(s);
    atomic_store(&s->history->closed, 1);
    die_now();
}

void kill_live(const struct plan *plan, struct history *h, uint64_t random, struct death *death)
{
    struct worker workers[THREADS_MOST + 1];
    strata_error err = STRATA_ERROR_INIT;
    const struct mixture *mixture = &mixtures[below(&random, MIXTURES)];
    kill_be_a_child();
    struct kill_store *s = kill_store_of(plan, h);
    death->hook = (struct os_fault_hook){ on_call, death, NULL };
    strata__os_fault_set(&death->hook);
    int rc = kill_store_open(s, draw(&random), &err);
    if (rc != STRATA_OK) {
        history_fail(h, "not opened: %d, %s", rc, err.message);
        _exit(1);
    }
    atomic_store(&h->ready, 1);
    uint32_t started = 0;
    for (uint32_t i = 0; i <= plan->threads; i++) {
        workers[i].store = s;
        workers[i].death = death;
        workers[i].random = draw(&random);
        workers[i].mixture = mixture;
        if (i == plan->threads && !plan->maintained)
            break;
        if (pthread_create(&workers[i].thread, NULL, i < plan->threads ? work : maintain, &workers[i]) != 0)
            _exit(2);
        started++;
    }
    if (death->how == WHILE_CLOSING && plan->threads != 0)
        close_and_die(s, death, workers, started);
    for (;;)
        pause();
}
