#!/bin/sh
# run_cases.sh STRATA CASES [NAME...] - run the command over the cases, each a folder with
#   command   a shell script; $STRATA is the program, $case the folder; runs in an empty folder of its own
#   stdout    what it must print, exactly; left out: anything
#   stderr    likewise, but each line is an extended regular expression that some line must match
#   code      the exit code; left out: 0
# To accept what a case prints now as right: ACCEPT=yes run_cases.sh ... (rewrites stdout where there is one)
set -u
STRATA=$1
cases=$2
shift 2
export STRATA
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
# shellcheck disable=SC2046 # names of cases have no blanks
[ $# -gt 0 ] || set -- $(ls "$cases")

bad=0
count=0
complain() {
  bad=$((bad + 1))
  printf '%s: %s\n' "$name" "$1"
}
for name; do
  case=$cases/$name
  [ -f "$case/command" ] || continue
  count=$((count + 1))
  export case
  mkdir "$work/$name"
  code=0
  (cd "$work/$name" && sh -u "$case/command" >"$work/stdout" 2>"$work/stderr" </dev/null) || code=$?
  expected=0
  [ ! -f "$case/code" ] || read -r expected <"$case/code"
  [ "$code" = "$expected" ] || complain "exit code $code, expected $expected: $(cat "$work/stderr")"
  if [ -f "$case/stdout" ]; then
    [ "${ACCEPT:-no}" = no ] || cp "$work/stdout" "$case/stdout"
    diff -u "$case/stdout" "$work/stdout" || complain "stdout differs"
  fi
  [ -f "$case/stderr" ] || continue
  while read -r pattern; do
    grep -qE -e "$pattern" "$work/stderr" || complain "no line of stderr matches \"$pattern\": $(cat "$work/stderr")"
  done <"$case/stderr"
done
echo "$count cases, $bad complaints"
[ $bad -eq 0 ] && [ $count -gt 0 ]
