#!/bin/sh
# install_test.sh CASE PREFIX WORK - one case of the install test; CC, CXX, CMAKE and LIBDIR come from CMake.
set -eu
name=$1 prefix=$2 work=$3/$1
here=$(cd -P -- "$(dirname -- "$0")" && pwd)
lib=$prefix/$LIBDIR
warnings="-pedantic -Wall -Wextra -Werror"
rm -rf "$work"
mkdir -p "$work"
cd "$work"

pc() { PKG_CONFIG_PATH=$lib/pkgconfig pkg-config "$@" strata; }

case $name in
find_package)
  "$CMAKE" -S "$here/consumer" -B build -G Ninja -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$CC"
  "$CMAKE" --build build
  build/consumer
  build/consumer_static
  readelf -d build/consumer | grep -q 'NEEDED.*libstrata\.so' || { echo "consumer is not linked to the shared library"; exit 1; }
  ! readelf -d build/consumer_static | grep 'NEEDED.*libstrata'
  ;;
pkg_config)
  # shellcheck disable=SC2046,SC2086 # lists of flags
  "$CC" -std=c11 $warnings "$here/consumer/main.c" -o c11 $(pc --cflags --libs)
  # shellcheck disable=SC2046,SC2086
  "$CXX" -std=c++11 -x c++ $warnings "$here/consumer/main.c" -o cxx11 $(pc --cflags --libs)
  LD_LIBRARY_PATH=$lib ./c11
  LD_LIBRARY_PATH=$lib ./cxx11
  ;;
pkg_config_static)
  # shellcheck disable=SC2046,SC2086
  "$CC" -std=c11 $warnings "$here/consumer/main.c" -o static $(pc --static --cflags --libs | sed 's/-lstrata/-l:libstrata.a/')
  ./static
  # All static, where there is a C library for that, and an archive of nats.c, which Debian 12's package has not.
  nats=$(pc --static --libs-only-l | grep -o -e ' *-lnats' | head -n 1) || nats=
  # shellcheck disable=SC2086
  if echo 'int main(void) { return 0; }' | "$CC" -x c - -static -o nothing $nats 2>nothing.log; then
    # shellcheck disable=SC2046,SC2086
    "$CC" -std=c11 $warnings -static "$here/consumer/main.c" -o all_static $(pc --static --cflags --libs)
    ./all_static
  fi
  ! readelf -d static | grep 'NEEDED.*libstrata'
  ;;
examples)
  for example in "$here"/../../examples/*.c; do
    more=
    case $example in *libuv*) more=$(pkg-config --cflags --libs libuv) ;; esac
    # shellcheck disable=SC2046,SC2086
    "$CC" -std=c11 $warnings "$example" -o example $(pc --cflags --libs) -pthread $more
  done
  ;;
headers_c11 | headers_cxx11)
  headers=$(cd "$prefix/include" && find strata -name '*.h' | sort)
  compile="$CC -std=c11"
  if [ "$name" = headers_cxx11 ]; then
    compile="$CXX -std=c++11 -x c++"
    headers="$headers $(cd "$prefix/include" && find strata -name '*.hpp' | sort)"
  fi
  for header in $headers; do
    echo "$header"
    # Twice: the guard must hold.
    printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' "$header" "$header" >unit.c
    # shellcheck disable=SC2086
    $compile $warnings -I "$prefix/include" -fsyntax-only unit.c
  done
  ;;
symbols)
  sh "$here/../../scripts/check-symbols" "$lib/libstrata.so"
  ;;
soname)
  version=$(pc --modversion)
  soname=libstrata.so.${version%.*}
  readelf -d "$lib/libstrata.so" | grep -q "SONAME.*\[$soname\]"
  [ -e "$lib/$soname" ] && [ -e "$lib/libstrata.so.$version" ]
  readelf --version-info "$lib/libstrata.so" | grep -q "STRATA_${version%.*}"
  ;;
docs)
  # Every file that the texts link to is there; pkg-config shows clean paths.
  docs=$prefix/share/doc/strata
  [ -s "$docs/LICENSE" ]
  for text in README.md docs/README.md docs/tutorial.md docs/migration.md docs/freshness.md docs/architecture.md docs/threading.md; do
    grep -o ']([^):]*)' "$docs/$text" | grep -v '^](\.\./include/' | # headers lie elsewhere then
      sed 's/](//; s/)$//; s/#.*//' | sort -u | while read -r target; do
      [ -z "$target" ] || [ -e "$(dirname "$docs/$text")/$target" ] || { echo "$text links to $target, which is not there"; exit 1; }
    done
  done
  ! pc --variable=prefix | grep '/$'
  ! pc --variable=includedir | grep '//'
  ;;
command)
  "$prefix/bin/strata" help >help.txt
  grep -q replay help.txt
  [ -s "$prefix/share/man/man1/strata.1" ]
  [ -s "$prefix/share/man/man3/strata.3" ]
  printf 'a\nb\na\n' | "$prefix/bin/strata" replay - --json >out.json
  grep -q '"requests"' out.json
  ;;
*)
  echo "install_test.sh: no case $name" >&2
  exit 1
  ;;
esac
