#!/usr/bin/env bash
# wan-sweep.sh: the whole programs over 108 emulated links: {10, 100, 500} Mbit/s × {2, 25, 100} ms one way × {0, 0.1, 1, 5} % loss
# × queues of {0.2, 1, 4} bandwidth-delay products. Needs root, ip(8), /dev/net/tun and release binaries (cargo build --release).
#
#   scripts/wan-sweep.sh [--out DIR] [--only REGEX] [--seed N] [--seconds S] [--jobs N] [--bin DIR]
#
#   --out DIR      where results go, one file a profile; profiles that have one are not run again [target/wan-sweep]
#   --only REGEX   only profiles whose name matches, such as '^100-25-' (RATE-DELAY-LOSS-QUEUE)
#   --seed N       seeds the losses [1]
#   --seconds S    size of the file, as the time it takes at the link's full rate [7]
#   --jobs N       profiles of 10 Mbit/s at once; half as many of 100, one of 500 [4]
#   --bin DIR      where qfs-server, qfs-client and qfs-wan are [target/release]
#
# Prints a table and leaves sweep.csv and sweep.json in DIR. A profile that takes twenty times its time at full rate plus 20 s is
# stopped and counts as failed. Where allowed, all run at real-time priority, so that other work on the machine disturbs little; "late" says how much it did.
# shellcheck disable=SC2086 # "first" is a command with its arguments, or nothing
set -euo pipefail
cd "$(dirname "$0")/.."
out=target/wan-sweep only=. seed=1 seconds=7 jobs=4 bin=${CARGO_TARGET_DIR:-target}/release
while (($#)); do
  case $1 in
    --out) out=$2 ;; --only) only=$2 ;; --seed) seed=$2 ;; --seconds) seconds=$2 ;; --jobs) jobs=$2 ;; --bin) bin=$2 ;;
    *) sed -n '2,15s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift 2
done
mkdir -p "$out"
out=$(realpath "$out") bin=$(realpath "$bin")
first=; chrt -r 5 true 2>/dev/null && first='chrt -r 5'
work=$(mktemp -d "${TMPDIR:-/dev/shm}/wan-sweep.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
for rate in 10 100 500; do
  mkdir -p "$work/root-$rate"
  head -c $((rate * seconds * 125000)) /dev/urandom >"$work/root-$rate/file"
done

# The two ends of one profile, inside the link.
inside() {
  export QFS_CONFIG_DIR=$here/config QFS_CACHE_DIR=$here/cache
  ip netns exec "$WAN_A" $first "$bin/qfs-server" --ip "$WAN_A_IP" --port 8000 --root "$root" --certs "$here/certs" >"$here/server" 2>&1 &
  local server=$!
  until grep -q '^ticket ' "$here/server"; do kill -0 "$server"; sleep 0.05; done
  ip netns exec "$WAN_B" $first timeout "$patience" "$bin/qfs-client" get --quiet --json --server "$(sed -n 's/^ticket //p' "$here/server")" \
    --connect-timeout 20s --save-dir "$here/got" file >"$here/client"
  kill "$server"
  wait "$server" || true
}

# profile RATE DELAY LOSS QUEUE: one line of JSON in $out/NAME.json.
profile() {
  local name=$1-$2-$3-$4 here root patience queue line
  here=$work/$name root=$work/root-$1 patience=$((seconds * 20 + 20))
  mkdir "$here"
  queue=$(awk "BEGIN { q = $1 * 125 * $2 * 2 / 1000 * $4; print q < 15 ? 15 : q }")
  export here root patience
  if ! $first "$bin/qfs-wan" --rate "$1" --delay "$2" --loss "$3" --queue "$queue" --seed "$seed" -- bash -c inside >"$here/out" 2>"$here/wan"; then
    echo "failed: $name" >&2
  fi
  line=$(sed -n 's/^wan: a->b //p' "$here/wan")
  time=$(grep -o '"seconds":[0-9.]*' "$here/client" | tail -1 | cut -d: -f2) || true
  awk -v name="$name" -v rate="$1" -v delay="$2" -v loss="$3" -v queue="$4" -v time="${time:-0}" -v size=$(($1 * seconds * 125000)) -v line="$line" 'BEGIN {
    n = split(line, word, " "); for (i = 1; i < n; i += 2) count[word[i]] = word[i + 1]
    sent = count["carried"] + count["lost"] + count["dropped"]; if (!sent) sent = 1
    mbit = time > 0 ? size * 8e-6 / time : 0
    printf "{\"name\":\"%s\",\"rate_mbit\":%s,\"delay_ms\":%s,\"loss_percent\":%s,\"queue_bdp\":%s,\"bytes\":%d,\"seconds\":%.3f,\"mbit\":%.2f,\"share_percent\":%.1f,\"lost_percent\":%.2f,\"dropped_percent\":%.2f,\"wire_over_payload\":%.4f,\"late_percent\":%.2f}\n",
      name, rate, delay, loss, queue, size, time, mbit, 100 * mbit / rate, 100 * count["lost"] / sent, 100 * count["dropped"] / sent, count["bytes"] / size, 100 * count["late"] / sent }' >"$here/result"
  mv "$here/result" "$out/$name.json"
  cat "$out/$name.json"
  rm -rf "$here"
}
export -f inside profile
export work out seed seconds bin first

for rate in 10 100 500; do
  for delay in 2 25 100; do for loss in 0 0.1 1 5; do for queue in 0.2 1 4; do
    name=$rate-$delay-$loss-$queue
    if [[ $name =~ $only && ! -s $out/$name.json ]]; then echo "$rate $delay $loss $queue"; fi
  done; done; done | {
    case $rate in 10) at_once=$jobs ;; 100) at_once=$(((jobs + 1) / 2)) ;; *) at_once=1 ;; esac
    xargs -r -P "$at_once" -L 1 bash -c 'profile "$@"' profile >/dev/null
  }
done

# What came of it.
{ echo '['; cat "$out"/[0-9]*.json | sed '$!s/$/,/'; echo ']'; } >"$out/sweep.json"
{
  echo 'rate_mbit,delay_ms,loss_percent,queue_bdp,bytes,seconds,mbit,share_percent,lost_percent,dropped_percent,wire_over_payload,late_percent'
  cat "$out"/[0-9]*.json | sed 's/"name":"[^"]*",//; s/"[a-z_]*"://g; s/[{}]//g' | sort -t, -n -k1 -k2 -k3 -k4
} >"$out/sweep.csv"
awk -F, 'NR == 1 { print "| Mbit/s | ms one way | loss | queue 0.2 BDP | 1 BDP | 4 BDP |"; print "|---|---|---|---|---|---|"; next }
  { key = $1 " | " $2 " | " $3 " %"; if (key != last) { if (NR > 2) print row; row = "| " key " |"; last = key }
    row = row sprintf(" %.1f (%.0f %%), %.1f %% |", $7, $8, $10) }
  END { print row }' "$out/sweep.csv"
