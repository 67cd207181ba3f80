#!/bin/sh
# ./run test [--long | --trixie]: build everything, warnings as errors, and run every test.
set -eu
. scripts/setup.sh

long=no
case "$*" in
'') ;;
--long) long=yes ;;
--trixie) exec sh scripts/run_trixie.sh ;;
*) bad_word "test takes --long, --trixie or nothing, not $*" ;;
esac

need_build
need_examples
need_tests

# suite PRESET: a build that fails counts as one failed test, and the others go on.
suite() {
  if build "$1"; then
    run_ctest "$1" || :
  else
    say "$1 does not build"
    failed=$((failed + 1))
  fi
}

# count COMMAND...: something that passes or fails as a whole.
count() {
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

suite dev
if [ "$long" = yes ]; then
  need_clang
  export STRATA_TEST_LONG=1
  suite asan-ubsan
  suite tsan
  suite clang
  count build minimal
  count sh scripts/run_fuzz.sh 600
fi
closing_line
