#!/usr/bin/env bash
# How fast one file comes over HTTP/3, beside the same over qfs/1: whole processes in turns, ratios pair by pair.
#   scripts/http3-speed.sh            1 GiB, 7 rounds
#   scripts/http3-speed.sh 64 3       MiB, rounds
# A client of HTTP/3 is in crates/qfs-testkit/examples: the curl of Debian has none.
set -euo pipefail
cd "$(dirname "$0")/.."
mib=${1:-1024} rounds=${2:-7}
cargo build --release --locked --quiet -p qfs-client -p qfs-server -p qfs-testkit --bins --example http3_get
bin=$(realpath "${CARGO_TARGET_DIR:-target}")/release
work=$(mktemp -d)
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
qfs() { timed "$bin/qfs-client" --quiet get f --save-dir here; cmp -s here/f root/f; rm -r here; }
http3() { timed "$bin/examples/http3_get" "$address" f there; cmp -s there root/f; rm there; }
for ((round = 0; round <= rounds; round++)); do
  order=(qfs http3)
  ((round % 2)) || order=(http3 qfs)
  declare -A times
  for which in "${order[@]}"; do "$which"; times[$which]=$took; done
  # The first round does not count.
  ((round == 0)) || awk "BEGIN { print ${times[qfs]} / 1e6, ${times[http3]} / 1e6, ${times[http3]} / ${times[qfs]} }" | tee -a pairs
done
median() { awk -v column="$1" '{ print $column }' pairs | sort -n | sed -n "$(((rounds + 1) / 2))p"; }
echo "$mib MiB, $rounds pairs, medians: qfs/1 $(median 1) s, HTTP/3 $(median 2) s, HTTP/3 takes $(median 3) times as long"
