#!/bin/sh
# ./run lint [--long]: the house rules, the format, the shell scripts; --long adds clang-tidy.
set -eu
. scripts/setup.sh

case "$*" in
'' | --long) ;;
*) bad_word "lint takes --long or nothing, not $*" ;;
esac
need_build
need_examples
need_tests
need "to lint" shellcheck clang-format
bad=0
build dev strata || bad=1
scripts/check || bad=1
scripts/check-clang build/dev || bad=1
say "shellcheck"
shellcheck -x run scripts/*.sh scripts/check* .ci/run tests/*/*.sh || bad=1
if [ "${1:-}" = --long ]; then
  need "to lint" clang-tidy
  say "clang-tidy"
  find src cli demo -name '*.c' -print0 | xargs -0 clang-tidy -p build/dev --quiet || bad=1
fi
[ $bad = 0 ] && say "lint: clean"
exit $bad
