/* redis_greet.c - what a connection says first, and what is made of the answers: password, database, role, and what the link's owner
 * asks (options.hello).  Of the link's thread, as all of redis_conn.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/link/redis_link_impl.h"
#include "src/link/redis_sentinel.h"
#include "src/os/os_clock.h"

/* What hello() asks now, behind what it has asked.  0: no memory. */
static int write_hellos(struct redis_conn *c)
{
    const struct redis_link_options *o = &c->link->options;
    const strata_slice *args;
    size_t count, more = 0;
    int good = 1;
    while (good && o->hello != NULL && (count = o->hello(o->ctx, c->hellos + more, &args)) > 0) {
        good = strata__redis_command(c->link->mem, &c->out, args, count) > 0;
        more++;
    }
    c->hellos += more;
    c->greetings += more;
    c->greet_us = strata__os_now_us();
    return good;
}

/* The commands of a greeting, in order; the PING shows whether the server wants a password that we do not have. */
int strata__redis_greeting(struct redis_conn *c)
{
    const struct redis_link_options *o = &c->link->options;
    const strata_allocator *mem = c->link->mem;
    char number[16];
    (void)snprintf(number, sizeof number, "%u", (unsigned)o->database);
    const strata_slice auth2[] = { strata_str("AUTH"), strata_str(o->user), strata_str(o->password) };
    const strata_slice auth1[] = { strata_str("AUTH"), strata_str(o->password) };
    const strata_slice choose[] = { strata_str("SELECT"), strata_str(number) };
    const strata_slice role[] = { strata_str("ROLE") };
    const strata_slice ping[] = { strata_str("PING") };
    int good = 1;
    c->greetings = 1;
    if (o->password != NULL) {
        good = strata__redis_command(mem, &c->out, o->user != NULL ? auth2 : auth1, o->user != NULL ? 3 : 2) > 0;
        c->greetings++;
    }
    if (o->database != 0) {
        good = good && strata__redis_command(mem, &c->out, choose, 2) > 0;
        c->greetings++;
    }
    c->role_at = c->link->sentinel != NULL; /* right before the PING */
    if (c->role_at) {
        good = good && strata__redis_command(mem, &c->out, role, 1) > 0;
        c->greetings++;
    }
    good = good && strata__redis_command(mem, &c->out, ping, 1) > 0;
    c->hellos = 0;
    return good && write_hellos(c);
}

static int starts_with(strata_slice text, const char *word)
{
    return text.size >= strlen(word) && memcmp(text.data, word, strlen(word)) == 0;
}

/* Errors that are no reason to hang up: the layer sees them in the replies to its own commands. */
static int bearable(const struct redis_conn *c, strata_slice text)
{
    return c->greetings == c->hellos + 1 && (starts_with(text, "NOPERM") || starts_with(text, "LOADING") ||
                                             starts_with(text, "BUSY") || starts_with(text, "MASTERDOWN"));
}

/* How much of a refusal may be shown: what does not know AUTH may repeat what followed it, quoted or not, whole or cut. */
static int shown_size(const struct redis_conn *c, strata_slice text)
{
    enum { SHOWN = 90 };
    const char *password = c->link->options.password, *bytes = text.data;
    size_t size = text.size < SHOWN ? text.size : SHOWN, from = 0;
    if (password == NULL)
        return (int)size;
    for (; from < size && bytes[from] != '\'' && bytes[from] != '"' && bytes[from] != '`'; from++) {
        size_t same = 0;
        while (from + same < size && password[same] != '\0' && password[same] == bytes[from + same])
            same++;
        if (same > 0 && (password[same] == '\0' || from + same == size))
            break;
    }
    return (int)from;
}

/* Of the reply to ROLE: "master" comes first, where it is one. */
static int is_master(const struct redisReply *reply)
{
    const struct redisReply *role = strata__redis_kind(reply) == REDIS_IS_ARRAY && strata__redis_count(reply) > 0
                                        ? strata__redis_at(reply, 0)
                                        : NULL;
    return role != NULL && strata__redis_kind(role) == REDIS_IS_TEXT && strata__redis_text(role).size == 6 &&
           memcmp(strata__redis_text(role).data, "master", 6) == 0;
}

static void check_role_locked(struct redis_conn *c, const struct redisReply *reply)
{
    if (is_master(reply))
        return;
    strata__redis_sentinel_doubt(c->link->sentinel);
    strata__redis_break_locked(c, STRATA_EIO, 0,
                               "is no master any more, or not yet; the Sentinels are asked again: look at SENTINEL "
                               "MASTER there");
}

static void hello_answered(struct redis_conn *c, const struct redisReply *reply)
{
    const struct redis_link_options *o = &c->link->options;
    strata_error why = STRATA_ERROR_INIT;
    size_t nth = c->hellos - c->greetings;
    if (o->greeted(o->ctx, nth, reply, strata__os_now_us() - c->greet_us, &c->mark, &why))
        return;
    os_lock_take(&c->lock);
    strata__redis_break_locked(c, STRATA_EIO, 0, "%s", why.message);
    os_lock_give(&c->lock);
}

/* All that was asked is answered: is there anything that had to wait for that?  Everything was written, for it was answered, and the
 * role of the writer is the link's thread's alone until the connection is up.  0: no memory. */
static int write_more(struct redis_conn *c)
{
    c->out.size = c->out_at = 0;
    c->sealed = 0;
    return write_hellos(c);
}

void strata__redis_greeted(struct redis_conn *c, const struct redisReply *reply)
{
    strata_slice text = strata__redis_text(reply);
    int ours = c->greetings > c->hellos;
    int refused = ours && strata__redis_kind(reply) == REDIS_IS_ERROR && !bearable(c, text);
    if (!ours && !c->broken)
        hello_answered(c, reply);
    os_lock_take(&c->lock);
    if (refused)
        strata__redis_break_locked(c, STRATA_EIO, 0, "%.*s: correct user, password and database of this layer",
                                   shown_size(c, text), (const char *)text.data);
    else if (c->role_at && c->greetings == c->hellos + 2)
        check_role_locked(c, reply);
    int good = --c->greetings > 0 || c->broken || write_more(c);
    if (!good)
        strata__redis_break_locked(c, STRATA_ENOMEM, ENOMEM, "no memory for a connection: free some; it is tried again");
    if (c->greetings == 0)
        c->fence_ms = strata__redis_deadline(c->link->options.connect_timeout_ms);
    os_lock_give(&c->lock);
}
