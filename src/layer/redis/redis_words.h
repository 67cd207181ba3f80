/* redis_words.h - what the server is asked with, and what its answers are worth: pure, without a connection.
 *
 * An error reply is an error with the server's text and what to do about it, whatever was asked: never a miss. */
#ifndef STRATA_LAYER_REDIS_WORDS_H
#define STRATA_LAYER_REDIS_WORDS_H
#include <stddef.h>
#include <stdint.h>

#include "strata/base.h"
#include "strata/error.h"

/* What a command inside a script was refused with.  Servers before 7.0 put where that was in front of it: "ERR Error running script
 * (call to f_...): @user_script:9: @user_script: 9: -READONLY ...". */
strata_slice strata__redis_of_script(strata_slice text);

/* "GET was refused: "WRONGTYPE ..."", and what to do.  `name` is the layer's.  STRATA_ELAYER: the server is well, and won't;
 * STRATA_EIO: it answers everything so, as while it loads its data. */
int strata__redis_refused(const char *name, const char *command, strata_slice text, strata_error *err);

/* The key as a pattern of SCAN that matches what begins with it.  `out` has room for 2 * prefix.size + 1 bytes; how many were
 * written. */
size_t strata__redis_glob_prefix(strata_slice prefix, char *out);

/* What PX says: above 0; 0: it is over; STRATA_FOREVER: no PX at all. */
int64_t strata__redis_ttl_ms(int64_t expires_ms, int64_t now_ms);

#endif /* STRATA_LAYER_REDIS_WORDS_H */
