#!/usr/bin/env bash
# How fast one file comes over HTTP/3, beside the same over qfs/1: whole processes in turns, ratios pair by pair; with the largest
# packets of loopback, and with those of Ethernet, which browsers take at most.
#   scripts/http3-speed.sh            1 GiB, 7 rounds
#   scripts/http3-speed.sh 64 3       MiB, rounds
# A client of HTTP/3 is in crates/qfs-testkit/examples: the curl of Debian has none.
set -euo pipefail
cd "$(dirname "$0")/.."
mib=${1:-1024} rounds=${2:-7}
cargo build --release --locked --quiet -p qfs-client -p qfs-server -p qfs-testkit --bins --example http3_get
bin=$(realpath "${CARGO_TARGET_DIR:-target}")/release
work=$(mktemp -d "${TMPDIR:-/dev/shm}/http3-speed.XXXXXX")
# shellcheck disable=SC2329 # called by the trap
finish() {
  kill "${server:-}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
cd "$work"
mkdir root
head -c "$((mib << 20))" /dev/urandom >root/f
"$bin/qfs-server" --certs certs --root root --port 0 >out 2>err &
server=$!
for _ in $(seq 100); do grep -q '^ticket' out && break; sleep 0.1; done
address=$(sed -n 's/^listening on //p' out)
export QFS_SERVER QFS_CONFIG_DIR=$work/config QFS_NO_PATH_NOTES=1
QFS_SERVER=$(sed -n 's/^ticket //p' out)

# Runs a command; sets $took to its microseconds.
timed() {
  local begun=${EPOCHREALTIME/./}
  "$@" >/dev/null
  took=$((${EPOCHREALTIME/./} - begun))
}
qfs() { timed "$bin/qfs-client" --quiet --mtu "$1" get f --save-dir here; cmp -s here/f root/f; rm -r here; }
http3() { timed "$bin/examples/http3_get" "$address" f there "$1"; cmp -s there root/f; rm there; }
# How much of the processors the server has used, in seconds.
used() { awk -v ticks="$(getconf CLK_TCK)" '{ print ($14 + $15) / ticks }' "/proc/$server/stat"; }
median() { awk -v column="$1" '{ print $column }' "$2" | sort -n | sed -n "$(((rounds + 1) / 2))p"; }
for payload in 6500 1452; do
  for ((round = 0; round <= rounds; round++)); do
    order=(qfs http3)
    ((round % 2)) || order=(http3 qfs)
    declare -A times costs
    for which in "${order[@]}"; do
      before=$(used)
      "$which" "$payload"
      times[$which]=$took costs[$which]=$(awk "BEGIN { print $(used) - $before }")
    done
    # The first round does not count.
    ((round == 0)) || awk "BEGIN { print ${times[qfs]} / 1e6, ${times[http3]} / 1e6, ${times[http3]} / ${times[qfs]}, ${costs[qfs]}, ${costs[http3]} }" |
      tee -a "pairs.$payload"
  done
done
for payload in 6500 1452; do
  pairs=pairs.$payload
  echo "$mib MiB in packets of up to $payload bytes, $rounds pairs, medians: qfs/1 $(median 1 "$pairs") s, HTTP/3 $(median 2 "$pairs") s," \
    "HTTP/3 takes $(median 3 "$pairs") times as long; the server's processors $(median 4 "$pairs") s and $(median 5 "$pairs") s"
done
