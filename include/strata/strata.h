/* strata/strata.h - everything of the stable API.  C++ programs may prefer strata/strata.hpp. */
#ifndef STRATA_STRATA_H
#define STRATA_STRATA_H
#include "strata/ban.h"
#include "strata/base.h"
#include "strata/bus_redis.h"
#include "strata/bus_redis_tracking.h"
#include "strata/cache.h"
#include "strata/coherence.h"
#include "strata/dict.h"
#include "strata/disk.h"
#include "strata/error.h"
#include "strata/events.h"
#include "strata/load.h"
#include "strata/memory.h"
#include "strata/nats.h"
#include "strata/policy.h"
#include "strata/queue.h"
#include "strata/rabbitmq.h"
#include "strata/redis.h"
#include "strata/stats.h"
#include "strata/value.h"
#include "strata/version.h"
#endif /* STRATA_STRATA_H */
