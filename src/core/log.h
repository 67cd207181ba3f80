/* log.h - the log: events in words, for who asked for them (strata/log.h). */
#ifndef STRATA_CORE_LOG_H
#define STRATA_CORE_LOG_H
#include "src/core/core_impl.h"

/* Makes root->log where options or environment ask for one; `ex` is the root's.  STRATA_OK, STRATA_EINVAL, STRATA_ENOMEM. */
int strata__log_new(struct root *root, const strata_options *known, strata_error *err);
/* Kinds of events that it wants. */
uint32_t strata__log_mask(const struct root *root);
void strata__log_event(struct root *root, const strata_event *event);
/* The cache's own: level is STRATA_LOG_... */
void strata__log_say(struct root *root, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The two ends of its life; the second also tells of what was left out. */
void strata__log_opened(struct root *root);
void strata__log_closed(struct root *root, int status);
/* In a child after fork. */
void strata__log_reopen(struct root *root);
void strata__log_free(struct root *root);

#endif /* STRATA_CORE_LOG_H */
