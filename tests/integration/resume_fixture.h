/* resume_fixture.h - a node with a disk that is killed -9, as a process of its own, and comes back; and another one that goes on meanwhile.
 * They share nothing but a bus of a real server. */
#ifndef STRATA_TESTS_RESUME_FIXTURE_H
#define STRATA_TESTS_RESUME_FIXTURE_H
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "strata/strata.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/temp_dir.h"

typedef strata_bus *resume_bus(void);

static inline void resume_nap(void) { (void)nanosleep(&(struct timespec){ 0, 5 * 1000 * 1000 }, NULL); }

/* `path` NULL: without a disk. */
static inline strata *resume_open(resume_bus *bus_new, const char *path, const char *name)
{
    strata_disk_options d = STRATA_DISK_OPTIONS_INIT;
    strata_coherence_options coherence = STRATA_COHERENCE_OPTIONS_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    strata_error err = STRATA_ERROR_INIT;
    strata *cache = NULL;
    d.path = path;
    d.max_bytes = 64 << 20;
    strata_layer *layers[2] = { strata_memory_layer(NULL), path != NULL ? strata_disk_layer(&d) : NULL };
    strata_bus *bus = bus_new();
    coherence.node_name = name;
    coherence.heartbeat_ms = 50;
    coherence.trust_ms = 60000; /* no pause of a busy machine's ends it */
    coherence.open_wait_ms = 30000;
    options.layers = layers;
    options.layer_count = path != NULL ? 2 : 1;
    options.buses = &bus;
    options.bus_count = 1;
    options.coherence = &coherence;
    if (strata_open(&cache, &options, &err) != STRATA_OK) {
        fprintf(stderr, "open: %s: %s\n", err.where, err.message);
        return NULL;
    }
    return cache;
}

static inline strata_health resume_health(strata *cache)
{
    strata_health h = STRATA_HEALTH_INIT;
    (void)strata_health_get(cache, &h, NULL);
    return h;
}

static inline void resume_until_trusted(strata *cache)
{
    while (!resume_health(cache).trusted)
        resume_nap();
}

static inline int resume_set(strata *cache, const char *key, const char *value)
{
    return strata_set(cache, strata_str(key), strata_str(value), NULL, NULL);
}

static inline void resume_expect(strata *cache, const char *key, int status, const char *value)
{
    strata_value *v = NULL;
    int rc = strata_get(cache, strata_str(key), &v, NULL);
    assert_int_equal(rc, status);
    assert_int_equal(strata_value_size(v), strlen(value));
    assert_memory_equal(strata_value_size(v) != 0 ? strata_value_data(v) : "", value, strlen(value));
    strata_value_unref(v);
}

/* The child's: it ends by kill -9 alone.  A byte tells that what it holds, and where it stands, is with the kernel. */
static inline void resume_live(resume_bus *bus_new, const char *path, int tell)
{
    char note[256];
    struct stat st;
    strata *cache = resume_open(bus_new, path, "a");
    if (cache == NULL)
        _exit(1);
    resume_until_trusted(cache);
    (void)snprintf(note, sizeof note, "%s/bus.note", path);
    /* The overwrite hands all that was put before it to the kernel. */
    if (resume_set(cache, "kept", "one") != STRATA_OK || resume_set(cache, "gone", "two") != STRATA_OK ||
        resume_set(cache, "gone", "three") != STRATA_OK)
        _exit(2);
    while (stat(note, &st) != 0)
        resume_nap();
    if (write(tell, "!", 1) != 1)
        _exit(3);
    for (;;)
        pause();
}

/* It has lived, and is dead: what it leaves is at `path`. */
static inline void resume_live_and_die(const char *path, const char *where)
{
    int pipes[2], status;
    char byte, tell[16];
    assert_int_equal(pipe(pipes), 0);
    (void)snprintf(tell, sizeof tell, "%d", pipes[1]);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) { /* anew: not every library lives on in a child */
        (void)close(pipes[0]);
        (void)execl("/proc/self/exe", "resume", "--live", path, tell, where, (char *)NULL);
        _exit(4);
    }
    (void)close(pipes[1]);
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    (void)close(pipes[0]);
}

/* `where` the server is, for the child; what `meanwhile` does to it, after the delete; `whole`: the bus can go on. */
static inline void resume_round(resume_bus *bus_new, const char *where, void (*meanwhile)(strata *other), int whole)
{
    char path[128];
    temp_dir_make(path, sizeof path);
    resume_live_and_die(path, where);
    strata *b = resume_open(bus_new, NULL, "b");
    assert_non_null(b);
    resume_until_trusted(b);
    int rc = strata_delete(b, strata_str("gone"), NULL);
    assert_int_equal(rc, STRATA_OK);
    if (meanwhile != NULL)
        meanwhile(b);
    (void)strata_close(b);
    strata *a = resume_open(bus_new, path, "a");
    assert_non_null(a);
    /* From the first moment on. */
    resume_expect(a, "gone", STRATA_MISS, "");
    resume_until_trusted(a);
    resume_expect(a, "gone", STRATA_MISS, "");
    resume_expect(a, "kept", whole ? STRATA_OK : STRATA_MISS, whole ? "one" : "");
    assert_int_equal(resume_health(a).lost != 0, !whole);
    (void)strata_close(a);
    /* And once more, after a clean end. */
    a = resume_open(bus_new, path, "a");
    assert_non_null(a);
    resume_until_trusted(a);
    resume_expect(a, "gone", STRATA_MISS, "");
    resume_expect(a, "kept", whole ? STRATA_OK : STRATA_MISS, whole ? "one" : "");
    assert_int_equal(resume_health(a).lost, 0);
    (void)strata_close(a);
    temp_dir_remove(path);
}

#endif /* STRATA_TESTS_RESUME_FIXTURE_H */
