/* sim_bus.c - see sim_bus.h.  Everything runs on one thread at a time: no locks. */
#include "tests/support/sim_bus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOG_ROOM = 1 << 16 };

struct note {
    size_t size;
    unsigned char *bytes;
    int from;
    int refs;
};

struct member {
    strata_bus base;
    struct sim_net *net;
    strata_bus_host *host;
    int index, started, away, told_down, hold, drop, fail;
    uint64_t next; /* ordered: in the log */
    int reading;   /* ordered: an `after` is under way */
    struct note *held[LOG_ROOM];
    size_t held_count;
    int pauses; /* it is back as soon as it is roused */
    int out;    /* calls of ours that are under way */
};

struct sim_net {
    struct sim_net_options o;
    uint64_t random;
    struct member *members[SIM_BUS_MEMBERS];
    int count;
    struct note **log; /* all that was published */
    uint64_t log_size;
    uint64_t log_begin;
};

static uint32_t draw(struct sim_net *net, uint32_t below)
{
    net->random = net->random * 6364136223846793005u + 1442695040888963407u;
    return below != 0 ? (uint32_t)(net->random >> 33) % below : 0;
}

static int chance(struct sim_net *net, uint32_t per_mille) { return draw(net, 1000) < per_mille; }

static struct member *of_bus(strata_bus *bus) { return (struct member *)(void *)bus; }

static int is_ordered(const struct sim_net *net) { return (net->o.flags & STRATA_BUS_ORDERED) != 0; }

static void note_unref(struct note *n)
{
    if (--n->refs == 0) {
        free(n->bytes);
        free(n);
    }
}

/* An unordered net: each message for itself ------------------------------------------------------------------------ */

struct flying {
    struct member *to;
    struct note *note;
};

/* `at`: ordered: what to go on with behind it. */
static void give(struct member *to, const struct note *n, uint64_t at)
{
    char cursor[24];
    int size = is_ordered(to->net) ? snprintf(cursor, sizeof cursor, "%llu", (unsigned long long)at)
                                   : snprintf(cursor, sizeof cursor, "%d", n->from);
    strata_bus_delivered(to->host, strata_bytes(n->bytes, n->size), strata_bytes(cursor, (size_t)size));
}

static void arrive(void *ctx)
{
    struct flying *f = ctx;
    if (f->to->started && !f->to->away) {
        if (f->to->hold && f->to->held_count < LOG_ROOM) {
            f->note->refs++;
            f->to->held[f->to->held_count++] = f->note;
        } else {
            give(f->to, f->note, 0);
        }
    }
    note_unref(f->note);
    f->to->out--;
    free(f);
}

static void fly(struct member *to, struct note *n)
{
    struct sim_net *net = to->net;
    struct flying *f = malloc(sizeof *f);
    int64_t delay = net->o.delay_ms > 0 ? (int64_t)draw(net, (uint32_t)net->o.delay_ms + 1) : 0;
    if (f == NULL)
        abort();
    *f = (struct flying){ .to = to, .note = n };
    n->refs++;
    to->out++;
    if (delay == 0 || strata_bus_after(to->host, delay, arrive, f) != STRATA_OK)
        arrive(f);
}

static void spread(struct sim_net *net, struct note *n)
{
    for (int i = 0; i < net->count; i++) {
        struct member *to = net->members[i];
        if (to == NULL || !to->started || to->away)
            continue;
        if (n->from == i && !(net->o.flags & (STRATA_BUS_ECHOES | STRATA_BUS_ORDERED)))
            continue;
        if (to->drop > 0) {
            to->drop--;
            continue;
        }
        if (chance(net, net->o.drop_per_mille))
            continue;
        fly(to, n);
        if (chance(net, net->o.double_per_mille))
            fly(to, n);
    }
}

/* An ordered net: everybody reads one log -------------------------------------------------------------------------- */

static void read_on(struct member *m);

static void read_one(void *ctx)
{
    struct member *m = ctx;
    struct sim_net *net = m->net;
    m->reading = 0;
    m->out--;
    if (!m->started || m->away || m->hold)
        return;
    if (m->next < net->log_begin) {
        m->next = net->log_begin;
        strata_bus_lost(m->host, "the log was trimmed");
    }
    /* Some at once, so that a slow reader catches up. */
    for (int i = 0; i < 16 && m->next < net->log_size; i++) {
        struct note *n = net->log[m->next++];
        if (m->drop > 0) {
            m->drop--;
            continue;
        }
        give(m, n, m->next);
    }
    read_on(m);
}

static void read_on(struct member *m)
{
    struct sim_net *net = m->net;
    if (m->reading || !m->started || m->away || m->hold || m->next == net->log_size)
        return;
    m->reading = 1;
    m->out++;
    int64_t delay = net->o.delay_ms > 0 ? (int64_t)draw(net, (uint32_t)net->o.delay_ms + 1) : 0;
    if (strata_bus_after(m->host, delay, read_one, m) != STRATA_OK) {
        m->reading = 0;
        m->out--;
    }
}

static void append(struct sim_net *net, struct note *n)
{
    if (net->log_size == LOG_ROOM)
        abort();
    n->refs++;
    net->log[net->log_size++] = n;
    if (net->o.log_most != 0 && net->log_size - net->log_begin > net->o.log_most)
        net->log_begin = net->log_size - net->o.log_most;
    if (is_ordered(net))
        for (int i = 0; i < net->count; i++)
            if (net->members[i] != NULL)
                read_on(net->members[i]);
}

/* The bus ---------------------------------------------------------------------------------------------------------- */

static void post(struct sim_net *net, int from, strata_slice bytes)
{
    struct note *n = calloc(1, sizeof *n);
    if (n == NULL || (n->bytes = malloc(bytes.size + 1)) == NULL)
        abort();
    memcpy(n->bytes, bytes.data, bytes.size);
    n->size = bytes.size;
    n->from = from;
    n->refs = 1;
    append(net, n);
    if (!is_ordered(net))
        spread(net, n);
    note_unref(n);
}

struct answer {
    struct member *m;
    strata_publish *message;
    int status;
};

static void answer(void *ctx)
{
    struct answer *a = ctx;
    struct answer copy = *a;
    free(a);
    copy.m->out--;
    strata_publish_done(copy.message, copy.status);
}

static void sim_publish(strata_bus *bus, strata_publish *message)
{
    struct member *m = of_bus(bus);
    struct sim_net *net = m->net;
    int fails = m->away || chance(net, net->o.fail_per_mille);
    if (m->fail > 0) {
        m->fail--;
        fails = 1;
    }
    if (!fails || (!m->away && draw(net, 2) == 0))
        post(net, m->index, message->bytes);
    struct answer *a = malloc(sizeof *a);
    if (a == NULL)
        abort();
    *a = (struct answer){ m, message, fails ? STRATA_EIO : STRATA_OK };
    int64_t delay = net->o.delay_ms > 0 ? (int64_t)draw(net, (uint32_t)net->o.delay_ms + 1) : 0;
    m->out++;
    if (delay == 0 || strata_bus_after(m->host, delay, answer, a) != STRATA_OK)
        answer(a);
}

static int sim_start(strata_bus *bus, strata_bus_host *host, const strata_bus_start *how, strata_error *err)
{
    struct member *m = of_bus(bus);
    char text[24] = "";
    (void)err;
    m->host = host;
    m->started = 1;
    m->next = m->net->log_size;
    if (how->resume_from.size != 0 && how->resume_from.size < sizeof text) {
        memcpy(text, how->resume_from.data, how->resume_from.size);
        m->next = strtoull(text, NULL, 10);
    }
    if (!m->away)
        strata_bus_up(host);
    if (is_ordered(m->net))
        read_on(m);
    return STRATA_OK;
}

static void sim_stop(strata_bus *bus, int64_t flush_ms)
{
    (void)flush_ms;
    of_bus(bus)->started = 0;
}

/* A server that is there again, and a bus that has not looked. */
static void sim_rouse(strata_bus *bus)
{
    struct member *m = of_bus(bus);
    if (m->pauses)
        sim_net_back(m->net, m->index);
}

static void sim_close(strata_bus *bus)
{
    struct member *m = of_bus(bus);
    if (m->out != 0) {
        fprintf(stderr, "sim_bus: closed while %d calls of its own are under way\n", m->out);
        abort();
    }
    for (size_t i = 0; i < m->held_count; i++)
        note_unref(m->held[i]);
    m->net->members[m->index] = NULL;
    free(m);
}

static const strata_bus_ops sim_ops = { .size = sizeof sim_ops,
                                        .kind = "sim",
                                        .start = sim_start,
                                        .publish = sim_publish,
                                        .stop = sim_stop,
                                        .close = sim_close,
                                        .rouse = sim_rouse };

struct sim_net *sim_net_new(const struct sim_net_options *options)
{
    struct sim_net *net = calloc(1, sizeof *net);
    if (net == NULL || (net->log = calloc(LOG_ROOM, sizeof(struct note *))) == NULL)
        abort();
    net->o = *options;
    net->random = options->seed * 2 + 1;
    return net;
}

void sim_net_free(struct sim_net *net)
{
    for (uint64_t i = 0; i < net->log_size; i++)
        note_unref(net->log[i]);
    free(net->log);
    free(net);
}

strata_bus *sim_net_bus(struct sim_net *net)
{
    struct member *m = calloc(1, sizeof *m);
    if (m == NULL || net->count == SIM_BUS_MEMBERS)
        abort();
    m->base.size = sizeof m->base;
    m->base.ops = &sim_ops;
    m->base.flags = net->o.flags;
    m->base.max_message_bytes = net->o.max_message_bytes != 0 ? net->o.max_message_bytes : 4096;
    snprintf(m->base.name, sizeof m->base.name, "sim");
    m->net = net;
    m->index = net->count;
    net->members[net->count++] = m;
    return &m->base;
}

void sim_net_away(struct sim_net *net, int member, int told)
{
    struct member *m = member < net->count ? net->members[member] : NULL;
    strata_error why = STRATA_ERROR_INIT;
    why.status = STRATA_EIO;
    snprintf(why.message, sizeof why.message, "the test says so");
    if (m == NULL || m->away)
        return;
    m->away = 1;
    m->told_down = told;
    if (told) { /* what was held back goes with its connection */
        m->hold = 0;
        for (size_t i = 0; i < m->held_count; i++)
            note_unref(m->held[i]);
        m->held_count = 0;
    }
    if (told && m->started)
        strata_bus_down(m->host, &why);
}

void sim_net_pause(struct sim_net *net, int member) { net->members[member]->pauses = 1; }

void sim_net_back(struct sim_net *net, int member)
{
    struct member *m = member < net->count ? net->members[member] : NULL;
    if (m == NULL || !m->away)
        return;
    m->away = 0;
    if (!m->started)
        return;
    if (m->told_down) {
        if (!(net->o.flags & STRATA_BUS_REPLAYS))
            m->next = net->log_size;
        strata_bus_up(m->host);
    }
    read_on(m);
}

void sim_net_drop(struct sim_net *net, int member, int count) { net->members[member]->drop = count; }

void sim_net_hold(struct sim_net *net, int member, int on)
{
    struct member *m = member < net->count ? net->members[member] : NULL;
    if (m == NULL)
        return;
    m->hold = on;
    for (size_t i = 0; !on && i < m->held_count; i++) {
        give(m, m->held[i], 0);
        note_unref(m->held[i]);
    }
    if (!on) {
        m->held_count = 0;
        read_on(m);
    }
}

void sim_net_fail(struct sim_net *net, int member, int count) { net->members[member]->fail = count; }

void sim_net_inject(struct sim_net *net, strata_slice bytes) { post(net, -1, bytes); }

void sim_net_heal(struct sim_net *net)
{
    net->o.drop_per_mille = net->o.double_per_mille = net->o.fail_per_mille = 0;
    for (int i = 0; i < net->count; i++) {
        if (net->members[i] == NULL)
            continue;
        net->members[i]->drop = net->members[i]->fail = 0;
        sim_net_hold(net, i, 0);
        sim_net_back(net, i);
    }
}

uint64_t sim_net_published(const struct sim_net *net) { return net->log_size; }

strata_slice sim_net_last(const struct sim_net *net)
{
    const struct note *n = net->log[net->log_size - 1];
    return strata_bytes(n->bytes, n->size);
}

void sim_net_forget_last(struct sim_net *net)
{
    struct note **last = &net->log[net->log_size - 1];
    note_unref(*last);
    *last = net->log[net->log_size - 2];
    (*last)->refs++;
}
