/* contract_clear.c - what a clear must forget, what it must leave, and what comes too late for it. */
#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "tests/contract/contract.h"

enum { CLEAR_LIFE = 78, CLEAR_POSITION = 5 };

int contract_clear(struct contract *c, uint32_t space, int all)
{
    unsigned char room[4];
    strata_error err = STRATA_ERROR_INIT;
    const strata_clear_op what = { .size = sizeof what,
                                   .space = space,
                                   .all = (uint32_t)all,
                                   .prefix = all ? strata_bytes("", 0) : contract_prefix(c, space, room),
                                   .life = CLEAR_LIFE,
                                   .position = CLEAR_POSITION };
    return c->layer->ops->clear(c->layer, &what, &err);
}

static int put(struct contract *c, uint32_t space, const char *key, uint64_t life, uint32_t position)
{
    strata_meta meta = contract_meta(c, 3600000);
    meta.life = life;
    meta.position = position;
    return contract_put(c, space, strata_str(key), strata_str("v"), &meta, STRATA_FOREVER);
}

static int there(struct contract *c, uint32_t space, const char *key)
{
    int status = contract_get(c, space, strata_str(key), NULL, NULL);
    assert_true(status == STRATA_OK || status == STRATA_MISS);
    return status == STRATA_OK;
}

void contract_case_clear(struct contract *c)
{
    char key[32];
    if (c->layer->ops->clear == NULL)
        return; /* entries are made unreachable by their position alone */
    for (uint32_t space = 0; space < 3; space++)
        for (size_t i = 0; i < 20; i++) {
            snprintf(key, sizeof key, "key:%zu", i);
            assert_int_equal(put(c, space, key, 1, 0), STRATA_OK);
        }
    assert_int_equal(contract_clear(c, 1, 0), STRATA_OK);
    for (size_t i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "key:%zu", i);
        assert_true(there(c, 0, key) && !there(c, 1, key) && there(c, 2, key));
    }
    assert_int_equal(put(c, 1, "after", 1, 0), STRATA_OK);
    assert_int_equal(contract_clear(c, 0, 1), STRATA_OK);
    for (uint32_t space = 0; space < 3; space++)
        assert_false(there(c, space, "key:3"));
    assert_false(there(c, 1, "after"));
    assert_int_equal(put(c, 0, "a", 1, 0), STRATA_OK);
    assert_true(there(c, 0, "a"));
}

/* What began before a clear, and arrives after it. */
void contract_case_late_puts(struct contract *c)
{
    if (c->layer->ops->clear == NULL || !c->subject->refuses_late_puts)
        return;
    for (int all = 0; all < 2; all++) {
        /* The second time round the first clear is known already. */
        assert_int_equal(put(c, 1, "k", CLEAR_LIFE, CLEAR_POSITION - 1 + (uint32_t)all), STRATA_OK);
        assert_int_equal(contract_clear(c, 1, all), STRATA_OK);
        assert_int_equal(put(c, 1, "k", CLEAR_LIFE, CLEAR_POSITION - 1), STRATA_AGAIN);
        assert_false(there(c, 1, "k"));
        int elsewhere = put(c, 2, "k", CLEAR_LIFE, CLEAR_POSITION - 1);
        assert_int_equal(elsewhere, all ? STRATA_AGAIN : STRATA_OK);
        /* Positions count within one life. */
        assert_int_equal(put(c, 1, "other life", CLEAR_LIFE + 1, CLEAR_POSITION - 1), STRATA_OK);
        assert_true(there(c, 1, "other life"));
        assert_int_equal(put(c, 1, "k", CLEAR_LIFE, CLEAR_POSITION), STRATA_OK);
        assert_true(there(c, 1, "k"));
    }
}
