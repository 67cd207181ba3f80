/* test_redis_cluster_wire.c - nodes of a Cluster that do what no real one does on demand: send a request round in circles, for good
 * or for a while, or half of a batch elsewhere and the other half late; say ASK, CLUSTERDOWN, or half of an answer. */
#include "tests/support/cmocka_all.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/link/redis_slots.h"
#include "tests/support/fake_server.h"
#include "tests/support/redis_ask.h"

enum { LOOKS = 6000, SLOT = 12182 /* of "foo" */ };

/* What a node answers to anything but PING and CLUSTER; "" nothing, NULL: it closes. */
struct node {
    struct fake_server fake;
    const char *(*answer)(struct node *n, const char *name, const char *key);
    struct node *other; /* where it sends others */
    const char *slots;  /* instead of a map: what CLUSTER SLOTS is answered with */
    int gives_away, takes;
    int breaks_off;    /* and then it closes */
    _Atomic(int) told; /* commands that are in `log` */
    char log[512], text[128];
};

static void add_to_log(struct node *n, const char *name, const char *key)
{
    size_t used = strlen(n->log);
    (void)snprintf(n->log + used, sizeof n->log - used, "%s %s,", name, key);
    (void)atomic_fetch_add(&n->told, 1);
}

/* All slots are its own; or the other's, once it was asked for anything, and gives them away. */
static const char *map_of(struct node *n)
{
    static _Thread_local char text[128];
    (void)snprintf(text, sizeof text, "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n",
                   (unsigned)(n->gives_away && atomic_load(&n->told) > 0 ? n->other : n)->fake.port);
    return n->slots != NULL ? n->slots : text;
}

static void serve(struct fake_server *f, int fd, int nth)
{
    struct node *n = f->ctx;
    char name[32], key[32];
    (void)nth;
    while (fake_read_command(fd, name, key)) {
        const char *answer = "+PONG\r\n";
        int is_map = strcmp(name, "CLUSTER") == 0;
        if (is_map) {
            answer = map_of(n);
        } else if (strcmp(name, "PING") != 0) {
            add_to_log(n, name, key);
            answer = n->answer(n, name, key);
        }
        if (answer == NULL || !fake_send(fd, answer) || (is_map && n->breaks_off))
            return;
    }
}

static void start(struct node *n, const char *(*answer)(struct node *, const char *, const char *), struct node *other)
{
    memset(n, 0, sizeof *n);
    n->answer = answer;
    n->other = other;
    fake_server_start(&n->fake, serve, n);
}

static struct redis_link *open_at(struct node *const *seeds, size_t count, int64_t connect_timeout_ms)
{
    struct redis_host hosts[3];
    struct redis_link_options options = redis_ask_options(0);
    struct redis_link *link = NULL;
    for (size_t i = 0; i < count; i++)
        hosts[i] = (struct redis_host){ "127.0.0.1", seeds[i]->fake.port };
    options.topology = REDIS_CLUSTER;
    options.host = NULL;
    options.hosts = hosts;
    options.host_count = count;
    options.connect_timeout_ms = connect_timeout_ms;
    assert_int_equal(strata__redis_open(&link, &options, NULL), STRATA_OK);
    return link;
}

struct asked {
    struct redis_request request;
    struct redis_answer answer;
    strata_slice args[2];
    _Atomic(int) done;
};

static void asked_done(struct redis_request *request)
{
    struct asked *a = request->owner;
    request->owner = &a->answer;
    redis_ask_done(request);
    atomic_store(&a->done, 1);
}

static void prepare(struct asked *a, const char *name, const char *key, int64_t timeout_ms)
{
    memset(a, 0, sizeof *a);
    a->args[0] = strata_str(name);
    a->args[1] = strata_str(key);
    a->request = (struct redis_request){
        .args = a->args, .arg_count = 2, .key_at = 1, .timeout_ms = timeout_ms, .done = asked_done, .owner = a
    };
}

static void send_for(struct redis_link *link, struct asked *a, const char *name, const char *key, int64_t timeout_ms)
{
    struct redis_request *list = &a->request;
    prepare(a, name, key, timeout_ms);
    strata__redis_submit(link, &list, 1);
}

static void await(struct asked *a)
{
    while (!atomic_load(&a->done))
        (void)poll(NULL, 0, 1);
}

/* At once, and when the map is there, so that both go to the same node whatever it answers to the first. */
static void send_two(struct redis_link *link, struct asked *first, struct asked *second, const char *key)
{
    struct redis_request *list[] = { &first->request, &second->request };
    struct asked ping;
    send_for(link, &ping, "PING", key, 20000);
    await(&ping);
    prepare(first, "SET1", key, 20000);
    prepare(second, "SET2", key, 20000);
    strata__redis_submit(link, list, 2);
}

static void send_to(struct redis_link *link, struct asked *a, const char *name, const char *key)
{
    send_for(link, a, name, key, 20000);
}

static struct redis_answer ask(struct redis_link *link, const char *name, const char *key)
{
    struct asked a;
    send_to(link, &a, name, key);
    await(&a);
    return a.answer;
}

static const char *say_ok(struct node *n, const char *name, const char *key)
{
    (void)n;
    (void)name;
    (void)key;
    return "+OK\r\n";
}

/* Redirections ------------------------------------------------------------------------------------------------------ */

static const char *say_moved(struct node *n, const char *name, const char *key)
{
    (void)name;
    (void)key;
    (void)snprintf(n->text, sizeof n->text, "-MOVED %d 127.0.0.1:%u\r\n", SLOT, (unsigned)n->other->fake.port);
    return n->text;
}

static int told(struct node *a, struct node *b) { return atomic_load(&a->told) + atomic_load(&b->told); }

static void assert_given_up(const struct redis_answer *answer)
{
    assert_int_equal(answer->status, STRATA_EIO); /* and not one that nobody can do anything about */
    assert_non_null(strstr(answer->err.message, "slot 12182 is sent from node to node"));
    assert_non_null(strstr(answer->err.message, "MOVED 12182 127.0.0.1:"));
}

static void circles_come_to_an_end(void **state)
{
    (void)state;
    struct node a, b;
    start(&a, say_moved, &b);
    start(&b, say_moved, &a);
    struct redis_link *link = open_at((struct node *[]){ &a }, 1, 20000);
    struct redis_answer answer = ask(link, "GET", "foo");
    assert_given_up(&answer);
    int before = told(&a, &b);
    assert_true(before > 9); /* the first time, and 8 redirections; and it was tried again */
    answer = ask(link, "GET", "foo");
    assert_given_up(&answer);
    assert_int_equal(told(&a, &b), before + 9); /* nobody waits for them any more */
    strata__redis_close(link);
    fake_server_stop(&a.fake);
    fake_server_stop(&b.fake);
}

/* Two nodes contradict each other about "foo" until they agree: it is b's.  Of other keys they know that they are a's. */
static _Atomic(int) agreed;
static char served[128];

static const char *say_moved_until_agreed(struct node *n, const char *name, const char *key)
{
    if (strcmp(key, "foo") != 0)
        return "+MINE\r\n";
    if (!n->takes || !atomic_load(&agreed))
        return say_moved(n, name, key);
    size_t used = strlen(served);
    (void)snprintf(served + used, sizeof served - used, "%s ", name);
    return "+OK\r\n";
}

static struct redis_link *disagree(struct node *a, struct node *b)
{
    atomic_store(&agreed, 0);
    served[0] = '\0';
    start(a, say_moved_until_agreed, b);
    start(b, say_moved_until_agreed, a);
    b->takes = 1;
    return open_at((struct node *[]){ a }, 1, 20000);
}

static void end_world(struct redis_link *link, struct node *a, struct node *b)
{
    strata__redis_close(link);
    fake_server_stop(&a->fake);
    fake_server_stop(&b->fake);
}

/* Until they were asked so often, or have been waited for in vain. */
static void until_told(struct node *a, struct node *b, int times, struct asked *by)
{
    while (told(a, b) < times && !atomic_load(&by->done))
        (void)poll(NULL, 0, 1);
}

static int was_too_slow(const struct asked *a) { return a->answer.status == STRATA_EIO; }

/* What is asked meanwhile is carried out behind it, however often it is sent from node to node before.  Where this machine took longer
 * than anybody waits for a cluster, it is done again. */
static void owners_that_contradict_each_other_are_waited_for(void **state)
{
    (void)state;
    struct asked first, second, third;
    do {
        struct node a, b;
        struct redis_link *link = disagree(&a, &b);
        send_two(link, &first, &second, "foo");
        until_told(&a, &b, 2 * 9 + 4, &first); /* no more than that, before they pause; and once more */
        send_to(link, &third, "DEL", "foo");
        until_told(&a, &b, 2 * 9 + 12, &first);
        atomic_store(&agreed, 1);
        await(&first);
        await(&second);
        await(&third);
        end_world(link, &a, &b);
    } while (was_too_slow(&first) || was_too_slow(&second) || was_too_slow(&third));
    assert_string_equal(first.answer.text, "OK");
    assert_string_equal(second.answer.text, "OK");
    assert_string_equal(third.answer.text, "OK");
    assert_string_equal(served, "SET1 SET2 DEL ");
}

/* Also not of those that share a lane with it, 1,024 slots away. */
static void nobody_waits_for_the_slot_of_others(void **state)
{
    (void)state;
    struct asked first;
    char other[16];
    for (int i = 0;; i++) {
        (void)snprintf(other, sizeof other, "k%d", i);
        if (strata__redis_slot(strata_str(other)) % 1024 == SLOT % 1024)
            break;
    }
    int was_done;
    do {
        struct node a, b;
        struct redis_link *link = disagree(&a, &b);
        send_to(link, &first, "SET", "foo");
        until_told(&a, &b, 9 + 4, &first);
        assert_string_equal(ask(link, "GET", other).text, "MINE");
        was_done = atomic_load(&first.done);
        atomic_store(&agreed, 1);
        await(&first);
        end_world(link, &a, &b);
    } while (was_too_slow(&first));
    assert_false(was_done);
    assert_string_equal(first.answer.text, "OK");
}

/* Its own time is not longer for it; and a link that is closed answers what pauses. */
static void what_pauses_has_its_own_time(void **state)
{
    (void)state;
    struct node a, b;
    struct asked first, second, third;
    struct redis_link *link = disagree(&a, &b);
    send_for(link, &first, "SET", "foo", 20);
    send_for(link, &second, "GET", "foo", 20);
    await(&first);
    await(&second);
    assert_int_equal(first.answer.status, STRATA_ETIMEDOUT);
    assert_int_equal(second.answer.status, STRATA_ETIMEDOUT);
    send_to(link, &first, "SET", "foo");
    send_to(link, &second, "GET", "foo");
    send_to(link, &third, "DEL", "foo");
    strata__redis_close(link);
    assert_true(atomic_load(&first.done) && atomic_load(&second.done) && atomic_load(&third.done));
    fake_server_stop(&a.fake);
    fake_server_stop(&b.fake);
    assert_string_equal(served, "");
}

/* It sends the first request on at once.  The second one it sends on when the third has overtaken it, or will not. */
static const char *say_moved_late(struct node *n, const char *name, const char *key)
{
    enum { WHILE_MS = 300 };
    for (int i = 0; atomic_load(&n->told) == 2 && i < WHILE_MS && atomic_load(&n->other->told) < 2; i++)
        (void)poll(NULL, 0, 1);
    return say_moved(n, name, key);
}

static void nothing_overtakes_what_is_at_the_old_owner(void **state)
{
    (void)state;
    struct node a, b;
    struct asked first, second, third;
    start(&b, say_ok, NULL);
    start(&a, say_moved_late, &b);
    a.gives_away = 1;
    struct redis_link *link = open_at((struct node *[]){ &a }, 1, 20000);
    send_two(link, &first, &second, "foo");
    await(&first); /* at b: from now on its slots are known to be there */
    send_to(link, &third, "DEL", "foo");
    await(&second);
    await(&third);
    assert_string_equal(b.log, "SET1 foo,SET2 foo,DEL foo,");
    strata__redis_close(link);
    fake_server_stop(&a.fake);
    fake_server_stop(&b.fake);
}

static _Atomic(int) let_go;

/* The second one is not answered before the test says so. */
static const char *say_moved_when_told(struct node *n, const char *name, const char *key)
{
    while (atomic_load(&n->told) == 2 && !atomic_load(&let_go) && !atomic_load(&n->fake.stopping))
        (void)poll(NULL, 0, 1);
    return say_moved(n, name, key);
}

/* What is held waits for others, but no longer than its own time; and a link that is closed answers it. */
static void what_is_held_has_its_own_time(void **state)
{
    (void)state;
    struct node a, b;
    struct asked first, second, third, fourth;
    start(&b, say_ok, NULL);
    start(&a, say_moved_when_told, &b);
    a.gives_away = 1;
    atomic_store(&let_go, 0);
    struct redis_link *link = open_at((struct node *[]){ &a }, 1, 20000);
    send_two(link, &first, &second, "foo");
    await(&first);
    send_for(link, &third, "GET", "foo", 50);
    await(&third);
    assert_int_equal(third.answer.status, STRATA_ETIMEDOUT);
    assert_non_null(strstr(third.answer.err.message, "it was not asked"));
    send_to(link, &fourth, "DEL", "foo");
    strata__redis_close(link);
    assert_int_equal(atomic_load(&second.done), 1);
    assert_int_equal(second.answer.status, STRATA_ECLOSED);
    assert_int_equal(atomic_load(&fourth.done), 1);
    assert_int_equal(fourth.answer.status, STRATA_ECLOSED);
    atomic_store(&let_go, 1);
    fake_server_stop(&a.fake);
    fake_server_stop(&b.fake);
    assert_string_equal(b.log, "SET1 foo,");
}

static const char *say_ask(struct node *n, const char *name, const char *key)
{
    (void)name;
    if (strcmp(key, "foo") != 0)
        return "+MINE\r\n";
    (void)snprintf(n->text, sizeof n->text, "-ASK %d 127.0.0.1:%u\r\n", SLOT, (unsigned)n->other->fake.port);
    return n->text;
}

static void what_is_asked_for_elsewhere(void **state)
{
    (void)state;
    struct node a, b;
    start(&b, say_ok, NULL);
    start(&a, say_ask, &b);
    struct redis_link *link = open_at((struct node *[]){ &a }, 1, 20000);
    assert_string_equal(ask(link, "GET", "foo").text, "OK");
    assert_string_equal(ask(link, "GET", "bar").text, "MINE");
    assert_string_equal(ask(link, "SET", "foo").text, "OK");
    assert_string_equal(b.log, "ASKING ,GET foo,ASKING ,SET foo,"); /* the slot is not b's yet */
    strata__redis_close(link);
    fake_server_stop(&a.fake);
    fake_server_stop(&b.fake);
}

/* The other one does not know yet that it is to import the slot; then it does. */
static const char *say_moved_until_it_imports(struct node *n, const char *name, const char *key)
{
    if (strcmp(name, "ASKING") == 0)
        return "+OK\r\n";
    return atomic_load(&agreed) ? "+IMPORTED\r\n" : say_moved(n, name, key);
}

static void who_does_not_import_yet_is_waited_for(void **state)
{
    (void)state;
    struct asked first;
    do {
        struct node a, b;
        atomic_store(&agreed, 0);
        start(&a, say_ask, &b);
        start(&b, say_moved_until_it_imports, &a);
        struct redis_link *link = open_at((struct node *[]){ &a }, 1, 20000);
        send_to(link, &first, "SET", "foo");
        until_told(&a, &b, 30, &first);
        atomic_store(&agreed, 1);
        await(&first);
        end_world(link, &a, &b);
    } while (was_too_slow(&first));
    assert_string_equal(first.answer.text, "IMPORTED");
}

/* Where nobody can be asked ----------------------------------------------------------------------------------------- */

static const char *say_down_once(struct node *n, const char *name, const char *key)
{
    (void)name;
    (void)key;
    return atomic_load(&n->told) == 1 ? "-CLUSTERDOWN The cluster is down\r\n" : "+OK\r\n";
}

static void a_cluster_that_is_down(void **state)
{
    (void)state;
    struct node a;
    start(&a, say_down_once, NULL);
    struct redis_link *link = open_at((struct node *[]){ &a }, 1, 20000);
    struct redis_answer answer = ask(link, "GET", "foo");
    assert_int_equal(answer.kind, REDIS_IS_ERROR);
    assert_string_equal(answer.text, "CLUSTERDOWN The cluster is down");
    assert_string_equal(ask(link, "GET", "foo").text, "OK");
    strata__redis_close(link);
    fake_server_stop(&a.fake);
}

static const char *say_half_once(struct node *n, const char *name, const char *key)
{
    (void)name;
    (void)key;
    if (atomic_load(&n->told) != 1)
        return "+OK\r\n";
    n->breaks_off = 0;
    return NULL;
}

static void answers_that_are_cut(void **state)
{
    (void)state;
    struct node cut, garbage, none, good;
    start(&cut, say_ok, NULL);
    cut.slots = "*1\r\n*3\r\n:0\r\n:163";
    cut.breaks_off = 1;
    start(&garbage, say_ok, NULL);
    garbage.slots = "*1\r\n*3\r\n:0\r\n:99999\r\n*2\r\n$1\r\na\r\n:1\r\n";
    start(&none, say_ok, NULL);
    none.slots = "*0\r\n";
    start(&good, say_half_once, NULL);
    /* The next seed knows. */
    struct redis_link *link = open_at((struct node *[]){ &cut, &garbage, &good }, 3, 20000);
    assert_int_equal(ask(link, "SET", "foo").status, STRATA_EIO); /* it closed; and nobody asks twice */
    struct redis_answer answer;
    do
        answer = ask(link, "GET", "foo");
    while (answer.status == STRATA_EIO);
    assert_string_equal(answer.text, "OK");
    assert_string_equal(good.log, "SET foo,GET foo,");
    strata__redis_close(link);
    /* None does. */
    static const struct {
        int which;
        const char *words;
    } said[] = { { 0, "middle of a reply" }, { 1, "never answered with" }, { 2, "no slot is served" } };
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        struct node *seeds[] = { &cut, &garbage, &none };
        link = open_at(&seeds[said[i].which], 1, 20000);
        answer = ask(link, "GET", "foo");
        assert_int_equal(answer.status, STRATA_EIO);
        if (strstr(answer.err.message, said[i].words) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", answer.err.message, said[i].words);
        strata__redis_close(link);
    }
    fake_server_stop(&cut.fake);
    fake_server_stop(&garbage.fake);
    fake_server_stop(&none.fake);
    fake_server_stop(&good.fake);
}

static void a_server_that_stands_alone(void **state)
{
    (void)state;
    struct node a;
    start(&a, say_ok, NULL);
    a.slots = "-ERR This instance has cluster support disabled\r\n";
    struct redis_link *link = open_at((struct node *[]){ &a }, 1, 20000);
    struct redis_answer answer = ask(link, "GET", "foo");
    assert_int_equal(answer.status, STRATA_EIO);
    assert_non_null(strstr(answer.err.message, "write redis://"));
    strata__redis_close(link);
    fake_server_stop(&a.fake);
}

static void closing_waits_for_nobody(void **state)
{
    (void)state;
    struct node silent;
    start(&silent, say_ok, NULL);
    silent.slots = "";
    struct redis_link *link = open_at((struct node *[]){ &silent }, 1, 3600000);
    struct asked a;
    send_to(link, &a, "GET", "foo");
    strata__redis_close(link);
    assert_int_equal(atomic_load(&a.done), 1);
    assert_int_equal(a.answer.status, STRATA_ECLOSED);
    fake_server_stop(&silent.fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owners_that_contradict_each_other_are_waited_for),
        cmocka_unit_test(nobody_waits_for_the_slot_of_others),
        cmocka_unit_test(what_pauses_has_its_own_time),
        cmocka_unit_test(who_does_not_import_yet_is_waited_for),
        cmocka_unit_test(circles_come_to_an_end),
        cmocka_unit_test(nothing_overtakes_what_is_at_the_old_owner),
        cmocka_unit_test(what_is_held_has_its_own_time),
        cmocka_unit_test(what_is_asked_for_elsewhere),
        cmocka_unit_test(a_cluster_that_is_down),
        cmocka_unit_test(answers_that_are_cut),
        cmocka_unit_test(a_server_that_stands_alone),
        cmocka_unit_test(closing_waits_for_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
