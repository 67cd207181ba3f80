#!/bin/sh
# ./run bench: strata beside other caches and stores on this machine.  Every backend in a process of its own, interleaved in rounds,
# because a machine drifts and only what ran side by side can be compared.  bench/README.md explains the figures.
set -eu
. scripts/setup.sh

usage() {
  cat <<'TXT'
usage: ./run bench [OPTION]...

  --full           every size, every backend, 3 rounds: about an hour; sizes that the free memory can't hold are left out
  --rounds N       so many rounds (3; without --full fewer if 4 minutes are over)
  --cell N:V       only N entries of V bytes, with every backend; may be repeated
  --backends LIST  only these, separated by commas
  --seconds S      of each pass (0.06; with --full 0.5)
  --mem-only       no stampede, nothing on disk
  --disk-only      only what is about stores on disk
  --redis          only what is about a Redis, one of its own on this machine (about a minute): gets beside hiredis,
                   a server that is slow or stopped, a stampede of processes
  --buses          only what is about buses, each with a server of its own on this machine (under a minute): how soon a
                   delete on one node is seen on another
  --flood S        with --buses: and floods of deletes, of so many seconds each
  --bans           only what bans cost: hits while there are many, and who issues one that a million entries match (a minute)
  --http           only what is about the HTTP example under wrk (a minute): without a cache, with one in memory, with one over a Redis,
                   beside the same server with a constant text; and a crowd that asks for one cold key
  --snapshots      only how fast a million entries of 100 bytes in memory become a snapshot and come back, through memory and through a
                   file beside what the disk does with the same bytes (under a minute)
  --instructions   only how many instructions a hit in memory takes, plain and with each option switched on, and a put (2 minutes)
  --disk-dir DIR   where those make their folders, and remove them again (build/bench)
  --details        each cell of each goal
  --traces DIR     besides, the hit ratios of every policy over a folder of traces with their anchors.csv
  --report         measure nothing: show the last run again
  --write-docs     put the charts into docs/img/ and the tables into README.md and docs/benchmarks.md; with --redis, --buses, --bans, --http, --snapshots or --instructions
                   those about these alone
TXT
}

full=no rounds=3 cells='' only='' seconds='' memory=yes disk=yes stampede=yes traces='' measure=yes docs=no redis=no buses=no bans=no http=no snapshots=no instructions=no flood=0 details=
disk_dir=build/bench
while [ $# -gt 0 ]; do
  option=$1
  shift
  case $option in
  --rounds | --cell | --backends | --seconds | --traces | --disk-dir | --flood) [ $# -gt 0 ] || bad_word "bench: $option wants a value" ;;
  esac
  case $option in
  --full) full=yes ;;
  --rounds) rounds=$1 && shift ;;
  --cell) cells="$cells $1" && shift ;;
  --backends) only=$(echo "$1" | tr ',' ' ') && shift ;;
  --seconds) seconds=$1 && shift ;;
  --traces) traces=$1 && shift ;;
  --mem-only) stampede=no disk=no ;;
  --disk-only) stampede=no memory=no ;;
  --disk-dir) disk_dir=$1 && shift ;;
  --redis) redis=yes ;;
  --buses) buses=yes ;;
  --bans) bans=yes ;;
  --http) http=yes ;;
  --snapshots) snapshots=yes ;;
  --instructions) instructions=yes ;;
  --flood) flood=$1 && shift ;;
  --report) measure=no ;;
  --write-docs) docs=yes ;;
  --details) details=--details ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && bad_word "bench: there is no option $option" ;;
  esac
done
case $rounds in '' | *[!0-9]* | 0) bad_word "bench: --rounds wants a number from 1 up" ;; esac
case $flood in '' | *[!0-9]*) bad_word "bench: --flood wants a number of seconds, not $flood" ;; esac
[ -z "$seconds" ] || echo "$seconds" | grep -qE '^[0-9]+([.][0-9]+)?$' || bad_word "bench: --seconds wants a number, as 0.5, not $seconds"
[ "$disk_dir" = build/bench ] || [ -d "$disk_dir" ] || bad_word "bench: --disk-dir: there is no folder $disk_dir"
[ -z "$traces" ] || [ -f "$traces/anchors.csv" ] || bad_word "bench: --traces: there is no $traces/anchors.csv"
for cell in $cells; do
  echo "$cell" | grep -qE '^[0-9]+:[0-9]+$' || bad_word "bench: --cell wants ENTRIES:VALUE_BYTES, as 100000:100, not $cell"
done

[ -z "$cells" ] || [ $memory = no ] || disk=no

bin=build/bench/bin
rows=build/bench/rows.csv
log=build/bench/errors.log
budget=205 # seconds that a run without --full may measure caches in memory, and
disk_budget=85 # stores on disk

# Where the time is short: the larger size with the floors, strata, and the peer that comes closest.
close_ones='flat_thp flat_duties setassoc_1t strata strata_many strata_gol rocksdb_hcc'
default_cells='100000:100 100000:1024 4000000:100'
full_cells='100000:100 100000:1024 4000000:100 4000000:1024'
default_disk_cells='200000:1024 20000:16384 1000000:1024'
full_disk_cells='1000000:1024 50000:16384'
# Of a million entries where time is short; and these are opened again from a cold page cache, too.
close_on_disk='log_pread strata'

# enough_memory N V: a process with that many entries, the dearest peer's overhead and the traces fits.
enough_memory() {
  free_mb=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo 2>/dev/null || echo 0)
  need_mb=$(($1 * ($2 + 320) / 1000000 + 800))
  [ "${free_mb:-0}" -eq 0 ] || [ "$need_mb" -le "$free_mb" ] || {
    say "left out: $1 entries of $2 bytes want ${need_mb} MB of free memory, there are ${free_mb}"
    return 1
  }
}

# How much of the machine others use just now: the build is over, and nothing of ours runs.
busy_percent() {
  [ -r /proc/stat ] || { echo 0 && return; }
  before=$(head -n 1 /proc/stat)
  sleep 1
  echo "$before $(head -n 1 /proc/stat)" | awk '{
    for (i = 2; i <= 9; i++) { all += $(i + 11) - $i }
    idle = $16 + $17 - $5 - $6
    print (all > 0 ? int(100 - 100 * idle / all) : 0)
  }'
}

machine_facts() {
  echo "meta,date,$(date -u +%F)"
  echo "meta,cpu,$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)"
  echo "meta,processors,$(cores)"
  # shellcheck disable=SC1091 # the machine's own file
  echo "meta,system,$(. /etc/os-release && echo "$PRETTY_NAME" | sed 's, GNU/Linux,,; s, (.*,,')"
  echo "meta,kernel,$(uname -r)"
  echo "meta,pass_seconds,$seconds"
  echo "meta,busy_before_percent,$busy"
}

facts() {
  machine_facts
  echo "meta,huge_pages,$(cat /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null || echo unknown)"
  echo "meta,kind,$([ $full = yes ] && echo full || echo default)"
  echo "meta,file_system,$(stat -f -c %T "$disk_dir" 2>/dev/null || echo unknown)"
  "$bin/strata_mem_bench" --facts
  "$bin/strata_disk_bench" --facts
}

# jobs: one a line, "N V MODE DISTRIBUTIONS BACKEND", in the order of a round: a cell's backends one after the other.
jobs() {
  for cell in $1; do
    n=${cell%:*} v=${cell#*:}
    for mode in fit miss; do
      "$bin/strata_mem_bench" --list | while read -r backend modes; do
        case " $modes " in *" $mode "*) ;; *) continue ;; esac
        if [ -n "$only" ]; then
          case " $only " in *" $backend "*) ;; *) continue ;; esac
        elif [ $full = no ]; then
          [ "$backend" != flat ] || continue
          [ -n "$cells" ] || [ "$n" -lt 1000000 ] || case " $close_ones " in *" $backend "*) ;; *) continue ;; esac
        fi
        dists=zipf99,uniform
        [ $mode = fit ] || [ $full = yes ] || [ -n "$cells" ] || dists=zipf99
        case $backend in *_many | *_batch16) ;; *) [ $mode != fit ] || [ "$n" != 100000 ] || dists=$dists,hot ;; esac
        echo "$n $v $mode $dists $backend"
      done
    done
  done
}

# disk_jobs: one a line, "N V BACKEND OPTION...", in the order of a round.
disk_jobs() {
  for cell in $1; do
    n=${cell%:*} v=${cell#*:}
    "$bin/strata_disk_bench" --list | while read -r backend; do
      cold=
      case " $close_on_disk " in *" $backend "*) cold=--cold ;; esac
      if [ -n "$only" ]; then
        case " $only " in *" $backend "*) ;; *) continue ;; esac
      elif [ $full = no ] && [ -z "$cells" ]; then
        case $backend in lmdb_wmap100 | lmdb_nosync1) continue ;; esac
        [ "$n" -lt 1000000 ] || [ -n "$cold" ] || continue
      fi
      [ "$n" -ge 1000000 ] || cold=
      echo "$n $v $backend $cold"
    done
  done
}

clear_line() { [ ! -t 2 ] || printf '\r%70s\r' '' >&2; }

# one_job ROUND N V MODE DISTRIBUTIONS BACKEND: its rows, or a line about its failure.
one_job() {
  part=build/bench/part.csv
  if timeout 600 "$bin/strata_mem_bench" --backend "$6" --entries "$2" --value-bytes "$3" --mode "$4" --dist "$5" \
    --seconds "$seconds" >$part 2>>$log; then
    sed "s/\$/,$1/" $part >>$rows
  else
    code=$?
    clear_line
    say "$6 failed at $2 x $3 B, $4 (exit $code): see $log" >&2
    broken=1
  fi
}

# disk_rows ROUND WHAT ARGUMENT...: what one run of disk_bench printed, or a line about its failure.  3: there is no room.
disk_rows() {
  of_round=$1 what=$2 part=build/bench/part.csv code=0
  shift 2
  timeout 600 "$bin/strata_disk_bench" --dir "$disk_dir" "$@" >$part 2>>$log || code=$?
  case $code in
  0) sed "s/\$/,$of_round/" $part >>$rows ;;
  3)
    clear_line
    say "$what left out: too little room in $disk_dir, see $log; --disk-dir can name another place" >&2
    ;;
  *)
    clear_line
    say "$what failed (exit $code): see $log" >&2
    broken=1
    ;;
  esac
  # What it left in the page cache is not written back while the next one is measured.
  sync -f "$disk_dir" 2>/dev/null || sync
}

# disk_round ROUND: every store once.
disk_round() {
  count=0
  total=$(wc -l <build/bench/disk_jobs)
  [ -t 2 ] || say "disk, round $1: $total measurements" >&2
  while read -r n v backend cold <&3; do
    count=$((count + 1))
    [ ! -t 2 ] || printf '\r  disk, round %d  %3d/%d  %-9s x %-5s %-15s %4ds' "$1" $count "$total" "$n" "$v" "$backend" \
      $(($(date +%s) - began)) >&2
    disk_rows "$1" "$backend at $n x $v B" --backend "$backend" --entries "$n" --value-bytes "$v" ${cold:+"$cold"}
  done 3<build/bench/disk_jobs
  if [ -z "$only" ] && grep -q ' strata ' build/bench/disk_jobs; then
    disk_rows "$1" "memory above a slow disk" --above
  fi
  clear_line
}

# one_round ROUND: every job once; the stampede.
one_round() {
  count=0
  total=$(wc -l <build/bench/jobs)
  [ -t 2 ] || say "round $1: $total measurements" >&2
  while read -r n v mode dists backend <&3; do
    count=$((count + 1))
    [ ! -t 2 ] || printf '\r  round %d  %3d/%d  %-9s x %-5s %-5s %-15s %4ds' "$1" $count "$total" "$n" "$v" "$mode" \
      "$backend" $(($(date +%s) - began)) >&2
    one_job "$1" "$n" "$v" "$mode" "$dists" "$backend"
  done 3<build/bench/jobs
  if [ $stampede = yes ]; then
    "$bin/strata_stampede_bench" 3 >>$rows 2>>$log || {
      clear_line
      say "the stampede failed: see $log" >&2
      broken=1
    }
  fi
  clear_line
}

measure_all() {
  if [ -z "$seconds" ]; then
    if [ $full = yes ]; then seconds=0.5; else seconds=0.06; fi
  fi
  : >build/bench/jobs
  : >build/bench/disk_jobs
  if [ $memory = yes ]; then plan_memory; fi
  if [ $disk = yes ]; then plan_disk; fi
  [ -s build/bench/jobs ] || [ -s build/bench/disk_jobs ] ||
    die "bench: nothing to measure; backends: $({ "$bin/strata_mem_bench" --list && "$bin/strata_disk_bench" --list; } | awk '{ printf "%s ", $1 }')"
  busy=$(busy_percent)
  [ "$busy" -lt 10 ] || say "note: other programs use $busy % of this machine; ratios will be less exact"

  facts >$rows
  : >$log
  if [ -s build/bench/jobs ]; then in_rounds memory $budget; fi
  if [ -s build/bench/disk_jobs ]; then in_rounds disk $disk_budget; fi
}

plan_memory() {
  if [ -n "$cells" ]; then
    wanted=$cells
  elif [ $full = yes ]; then
    wanted=$full_cells
  else
    wanted=$default_cells
  fi
  possible=
  for cell in $wanted; do
    if enough_memory "${cell%:*}" "${cell#*:}"; then possible="$possible $cell"; fi
  done
  jobs "$possible" >build/bench/jobs
}

plan_disk() {
  if [ -n "$cells" ]; then
    disk_jobs "$cells"
  elif [ $full = yes ]; then
    disk_jobs "$full_disk_cells"
  else
    disk_jobs "$default_disk_cells"
  fi >build/bench/disk_jobs
  [ -d "$disk_dir" ] || die "bench: there is no folder $disk_dir"
}

# in_rounds memory|disk SECONDS: all rounds; without --full another one only where it will be over in time.
in_rounds() {
  began=$(date +%s)
  round=1
  while [ $round -le "$rounds" ]; do
    if [ "$1" = memory ]; then one_round $round; else disk_round $round; fi
    spent=$(($(date +%s) - began))
    [ $full = yes ] || [ -n "$cells" ] || [ $((spent + spent / round)) -le "$2" ] || break
    round=$((round + 1))
  done
}

# redis_part WHAT BENCHMARK ARGUMENT...: its rows, or a line about its failure.
redis_part() {
  what=$1
  shift
  [ -t 2 ] || say "$what" >&2
  timeout 120 "$@" >build/bench/part.csv 2>>$log || {
    say "$what failed: see $log" >&2
    broken=1
    return 0
  }
  cat build/bench/part.csv >>$redis_rows
}

redis_all() {
  redis_rows=build/bench/redis.csv
  if [ $measure = yes ]; then
    seconds=${seconds:-0.4}
    busy=$(busy_percent)
    [ "$busy" -lt 10 ] || say "note: other programs use $busy % of this machine; ratios will be less exact"
    machine_facts >$redis_rows
    echo "meta,redis,$(redis-server --version | sed -n 's/.* v=\([^ ]*\).*/Redis \1/p')" >>$redis_rows
    : >$log
    redis_part "gets beside hiredis" "$bin/strata_redis_bench" --rounds "$rounds" --seconds "$seconds"
    redis_part "a server that is slow, and stopped" "$bin/strata_delay_bench" "$rounds"
    redis_part "a stampede of processes" "$bin/strata_fleet_bench" "$rounds"
  fi
  [ -s $redis_rows ] || die "bench: there is no earlier run over a Redis to report"
  set -- $redis_rows --json build/bench/redis.json --redis-svg build/bench/redis.svg ${details:+"$details"}
  [ $docs = no ] || set -- "$@" --redis-readme README.md --redis-tables docs/benchmarks.md
  "$bin/strata_bench_report" "$@"
  [ $docs = no ] || cp build/bench/redis.svg docs/img/redis.svg
  say "rows: $redis_rows, JSON: build/bench/redis.json, chart: build/bench/redis.svg"
}

# into_section PAGE NAME TEXT: what stands between the page's marks of that name is now the text.
into_section() {
  awk -v name="$2" 'FNR == NR { text = text $0 "\n"; next }
    $0 == "<!-- " name " -->" { printf "%s\n\n%s\n", $0, text; skip = 1; next }
    $0 == "<!-- /" name " -->" { skip = 0 }
    !skip' "$3" "$1" >build/bench/page.md
  cp build/bench/page.md "$1"
}

# As Markdown: how soon a delete is seen, and what floods cost.
bus_tables() {
  awk -F, '
    $1 == "bus" {
      if (!buses++) print "| delete to gone on another node | p50 us | p99 us | worst us |\n|---|---|---|---|"
      printf "| %s | %.0f | %.0f | %.0f |\n", $2, $4, $5, $6
    }
    $1 == "flood" {
      row = sprintf("| %s, %s | %.0f | %.2f %% | %d | %.1f | %.1f | %.0f |\n", $2, $3 == "many" ? "100 a call" : "one by one",
                    $4 / $5, 100 * $6 / $4, $7, $9, $10, $11)
      floods = floods row
    }
    END {
      if (floods != "")
        printf "\n| flood, 1 node to 3 | keys/s | heard of | times lost | writer, CPU us/key | listener, CPU us/key | listener, MB |\n" \
               "|---|---|---|---|---|---|---|\n%s", floods
    }' "$1"
}

buses_all() {
  bus_rows=build/bench/buses.csv
  if [ $measure = yes ]; then
    set -- "$bin/strata_bus_bench"
    [ "$flood" -eq 0 ] || set -- "$@" --flood "$flood"
    say "buses: each against a server of its own"
    timeout $((180 + flood * 12)) "$@" >$bus_rows || die "bench: the buses failed"
  fi
  [ -s $bus_rows ] || die "bench: there is no earlier run over buses to report"
  bus_tables $bus_rows
  [ $docs = no ] || {
    bus_tables $bus_rows >build/bench/buses.md
    into_section docs/coherence.md buses build/bench/buses.md
  }
  say "rows: $bus_rows"
}

# As Markdown: ratios of medians, over rounds in which both were measured in turns.
ban_tables() {
  awk -F, '
    function median(list, n,   i, j, t) {
      for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j] < list[j - 1]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
      return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
    }
    function line(state, title, asked, limit,   i, n, value) {
      n = count[state]
      for (i = 1; i <= n; i++) { ours[i] = ns[state, i]; beside[i] = peace[state, i] }
      value = median(ours, n) / median(beside, n)
      printf "| %s | %s | %.2f x (%.1f ns) | %s |\n", title, asked, value, median(ours, n), limit == 0 ? "noted" : value <= limit ? "met" : "missed"
    }
    $1 == "ban_hit" { count[$2]++; ns[$2, count[$2]] = $4; peace[$2, count[$2]] = $5; entries = $6 }
    $1 == "ban_call" { of = $2; middle = $3; worst = $4; matched = $5 }
    END {
      print "| | asked | measured | |\n|---|---|---|---|"
      line("none", "Hit, " entries / 1e6 "M tagged entries, no bans, beside a like cache in peace", "", 0)
      line("live", "the same with 1,000 live bans of tags", "at most 1.1 x", 1.1)
      line("arriving", "the same while 100 more come every second", "at most 1.5 x", 1.5)
      printf "| A ban that %dk entries match, in memory and Redis: its caller waits (worst of 10) | under 1 ms | %.2f ms (%.2f) | %s |\n",
        of / 1000, middle / 1000, worst / 1000, middle < 1000 && matched == 1000 ? "met" : "missed"
    }' "$1"
}

bans_all() {
  ban_rows=build/bench/bans.csv
  if [ $measure = yes ]; then
    say "bans: two caches of 4M entries, then one of 1M over a Redis"
    timeout 600 "$bin/strata_ban_bench" --rounds "$rounds" >$ban_rows || die "bench: the bans failed"
  fi
  [ -s $ban_rows ] || die "bench: there is no earlier run about bans to report"
  ban_tables $ban_rows
  [ $docs = no ] || {
    ban_tables $ban_rows >build/bench/bans.md
    into_section docs/benchmarks.md bans build/bench/bans.md
  }
  say "rows: $ban_rows"
}

# As Markdown: medians over rounds; a ratio is of the modes of one round.
http_tables() {
  awk -F, '
    function median(list, n,   i, j, t) {
      for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j] < list[j - 1]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
      return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
    }
    function row(mode, title,   i, n, ratio) {
      n = count[mode]
      for (i = 1; i <= n; i++) { a[i] = rate[mode, i]; b[i] = p50[mode, i]; c[i] = p99[mode, i]; d[i] = rate[mode, i] / rate["constant", i] }
      ratio = median(d, n)
      verdict = mode == "none" || mode == "constant" ? "" : (ratio >= 0.9 ? "met" : "missed")
      printf "| %s | %.0f | %.2f x | %.2f | %.2f | %s |\n", title, median(a, n), ratio, median(b, n), median(c, n), verdict
    }
    function crowd_row(layers, title,   n, ratio) {
      n = rounds[layers]
      if (!n) return
      ratio = served[layers] / loaded[layers]
      verdict = loads[layers] == n && ratio <= 1.3 ? "met" : "missed"
      printf "| %s | %d | %.2f ms | %.2f x | %s |\n", title, loads[layers], served[layers], ratio, verdict
    }
    $1 == "http" { count[$2]++; rate[$2, count[$2]] = $4; p50[$2, count[$2]] = $5; p99[$2, count[$2]] = $6; failed += $7 }
    $1 == "crowd" { rounds[$2]++; loads[$2] += $4; loaded[$2] += $5 / $4; served[$2] += $6 }
    END {
      print "| 40 connections, an origin that answers one request at a time in 6 ms | requests/s | of the constant (goal: 0.9 x) | p50 ms | p99 ms | |\n|---|---|---|---|---|---|"
      row("none", "no cache")
      row("memory", "cache in memory")
      row("redis", "cache in memory over Redis")
      row("constant", "the same server, a constant text")
      if (failed) printf "\n%d requests failed.\n", failed
      print "\n| 75 callers at once for a cold key, 5 rounds, 6 ms loader | loads | all rounds took | of one load a round (goal: 1.3 x) | |\n|---|---|---|---|---|"
      crowd_row("memory", "memory")
      crowd_row("redis", "memory over Redis")
    }' "$1"
}

http_all() {
  http_rows=build/bench/http.csv
  if [ $measure = yes ]; then
    say "the HTTP example under wrk, then a crowd"
    { timeout 600 "$bin/strata_http_bench" "$bin/example_http" --rounds "$rounds" --seconds "${seconds:-4}" &&
      timeout 60 "$bin/strata_crowd_bench"; } >$http_rows || die "bench: the HTTP example failed"
  fi
  [ -s $http_rows ] || die "bench: there is no earlier run about HTTP to report"
  http_tables $http_rows
  [ $docs = no ] || {
    http_tables $http_rows >build/bench/http.md
    into_section docs/benchmarks.md http build/bench/http.md
  }
  say "rows: $http_rows"
}

# As Markdown: medians over rounds.  A file's goal is lower where the disk is slower: that of the disk in the same round.
snapshot_tables() {
  awk -F, '
    function median(list, n,   i, j, t) {
      for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j] < list[j - 1]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
      return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
    }
    function of(what, how, field,   i, n) {
      n = count[what, how]
      for (i = 1; i <= n; i++) values[i] = value[what, how, i, field]
      return median(values, n)
    }
    function of_disk(how, field,   i, n) {
      n = count["disk", how]
      for (i = 1; i <= n; i++) values[i] = value["file", how, i, field] / value["disk", how, i, field]
      return median(values, n)
    }
    function row(what, how, field, title, goal,   n, met, disk) {
      if (!count[what, how]) return
      n = of(what, how, field)
      met = n >= goal
      disk = what != "file" || !count["disk", how] ? "" : sprintf("%.0f MB/s, %.2f x of it", of("disk", how, field), of_disk(how, field))
      if (disk != "" && of_disk(how, field) >= 0.95) met = 1
      printf "| %s | %d MB/s | %.0f MB/s | %.0f MB | %s | %s |\n", title, goal, n, of(what, how, field + 5), disk, met ? "met" : "missed"
    }
    function rows(what, where) {
      row(what, "plain", 4, where ", written", 500)
      row(what, "plain", 5, where ", read", 500)
      row(what, "zstd", 4, where ", zstd, written", 150)
      row(what, "zstd", 5, where ", zstd, read", 300)
    }
    { count[$1, $2]++; for (i = 4; i <= NF; i++) value[$1, $2, count[$1, $2], i] = $i }
    END {
      print "| 1M entries of 100 bytes: keys and values | goal | measured | in a second of processor time | the disk alone | |\n|---|---|---|---|---|---|"
      rows("snapshot", "a stream in memory")
      rows("file", "a file")
    }' "$1"
}

snapshots_all() {
  snapshot_rows=build/bench/snapshots.csv
  if [ $measure = yes ]; then
    [ -d "$disk_dir" ] || die "bench: there is no folder $disk_dir"
    say "snapshots: 1M entries, $rounds rounds"
    timeout 600 "$bin/strata_snapshot_bench" --rounds "$rounds" --file "$disk_dir/snapshot.part" >$snapshot_rows ||
      die "bench: the snapshots failed"
  fi
  [ -s $snapshot_rows ] || die "bench: there is no earlier run about snapshots to report"
  snapshot_tables $snapshot_rows
  [ $docs = no ] || {
    snapshot_tables $snapshot_rows >build/bench/snapshots.md
    into_section docs/benchmarks.md snapshots build/bench/snapshots.md
  }
  say "rows: $snapshot_rows"
}

# As Markdown: what an option adds to the plain hit, in percent; and what a put takes.
instruction_tables() {
  awk -F, '
    function added(n, plain) { return sprintf("%.0f (%+.1f %%)", n, 100 * (n / plain - 1)) }
    $2 == "plain" {
      get = $3
      through = $4
      print "| switched on | strata_get | strata_get_or_load |\n|---|---|---|"
      printf "| nothing | %.0f | %.0f |\n", get, through
      next
    }
    $1 == "instructions" { printf "| %s | %s | %s |\n", $2, added($3, get), added($4, through) }
    $1 == "puts" && !puts++ { print "\n| put | instructions |\n|---|---|" }
    $1 == "puts" { printf "| %s | %s |\n", $2, $3 }' "$1"
}

instructions_all() {
  instruction_rows=build/bench/instructions.csv
  if [ $measure = yes ]; then
    say "instructions: one after the other"
    timeout 600 "$bin/strata_instruction_bench" >$instruction_rows || die "bench: the instructions could not be counted"
  fi
  [ -s $instruction_rows ] || die "bench: there is no earlier count of instructions to report"
  instruction_tables $instruction_rows
  [ $docs = no ] || {
    instruction_tables $instruction_rows >build/bench/instructions.md
    into_section docs/benchmarks.md instructions build/bench/instructions.md
  }
  say "rows: $instruction_rows"
}

broken=0
need_build
if [ $instructions = yes ]; then
  build bench strata_instruction_bench
  instructions_all
  exit 0
fi
if [ $snapshots = yes ]; then
  build bench strata_snapshot_bench
  snapshots_all
  exit 0
fi
need_examples # the bench preset is the release build and more
if [ $redis = yes ]; then
  need_redis_server
  build bench strata_redis_bench strata_delay_bench strata_fleet_bench strata_bench_report
  redis_all
  exit $broken
fi
if [ $bans = yes ]; then
  need_redis_server
  build bench strata_ban_bench
  bans_all
  exit $broken
fi
if [ $http = yes ]; then
  need_redis_server
  need "for requests over HTTP" wrk
  build bench strata_http_bench strata_crowd_bench example_http
  http_all
  exit $broken
fi
if [ $buses = yes ]; then
  need_redis_server
  need_rabbitmq_server
  need_nats_server
  build bench strata_bus_bench
  buses_all
  exit $broken
fi
need "for the caches and stores to compare with" librocksdb-dev libtbb-dev libglib2.0-dev liblmdb-dev
build bench strata_bench ${traces:+strata_cli}
if [ $measure = yes ]; then measure_all; fi
[ -s $rows ] || die "bench: there is no earlier run to report"

set -- $rows --json build/bench/results.json --svg build/bench/bench.svg --disk-svg build/bench/disk.svg ${details:+"$details"}
if [ $docs = yes ]; then
  mkdir -p docs/img
  set -- "$@" --readme README.md --tables docs/benchmarks.md
fi
"$bin/strata_bench_report" "$@"
if [ $docs = yes ]; then
  for chart in bench disk; do
    [ ! -f build/bench/$chart.svg ] || cp build/bench/$chart.svg docs/img/$chart.svg
  done
fi
say "rows: $rows, JSON: build/bench/results.json, charts: build/bench/bench.svg, build/bench/disk.svg"
if [ -n "$traces" ]; then
  export STRATA="$PWD/$bin/strata"
  say "hit ratios over $traces, one shard: the exact order of each policy"
  sh bench/replay_anchors.sh "$traces" || broken=1
  say "hit ratios over $traces, default shards"
  sh bench/replay_anchors.sh --default-shards "$traces" || broken=1
fi
exit $broken
