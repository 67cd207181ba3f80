/* redis_nodes.c - see redis_nodes.h. */
#include "tests/support/redis_nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/redis_do.h"

enum { SLOTS = 16384, LOOKS = 6000, LOOK_NS = 10 * 1000 * 1000 };

static _Noreturn void give_up(const char *what, const char *more)
{
    (void)fprintf(stderr, "redis_nodes: %s: %s\n", what, more);
    abort();
}

static void look_again(int *looks, const char *what, const char *more)
{
    if (++*looks > LOOKS)
        give_up(what, more);
    nanosleep(&(struct timespec){ 0, LOOK_NS }, NULL);
}

/* Until the node's answer to these two words holds the text. */
static void wait_for(struct redis_nodes *n, size_t node, const char *a, const char *b, const char *text)
{
    for (int looks = 0;;) {
        struct redis_answer answer = redis_do(n->links[node], a, b);
        if (answer.status == STRATA_OK && strstr(answer.text, text) != NULL)
            return;
        look_again(&looks, text, answer.status == STRATA_OK ? answer.text : answer.err.message);
    }
}

static void demand(struct redis_answer answer, const char *what)
{
    if (answer.status != STRATA_OK || answer.kind == REDIS_IS_ERROR)
        give_up(what, answer.status == STRATA_OK ? answer.text : answer.err.message);
}

void redis_nodes_id(struct redis_nodes *n, size_t node, char out[64])
{
    struct redis_answer answer = redis_do(n->links[node], "CLUSTER", "MYID");
    demand(answer, "CLUSTER MYID");
    (void)snprintf(out, 64, "%.63s", answer.text);
}

static void give_slots(struct redis_nodes *n, size_t node)
{
    char first[32], last[32];
    (void)snprintf(first, sizeof first, "%zu", node * SLOTS / CLUSTER_MASTERS);
    (void)snprintf(last, sizeof last, "%zu", (node + 1) * SLOTS / CLUSTER_MASTERS - 1);
    demand(redis_do(n->links[node], "CLUSTER", "ADDSLOTSRANGE", first, last), "CLUSTER ADDSLOTSRANGE");
}

void redis_nodes_meet(struct redis_nodes *n, size_t node)
{
    char port[16];
    (void)snprintf(port, sizeof port, "%u", (unsigned)n->servers[node].port);
    demand(redis_do(n->links[0], "CLUSTER", "MEET", "127.0.0.1", port), "CLUSTER MEET");
}

static void wait_until_known(struct redis_nodes *n)
{
    char known[64];
    (void)snprintf(known, sizeof known, "cluster_known_nodes:%zu\r", n->count);
    for (size_t i = 0; i < n->count; i++)
        wait_for(n, i, "CLUSTER", "INFO", known);
}

size_t redis_nodes_add(struct redis_nodes *n)
{
    size_t node = n->count++;
    redis_server_start_node(&n->servers[node], NULL);
    n->links[node] = redis_do_open(&n->servers[node]);
    return node;
}

void redis_nodes_cluster(struct redis_nodes *n, int replicas)
{
    memset(n, 0, sizeof *n);
    while (n->count < (replicas ? CLUSTER_NODES : CLUSTER_MASTERS)) {
        char epoch[32];
        size_t node = redis_nodes_add(n);
        (void)snprintf(epoch, sizeof epoch, "%zu", node + 1);
        demand(redis_do(n->links[node], "CLUSTER", "SET-CONFIG-EPOCH", epoch), "CLUSTER SET-CONFIG-EPOCH");
        if (node < CLUSTER_MASTERS)
            give_slots(n, node);
        if (node > 0)
            redis_nodes_meet(n, node);
    }
    wait_until_known(n);
    for (size_t i = CLUSTER_MASTERS; i < n->count; i++) {
        char id[64];
        redis_nodes_id(n, i - CLUSTER_MASTERS, id);
        demand(redis_do(n->links[i], "CLUSTER", "REPLICATE", id), "CLUSTER REPLICATE");
    }
    redis_nodes_wait(n);
    for (size_t i = CLUSTER_MASTERS; i < n->count; i++)
        wait_for(n, i, "INFO", "replication", "master_link_status:up");
    redis_nodes_agree(n);
}

void redis_nodes_wait(struct redis_nodes *n)
{
    for (size_t i = 0; i < n->count; i++)
        if (n->links[i] != NULL)
            wait_for(n, i, "CLUSTER", "INFO", "cluster_state:ok");
}

void redis_nodes_kill(struct redis_nodes *n, size_t node)
{
    redis_server_kill(&n->servers[node]);
    strata__redis_close(n->links[node]);
    n->links[node] = NULL;
}

void redis_nodes_stop(struct redis_nodes *n)
{
    for (size_t i = 0; i < n->count; i++) {
        strata__redis_close(n->links[i]);
        redis_server_stop(&n->servers[i]);
    }
    n->count = 0;
}

int redis_nodes_is_master(struct redis_nodes *n, size_t node)
{
    return n->links[node] != NULL &&
           strstr(redis_do(n->links[node], "INFO", "replication").text, "role:master") != NULL;
}

void redis_nodes_flush(struct redis_nodes *n)
{
    for (size_t i = 0; i < n->count; i++)
        if (redis_nodes_is_master(n, i))
            demand(redis_do(n->links[i], "FLUSHALL"), "FLUSHALL");
}

/* What `by` says of a node, from its epoch on: "epoch state slots". */
static void said_of(struct redis_nodes *n, size_t by, const char *id, char out[512])
{
    enum { BEFORE_EPOCH = 6 };
    struct redis_answer nodes = redis_do(n->links[by], "CLUSTER", "NODES");
    demand(nodes, "CLUSTER NODES");
    const char *at = nodes.text;
    while (at != NULL && strncmp(at, id, strlen(id)) != 0) {
        at = strchr(at, '\n');
        at = at != NULL ? at + 1 : NULL;
    }
    for (int i = 0; at != NULL && i < BEFORE_EPOCH; i++) {
        at = strchr(at, ' ');
        at = at != NULL ? at + 1 : NULL;
    }
    (void)snprintf(out, 512, "%.*s", at != NULL ? (int)strcspn(at, "\n") : 0, at != NULL ? at : "");
}

void redis_nodes_agree(struct redis_nodes *n)
{
    for (size_t node = 0; node < n->count; node++) {
        char id[64], own[512], other[512];
        if (n->links[node] == NULL)
            continue;
        redis_nodes_id(n, node, id);
        for (size_t by = 0; by < n->count; by++) {
            for (int looks = 0; n->links[by] != NULL;) {
                said_of(n, node, id, own);
                said_of(n, by, id, other);
                if (strcmp(own, other) == 0)
                    break;
                look_again(&looks, own, other);
            }
        }
    }
}

void redis_nodes_end_move(struct redis_nodes *n, const char *slot, size_t to)
{
    char id[64];
    redis_nodes_id(n, to, id);
    demand(redis_do(n->links[to], "CLUSTER", "SETSLOT", slot, "NODE", id),
           "CLUSTER SETSLOT"); /* first, or it would refuse */
    for (size_t i = 0; i < n->count; i++)
        if (i != to && redis_nodes_is_master(n, i))
            demand(redis_do(n->links[i], "CLUSTER", "SETSLOT", slot, "NODE", id), "CLUSTER SETSLOT");
    redis_nodes_agree(n);
}
