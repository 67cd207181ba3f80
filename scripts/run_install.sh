#!/bin/sh
# ./run install [PREFIX]: the release build, installed.
set -eu
. scripts/setup.sh

prefix=${1:-/usr/local}
[ $# -le 1 ] || bad_word "install takes one PREFIX, not $*"
case $prefix in
-*) bad_word "install takes a PREFIX, a folder, and no options: not $prefix" ;;
/*) ;;
*) prefix=$PWD/$prefix ;;
esac
need_build
dir=build/install
mkdir -p "$dir"
say "building $dir for $prefix"
cmake -S . -B "$dir" -G Ninja -DCMAKE_BUILD_TYPE=Release "-DCMAKE_C_FLAGS_RELEASE=-O2 -DNDEBUG" \
  "-DCMAKE_INSTALL_PREFIX=$prefix" >"$dir/configure.log" 2>&1 || {
  cat "$dir/configure.log" >&2
  exit 1
}
if [ -t 1 ]; then ninja -C "$dir"; else ninja -C "$dir" --quiet; fi
parent=$prefix
while [ ! -e "$parent" ]; do parent=$(dirname "$parent"); done
if [ -w "$parent" ]; then cmake --install "$dir" >"$dir/install.log"; else as_root cmake --install "$dir" >"$dir/install.log"; fi
case $prefix in
/usr | /usr/local) as_root ldconfig ;;
esac
say "installed into $prefix: $prefix/bin/strata, strata.pc, CMake package strata"
