#!/bin/sh
# ./run test --trixie: the Redis and RabbitMQ tests on a Debian 13 of their own, against its Redis 8, its Valkey 8 and its
# RabbitMQ 4, over TLS, too.
#
# debootstrap builds a minimal system into a new folder under ${TMPDIR:-/var/tmp}, from the mirror that apt uses on this machine; the
# project is copied into it, built there and tested twice, and the folder goes.  Nothing of this machine is mounted there but a /proc
# of its own.  As root; about 2 GB, and a quarter of an hour on two cores.
set -eu
. scripts/setup.sh

[ "$(id -u)" = 0 ] || die "test --trixie makes a system of its own, which only root can: sudo ./run test --trixie"

# Inside: what is needed, the build, and the tests with each server.
if [ "${1:-}" = --inside ]; then
  mkdir -p build
  apt update || die "no package lists: see build/setup.log"
  need_build
  need_examples
  need_tests
  need "the other server" valkey-server
  build dev || die "it does not build on Debian 13"
  for server in redis-server valkey-server; do
    say "$("$server" --version)"
    STRATA_TEST_REDIS_SERVER=$server run_ctest dev -R redis || :
  done
  say "RabbitMQ $(dpkg-query -W -f '${Version}' rabbitmq-server)"
  run_ctest dev -R rabbitmq || :
  say "$(/usr/sbin/nats-server --version)"
  run_ctest dev -R nats || :
  closing_line
  exit
fi

need "to build a Debian 13" debootstrap
# The machine's own mirror of Debian, and its way to it.
# shellcheck disable=SC2016 # apt's own variables
mirror=$(apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Created-By: Packages' | sed -n 's/^Debian|//p' | sort -u | head -n 1)
[ -n "$mirror" ] || die "apt knows no mirror of Debian here: look at /etc/apt/sources.list.d"

root=$(mktemp -d "${TMPDIR:-/var/tmp}/strata-trixie-XXXXXX")
leave() {
  ! mountpoint -q "$root/proc" || umount "$root/proc"
  rm -rf --one-file-system "$root"
}
trap leave EXIT
trap 'exit 1' HUP INT TERM

mkdir -p build
say "building a Debian 13 from $mirror"
debootstrap --variant=minbase trixie "$root" "$mirror" >build/trixie.log 2>&1 || {
  tail -n 20 build/trixie.log >&2
  die "debootstrap failed: see build/trixie.log"
}
apt-config dump | grep -iE '^Acquire::.*(proxy|cainfo)' >"$root/etc/apt/apt.conf.d/90machine" || :
[ ! -f /etc/resolv.conf ] || cp -L /etc/resolv.conf "$root/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # no service is started there
chmod +x "$root/usr/sbin/policy-rc.d"
mount -t proc proc "$root/proc"
mkdir "$root/strata"
tar -c --exclude=./build --exclude=./.git . | tar -x -C "$root/strata"

# The closing line and the exit status are those from inside.
env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" LC_ALL=C.UTF-8 \
  chroot "$root" sh -c 'cd /strata && exec sh scripts/run_trixie.sh --inside'
