/* test_disk_processes.c - what other processes do to a directory: die while they open it, have it open, cut its files. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "src/os/os_fault.h"
#include "tests/fault/kill_rounds.h"
#include "tests/support/disk_fixture.h"
#include "tests/support/temp_dir.h"

/* Dying while it opens ------------------------------------------------------------------------------------------ */

struct nth_call {
    struct os_fault_hook hook;
    int nth;
    _Atomic(int) seen;
};

static int die_at(const char *call, void *ctx)
{
    struct nth_call *at = ctx;
    (void)call;
    if (atomic_fetch_add(&at->seen, 1) + 1 == at->nth) {
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
    return 0;
}

static void wait_for(pid_t child, int *status)
{
    while (waitpid(child, status, 0) < 0)
        assert_int_equal(errno, EINTR);
}

/* 1: it was killed; 0: it had opened before. */
static int open_and_die(struct disk_fixture *f, int nth)
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct nth_call at = { .nth = nth };
        at.hook = (struct os_fault_hook){ die_at, &at, NULL };
        strata__os_fault_set(&at.hook);
        _exit(disk_open(f) == STRATA_OK ? 0 : 1);
    }
    wait_for(child, &status);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

/* What a process leaves that is killed: values in sealed segments, and a segment with `last` records. */
static void leave(struct disk_fixture *f, int last)
{
    struct disk_fixture other;
    disk_make(&other);
    other.options.max_bytes = 1u << 20;
    other.options.segment_bytes = 64u << 10;
    assert_int_equal(disk_open(&other), STRATA_OK);
    for (uint32_t k = 0; k < 30; k++)
        assert_int_equal(disk_put(&other, k, 1, 3000), STRATA_OK);
    assert_int_equal(disk_put(&other, 3, 2, 100), STRATA_OK);
    assert_int_equal(disk_remove(&other, 4), STRATA_OK);
    disk_close(&other);
    assert_int_equal(disk_open(&other), STRATA_OK);
    assert_int_equal(disk_put(&other, 100, 1, 100), STRATA_OK); /* in a buffer, of a segment that is empty */
    for (uint32_t k = 0; k < (uint32_t)last; k++)
        assert_int_equal(disk_put(&other, 5, 2 + k, 100), STRATA_OK); /* overwrites: they wait */
    disk_crash_copy(&other, f);
    disk_unmake(&other);
}

static void check_left(struct disk_fixture *f, int last, const char *when, int nth)
{
    if (disk_open(f) != STRATA_OK)
        fail_msg("%s %d: not opened: %s", when, nth, f->err.message);
    if (disk_stats_of(f).errors != 0)
        fail_msg("%s %d, after %d records: errors were counted", when, nth, last);
    for (uint32_t k = 0; k < 30; k++) {
        uint32_t version = 0;
        int rc = disk_get(f, k, &version);
        uint32_t want = k == 3 ? 2 : k == 5 && last != 0 ? (uint32_t)last + 1 : 1;
        if (k == 4 ? rc != STRATA_MISS : rc != STRATA_OK || version != want)
            fail_msg("%s %d, after %d records: key %u answers %d, version %u", when, nth, last, k, rc, version);
    }
}

static void dies_at_each_call_of_an_opening(void **state)
{
    (void)state;
    for (int last = 0; last < 3; last++)
        for (int nth = 1, met = 1; met; nth++) {
            struct disk_fixture f;
            leave(&f, last);
            met = open_and_die(&f, nth);
            check_left(&f, last, "killed before call", nth);
            disk_unmake(&f);
        }
}

/* Dying in a whole life ----------------------------------------------------------------------------------------- */

/* Opens, works, closes, opens and works on; the same every time. */
static void live_twice(const struct plan *plan, struct history *h, int nth)
{
    struct nth_call at = { .nth = nth };
    struct kill_store *s = kill_store_of(plan, h);
    strata_error err = STRATA_ERROR_INIT;
    uint64_t random = 5;
    kill_be_a_child();
    at.hook = (struct os_fault_hook){ die_at, &at, NULL };
    strata__os_fault_set(&at.hook);
    for (uint64_t life = 1; life <= 2; life++) {
        if (kill_store_open(s, life, &err) != STRATA_OK) {
            history_fail(h, "not opened: %s", err.message);
            _exit(1);
        }
        for (uint32_t i = 0; i < 90; i++) {
            uint32_t what = below(&random, 20), key = below(&random, 24);
            if (what < 13)
                kill_store_put(s, key, below(&random, 8000));
            else if (what < 16)
                kill_store_remove(s, key);
            else if (what == 16)
                kill_store_clear(s, below(&random, HISTORY_CLASSES + 1));
            else if (what == 17)
                kill_store_maintain(s);
            else
                kill_store_get(s, key);
        }
        if (life == 1)
            kill_store_close(s);
    }
    _exit(0);
}

static void dies_at_each_call_of_a_life(void **state)
{
    (void)state;
    struct history *h = history_new();
    struct plan plan = { .kind = STORE_LAYER, .roomy = 1 };
    plan.options.max_bytes = 64u << 20;
    plan.options.segment_bytes = 64u << 10;
    plan.options.write_buffer_bytes = 16384;
    for (int nth = 1, met = 1; met; nth += kill_is_long() ? 1 : 5) {
        int status = 0;
        temp_dir_make(plan.path, sizeof plan.path);
        history_reset(h);
        history_born(h);
        pid_t child = fork();
        if (child == 0)
            live_twice(&plan, h, nth);
        wait_for(child, &status);
        met = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        history_dead(h);
        child = fork();
        if (child == 0)
            kill_look(&plan, h, (uint64_t)nth);
        wait_for(child, &status);
        if (atomic_load(&h->failed) || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail_msg("killed before call %d: %s", nth, h->words);
        temp_dir_remove(plan.path);
    }
    history_free(h);
}

/* Two on one path ----------------------------------------------------------------------------------------------- */

static int open_path(strata **out, const char *path, strata_error *err)
{
    strata_disk_options disk = STRATA_DISK_OPTIONS_INIT;
    disk.path = path;
    strata_layer *layer = strata_disk_layer(&disk);
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = &layer;
    options.layer_count = 1;
    return strata_open(out, &options, err);
}

/* Has the path open, says so, and stays. */
static void hold(const char *path, int say)
{
    strata_error err = STRATA_ERROR_INIT;
    strata *cache;
    int rc = open_path(&cache, path, &err);
    if (rc == STRATA_OK)
        rc = strata_set(cache, strata_str("whose"), strata_str("the first one's"), NULL, &err);
    if (rc == STRATA_OK)
        rc = strata_set(cache, strata_str("whose"), strata_str("the first one's, still"), NULL, &err);
    if (write(say, &rc, sizeof rc) != sizeof rc)
        _exit(1);
    for (;;)
        pause();
}

static void a_second_opener_is_told_who_is_the_first(void **state)
{
    (void)state;
    char path[256], who[320];
    int say[2], rc = -1, status;
    strata *cache;
    strata_error err = STRATA_ERROR_INIT;
    strata_value *value;
    temp_dir_make(path, sizeof path);
    assert_int_equal(pipe(say), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        hold(path, say[1]);
    assert_int_equal(read(say[0], &rc, sizeof rc), sizeof rc);
    assert_int_equal(rc, STRATA_OK);
    assert_int_equal(open_path(&cache, path, &err), STRATA_EBUSY);
    assert_null(cache);
    snprintf(who, sizeof who, "\"%s\" is in use by process %ld", path, (long)child);
    if (strstr(err.message, who) == NULL)
        fail_msg("\"%s\" does not say %s", err.message, who);
    kill(child, SIGKILL);
    wait_for(child, &status);
    assert_int_equal(open_path(&cache, path, &err), STRATA_OK);
    assert_int_equal(strata_get(cache, strata_str("whose"), &value, &err), STRATA_OK);
    assert_int_equal(strata_value_size(value), strlen("the first one's, still"));
    strata_value_unref(value);
    assert_int_equal(strata_close(cache), STRATA_OK);
    close(say[0]);
    close(say[1]);
    temp_dir_remove(path);
}

/* Files that somebody else cuts ----------------------------------------------------------------------------------- */

enum { READERS = 2 };

struct reader {
    pthread_t thread;
    struct kill_store *store;
    uint32_t salt;
};

static _Atomic(int) enough;

static void *read_on(void *ctx)
{
    struct reader *r = ctx;
    for (uint32_t i = 0; !atomic_load(&enough); i++)
        kill_store_get(r->store, (i * 7 + r->salt) % HISTORY_KEYS);
    return NULL;
}

/* Waits for a word, cuts every file of the log (`part` of 4 of it stays), and ends. */
static void cut_files(const char *path, int part, int hear)
{
    static char names[4096][64];
    char name[400], word;
    if (read(hear, &word, 1) != 1)
        _exit(1);
    size_t count = temp_dir_list(path, names, 4096);
    for (size_t i = 0; i < count; i++) {
        struct stat st;
        snprintf(name, sizeof name, "%s/%s", path, names[i]);
        if (strstr(names[i], ".seg") != NULL && (stat(name, &st) != 0 || truncate(name, st.st_size / 4 * part) != 0))
            _exit(2);
    }
    _exit(0);
}

static void fill(struct kill_store *s, uint32_t from)
{
    for (uint32_t k = 0; k < HISTORY_KEYS; k++)
        if ((k + from) % 5 == 0)
            kill_store_remove(s, k);
        else
            kill_store_put(s, k, (k * 37 + from) % 3000);
}

/* Everything is read once more, and written again. */
static void go_on(struct kill_store *s, int *lost)
{
    for (uint32_t k = 0; k < HISTORY_KEYS; k++) {
        uint64_t floor = history_floor(s->history, k);
        strata_value *value = kill_store_look(s, k);
        if (value != NULL)
            history_check(s->history, k, strata_value_data(value), strata_value_size(value), floor);
        *lost += value == NULL && k % 5 != 0;
        strata_value_unref(value);
    }
    assert_true(s->kind == STORE_LAYER || kill_store_stats(s).errors > 0); /* a cache counts what its layers answer */
    fill(s, 1);
}

static void open_again(struct kill_store *s)
{
    strata_error err = STRATA_ERROR_INIT;
    kill_store_close(s);
    if (kill_store_open(s, 77, &err) != STRATA_OK)
        fail_msg("not opened with files that were cut: %s", err.message);
    for (uint32_t k = 0; k < HISTORY_KEYS; k++)
        kill_store_get(s, k);
}

static void cut_while_it_reads(int kind, int part)
{
    struct kill_store *s = calloc(1, sizeof *s);
    struct reader readers[READERS];
    strata_error err = STRATA_ERROR_INIT;
    char path[256];
    int say[2], status, lost = 0;
    assert_non_null(s);
    temp_dir_make(path, sizeof path);
    assert_int_equal(pipe(say), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        cut_files(path, part, say[0]);
    s->kind = kind;
    s->history = history_new();
    s->gets_may_fail = 1;
    s->options.path = path;
    s->options.max_bytes = 32u << 20;
    assert_int_equal(kill_store_open(s, 7, &err), STRATA_OK);
    fill(s, 0);
    if (kind == STORE_DEMOTED) { /* until all is on the disk, none of it on its way */
        kill_store_close(s);
        assert_int_equal(kill_store_open(s, 8, &err), STRATA_OK);
    }
    atomic_store(&enough, 0);
    for (uint32_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){ .store = s, .salt = i * 1000 };
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
    }
    assert_int_equal(write(say[1], "!", 1), 1);
    wait_for(child, &status);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    go_on(s, &lost);
    atomic_store(&enough, 1);
    for (uint32_t i = 0; i < READERS; i++)
        pthread_join(readers[i].thread, NULL);
    open_again(s);
    kill_store_close(s);
    if (atomic_load(&s->history->failed))
        fail_msg("%s", s->history->words);
    assert_true(lost > 100);
    /* The layer says what it found damaged; to who asks a cache it is a miss. */
    assert_int_equal(atomic_load(&s->failed_gets) > 0, kind == STORE_LAYER);
    history_free(s->history);
    free(s);
    close(say[0]);
    close(say[1]);
    temp_dir_remove(path);
}

static void files_are_cut_while_it_reads(void **state)
{
    (void)state;
    for (int part = 0; part < 3; part++) {
        cut_while_it_reads(STORE_LAYER, part);
        cut_while_it_reads(STORE_DISK, part);
        cut_while_it_reads(STORE_BOTH, part);
        cut_while_it_reads(STORE_DEMOTED, part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dies_at_each_call_of_an_opening),
        cmocka_unit_test(dies_at_each_call_of_a_life),
        cmocka_unit_test(a_second_opener_is_told_who_is_the_first),
        cmocka_unit_test(files_are_cut_while_it_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
