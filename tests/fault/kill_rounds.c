/* kill_rounds.c - the parent that kills: see kill_rounds.h. */
#include "tests/fault/kill_rounds.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "strata/version.h"
#include "tests/support/cmocka_all.h"

static const char *const death_names[DEATHS] = { "after some steps",
                                                 "while it opens",
                                                 "before a system call",
                                                 "before a system call that neither reads nor writes",
                                                 "while it writes",
                                                 "after a clear",
                                                 "before a system call of its closing" };
const char *const kill_kind_names[STORE_KINDS] = { "the layer", "a cache of disk", "a cache of memory and disk",
                                                   "a cache of memory and a disk of what it evicts" };

static void report(const struct plan *plan, const struct history *h, uint64_t seed, int round, const struct death *death)
{
    fail_msg("%s\nround %d, %s, %s, killed %s (%d); %u threads, segments of %llu, buffers of %llu, compression %d; "
             "STRATA_SEED=%llu",
             h->words, round, kill_kind_names[plan->kind],
             plan->disk != DISK_WELL ? "a full disk"
             : plan->roomy           ? "roomy"
                                     : "tight",
             death_names[death->how], death->nth, plan->threads, (unsigned long long)plan->options.segment_bytes,
             (unsigned long long)plan->options.write_buffer_bytes, plan->options.compression, (unsigned long long)seed);
}

static int is_time(const struct history *h, const struct death *death)
{
    if (atomic_load(&h->failed) || atomic_load(&h->shoot))
        return 1;
    if (death->how == WHILE_OPENING)
        return 1;
    if (death->opening_alone && atomic_load(&h->ready))
        return 1;
    return atomic_load(&h->steps) >= (uint64_t)(death->how == AFTER_STEPS ? death->nth : STEPS_MOST);
}

static void kill_in_time(struct history *h, const struct death *death, pid_t child)
{
    const struct timespec opening = { 0, death->nth * 1000L }, a_moment = { 0, 30000 };
    int status = 0;
    pid_t ended = 0;
    if (death->how == WHILE_OPENING)
        nanosleep(&opening, NULL);
    while (!is_time(h, death) && (ended = waitpid(child, &status, WNOHANG)) == 0)
        if (death->how == WHILE_WRITING)
            sched_yield();
        else
            nanosleep(&a_moment, NULL);
    if (ended == 0) {
        kill(child, SIGKILL);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
    }
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        history_fail(h, "the child ended by itself: %s %d", WIFSIGNALED(status) ? "signal" : "exit",
                     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void wait_for(struct history *h, pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        history_fail(h, "the child that looks ended with status %x", (unsigned)status);
}

static struct death some_death(struct history *h, uint64_t *random)
{
    struct death death = { .history = h, .how = (int)below(random, DEATHS) };
    uint32_t most[DEATHS] = { STEPS_MOST, 3000, 20000, 600, 3000, 8, 60 };
    death.nth = 1 + (int)below(random, 1 + below(random, most[death.how])); /* early ones more often */
    death.close_at = 1 + below(random, STEPS_MOST / 4);
    return death;
}

static void live_and_die(const struct plan *plan, struct history *h, uint64_t random, struct death *death)
{
    pid_t child = fork();
    if (child == 0)
        kill_live(plan, h, random, death);
    assert_true(child > 0);
    kill_in_time(h, death, child);
    history_dead(h);
}

/* What opens after a death dies, too. */
static void die_opening(const struct plan *plan, struct history *h, uint64_t *random)
{
    struct plan idle = *plan;
    struct death death = { .history = h, .opening_alone = 1 };
    idle.threads = 0;
    idle.maintained = 0;
    death.how = below(random, 2) ? BEFORE_A_CALL : BEFORE_A_RARE_CALL;
    death.nth = 1 + (int)below(random, 40);
    atomic_store(&h->ready, 0);
    live_and_die(&idle, h, draw(random), &death);
}

void kill_one_round(struct plan *plan, struct history *h, uint64_t seed, int round)
{
    struct death death = some_death(h, &plan->random);
    uint64_t random = draw(&plan->random);
    if (plan->disk == DISK_SAYS_FULL)
        death.full_from = 1 + (int)below(&plan->random, 200);
    history_born(h);
    live_and_die(plan, h, random, &death);
    while (!atomic_load(&h->failed) && below(&plan->random, 3) == 0)
        die_opening(plan, h, &plan->random);
    if (!atomic_load(&h->failed)) {
        pid_t child = fork();
        if (child == 0)
            kill_look(plan, h, draw(&random));
        assert_true(child > 0);
        wait_for(h, child);
    }
    if (atomic_load(&h->failed))
        report(plan, h, seed, round, &death);
}

struct plan kill_some_plan(uint64_t *random, int kind, int roomy)
{
    /* Written whole; in pieces of a page, of 4 and 16, and of most of a segment: of each one that is no power of two. */
    static const uint64_t buffers[] = { 4096, 6136, 6160, 8192, 32768, 50000, 100000, 262144 };
    struct plan plan = { .kind = kind, .roomy = roomy };
    strata_disk_options *o = &plan.options;
    plan.random = draw(random);
    plan.threads = 1 + below(random, THREADS_MOST);
    plan.maintained = below(random, 3) != 0;
    o->size = sizeof *o;
    o->max_bytes = plan.roomy ? 512u << 20 : (1u << 20) << below(random, 3);
    o->segment_bytes = (64u << 10) << below(random, plan.roomy ? 4 : 2);
    o->write_buffer_bytes = buffers[below(random, sizeof buffers / sizeof buffers[0])];
    if (below(random, 3) == 0)
        o->compression = below(random, 2) ? STRATA_COMPRESS_LZ4 : STRATA_COMPRESS_ZSTD;
    if (strstr(strata_features(), o->compression == STRATA_COMPRESS_LZ4 ? "lz4" : "zstd") == NULL)
        o->compression = 0;
    o->compress_above_bytes = 64;
    return plan;
}

uint64_t kill_seed(void)
{
    const char *chosen = getenv("STRATA_SEED");
    return chosen != NULL ? strtoull(chosen, NULL, 10) : 20261121;
}

int kill_is_long(void)
{
    const char *often = getenv("STRATA_TEST_LONG");
    return often != NULL && often[0] != '\0';
}
