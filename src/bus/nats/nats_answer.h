/* nats_answer.h - what a stream says to what was published: pure. */
#ifndef STRATA_BUS_NATS_ANSWER_H
#define STRATA_BUS_NATS_ANSWER_H
#include "strata/base.h"

/* {"stream":"...","seq":5}: 1, it has the message.  {"error":{"code":400,"description":"..."}} or anything else: 0, and *out are
 * the words of it, cut to their room; empty: it has none. */
int strata__nats_answer(strata_slice bytes, char *out, size_t size);

#endif /* STRATA_BUS_NATS_ANSWER_H */
