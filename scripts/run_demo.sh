#!/bin/sh
# ./run demo: a real trace in front of a slow SQLite origin, a restart, a stampede, an outage.  --redis: a fleet of processes over
# a Redis of its own, which stands still for a while.
set -eu
. scripts/setup.sh

need_build
need_examples
case " $* " in *" --redis "*) need_redis_server ;; esac
build release strata_demo
exec build/release/bin/strata-demo "$@"
