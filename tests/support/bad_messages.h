/* bad_messages.h - what a stranger says on a channel: garbage, pieces of real messages, real ones that were changed, and much of
 * nothing.  Caches that sign their messages count it, hold what they held, and go on hearing each other. */
#ifndef STRATA_TESTS_BAD_MESSAGES_H
#define STRATA_TESTS_BAD_MESSAGES_H
#include "tests/support/bus_member.h"
#include "tests/support/fork_cache.h"

static inline strata *bad_open(const char *url)
{
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    strata_coherence_options coherence = STRATA_COHERENCE_OPTIONS_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    coherence.open_wait_ms = 60000;
    coherence.heartbeat_ms = 100;
    coherence.trust_ms = 10000; /* which no busy machine lets run out, and for which what is refused ends it */
    coherence.secret = "of all nodes";
    options.coherence = &coherence;
    if (strata_open_url(&cache, url, &options, &err) != STRATA_OK)
        fail_msg("%s: %s", err.where, err.message);
    return cache;
}

static inline uint64_t bad_rejected(strata *cache)
{
    strata_health health = STRATA_HEALTH_INIT;
    assert_int_equal(strata_health_get(cache, &health, NULL), STRATA_OK);
    return health.rejected;
}

static inline size_t bad_say_all(struct bus_member *stranger, const struct bus_came *real)
{
    enum { LARGE = 130000, CHANNEL_AT = 4, CHANNEL_END = 12 };
    size_t said = 0;
    char *bytes = calloc(1, LARGE);
    assert_non_null(bytes);
    assert_true(real->size > 4 && real->size < LARGE);
    bus_member_publish(stranger, "garbage", 7);
    bus_member_publish(stranger, bytes, 1);
    bus_member_publish(stranger, bytes, LARGE);
    said += 3;
    for (size_t size = 1; size < real->size; size += 7, said++) /* cut off */
        bus_member_publish(stranger, real->bytes, size);
    memcpy(bytes, real->bytes, real->size);
    for (size_t at = 0; at < real->size; at += 5) { /* of another version, from somebody else, with other things in it */
        said += at < CHANNEL_AT || at >= CHANNEL_END; /* else it says that it is for others, and is none of ours */
        bytes[at] = (char)(bytes[at] ^ 0x55);
        bus_member_publish(stranger, bytes, real->size);
        bytes[at] = real->bytes[at];
    }
    bus_member_publish(stranger, bytes, real->size + 9); /* and with something behind it */
    said++;
    bus_member_wait_sent(stranger);
    free(bytes);
    return said;
}

static inline void bad_messages_case(const char *url, strata_bus *same_channel)
{
    struct bus_member stranger;
    strata *cache = bad_open(url), *other = bad_open(url);
    bus_member_start(&stranger, same_channel);
    bus_member_wait_up(&stranger, 1);
    assert_true(fork_trusted(cache) && fork_trusted(other));
    assert_true(fork_load(cache, "k") == STRATA_OK && fork_load(other, "k") == STRATA_OK);
    bus_member_wait_came(&stranger, 1); /* a heartbeat of theirs */
    pthread_mutex_lock(&stranger.mutex);
    struct bus_came real = stranger.came[0]; /* the list grows, and moves */
    pthread_mutex_unlock(&stranger.mutex);
    uint64_t said = bad_say_all(&stranger, &real);
    if (stranger.bad != 0)
        fail_msg("%s: %s", stranger.last_err.where, stranger.last_err.message);
    for (int look = 0; bad_rejected(cache) < said || bad_rejected(other) < said; look++) {
        if (look == FORK_LOOKS)
            fail_msg("of %d messages %d and %d were rejected", (int)said, (int)bad_rejected(cache),
                     (int)bad_rejected(other));
        fork_nap();
    }
    /* Nothing was carried out; what could not be read may have been a delete, so it is not trusted for a while. */
    assert_true(fork_has(cache, "k") != STRATA_MISS && fork_has(other, "k") != STRATA_MISS);
    assert_true(fork_trusted(cache) && fork_trusted(other));
    assert_int_equal(strata_delete(cache, strata_str("k"), NULL), STRATA_OK);
    assert_true(fork_misses(other, "k"));
    bus_member_stop(&stranger);
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_int_equal(strata_close(other), STRATA_OK);
}

#endif /* STRATA_TESTS_BAD_MESSAGES_H */
