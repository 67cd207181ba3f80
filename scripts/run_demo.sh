#!/bin/sh
# ./run demo: a real trace in front of a slow SQLite origin, a restart, a stampede, an outage.  --redis: a fleet of processes over
# a Redis of its own, which stands still for a while.
set -eu
. scripts/setup.sh

for word; do
  case $word in
  --redis | --quick) ;;
  *) bad_word "demo takes --redis, --quick or nothing, not $word" ;;
  esac
done
need_build
need_examples
case " $* " in *" --redis "*) need_redis_server ;; esac
build release strata_demo
exec build/release/bin/strata-demo "$@"
