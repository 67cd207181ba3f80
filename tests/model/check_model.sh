#!/bin/sh
# check_model.sh holds|fails MODEL [-D...]: every order of a Promela model's steps is looked at; "fails": and some must break it.
set -eu
expected=$1
model=$2
shift 2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp "$model" "$dir/model.pml"
cd "$dir"
spin "$@" -a model.pml
# -w: what it writes is spin's.
cc -w -O2 -DSAFETY -DCOLLAPSE -DMEMLIM=1500 -o pan pan.c
./pan -m1000000 >out 2>&1 || :
grep -E 'assertion violated|errors:|states, stored|elapsed|max search depth|memory limit' out
# A search that was cut short proves nothing.
! grep -qE 'Search not completed|max search depth too small|memory limit' out || [ "$expected" = fails ]
case $expected in
holds) grep -q 'errors: 0$' out ;;
fails) grep -q 'assertion violated' out ;;
esac
