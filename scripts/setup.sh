# setup.sh - sourced by the run_*.sh scripts: installs what is missing, says so, builds, counts.
# shellcheck shell=sh

say() { printf '== %s\n' "$*"; }
die() {
  printf './run: %s\n' "$*" >&2
  exit 1
}

# A command line that is wrong: before anything was built or installed.
bad_word() {
  printf './run: %s\n' "$*" >&2
  exit 2
}
# takes_nothing COMMAND [WORD]...
takes_nothing() { [ $# -eq 1 ] || bad_word "$1 takes no words, not $2"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root or sudo: $*"
  fi
}

apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@" >>build/setup.log 2>&1 </dev/null; }

# need WHY PACKAGE...: install the packages that are missing.
need() {
  why=$1
  shift
  if ! command -v dpkg-query >/dev/null; then
    say "not a Debian system: please see that these are there $why: $*"
    return 0
  fi
  missing=
  for package; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  mkdir -p build
  say "installing$missing ($why)"
  # shellcheck disable=SC2086 # a list of names
  if ! apt install --no-install-recommends $missing; then
    # The package lists of a new machine are missing or old.
    apt update || :
    # shellcheck disable=SC2086
    apt install --no-install-recommends $missing || {
      tail -n 20 build/setup.log >&2
      die "could not install$missing: see build/setup.log"
    }
  fi
}

need_build() {
  need "to build" gcc libc6-dev cmake ninja-build pkgconf libuv1-dev libxxhash-dev libzstd-dev liblz4-dev libhiredis-dev librabbitmq-dev libnats-dev libssl-dev zlib1g-dev libbrotli-dev
}
need_examples() { need "for the examples and the demo's origin" g++ libsqlite3-dev libmicrohttpd-dev; }
# Debian starts the service that comes with the package; what needs a server starts its own, on a free port, and stops it.
need_redis_server() {
  command -v redis-server >/dev/null || {
    say "Debian will start a redis-server on port 6379 with its package; nothing here needs it: systemctl disable --now redis-server"
    need "for the redis layer: servers of its tests' own" redis-server
  }
}
# without_services COMMAND...: packages that it installs start no service.  What there is to say so already, stays.
without_services() {
  policy=/usr/sbin/policy-rc.d
  if [ -e "$policy" ] || ! command -v dpkg-query >/dev/null; then
    "$@"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod +x "$policy"
  quiet=0
  ("$@") || quiet=1 # in a shell of its own: it may give up
  as_root rm -f "$policy"
  [ "$quiet" -eq 0 ] || exit 1
}
need_rabbitmq_server() {
  [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || {
    say "Debian will start a RabbitMQ with the machine from now on; nothing here needs it: systemctl disable rabbitmq-server"
    without_services need "for the bus over RabbitMQ: a server of its tests' own" rabbitmq-server
  }
}
need_nats_server() {
  [ -x /usr/sbin/nats-server ] || command -v nats-server >/dev/null || {
    say "Debian will start a nats-server with the machine from now on; nothing here needs it: systemctl disable nats-server"
    without_services need "for the bus on NATS: servers of its tests' own" nats-server
  }
}
need_tests() {
  need "to test" libcmocka-dev liblua5.1-0-dev spin tzdata
  need_redis_server
  need_rabbitmq_server
  need_nats_server
}
need_clang() { need "to build with clang" clang libclang-rt-dev; }

export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
tsan_options="halt_on_error=1 second_deadlock_stack=1 suppressions='$PWD/tests/tsan_suppressions.txt'"
export TSAN_OPTIONS="${TSAN_OPTIONS:-$tsan_options}"

cores() { nproc 2>/dev/null || echo 2; }

# build PRESET [TARGET...]: configure where needed and build; quiet unless on a terminal.
build() {
  preset=$1
  shift
  dir=build/$preset
  mkdir -p "$dir"
  say "building $dir"
  if ! cmake --preset "$preset" >"$dir/configure.log" 2>&1; then
    cat "$dir/configure.log" >&2
    return 1
  fi
  if [ -t 1 ]; then ninja -C "$dir" "$@"; else ninja -C "$dir" --quiet "$@"; fi
}

# run_ctest PRESET [CTEST-ARGUMENT...]: run the tests; adds to $passed, $failed and $skipped; 1 where one failed.
passed=0 failed=0 skipped=0
run_ctest() {
  dir=build/$1
  shift
  rm -f "$dir/junit.xml"
  say "testing $dir"
  # The thread sanitizer of gcc 12 cannot live with as much address randomisation as newer kernels have.
  fixed=
  case $dir in *tsan) ! setarch "$(uname -m)" -R true 2>/dev/null || fixed="setarch $(uname -m) -R" ;; esac
  # A line for each test that ended; what it printed where it failed.  The verdict is read from the report.
  $fixed ctest --test-dir "$dir" --output-on-failure --no-label-summary --output-junit junit.xml -j "$(cores)" "$@" |
    sed -u -e '/^ *Start  *[0-9]*:/d' -e '/^Internal ctest/d' || :
  # The counts of the first <testsuite ...>; a run without a report is a failure.
  # shellcheck disable=SC2046 # three numbers
  set -- $(awk '
    function number(name) { return match(head, name "=\"[0-9]+\"") ? substr(head, RSTART + length(name) + 2, RLENGTH - length(name) - 3) : 0 }
    { head = head " " $0 }
    />/ && head ~ /<testsuite/ { exit }
    END {
      if (head !~ /<testsuite/) { print "0 1 0"; exit }
      skip = number("skipped") + number("disabled")
      print number("tests") - number("failures") - skip, number("failures"), skip
    }' "$dir/junit.xml" 2>/dev/null || echo 0 1 0)
  passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
  [ "$2" -eq 0 ] && [ "$1" -gt 0 ]
}

# The closing line, and the exit status: 0 where something ran and nothing failed.
closing_line() {
  line="$passed passed, $failed failed"
  [ "$skipped" -eq 0 ] || line="$line, $skipped skipped"
  printf '%s\n' "$line"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
