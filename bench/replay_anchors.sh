#!/bin/sh
# replay_anchors.sh [--default-shards] FOLDER [ANCHORS.csv [POLICY...]] - do the eviction policies reach the hit ratios of
# reference simulators?
#
# FOLDER holds NAME.txt.zst (or .txt, .txt.gz), ANCHORS.csv (FOLDER/anchors.csv) the columns trace,size,policy,miss_ratio,...
# with sizes in entries, from a cold cache and with all requests counted.  Policies: FIFO LRU SIEVE S3FIFO WTinyLFU, or our names for them.
# Prints a line a policy; 1 where a cell is further from its anchor than the tolerance:
#   one shard (default)   0.002; w-tinylfu, whose references roll dice, 0.03 a cell and 0.01 in the mean
#   --default-shards      0.01 worse, from 1,000 entries on; w-tinylfu as above.  Better is no fault there: what makes
#                         sieve collapse on loops is lost where keys are dealt to shards by a random hash
# Sizes below 50 entries are left out: chance decides there.  STRATA names the command; else the one of build/release or
# build/bench is taken.
set -eu

here=$(cd -P -- "$(dirname -- "$0")/.." && pwd)
for built in "$here/build/release/bin/strata" "$here/build/bench/bin/strata"; do
  [ ! -x "$built" ] || STRATA=${STRATA:-$built}
done
smallest=50 tolerance=0.002 shards='--shards 1' worse_only=0
if [ "${1:-}" = --default-shards ]; then
  smallest=1000 tolerance=0.01 shards='' worse_only=1
  shift
fi
if [ $# -lt 1 ] || [ ! -d "$1" ] || [ ! -f "${2:-$1/anchors.csv}" ]; then
  echo "usage: replay_anchors.sh [--default-shards] FOLDER [ANCHORS.csv [POLICY...]]" >&2
  exit 2
fi
command -v "${STRATA:-}" >/dev/null || {
  echo "replay_anchors.sh: there is no strata command: cmake --preset release && ninja -C build/release, or set STRATA" >&2
  exit 2
}
folder=$1 anchors=${2:-$1/anchors.csv}
shift
[ $# -eq 0 ] || shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# wanted: "trace size policy miss_ratio", our names
awk -F, -v asked="$*" -v smallest="$smallest" '
  BEGIN {
    ours["FIFO"] = "fifo"; ours["LRU"] = "lru"; ours["SIEVE"] = "sieve"; ours["S3FIFO"] = "s3-fifo"
    ours["WTinyLFU"] = "w-tinylfu"
    n = split(asked, name, /[ ,]+/)
    for (i = 1; i <= n; i++) want[(name[i] in ours) ? ours[name[i]] : name[i]] = 1
  }
  ($3 in ours) && $2 + 0 >= smallest && (asked == "" || (ours[$3] in want)) { print $1, $2, ours[$3], $4 }
' "$anchors" | tr -d '\r' >"$work/wanted"
if [ ! -s "$work/wanted" ]; then
  echo "replay_anchors.sh: $anchors has nothing for \"$*\" (of FIFO LRU SIEVE S3FIFO WTinyLFU)" >&2
  exit 2
fi

list() { sort -u | paste -s -d, -; }
: >"$work/got"
# shellcheck disable=SC2013 # names of traces have no blanks
for trace in $(awk '{ print $1 }' "$work/wanted" | sort -u); do
  file=
  for end in .txt.zst .txt.gz .txt; do
    [ ! -f "$folder/$trace$end" ] || file=$folder/$trace$end
  done
  if [ -z "$file" ]; then
    echo "replay_anchors.sh: no $trace.txt.zst in $folder: its cells are missing" >&2
    continue
  fi
  sizes=$(awk -v t="$trace" '$1 == t { print $2 }' "$work/wanted" | list)
  policies=$(awk -v t="$trace" '$1 == t { print $3 }' "$work/wanted" | list)
  echo "$trace: $sizes entries, $policies" >&2
  # shellcheck disable=SC2086 # $shards is empty or two words
  "$STRATA" replay "$file" --json $shards --size "$sizes" --policy "$policies" >"$work/json"
  # a run starts with its policy; its own counts come before those of its origin and layers
  tr '{' '\n' <"$work/json" | awk -v t="$trace" '
    function member(name,   at, rest) {
      at = index($0, "\"" name "\":")
      if (!at) return ""
      rest = substr($0, at + length(name) + 3)
      sub(/[,}\]].*/, "", rest)
      gsub(/"/, "", rest)
      return rest
    }
    /"policy":/ { print t, member("size"), member("policy"), 1 - member("hits") / member("requests") }
  ' >>"$work/got"
done

awk -v tolerance="$tolerance" -v worse_only="$worse_only" '
  NR == FNR { got[$1 " " $2 " " $3] = $4; next }
  {
    key = $1 " " $2 " " $3
    p = $3
    if (!(p in cells)) { order[++policies] = p; cells[p] = 0 }
    if (!(key in got)) { missing++; next }
    cells[p]++
    diff = got[key] - $4
    away = diff < 0 ? -diff : diff
    miss[p] += got[key]; anchor[p] += $4; total[p] += away
    if ((worse_only ? diff : away) > (p == "w-tinylfu" ? 0.03 : tolerance)) {
      beyond[p]++
      cell[++bad] = sprintf("beyond the tolerance: %s %s %s: %.4f, anchor %.4f", p, $1, $2, got[key], $4)
    }
    if (away >= worst[p]) { worst[p] = away; where[p] = sprintf("%s %s: %.4f, anchor %.4f", $1, $2, got[key], $4) }
  }
  END {
    printf "%-10s %6s %10s %10s %10s %10s %7s  %s\n", "policy", "cells", "mean miss", "anchors", "mean diff", "max diff", "beyond", "worst cell"
    beyonds = bad
    for (i = 1; i <= policies; i++) {
      p = order[i]
      n = cells[p]
      if (!n) continue
      printf "%-10s %6d %10.4f %10.4f %10.5f %10.5f %7d  %s\n", p, n, miss[p] / n, anchor[p] / n, total[p] / n, worst[p], beyond[p], where[p]
      if (p == "w-tinylfu" && total[p] / n > 0.01) { print "w-tinylfu: more than 0.01 from its anchors in the mean"; bad++ }
    }
    for (i = 1; i <= beyonds; i++) print cell[i]
    if (missing) { printf "%d cells could not be measured\n", missing; bad++ }
    exit bad > 0
  }
' "$work/got" "$work/wanted"
