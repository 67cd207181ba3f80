/* bus_node.h - a node of a bus that no cache opened: the host, what it was told, and messages on their way.  In real time. */
#ifndef STRATA_TESTS_BUS_NODE_H
#define STRATA_TESTS_BUS_NODE_H
#include <pthread.h>
#include <time.h>

#include "src/bus/bus_host.h"

enum { NODE_TEXT_BYTES = 32, NODE_TEXTS = 8192, NODE_MINUTE_MS = 60000, NODE_FLUSH_MS = 5000 };

/* A node: the bus, and what it was told. */
struct node {
    strata_bus_host host; /* first */
    strata_bus *bus;
    pthread_mutex_t mutex;
    /* Under it. */
    char texts[NODE_TEXTS][NODE_TEXT_BYTES]; /* the first ones */
    size_t count;
    int ups, downs, lost, stopped, told_late;
    strata_error why; /* of the last down */
};

/* A message on its way. */
struct out {
    strata_publish message;
    strata_error err;
    char text[NODE_TEXT_BYTES];
    _Atomic(int) done;
};

/* Not started; the bus has to be good, and becomes the node's. */
struct node *node_make(strata_bus *bus);
int node_start(struct node *n, const char *name, strata_error *err);
/* Both, which has to succeed. */
struct node *node_open(strata_bus *bus, const char *name);
/* And it has come up. */
struct node *node_open_up(strata_bus *bus, const char *name);
/* Stop, which may have been called before, and close. */
void node_close(struct node *n);
/* What is said after it is noted. */
void node_stop(struct node *n, int64_t flush_ms);
/* Did this come?  Under the mutex, or in until(). */
int node_has(const struct node *n, const char *text);

void node_send(struct node *n, struct out *out, const char *format, int number);
void node_send_bytes(struct node *n, struct out *out, strata_slice bytes);
/* Its status, once it is done. */
int node_settled(struct out *out);
/* It has to be taken; in the end: it is sent again until it is. */
void node_send_well(struct node *n, const char *text);
void node_send_in_the_end(struct node *n, const char *text);

/* Until it is so; fails the test after a minute. */
#define until(n, condition) \
    do { \
        int so_ = 0; \
        for (int i_ = 0; i_ < NODE_MINUTE_MS && !so_; i_++) { \
            pthread_mutex_lock(&(n)->mutex); \
            so_ = (condition); \
            pthread_mutex_unlock(&(n)->mutex); \
            if (!so_) \
                (void)nanosleep(&(struct timespec){ 0, 1000000 }, NULL); \
        } \
        if (!so_) \
            fail_msg("never: %s; %zu messages, up %d, down %d (%s), lost %d", #condition, (n)->count, (n)->ups, \
                     (n)->downs, (n)->why.message, (n)->lost); \
    } while (0)

#endif /* STRATA_TESTS_BUS_NODE_H */
