#!/usr/bin/env bash
# wan-fairness.sh: one download beside one TCP flow (iperf3) over an emulated link, for TCP {cubic, bbr} × queues of {0.2, 1, 4}
# bandwidth-delay products × {ours first, TCP first}. Needs root, ip(8), /dev/net/tun, iperf3 and release binaries.
#
#   scripts/wan-fairness.sh [--out DIR] [--only REGEX] [--rate MBIT] [--delay MS] [--seconds S] [--runs N] [--jobs N] [--bin DIR]
#
#   --out DIR      where results go, one file a run; runs that have one are not made again [target/wan-fairness]
#   --only REGEX   only runs whose name matches (TCP-QUEUE-FIRST-RUN, such as cubic-0.2-ours-1)
#   --rate, --delay  the link, Mbit/s and ms one way [50, 25]
#   --seconds S    how long both are measured, after the first has had 10 s alone [60]
#   --runs N       runs of each, seeds 1 to N [1]
#   --jobs N       runs at once [3]
#   --bin DIR      where qfs-server, qfs-client and qfs-wan are [target/release]
#
# Prints Mbit/s of payload of both and leaves fairness.csv in DIR. What is ours is counted in UDP datagrams that arrive, of 1,424 bytes
# of payload each.
# shellcheck disable=SC2086 # "first" is a command with its arguments, or nothing
# shellcheck disable=SC2016 # what awk expands
set -euo pipefail
cd "$(dirname "$0")/.."
out=target/wan-fairness only=. rate=50 delay=25 seconds=60 runs=1 jobs=3 bin=${CARGO_TARGET_DIR:-target}/release
while (($#)); do
  case $1 in
    --out) out=$2 ;; --only) only=$2 ;; --rate) rate=$2 ;; --delay) delay=$2 ;; --seconds) seconds=$2 ;; --runs) runs=$2 ;;
    --jobs) jobs=$2 ;; --bin) bin=$2 ;;
    *) sed -n '2,17s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift 2
done
mkdir -p "$out"
out=$(realpath "$out") bin=$(realpath "$bin")
first=; chrt -r 5 true 2>/dev/null && first='chrt -r 5'
work=$(mktemp -d "${TMPDIR:-/dev/shm}/wan-fairness.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir "$work/root"
# More than the link carries in the time, and nothing on the disk: one hole, which the client therefore has sent as zeros.
truncate -s $((rate * (seconds + 40) * 125000)) "$work/root/file"

# Reads a counter of /proc/net/snmp inside B: datagrams that arrived.
datagrams() { ip netns exec "$WAN_B" awk '/^Udp: [0-9]/ { print $2 }' /proc/net/snmp; }

ours() {
  ip netns exec "$WAN_B" $first timeout $((seconds + 60)) "$bin/qfs-client" get --quiet --no-sparse --server "$(sed -n 's/^ticket //p' "$here/server")" \
    --save-dir "$here/got" file >"$here/client" 2>&1 &
  client=$!
}

tcp() { # SECONDS
  ip netns exec "$WAN_B" $first timeout $((seconds + 60)) iperf3 -c "$WAN_A_IP" -R -C "$cc" -t "$1" -J >"$here/iperf" 2>&1 &
  peer=$!
}

# Both ends of one run, inside the link.
inside() {
  export QFS_CONFIG_DIR=$here/config QFS_CACHE_DIR=$here/cache
  ip netns exec "$WAN_A" $first "$bin/qfs-server" --ip "$WAN_A_IP" --port 8000 --root "$work/root" --certs "$here/certs" >"$here/server" 2>&1 &
  local server=$! before after
  ip netns exec "$WAN_A" $first iperf3 -s >"$here/iperf-server" 2>&1 &
  local listener=$!
  until grep -q '^ticket ' "$here/server"; do kill -0 "$server"; sleep 0.05; done
  until ip netns exec "$WAN_A" ss -ltn | grep -q :5201; do sleep 0.05; done
  if [[ $who == ours ]]; then ours; sleep 10; tcp "$seconds"; else tcp $((seconds + 10)); sleep 10; ours; fi
  before=$(datagrams)
  sleep "$seconds"
  after=$(datagrams)
  wait "$peer" || true
  echo "$((after - before))" >"$here/datagrams"
  kill "$client" "$server" "$listener" 2>/dev/null || true
  wait || true
}

# run TCP QUEUE FIRST SEED: one line of CSV in $out/NAME.csv.
run() {
  local name=$1-$2-$3-$4 cc=$1 who=$3 here queue from
  here=$work/$name
  mkdir "$here"
  queue=$(awk "BEGIN { q = $rate * 125 * $delay * 2 / 1000 * $2; print q < 15 ? 15 : q }")
  export here cc who
  $first "$bin/qfs-wan" --rate "$rate" --delay "$delay" --queue "$queue" --seed "$4" -- bash -c inside >"$here/out" 2>"$here/wan" ||
    echo "failed: $name" >&2
  # TCP's rate is the mean of the intervals in which both ran.
  from=0
  [[ $who == ours ]] || from=10
  awk -v from="$from" '/"sum":/ { sum = 1 } sum && /"start":/ { start = $2 + 0 }
    sum && /"bits_per_second":/ { if (start >= from - 0.5) { total += $2; n++ } sum = 0 }
    END { printf "%.2f\n", n ? total / n / 1e6 : 0 }' "$here/iperf" >"$here/tcp"
  awk -v name="$1,$2,$3,$4" -v datagrams="$(cat "$here/datagrams")" -v tcp="$(cat "$here/tcp")" -v seconds="$seconds" \
    -v line="$(sed -n 's/^wan: a->b //p' "$here/wan")" 'BEGIN {
      n = split(line, word, " "); for (i = 1; i < n; i += 2) count[word[i]] = word[i + 1]
      sent = count["carried"] + count["dropped"]; if (!sent) sent = 1
      printf "%s,%.1f,%.1f,%.2f\n", name, datagrams * 1424 * 8e-6 / seconds, tcp, 100 * count["dropped"] / sent }' >"$here/result"
  mv "$here/result" "$out/$name.csv"
  [[ -z ${KEEP_LOGS:-} ]] || cp -r "$here" "$out/logs-$name"
  rm -rf "$here"
}
export -f datagrams ours tcp inside run
export work out rate delay seconds bin first

for seed in $(seq "$runs"); do for cc in cubic bbr; do for queue in 0.2 1 4; do for who in ours tcp; do
  name=$cc-$queue-$who-$seed
  if [[ $name =~ $only && ! -s $out/$name.csv ]]; then echo "$cc $queue $who $seed"; fi
done; done; done; done | xargs -r -P "$jobs" -L 1 bash -c 'run "$@"' run

{ echo 'tcp,queue_bdp,first,seed,ours_mbit,tcp_mbit,dropped_percent'; cat "$out"/*-*-*-*.csv; } >"$out/fairness.csv"
echo '| TCP | queue, BDP | first | run | ours, Mbit/s | TCP, Mbit/s | dropped |'
echo '|---|---|---|---|---|---|---|'
sed -n '2,$p' "$out/fairness.csv" | sed 's/,/ | /g; s/^/| /; s/$/ % |/'
