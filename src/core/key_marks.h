/* key_marks.h - what a process remembers of keys besides their entries, in bounded memory: which are not to be cached.
 *
 * Made when it is first needed; lost where memory is; and forgotten early where more keys are marked than there is room for.  Nobody
 * looks who has the option off, and nobody at all on a hit.  */
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
