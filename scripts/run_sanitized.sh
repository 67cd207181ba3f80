#!/bin/sh
# ./run asan, ./run tsan: the tests under a sanitizer.  What follows goes to ctest: -R coherence.
set -eu
. scripts/setup.sh

preset=$1
shift
case ${1:-} in
'' | -*) ;;
*) bad_word "${preset%%-*} takes nothing, or options of ctest (-R NAME), not $1" ;;
esac
need_build
need_examples
need_tests
if build "$preset"; then run_ctest "$preset" "$@" || :; else failed=1; fi
closing_line
