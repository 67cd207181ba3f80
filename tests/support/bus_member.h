/* bus_member.h - a node of a channel without a cache: a bus, and a host that notes all that it is told.  Delays take as long as they say, on
 * one thread, as servers and connections live in real time.  Waits end when what they wait for is there; what never comes
 * fails the test after two minutes. */
#ifndef STRATA_TESTS_BUS_MEMBER_H
#define STRATA_TESTS_BUS_MEMBER_H
#include <pthread.h>
#include <stdatomic.h>

#include "src/bus/bus_host.h"

struct bus_timer;
struct bus_sent;

struct bus_came {
    char *bytes;
    size_t size;
    char cursor[256];
    size_t cursor_size;
};

struct bus_member {
    struct strata_bus_host host; /* first */
    strata_bus *bus;             /* NULL: closed */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct bus_timer *timers;
    int stopping;
    int running; /* a timer's function */
    /* What it was told, in that order. */
    struct bus_came *came;
    size_t came_count, came_room;
    unsigned ups, downs, losts;
    int is_up;
    int told_late; /* something, after stop() had returned */
    int is_stopped;
    strata_error why; /* of the last down */
    char lost_why[200];
    /* What it has published: those that are not done; of the others how many went well, and badly. */
    unsigned out, good, bad;
    int last_status;
    strata_error last_err; /* of the last one that went badly */
};

/* `mem` NULL: malloc.  Takes the bus over.  STRATA_OK, or what the constructor or start() answered, with *err; the bus is closed then.
 * `resume` may be empty. */
int bus_member_try(struct bus_member *n, strata_bus *bus, const strata_allocator *mem, strata_slice resume,
                   strata_error *err);
/* The same, and has to go well. */
void bus_member_start(struct bus_member *n, strata_bus *bus);
/* Stop and close the bus; what was noted stays until bus_member_free(). */
void bus_member_close(struct bus_member *n, int64_t flush_ms);
void bus_member_free(struct bus_member *n);
/* Both. */
void bus_member_stop(struct bus_member *n);

/* Copies the bytes. */
void bus_member_publish(struct bus_member *n, const void *bytes, size_t size);
void bus_member_say(struct bus_member *n, const char *text);
/* Until all that it has published is done. */
void bus_member_wait_sent(struct bus_member *n);
/* Until so many messages have come, all told. */
void bus_member_wait_came(struct bus_member *n, size_t count);
void bus_member_wait_up(struct bus_member *n, unsigned times);
/* Until it is down, with these words. */
void bus_member_wait_down(struct bus_member *n, const char *words);
void bus_member_wait_lost(struct bus_member *n, unsigned times);
/* Publishes it, again and again as long as that fails: who is subscribed again may not be able to publish yet. */
void bus_member_say_taken(struct bus_member *n, const char *text);
/* Publishes it, again and again, until it came back: of a bus that echoes. */
void bus_member_wait_echo(struct bus_member *n, const char *text);
/* Is it among what has come, and which one (from 0); -1: no. */
long bus_member_find(struct bus_member *n, const char *text);
void bus_member_wait_text(struct bus_member *n, const char *text);

#endif /* STRATA_TESTS_BUS_MEMBER_H */
