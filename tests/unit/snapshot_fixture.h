/* snapshot_fixture.h - two caches on simulated executors, whose clocks the tests move and Unix time with them, and a snapshot in
 * memory. */
#ifndef STRATA_TESTS_SNAPSHOT_FIXTURE_H
#define STRATA_TESTS_SNAPSHOT_FIXTURE_H
#include "strata/snapshot.h"

#include "tests/support/fail_alloc.h"
#include "tests/unit/core_fixture.h"

/* Another life of a cache: with the same seed it would be the same one. */
UNUSED static void open_other(struct stack *st, const strata_policy *policy)
{
    open_stack(st, &(struct stack_options){ .policy = policy, .seed = 2 });
}

/* A snapshot in memory. */
struct tape {
    unsigned char *bytes;
    size_t size, at;
    size_t most;    /* a read gives no more at once; 0: all */
    int fail_after; /* the call after so many fails; 0 none */
    int calls;
};

UNUSED static int tape_write(const void *bytes, size_t size, void *ctx)
{
    struct tape *t = ctx;
    if (++t->calls == t->fail_after)
        return STRATA_EIO;
    t->bytes = realloc(t->bytes, t->size + size);
    memcpy(t->bytes + t->size, bytes, size);
    t->size += size;
    return 0;
}

UNUSED static int tape_read(void *bytes, size_t room, size_t *out_size, void *ctx)
{
    struct tape *t = ctx;
    size_t size = t->size - t->at < room ? t->size - t->at : room;
    if (++t->calls == t->fail_after)
        return STRATA_EIO;
    if (t->most != 0 && size > t->most)
        size = t->most;
    if (size != 0)
        memcpy(bytes, t->bytes + t->at, size);
    t->at += size;
    *out_size = size;
    return 0;
}

static strata_snapshot_report report;

UNUSED static int save(strata *cache, struct tape *t, const strata_snapshot_options *o, strata_error *err)
{
    report = (strata_snapshot_report)STRATA_SNAPSHOT_REPORT_INIT;
    t->calls = 0;
    return strata_snapshot_export(cache, o, tape_write, t, &report, err);
}

UNUSED static int load(strata *cache, struct tape *t, const strata_snapshot_options *o, strata_error *err)
{
    report = (strata_snapshot_report)STRATA_SNAPSHOT_REPORT_INIT;
    t->at = 0;
    t->calls = 0;
    return strata_snapshot_import(cache, o, tape_read, t, &report, err);
}

UNUSED static void set_for(strata *cache, const char *key, const char *value, int64_t ttl_ms)
{
    strata_policy p = STRATA_POLICY_INIT;
    p.ttl_ms = ttl_ms;
    assert_int_equal(strata_set(cache, strata_str(key), strata_str(value), &p, NULL), STRATA_OK);
}

UNUSED static void set_tagged(strata *cache, const char *key, const char *value, const char *tag)
{
    strata_slice tags[] = { strata_str(tag) };
    assert_int_equal(strata_set_tagged(cache, strata_str(key), strata_str(value), tags, 1, NULL, NULL), STRATA_OK);
}

#define SAVE(st, tape) assert_int_equal(save((st)->cache, (tape), NULL, &(st)->err), STRATA_OK)
#define LOAD(st, tape) assert_int_equal(load((st)->cache, (tape), NULL, &(st)->err), STRATA_OK)

#endif /* STRATA_TESTS_SNAPSHOT_FIXTURE_H */
