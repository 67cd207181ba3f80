/* contract_lease.c - what every layer that gives leases must do: two of them over one store, as two nodes have them.
 *
 * Nothing here asserts a time: what waits is waited for, and that something still waits is seen behind a later operation of
 * the same layer. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/layer/value_impl.h"
#include "tests/contract/contract.h"
#include "tests/support/cmocka_all.h"

enum { NODES = 2, MANY = 60 };

static const struct contract_lease_subject *subject;
static struct contract_subject halves[NODES];
static struct contract node[NODES];

static int open_nodes(void **state)
{
    (void)state;
    for (int i = 0; i < NODES; i++) {
        halves[i] = (struct contract_subject){ .name = subject->name, .make = subject->make[i] };
        int rc = contract_open(&node[i], &halves[i], NULL);
        if (rc != STRATA_OK)
            return rc;
        test_host_keep_delays(&node[i].host);
    }
    return 0;
}

static int close_nodes(void **state)
{
    (void)state;
    for (int i = NODES; i-- > 0;) {
        test_host_cut(&node[i].host);
        contract_close(&node[i]);
    }
    return 0;
}

/* One operation that may take as long as it likes ---------------------------------------------------------------------- */

struct waited {
    struct contract_op o;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int done;
    strata_value *value; /* of a PUT */
};

static void waited_done(strata_op *op)
{
    struct waited *w = op->owner;
    pthread_mutex_lock(&w->mutex);
    if (w->done++ != 0) {
        fprintf(stderr, "an operation was finished twice\n");
        abort();
    }
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

static void prepare(struct waited *w, int n, uint32_t kind, const char *key)
{
    memset(w, 0, sizeof *w);
    contract_op_init(&node[n], &w->o, kind, 0, strata_str(key));
    w->o.op.done = waited_done;
    w->o.op.owner = w;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->changed, NULL);
}

static void submit(struct waited *w, int n)
{
    strata_op *op = &w->o.op;
    node[n].layer->ops->submit(node[n].layer, &op, 1);
}

static int is_done(struct waited *w)
{
    pthread_mutex_lock(&w->mutex);
    int done = w->done;
    pthread_mutex_unlock(&w->mutex);
    return done;
}

static int wait_for(struct waited *w)
{
    pthread_mutex_lock(&w->mutex);
    while (!w->done)
        pthread_cond_wait(&w->changed, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
    return w->o.op.status;
}

static void drop(struct waited *w)
{
    strata_value_unref(w->value);
    contract_op_deinit(&w->o);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->mutex);
}

static void begin_lease(struct waited *w, int n, const char *key, uint32_t flags)
{
    prepare(w, n, STRATA_OP_LEASE, key);
    w->o.op.flags = flags;
    submit(w, n);
}

/* One that does not wait: its status; the lease where it was got. */
static int lease(int n, const char *key, uint32_t flags, uint64_t version, uint64_t *out)
{
    struct waited w;
    prepare(&w, n, STRATA_OP_LEASE, key);
    w.o.op.flags = flags | STRATA_OP_NOWAIT;
    w.o.op.meta.version = version;
    submit(&w, n);
    int status = wait_for(&w);
    *out = w.o.op.lease;
    drop(&w);
    return status;
}

static uint64_t got(int n, const char *key)
{
    uint64_t number = 0;
    assert_int_equal(lease(n, key, 0, 0, &number), STRATA_MISS);
    assert_int_not_equal(number, 0);
    return number;
}

static void is_taken(int n, const char *key)
{
    uint64_t number = 0;
    assert_int_equal(lease(n, key, 0, 0, &number), STRATA_PENDING);
}

/* A PUT: its status; *out_flags, *out_version what came back. */
static int put(int n, const char *key, const char *text, uint64_t number, uint32_t flags, uint64_t *out_version,
               uint32_t *out_flags)
{
    struct waited w;
    prepare(&w, n, STRATA_OP_PUT, key);
    w.value = text != NULL ? strata__value_copy(NULL, text, strlen(text)) : NULL;
    w.o.op.value = w.value;
    w.o.op.meta = contract_meta(&node[n], 3600000);
    w.o.op.meta.negative = text == NULL;
    w.o.op.lease = number;
    w.o.op.flags = flags;
    submit(&w, n);
    int status = wait_for(&w);
    if (out_version != NULL)
        *out_version = w.o.op.meta.version;
    if (out_flags != NULL)
        *out_flags = w.o.op.flags;
    drop(&w);
    return status;
}

static void store(int n, const char *key, const char *text, uint64_t number)
{
    assert_int_equal(put(n, key, text, number, 0, NULL, NULL), STRATA_OK);
}

static void is_lost(int n, const char *key, const char *text, uint64_t number)
{
    uint32_t flags = 0;
    assert_int_equal(put(n, key, text, number, 0, NULL, &flags), STRATA_AGAIN);
    assert_true(flags & STRATA_OP_LOST);
}

static void release(int n, const char *key, uint64_t number)
{
    struct waited w;
    prepare(&w, n, STRATA_OP_RELEASE, key);
    w.o.op.lease = number;
    submit(&w, n);
    assert_true(wait_for(&w) >= 0);
    drop(&w);
}

static void holds(int n, const char *key, const char *text)
{
    strata_value *v = NULL;
    int status = contract_get(&node[n], 0, strata_str(key), &v, NULL);
    assert_int_equal(status, text != NULL ? STRATA_OK : STRATA_MISS);
    if (text == NULL)
        return;
    assert_int_equal(strata_value_size(v), strlen(text));
    assert_memory_equal(strata_value_data(v), text, strlen(text));
    strata_value_unref(v);
}

static uint64_t version_at(int n, const char *key)
{
    strata_meta meta;
    strata_value *v = NULL;
    assert_int_equal(contract_get(&node[n], 0, strata_str(key), &v, &meta), STRATA_OK);
    strata_value_unref(v);
    return meta.version;
}

static void still_waits(struct waited *w, int n)
{
    holds(n, "nothing is here", NULL); /* an answer that was sent before this one's would be there */
    assert_false(is_done(w));
}

static void ends_with_value(struct waited *w, const char *text)
{
    int status = wait_for(w);
    assert_true(status == STRATA_OK || status == STRATA_STALE);
    assert_int_equal(strata_value_size(w->o.op.found), strlen(text));
    assert_memory_equal(strata_value_data(w->o.op.found), text, strlen(text));
    drop(w);
}

static uint64_t ends_with_lease(struct waited *w)
{
    assert_int_equal(wait_for(w), STRATA_MISS);
    uint64_t number = w->o.op.lease;
    assert_int_not_equal(number, 0);
    drop(w);
    return number;
}

/* After a RELEASE, which may be answered before the store has heard of it. */
static uint64_t got_at_last(int n, const char *key, uint32_t flags, uint64_t version)
{
    struct waited w;
    prepare(&w, n, STRATA_OP_LEASE, key);
    w.o.op.flags = flags;
    w.o.op.meta.version = version;
    submit(&w, n);
    return ends_with_lease(&w);
}

/* Cases ------------------------------------------------------------------------------------------------------------------ */

static void case_one_gets_it(void **state)
{
    (void)state;
    uint64_t number = got(0, "k");
    is_taken(0, "k");
    is_taken(1, "k");
    holds(1, "k", NULL); /* a lease is no entry */
    store(0, "k", "v", number);
    holds(1, "k", "v");
    uint64_t none;
    assert_int_equal(lease(1, "k", 0, 0, &none), STRATA_OK); /* another was faster */
}

static void case_store_counts_versions(void **state)
{
    (void)state;
    uint64_t first = 0, second = 0, third = 0;
    assert_int_equal(put(0, "k", "1", got(0, "k"), 0, &first, NULL), STRATA_OK);
    assert_int_not_equal(first, 0);
    assert_int_equal(version_at(1, "k"), first);
    assert_int_equal(put(1, "k", "2", 0, 0, &second, NULL), STRATA_OK);
    assert_true(second > first);
    assert_int_equal(version_at(0, "k"), second);
    assert_int_equal(contract_remove(&node[0], 0, strata_str("k")), STRATA_OK);
    assert_int_equal(put(1, "k", "3", got(1, "k"), 0, &third, NULL), STRATA_OK);
    assert_true(third > second);
}

static void case_waits_for_the_value(void **state)
{
    (void)state;
    struct waited here, there;
    uint64_t number = got(0, "k");
    begin_lease(&here, 0, "k", 0);
    begin_lease(&there, 1, "k", 0);
    still_waits(&here, 0);
    still_waits(&there, 1);
    store(0, "k", "v", number);
    ends_with_value(&here, "v");
    ends_with_value(&there, "v");
}

static void case_absence_is_a_value(void **state)
{
    (void)state;
    struct waited w;
    uint64_t number = got(0, "k");
    begin_lease(&w, 1, "k", 0);
    still_waits(&w, 1);
    store(0, "k", NULL, number);
    assert_int_equal(wait_for(&w), STRATA_OK);
    assert_int_equal(w.o.op.meta.negative, 1);
    assert_null(w.o.op.found);
    drop(&w);
}

static void case_release_frees_one(void **state)
{
    (void)state;
    struct waited w[3];
    int over[3] = { 0 };
    uint64_t number = got(0, "k");
    for (int i = 0; i < 3; i++)
        begin_lease(&w[i], 1, "k", 0);
    still_waits(&w[2], 1);
    release(0, "k", number);
    for (int n = 0; n < 3; n++) { /* one at a time, whichever */
        int next = -1;
        while (next < 0) {
            holds(1, "nothing is here", NULL);
            for (int i = 0; i < 3; i++)
                next = !over[i] && is_done(&w[i]) ? i : next;
        }
        over[next] = 1;
        is_taken(0, "k");
        for (int i = 0; i < 3; i++)
            assert_true(over[i] || !is_done(&w[i]));
        number = ends_with_lease(&w[next]);
        release(1, "k", number);
    }
    holds(0, "k", NULL);
}

static void case_remove_revokes(void **state)
{
    (void)state;
    struct waited w;
    uint64_t number = got(0, "k");
    begin_lease(&w, 0, "k", 0);
    still_waits(&w, 0);
    assert_int_equal(contract_remove(&node[1], 0, strata_str("k")), STRATA_OK);
    uint64_t next = ends_with_lease(&w); /* what the first one loads is too old */
    is_lost(0, "k", "old", number);
    holds(1, "k", NULL);
    store(0, "k", "new", next);
    holds(1, "k", "new");
}

static void case_set_revokes(void **state)
{
    (void)state;
    struct waited w;
    uint64_t number = got(0, "k");
    begin_lease(&w, 0, "k", 0);
    still_waits(&w, 0);
    store(1, "k", "set", 0);
    ends_with_value(&w, "set");
    is_lost(0, "k", "loaded", number);
    holds(0, "k", "set");
}

static void case_clear_revokes(void **state)
{
    (void)state;
    uint64_t number = got(0, "k");
    if (node[1].layer->ops->clear == NULL)
        skip();
    assert_true(contract_clear(&node[1], 0, 1) >= 0);
    is_lost(0, "k", "v", number);
    holds(0, "k", NULL);
}

static void case_refresh(void **state)
{
    (void)state;
    uint64_t version = 0, newer = 0, number = 0, none = 0;
    struct waited w;
    assert_int_equal(put(0, "k", "1", 0, 0, &version, NULL), STRATA_OK);
    assert_int_equal(lease(0, "k", STRATA_OP_REFRESH, version, &number), STRATA_MISS);
    assert_int_not_equal(number, 0);
    assert_int_equal(lease(1, "k", STRATA_OP_REFRESH, version, &none), STRATA_PENDING);
    assert_int_equal(lease(1, "k", 0, 0, &none), STRATA_OK); /* who has none may have that one */
    holds(0, "k", "1");
    holds(1, "k", "1"); /* readable all the time */
    assert_int_equal(version_at(1, "k"), version);
    prepare(&w, 1, STRATA_OP_LEASE, "k");
    w.o.op.flags = STRATA_OP_REFRESH;
    w.o.op.meta.version = version;
    submit(&w, 1);
    still_waits(&w, 1);
    assert_int_equal(put(0, "k", "2", number, 0, &newer, NULL), STRATA_OK);
    assert_true(newer > version);
    ends_with_value(&w, "2");
    assert_int_equal(lease(1, "k", STRATA_OP_REFRESH, version, &none), STRATA_OK);
    holds(1, "k", "2");
}

static void case_refresh_given_up(void **state)
{
    (void)state;
    uint64_t version = 0, number = 0;
    assert_int_equal(put(0, "k", "1", 0, 0, &version, NULL), STRATA_OK);
    assert_int_equal(lease(0, "k", STRATA_OP_REFRESH, version, &number), STRATA_MISS);
    release(0, "k", number);
    holds(1, "k", "1");
    assert_int_equal(version_at(1, "k"), version);
    number = got_at_last(1, "k", STRATA_OP_REFRESH, version);
    assert_int_equal(contract_remove(&node[0], 0, strata_str("k")), STRATA_OK);
    release(1, "k", number); /* what was removed does not come back */
    holds(1, "k", NULL);
}

static void case_backfill(void **state)
{
    (void)state;
    uint64_t number = got(0, "leased");
    assert_int_equal(put(1, "leased", "v", 0, STRATA_OP_BACKFILL, NULL, NULL), STRATA_AGAIN);
    store(0, "leased", "loaded", number); /* it stands */
    holds(1, "leased", "loaded");
    assert_int_equal(put(1, "leased", "v", 0, STRATA_OP_BACKFILL, NULL, NULL), STRATA_AGAIN);
    holds(1, "leased", "loaded");
    assert_int_equal(put(1, "empty", "v", 0, STRATA_OP_BACKFILL, NULL, NULL), STRATA_OK);
    holds(0, "empty", "v");
    assert_int_equal(contract_remove(&node[0], 0, strata_str("empty")), STRATA_OK);
    assert_int_equal(put(1, "empty", "v", 0, STRATA_OP_BACKFILL, NULL, NULL),
                     STRATA_AGAIN); /* it was found before that */
    holds(0, "empty", NULL);
}

static void case_releases_only_its_own(void **state)
{
    (void)state;
    uint64_t number = got(0, "k");
    release(0, "k", number);
    uint64_t next = got_at_last(1, "k", 0, 0);
    is_lost(0, "k", "late", number);
    is_taken(0, "k");
    store(1, "k", "v", next);
    release(1, "other", got(1, "other"));
    holds(0, "k", "v");
}

static void case_wait_has_an_end(void **state)
{
    (void)state;
    struct waited w;
    uint64_t number = got(0, "k");
    begin_lease(&w, 1, "k", 0);
    still_waits(&w, 1);
    test_host_cut(&node[1].host); /* its clock, where it goes by that one; else it takes what it takes */
    assert_int_equal(wait_for(&w), STRATA_PENDING);
    drop(&w);
    store(0, "k", "v", number); /* that has done nothing to the lease */
    holds(1, "k", "v");
}

static void case_hurry(void **state)
{
    (void)state;
    struct waited w, after;
    uint64_t number = got(0, "k");
    begin_lease(&w, 1, "k", 0);
    still_waits(&w, 1);
    node[1].layer->ops->hurry(node[1].layer);
    assert_int_equal(wait_for(&w), STRATA_PENDING);
    drop(&w);
    begin_lease(&after, 1, "k", 0);
    assert_int_equal(wait_for(&after), STRATA_PENDING);
    drop(&after);
    store(0, "k", "v", number);
    holds(1, "k", "v"); /* all else goes on */
    release(1, "other", got(1, "other"));
}

static void case_many_in_one_batch(void **state)
{
    (void)state;
    struct waited w[NODES][MANY];
    strata_op *ops[NODES][MANY];
    char key[MANY][16];
    for (int i = 0; i < MANY; i++) {
        snprintf(key[i], sizeof key[i], "key %d", i);
        for (int n = 0; n < NODES; n++) {
            struct waited *one = &w[n][n == 0 ? i : MANY - 1 - i];
            prepare(one, n, STRATA_OP_LEASE, key[i]);
            one->o.op.flags = STRATA_OP_NOWAIT;
            ops[n][n == 0 ? i : MANY - 1 - i] = &one->o.op;
        }
    }
    for (int n = 0; n < NODES; n++)
        node[n].layer->ops->submit(node[n].layer, ops[n], MANY);
    for (int n = 0; n < NODES; n++) /* nothing is stored before all have been answered */
        for (int i = 0; i < MANY; i++)
            (void)wait_for(&w[n][i]);
    for (int i = 0; i < MANY; i++) {
        int owner = -1;
        for (int n = 0; n < NODES; n++) {
            struct waited *one = &w[n][n == 0 ? i : MANY - 1 - i];
            int status = wait_for(one);
            assert_true(status == STRATA_MISS || status == STRATA_PENDING);
            if (status == STRATA_MISS) {
                assert_int_equal(owner, -1);
                owner = n;
                store(n, key[i], "v", one->o.op.lease);
            }
        }
        assert_int_not_equal(owner, -1);
        holds(1 - owner, key[i], "v");
    }
    for (int n = 0; n < NODES; n++)
        for (int i = 0; i < MANY; i++)
            drop(&w[n][i]);
}

/* What a leased PUT stores has its tags, for who reads it, and for who waited for it. */
static void has_tags(const strata_op *op, const uint64_t *ids, uint32_t count)
{
    assert_int_equal(op->meta.tag_count, count);
    assert_int_equal(strata_value_size(op->tags), count * sizeof *ids);
    if (count != 0)
        assert_memory_equal(strata_value_data(op->tags), ids, count * sizeof *ids);
}

static void store_tagged(const char *key, uint64_t number, const uint64_t *ids, uint32_t count)
{
    struct waited w;
    prepare(&w, 0, STRATA_OP_PUT, key);
    strata_value *tags = strata__value_copy(NULL, ids, count * sizeof *ids);
    w.value = strata__value_copy(NULL, "tagged", 6);
    w.o.op.value = w.value;
    w.o.op.tags = tags;
    w.o.op.meta = contract_meta(&node[0], 3600000);
    w.o.op.meta.tag_count = count;
    w.o.op.lease = number;
    submit(&w, 0);
    assert_int_equal(wait_for(&w), STRATA_OK);
    strata_value_unref(tags);
    drop(&w);
}

static void reads_tags(int n, uint32_t kind, const char *key, const uint64_t *ids, uint32_t count)
{
    struct waited w;
    prepare(&w, n, kind, key);
    submit(&w, n);
    assert_true(wait_for(&w) == STRATA_OK || w.o.op.status == STRATA_STALE);
    has_tags(&w.o.op, ids, count);
    drop(&w);
}

static void case_tags_travel_with_leases(void **state)
{
    (void)state;
    static const uint64_t ids[] = { 7, UINT64_MAX, 3 };
    struct waited waits;
    uint64_t number = got(0, "k");
    begin_lease(&waits, 1, "k", 0);
    still_waits(&waits, 1);
    store_tagged("k", number, ids, 3);
    assert_true(wait_for(&waits) == STRATA_OK || waits.o.op.status == STRATA_STALE);
    has_tags(&waits.o.op, ids, 3);
    drop(&waits);
    for (int n = 0; n < NODES; n++) {
        reads_tags(n, STRATA_OP_GET, "k", ids, 3);
        reads_tags(n, STRATA_OP_LEASE, "k", ids, 3);
    }
    /* A refresh replaces them; while it runs, the entry has those it had. */
    number = got_at_last(0, "k", STRATA_OP_REFRESH, version_at(0, "k"));
    reads_tags(1, STRATA_OP_GET, "k", ids, 3);
    store_tagged("k", number, ids + 1, 1);
    for (int n = 0; n < NODES; n++)
        reads_tags(n, STRATA_OP_GET, "k", ids + 1, 1);
}

#define CASE(name) \
    { \
#name, case_##name, open_nodes, close_nodes, NULL \
    }

int contract_run_leases(const struct contract_lease_subject *s)
{
    const struct CMUnitTest tests[] = {
        CASE(one_gets_it),
        CASE(store_counts_versions),
        CASE(waits_for_the_value),
        CASE(absence_is_a_value),
        CASE(release_frees_one),
        CASE(remove_revokes),
        CASE(set_revokes),
        CASE(clear_revokes),
        CASE(refresh),
        CASE(refresh_given_up),
        CASE(backfill),
        CASE(releases_only_its_own),
        CASE(wait_has_an_end),
        CASE(hurry),
        CASE(many_in_one_batch),
        CASE(tags_travel_with_leases),
    };
    subject = s;
    return cmocka_run_group_tests_name(s->name, tests, NULL, NULL) + contract_run_compare(s);
}
