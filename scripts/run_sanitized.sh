#!/bin/sh
# ./run asan, ./run tsan: the tests under a sanitizer.
set -eu
. scripts/setup.sh

need_build
need_examples
need_tests
preset=$1
shift
if build "$preset"; then run_ctest "$preset" "$@" || :; else failed=1; fi
closing_line
