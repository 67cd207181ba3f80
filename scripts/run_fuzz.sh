#!/bin/sh
# ./run fuzz [SECONDS]: each libFuzzer target for so long, on the seeds of the repository and on what build/corpus has
# gathered before.  A finding is left in build/fuzz/ and named; put it into fuzz/<target>_seed_corpus/ with its fix.
set -eu
. scripts/setup.sh

seconds=${1:-60}
case $seconds in
'' | 0 | *[!0-9]*) bad_word "fuzz takes a number of seconds from 1 up, not $seconds" ;;
esac
[ $# -le 1 ] || bad_word "fuzz takes one number of seconds, not $*"
need_build
need "for libFuzzer, whose runtime is C++" g++
need_clang
build fuzz || die "the fuzz targets do not build"

while read -r target; do
  [ -n "$target" ] || continue
  mkdir -p "build/corpus/$target"
  say "$target for $seconds s"
  dictionary=
  [ ! -f "fuzz/$target.dict" ] || dictionary=-dict=fuzz/$target.dict
  if "build/fuzz/bin/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
    ${dictionary:+"$dictionary"} -artifact_prefix="build/fuzz/" "build/corpus/$target" "fuzz/${target}_seed_corpus" \
    >"build/fuzz/$target.log" 2>&1 </dev/null; then
    passed=$((passed + 1))
    grep number_of_executed_units "build/fuzz/$target.log" || :
  else
    failed=$((failed + 1))
    tail -n 40 "build/fuzz/$target.log"
  fi
done <build/fuzz/fuzz/targets
closing_line
