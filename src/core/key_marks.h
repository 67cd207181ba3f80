/* key_marks.h - what a process remembers of keys besides their entries, in bounded memory: which of them were loaded lately and not stored
 * (strata_policy.uncacheable_ms), so that their callers load for themselves instead of one after the other.
 *
 * It is a hint, and may be lost: the table is made when the first key is marked, and where there is no memory for it there are no marks;
 * where more keys are marked than there is room for, some are forgotten early.  Callers whose policy has the option off don't look,
 * and a hit never does.  */
#ifndef STRATA_CORE_KEY_MARKS_H
#define STRATA_CORE_KEY_MARKS_H
#include "src/core/flight.h"

/* What a load gave a value that is not stored: for a while nobody waits for another's load of its key. */
void strata__uncacheable_note(struct flight *f, const strata_policy *policy);
/* What a load gave is stored. */
void strata__uncacheable_forget(struct flight *f, const strata_policy *policy);
/* Does a caller of this policy load the key for itself? */
int strata__uncacheable_locked(struct root *root, const strata_policy *policy, uint64_t hash, int64_t now);
void strata__key_marks_free(struct root *root);

#endif /* STRATA_CORE_KEY_MARKS_H */
