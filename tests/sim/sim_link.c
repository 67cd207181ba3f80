/* sim_link.c - the Redis link of the simulator: what src/link/redis_link.h promises, over sim_net.h instead of sockets and hiredis.
 *
 * It takes the place of src/link at link time, below the layer that is shipped.  The link's own thread is one task of its node at a
 * time, which handles in order what came: so everything here stops with the node, and done() is called as the real link calls it, on
 * a thread that is no worker. */
#include <stdlib.h>
#include <string.h>

#include "src/base/err.h"
#include "src/link/redis_link.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/sim_world.h"

enum { CONNS_MOST = 8 };
enum state { AWAY, GREETING, UP };
enum what { CAME, LOST, PUSHED, RETRY, LATE };

struct conn;

/* A command that is out. */
struct ask {
    struct ask *next;
    struct redis_request *request; /* NULL: it was answered */
    struct conn *conn;             /* NULL: the link is gone */
    struct timer late;
    uint32_t refs; /* the connection's list, the network's, the inbox' */
    int greeting;  /* it is the link's own */
    size_t nth;    /* of it */
    size_t count;  /* not sent yet: its words */
    strata_slice *args;
};

struct note {
    struct note *next;
    enum what what;
    struct conn *conn;
    uint64_t epoch;
    struct ask *ask;
    struct redisReply *reply; /* CAME; PUSHED: a text */
};

struct asks {
    struct ask *first, **last;
};

struct conn {
    struct redis_link *link;
    struct sim_pipe *pipe;
    enum state state;
    uint64_t epoch; /* the connection that the link believes in */
    size_t greetings;
    int64_t greet_ms;
    uint32_t failures;
    struct asks waiting, sent;
    struct timer retry;
    int awaited; /* a RETRY is on its way */
    struct redis_mark mark;
};

struct redis_link {
    struct redis_link_options o;
    int node;
    struct conn conns[CONNS_MOST];
    size_t conn_count, out;
    struct note *first, **last;
    struct task pump;
    int pumping, closing;
    struct redis_link_counts counts;
};

static void pump(struct task *task);

/* Lists -------------------------------------------------------------------------------------------------------------------- */

static void *must(void *memory)
{
    if (memory == NULL)
        sim_broken("no memory for a link");
    return memory;
}

static void unref_ask(struct ask *ask)
{
    if (--ask->refs != 0)
        return;
    free(ask->args);
    free(ask);
}

static void append(struct asks *list, struct ask *ask)
{
    ask->next = NULL;
    *list->last = ask;
    list->last = &ask->next;
}

static struct ask *shift(struct asks *list)
{
    struct ask *ask = list->first;
    if (ask != NULL && (list->first = ask->next) == NULL)
        list->last = &list->first;
    return ask;
}

static int remove_ask(struct asks *list, struct ask *ask)
{
    struct ask **link = &list->first;
    while (*link != NULL && *link != ask)
        link = &(*link)->next;
    if (*link == NULL)
        return 0;
    *link = ask->next;
    if (*link == NULL)
        list->last = link;
    return 1;
}

/* Something for the link's thread. */
static void leave_note(struct conn *c, enum what what, uint64_t epoch, struct ask *ask, struct redisReply *reply)
{
    struct redis_link *link = c->link;
    struct note *note = must(calloc(1, sizeof *note));
    *note = (struct note){ .what = what, .conn = c, .epoch = epoch, .ask = ask, .reply = reply };
    *link->last = note;
    link->last = &note->next;
    if (link->pumping || link->closing)
        return;
    link->pumping = 1;
    link->pump.run = pump;
    ex_post_always(sim_inside(link->node), &link->pump);
}

/* Answers -------------------------------------------------------------------------------------------------------------------- */

/* Its caller is told, once. */
static void answer(struct ask *ask, int status, const struct redisReply *reply, const char *why)
{
    struct redis_request *request = ask->request;
    if (request == NULL)
        return;
    ask->request = NULL;
    (void)ex_cancel(sim_inside(ask->conn->link->node), &ask->late);
    ask->conn->link->out--;
    request->status = status;
    request->reply = reply;
    request->mark = status == STRATA_OK ? &ask->conn->mark : NULL;
    request->err.status = STRATA_OK;
    if (status != STRATA_OK)
        (void)strata__fail(&request->err, status, ask->conn->link->o.name, "%s", why);
    request->done(request);
}

static void send_ask(struct conn *c, struct ask *ask)
{
    append(&c->sent, ask);
    ask->refs++;
    sim_pipe_send(c->pipe, c->epoch, ask->args, ask->count, ask);
}

static void came_late(struct timer *timer)
{
    struct ask *ask = (struct ask *)(void *)((char *)timer - offsetof(struct ask, late));
    ask->refs++;
    leave_note(ask->conn, LATE, 0, ask, NULL);
}

static void handle_late(struct conn *c, struct ask *ask)
{
    if (ask->request != NULL)
        c->link->counts.timeouts++;
    int waited = ask->request != NULL && remove_ask(&c->waiting, ask);
    answer(ask, STRATA_ETIMEDOUT, NULL, "no answer in time: the simulated server is slow, or away");
    if (waited)
        unref_ask(ask);
    unref_ask(ask);
}

/* The connection --------------------------------------------------------------------------------------------------------------- */

static void retry(struct timer *timer)
{
    struct conn *c = (struct conn *)(void *)((char *)timer - offsetof(struct conn, retry));
    leave_note(c, RETRY, 0, NULL, NULL);
}

static void try_later(struct conn *c)
{
    int64_t pause = c->link->o.backoff_min_ms << (c->failures < 5 ? c->failures : 5);
    if (pause > c->link->o.backoff_max_ms)
        pause = c->link->o.backoff_max_ms;
    c->failures++;
    c->state = AWAY;
    c->epoch = 0;
    ex_at(sim_inside(c->link->node), &c->retry,
          ex_now_ms(sim_inside(c->link->node)) + 1 + (int64_t)sim_draw((uint64_t)pause));
}

static struct ask *new_ask(struct conn *c, const strata_slice *args, size_t count)
{
    size_t size = count * sizeof *args;
    for (size_t i = 0; i < count; i++)
        size += args[i].size;
    struct ask *ask = must(calloc(1, sizeof *ask));
    ask->args = must(malloc(size));
    char *bytes = (char *)(ask->args + count);
    for (size_t i = 0; i < count; i++) {
        if (args[i].size != 0)
            memcpy(bytes, args[i].data, args[i].size);
        ask->args[i] = strata_bytes(bytes, args[i].size);
        bytes += args[i].size;
    }
    ask->count = count;
    ask->conn = c;
    ask->refs = 1;
    ask->late.fire = came_late;
    return ask;
}

static void is_up(struct conn *c)
{
    c->state = UP;
    c->failures = 0;
    while (c->waiting.first != NULL)
        send_ask(c, shift(&c->waiting));
}

static void greet(struct conn *c)
{
    const struct redis_link_options *o = &c->link->o;
    const strata_slice ping = strata_str("PING"), *args = NULL;
    size_t count;
    memset(&c->mark, 0, sizeof c->mark);
    c->state = GREETING;
    c->greet_ms = ex_now_ms(sim_inside(c->link->node));
    c->greetings = 0;
    c->link->counts.connects++;
    for (size_t nth = 0; o->hello != NULL && (count = o->hello(o->ctx, nth, &args)) != 0; nth++) {
        struct ask *ask = new_ask(c, args, count);
        ask->greeting = 1;
        ask->nth = nth;
        c->greetings++;
        send_ask(c, ask);
    }
    if (c->greetings != 0)
        return;
    struct ask *ask = new_ask(c, &ping, 1);
    ask->greeting = 2;
    c->greetings = 1;
    send_ask(c, ask);
}

static void handle_retry(struct conn *c)
{
    c->epoch = sim_pipe_connect(c->pipe);
    if (c->epoch == 0)
        try_later(c);
    else
        greet(c);
}

static void handle_lost(struct conn *c, uint64_t epoch)
{
    struct ask *ask;
    if (epoch != c->epoch)
        return;
    c->link->counts.disconnects++;
    struct asks sent = c->sent;
    if (sent.first == NULL)
        sent.last = &sent.first;
    c->sent = (struct asks){ NULL, &c->sent.first };
    try_later(c);
    while ((ask = shift(&sent)) != NULL) {
        answer(ask, STRATA_EIO, NULL, "the connection was lost");
        unref_ask(ask);
    }
}

static void handle_greeting(struct conn *c, const struct ask *ask, const struct redisReply *reply)
{
    strata_error err = STRATA_ERROR_INIT;
    int64_t elapsed_us = (ex_now_ms(sim_inside(c->link->node)) - c->greet_ms) * 1000;
    c->greetings--;
    if (ask->greeting == 1 && c->link->o.greeted != NULL &&
        !c->link->o.greeted(c->link->o.ctx, ask->nth, reply, elapsed_us, &c->mark, &err)) {
        sim_trace("node %d hangs up: %s", c->link->node, err.message);
        sim_pipe_cut(c->pipe);
        return;
    }
    if (c->greetings == 0)
        is_up(c);
}

static void handle_came(struct conn *c, uint64_t epoch, struct ask *ask, struct redisReply *reply)
{
    if (epoch == c->epoch && remove_ask(&c->sent, ask)) {
        if (ask->greeting)
            handle_greeting(c, ask, reply);
        else
            answer(ask, STRATA_OK, reply, NULL);
        unref_ask(ask);
    }
    unref_ask(ask);
    sim_reply_free(reply);
}

static void handle(struct note *note)
{
    struct conn *c = note->conn;
    switch (note->what) {
    case CAME: handle_came(c, note->epoch, note->ask, note->reply); break;
    case LOST: handle_lost(c, note->epoch); break;
    case RETRY: handle_retry(c); break;
    case LATE: handle_late(c, note->ask); break;
    default:
        if (note->epoch == c->epoch && c->link->o.pushed != NULL)
            c->link->o.pushed(c->link->o.ctx, strata_bytes(note->reply->text, note->reply->size));
        sim_reply_free(note->reply);
    }
    free(note);
}

static struct note *next_note(struct redis_link *link)
{
    struct note *note = link->first;
    if (note != NULL && (link->first = note->next) == NULL)
        link->last = &link->first;
    return note;
}

/* The link's thread. */
static void pump(struct task *task)
{
    struct redis_link *link = (struct redis_link *)(void *)((char *)task - offsetof(struct redis_link, pump));
    struct note *note;
    sim_foreign_thread(1);
    while (!link->closing && (note = next_note(link)) != NULL)
        handle(note);
    sim_foreign_thread(0);
    link->pumping = 0;
}

/* What the network says. */
static void net_replied(void *ctx, uint64_t epoch, void *tag, struct redisReply *reply)
{
    leave_note(ctx, CAME, epoch, tag, reply);
}

static void net_pushed(void *ctx, uint64_t epoch, strata_slice message)
{
    leave_note(ctx, PUSHED, epoch, NULL, sim_reply_text(REDIS_IS_TEXT, message.data, message.size));
}

static void net_lost(void *ctx, uint64_t epoch) { leave_note(ctx, LOST, epoch, NULL, NULL); }
static void net_dropped(void *tag) { unref_ask(tag); }

/* redis_link.h ------------------------------------------------------------------------------------------------------------------ */

int strata__redis_built_in(void) { return 1; }

int strata__redis_open(struct redis_link **out, const struct redis_link_options *options, strata_error *err)
{
    (void)err;
    struct redis_link *link = must(calloc(1, sizeof *link));
    link->o = *options;
    link->node = (int)options->port - SIM_PORT;
    link->last = &link->first;
    link->conn_count = options->connections < CONNS_MOST ? options->connections : CONNS_MOST;
    for (size_t i = 0; i < link->conn_count; i++) {
        struct conn *c = &link->conns[i];
        const struct sim_pipe_end end = { net_replied, net_pushed, net_lost, net_dropped, c };
        c->link = link;
        c->pipe = sim_pipe_new(link->node, &end);
        c->waiting.last = &c->waiting.first;
        c->sent.last = &c->sent.first;
        c->retry.fire = retry;
        ex_at(sim_inside(link->node), &c->retry, ex_now_ms(sim_inside(link->node)));
    }
    *out = link;
    return STRATA_OK;
}

/* Pauses are what the schedule makes of them. */
void strata__redis_rouse(struct redis_link *link) { (void)link; }

static void forget(struct asks *list)
{
    struct ask *ask;
    while ((ask = shift(list)) != NULL) {
        answer(ask, STRATA_ECLOSED, NULL, "the cache is closing");
        unref_ask(ask);
    }
}

void strata__redis_close(struct redis_link *link)
{
    struct note *note;
    if (link == NULL)
        return;
    link->closing = 1;
    while (link->pumping)
        if (!sim_step())
            sim_pass(1);
    for (size_t i = 0; i < link->conn_count; i++) {
        struct conn *c = &link->conns[i];
        (void)ex_cancel(sim_inside(link->node), &c->retry);
        sim_pipe_free(c->pipe);
        forget(&c->waiting);
        forget(&c->sent);
    }
    while ((note = next_note(link)) != NULL) {
        if (note->ask != NULL)
            unref_ask(note->ask);
        sim_reply_free(note->reply);
        free(note);
    }
    free(link);
}

void strata__redis_abandon(struct redis_link *link) { (void)link; }

void strata__redis_submit(struct redis_link *link, struct redis_request *const *requests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct redis_request *request = requests[i];
        struct conn *c = &link->conns[request->affinity % link->conn_count];
        struct ask *ask = new_ask(c, request->args, request->arg_count);
        struct executor *ex = sim_inside(link->node);
        ask->request = request;
        link->counts.requests++;
        link->out++;
        if (link->closing || link->out > link->o.max_pending) {
            answer(ask, link->closing ? STRATA_ECLOSED : STRATA_EBUSY, NULL, "not now");
            unref_ask(ask);
            continue;
        }
        ex_at(ex, &ask->late, request->timeout_ms < INT64_MAX / 4 ? ex_now_ms(ex) + request->timeout_ms : INT64_MAX);
        if (c->state == UP)
            send_ask(c, ask);
        else
            append(&c->waiting, ask);
    }
}

struct sleeper {
    void (*done)(struct redis_request *request);
    void *owner;
    int node;
    struct parker parker;
};

static void wake_sleeper(struct redis_request *request)
{
    struct sleeper *sleeper = request->owner;
    request->owner = sleeper->owner;
    request->done = sleeper->done;
    request->done(request);
    ex_unpark(sim_inside(sleeper->node), &sleeper->parker);
}

void strata__redis_call(struct redis_link *link, struct redis_request *request)
{
    struct sleeper sleeper = { .done = request->done, .owner = request->owner, .node = link->node };
    request->done = wake_sleeper;
    request->owner = &sleeper;
    strata__redis_submit(link, &request, 1);
    sim_park(link->node, &sleeper.parker);
}

/* Every connection of a node leads to the same: nobody follows what is read here. */
void strata__redis_submit_at(struct redis_link *link, uint32_t nth, struct redis_request *request)
{
    (void)nth;
    strata__redis_submit(link, &request, 1);
}

uint32_t strata__redis_connections(const struct redis_link *link) { return (uint32_t)link->conn_count; }

void strata__redis_call_anywhere(struct redis_link *link, struct redis_request *request)
{
    strata__redis_call(link, request);
}

int strata__redis_gathers(const struct redis_link *link)
{
    (void)link;
    return 1;
}

static void settled(struct redis_request *request) { (void)request; }

int strata__redis_settle(struct redis_link *link, int64_t timeout_ms, strata_error *err)
{
    const strata_slice ping = strata_str("PING");
    int rc = STRATA_OK;
    for (size_t i = 0; i < link->conn_count && rc == STRATA_OK; i++) {
        struct redis_request request = {
            .args = &ping, .arg_count = 1, .affinity = i, .timeout_ms = timeout_ms, .done = settled
        };
        strata__redis_call(link, &request);
        rc = request.status;
        if (rc != STRATA_OK && err != NULL)
            *err = request.err;
    }
    return rc;
}

int strata__redis_nodes(struct redis_link *link, int64_t timeout_ms, uint32_t *out, size_t room, size_t *out_count,
                        strata_error *err)
{
    (void)link;
    (void)timeout_ms;
    (void)err;
    if (room > 0)
        out[0] = 0;
    *out_count = 1;
    return STRATA_OK;
}

void strata__redis_counts(const struct redis_link *link, struct redis_link_counts *out) { *out = link->counts; }
