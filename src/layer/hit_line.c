/* hit_line.c - see hit_line.h: is a thread on the way of a plain hit? */
#include "src/layer/hit_line.h"

#include "src/os/reclaim.h"

/* All of such a way is one section.  The gate was shut before the walk fences, and a section is entered before the gate is looked at. */
int strata__hits_over(struct reclaim_walk *walk) { return strata__reclaim_walk(walk); }
