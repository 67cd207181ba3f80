#!/bin/sh
# ./run demo: a real trace in front of a slow SQLite origin, a restart, a stampede, an outage.
set -eu
. scripts/setup.sh

need_build
need_examples
build release strata_demo
exec build/release/bin/strata-demo "$@"
