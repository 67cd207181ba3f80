/* bus_ear.h - a bus that no cache opened, and whoever listens: notes every message that came, and publishes what a test says. */
#ifndef STRATA_TESTS_BUS_EAR_H
#define STRATA_TESTS_BUS_EAR_H
#include <pthread.h>
#include <stddef.h>

#include "src/bus/bus_host.h"

enum { EAR_MESSAGES = 32768, EAR_TEXT = 32 };

struct bus_ear {
    strata_bus_host host; /* first */
    strata_bus *bus;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* Under it. */
    char (*texts)[EAR_TEXT]; /* EAR_MESSAGES, cut to their room */
    size_t count, bytes;     /* of bytes: all of them together */
    unsigned char cursor[255];
    size_t cursor_size; /* of the last one */
    int ups, downs, losses, told_late, stopped;
    char lost_why[128];
    strata_error down_why;
};

/* How it is started; NULL fields are left out. */
struct bus_ear_how {
    const char *node_name;
    strata_slice resume_from;
};

/* Starts the bus; STRATA_OK, or what start() or the constructor answered: then it is given back. */
int bus_ear_start(struct bus_ear *e, strata_bus *bus, const struct bus_ear_how *how, strata_error *err);
/* The same, and waits until it is up. */
void bus_ear_open(struct bus_ear *e, strata_bus *bus, const char *node_name);
/* Stops it and gives it back; checks that nothing was told after that. */
void bus_ear_close(struct bus_ear *e);

/* Publishes and waits until it is done: its status. */
int bus_ear_say(struct bus_ear *e, const char *text, strata_error *err);
/* Again and again, until it is taken: as the cache does. */
void bus_ear_say_surely(struct bus_ear *e, const char *text);
/* One of so many bytes. */
int bus_ear_say_bytes(struct bus_ear *e, size_t size, strata_error *err);

/* All wait, and fail the test after half a minute. */
void bus_ear_until_heard(struct bus_ear *e, const char *text);
void bus_ear_until_up(struct bus_ear *e, int times);
void bus_ear_until_down(struct bus_ear *e, const char *words); /* the last one's words have these in them */
void bus_ear_until_lost(struct bus_ear *e, int times);

/* How often this text came. */
size_t bus_ear_times(struct bus_ear *e, const char *text);
int bus_ear_losses(struct bus_ear *e);
int bus_ear_ups(struct bus_ear *e);
void bus_ear_forget(struct bus_ear *e); /* messages, not counters */
void bus_ear_stats(struct bus_ear *e, strata_bus_stats *out);

#endif /* STRATA_TESTS_BUS_EAR_H */
