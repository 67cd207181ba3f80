/* sim_net.c - see sim_net.h. */
#include "tests/sim/sim_net.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim_server.h"
#include "tests/sim/sim_world.h"

enum { PACKET_ARGS = 64 };

struct packet {
    struct packet *next;
    int64_t due_ms;
    uint64_t epoch;
    void *tag;                /* NULL: of nobody who still waits, or a message */
    struct redisReply *reply; /* on its way back */
    size_t count;
    strata_slice args[PACKET_ARGS];
    char bytes[];
};

struct way {
    struct packet *first, **last;
    int64_t floor_ms; /* nothing that is sent now arrives before what was sent last */
    struct timer timer;
};

struct sim_pipe {
    struct sim_pipe *next; /* of all */
    int node;
    struct sim_pipe_end end;
    int closed;
    uint64_t epoch, epochs; /* of the connection; 0: none.  How many there were */
    int subscribed;
    struct way up, down;
};

static struct {
    struct sim_pipe *pipes;
    struct sim_weather weather[SIM_NODES_MOST];
    int blocked[SIM_NODES_MOST];
    int64_t stalled_ms[SIM_NODES_MOST];
} n;

/* Ways ------------------------------------------------------------------------------------------------------------------- */

static void set_timer(struct way *way)
{
    (void)ex_cancel(sim_net(), &way->timer);
    if (way->first != NULL)
        ex_at(sim_net(), &way->timer, way->first->due_ms);
}

static void enter(struct sim_pipe *pipe, struct way *way, struct packet *packet)
{
    const struct sim_weather *weather = &n.weather[pipe->node];
    int64_t now = ex_now_ms(sim_net());
    packet->due_ms = now + (int64_t)sim_draw((uint64_t)weather->most_ms + 1);
    if (weather->spike_in != 0 && sim_draw(weather->spike_in) == 0)
        packet->due_ms += (int64_t)sim_draw((uint64_t)weather->spike_ms + 1);
    if (packet->due_ms < n.stalled_ms[pipe->node])
        packet->due_ms = n.stalled_ms[pipe->node];
    if (packet->due_ms < way->floor_ms)
        packet->due_ms = way->floor_ms;
    way->floor_ms = packet->due_ms;
    packet->next = NULL;
    *way->last = packet;
    way->last = &packet->next;
    if (way->first == packet)
        set_timer(way);
}

static struct packet *leave(struct way *way)
{
    struct packet *packet = way->first;
    way->first = packet->next;
    if (way->first == NULL)
        way->last = &way->first;
    set_timer(way);
    return packet;
}

static void free_packet(struct sim_pipe *pipe, struct packet *packet)
{
    if (packet->tag != NULL)
        pipe->end.dropped(packet->tag);
    sim_reply_free(packet->reply);
    free(packet);
}

/* All behind the first `count` are lost. */
static void shorten(struct sim_pipe *pipe, struct way *way, size_t count)
{
    struct packet **link = &way->first;
    while (count-- > 0 && *link != NULL)
        link = &(*link)->next;
    struct packet *lost = *link;
    *link = NULL;
    way->last = link;
    while (lost != NULL) {
        struct packet *packet = lost;
        lost = packet->next;
        free_packet(pipe, packet);
    }
    set_timer(way);
}

static size_t length(const struct way *way)
{
    size_t count = 0;
    for (const struct packet *packet = way->first; packet != NULL; packet = packet->next)
        count++;
    return count;
}

/* Pipes ------------------------------------------------------------------------------------------------------------------ */

static void free_pipe(struct sim_pipe *pipe)
{
    struct sim_pipe **link = &n.pipes;
    while (*link != pipe)
        link = &(*link)->next;
    *link = pipe->next;
    (void)ex_cancel(sim_net(), &pipe->up.timer);
    (void)ex_cancel(sim_net(), &pipe->down.timer);
    free(pipe);
}

static struct sim_pipe *pipe_of(struct timer *timer, size_t offset)
{
    return (struct sim_pipe *)(void *)((char *)timer - offset);
}

static int is_subscribe(const struct packet *packet)
{
    return packet->args[0].size == 9 && memcmp(packet->args[0].data, "SUBSCRIBE", 9) == 0;
}

static struct redisReply *execute(struct sim_pipe *pipe, const struct packet *packet)
{
    if (!is_subscribe(packet))
        return sim_server_run(packet->args, packet->count);
    if (packet->epoch == pipe->epoch)
        pipe->subscribed = 1;
    struct redisReply *reply = sim_reply_array();
    sim_reply_add(reply, sim_reply_text(REDIS_IS_TEXT, "subscribe", 9));
    sim_reply_add(reply, sim_reply_text(REDIS_IS_TEXT, packet->args[1].data, packet->args[1].size));
    sim_reply_add(reply, sim_reply_integer(1));
    return reply;
}

/* At the server. */
static void arrived_up(struct timer *timer)
{
    struct sim_pipe *pipe = pipe_of(timer, offsetof(struct sim_pipe, up.timer));
    struct packet *packet = leave(&pipe->up);
    packet->reply = execute(pipe, packet);
    if (!pipe->closed && packet->epoch == pipe->epoch)
        enter(pipe, &pipe->down, packet);
    else
        free_packet(pipe, packet);
    if (pipe->closed && pipe->up.first == NULL)
        free_pipe(pipe);
}

/* At the node. */
static void arrived_down(struct timer *timer)
{
    struct sim_pipe *pipe = pipe_of(timer, offsetof(struct sim_pipe, down.timer));
    struct packet *packet = leave(&pipe->down);
    if (packet->tag != NULL)
        pipe->end.replied(pipe->end.ctx, packet->epoch, packet->tag, packet->reply);
    else
        pipe->end.pushed(pipe->end.ctx, packet->epoch, strata_bytes(packet->bytes, packet->count));
    if (packet->tag != NULL)
        packet->reply = NULL;
    packet->tag = NULL;
    free_packet(pipe, packet);
}

struct sim_pipe *sim_pipe_new(int node, const struct sim_pipe_end *end)
{
    struct sim_pipe *pipe = calloc(1, sizeof *pipe);
    if (pipe == NULL)
        sim_broken("no memory for a connection");
    pipe->node = node;
    pipe->end = *end;
    pipe->up.last = &pipe->up.first;
    pipe->down.last = &pipe->down.first;
    pipe->up.timer.fire = arrived_up;
    pipe->down.timer.fire = arrived_down;
    pipe->next = n.pipes;
    n.pipes = pipe;
    return pipe;
}

uint64_t sim_pipe_connect(struct sim_pipe *pipe)
{
    if (n.blocked[pipe->node])
        return 0;
    pipe->epoch = ++pipe->epochs;
    pipe->subscribed = 0;
    return pipe->epoch;
}

void sim_pipe_send(struct sim_pipe *pipe, uint64_t epoch, const strata_slice *args, size_t count, void *tag)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += args[i].size;
    struct packet *packet = calloc(1, sizeof *packet + size);
    if (packet == NULL || count > PACKET_ARGS)
        sim_broken("no room for a command of %zu words", count);
    packet->epoch = epoch;
    packet->tag = tag;
    packet->count = count;
    size = 0;
    for (size_t i = 0; i < count; i++) {
        packet->args[i] = strata_bytes(packet->bytes + size, args[i].size);
        if (args[i].size != 0)
            memcpy(packet->bytes + size, args[i].data, args[i].size);
        size += args[i].size;
    }
    if (epoch == pipe->epoch && epoch != 0)
        enter(pipe, &pipe->up, packet);
    else
        free_packet(pipe, packet);
}

/* The first `arrive` of what is on its way still arrive. */
static void break_off(struct sim_pipe *pipe, size_t arrive)
{
    pipe->epoch = 0;
    pipe->subscribed = 0;
    shorten(pipe, &pipe->up, arrive);
    shorten(pipe, &pipe->down, 0);
}

void sim_pipe_cut(struct sim_pipe *pipe)
{
    uint64_t epoch = pipe->epoch;
    if (epoch == 0)
        return;
    break_off(pipe, sim_draw(length(&pipe->up) + 1));
    pipe->end.lost(pipe->end.ctx, epoch);
}

/* Of a closed pipe the tags are nobody's any more. */
void sim_pipe_free(struct sim_pipe *pipe)
{
    break_off(pipe, sim_draw(length(&pipe->up) + 1));
    for (struct packet *packet = pipe->up.first; packet != NULL; packet = packet->next) {
        if (packet->tag != NULL)
            pipe->end.dropped(packet->tag);
        packet->tag = NULL;
    }
    pipe->closed = 1;
    if (pipe->up.first == NULL)
        free_pipe(pipe);
}

static void published(strata_slice channel, strata_slice message)
{
    (void)channel; /* there is one */
    for (struct sim_pipe *pipe = n.pipes; pipe != NULL; pipe = pipe->next) {
        if (!pipe->subscribed)
            continue;
        struct packet *packet = calloc(1, sizeof *packet + message.size + 1);
        if (packet == NULL)
            sim_broken("no memory for a message");
        packet->epoch = pipe->epoch;
        packet->count = message.size;
        memcpy(packet->bytes, message.data, message.size);
        enter(pipe, &pipe->down, packet);
    }
}

/* Weather ---------------------------------------------------------------------------------------------------------------- */

void sim_net_weather(int node, const struct sim_weather *weather) { n.weather[node] = *weather; }

void sim_net_cut(int node, int all)
{
    for (struct sim_pipe *pipe = n.pipes; pipe != NULL; pipe = pipe->next)
        if (pipe->node == node && !pipe->closed && (all || sim_draw(2) == 0))
            sim_pipe_cut(pipe);
}

void sim_net_lose_server(void)
{
    struct sim_pipe *next;
    for (struct sim_pipe *pipe = n.pipes; pipe != NULL; pipe = next) {
        uint64_t epoch = pipe->epoch;
        next = pipe->next;
        break_off(pipe, 0);
        if (pipe->closed)
            free_pipe(pipe);
        else if (epoch != 0)
            pipe->end.lost(pipe->end.ctx, epoch);
    }
}

void sim_net_block(int node, int on)
{
    n.blocked[node] = on;
    if (on)
        sim_net_cut(node, 1);
}

void sim_net_stall(int node, int64_t ms) { n.stalled_ms[node] = ex_now_ms(sim_net()) + ms; }

void sim_net_open(void)
{
    memset(&n, 0, sizeof n);
    sim_server_listen(published);
}

void sim_net_close(void)
{
    if (n.pipes != NULL)
        sim_broken("a connection is still there");
}
