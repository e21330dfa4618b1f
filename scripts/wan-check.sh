#!/usr/bin/env bash
# wan-check.sh: qfs-wan against another emulator of the same command line, on one link: a TCP flow (iperf3) and a download each.
#
#   scripts/wan-check.sh OTHER [RATE_MBIT DELAY_MS LOSS_PCT QUEUE_KB] [--bin DIR]
#
# OTHER is called as OTHER RATE_MBIT DELAY_MS LOSS_PCT QUEUE_KB -- COMMAND..., sets WAN_A, WAN_B, WAN_A_IP and WAN_B_IP as qfs-wan does,
# and ends with a line "wan: a->b carried N lost N dropped N". Needs root, iperf3 and release binaries. Takes the two in turns, three times.
set -euo pipefail
other=${1:?an emulator to compare with}
shift
link=(100 20 0.1 500) bin=${CARGO_TARGET_DIR:-target}/release
if (($# >= 4)); then link=("${@:1:4}"); shift 4; fi
[[ ${1:-} != --bin ]] || bin=$2
bin=$(realpath "$bin")
first=; chrt -r 5 true 2>/dev/null && first='chrt -r 5'
work=$(mktemp -d "${TMPDIR:-/dev/shm}/wan-check.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/root"
head -c 50000000 /dev/urandom >"$work/root/file"
export QFS_CONFIG_DIR=$work/config QFS_CACHE_DIR=$work/cache

tcp() {
  ip netns exec "$WAN_A" $first iperf3 -s -1 >/dev/null 2>&1 &
  until ip netns exec "$WAN_A" ss -ltn | grep -q :5201; do sleep 0.05; done
  ip netns exec "$WAN_B" $first iperf3 -c "$WAN_A_IP" -R -C "$1" -t 10 -f m | awk '/receiver/ { printf "tcp %s %s Mbit/s, ", cc, $7 }' cc="$1"
  wait || true
}
quic() {
  ip netns exec "$WAN_A" $first "$bin/qfs-server" --ip "$WAN_A_IP" --port 8000 --root "$work/root" --certs "$work/certs" >"$work/server" 2>&1 &
  local server=$!
  until grep -q '^ticket ' "$work/server"; do kill -0 "$server"; sleep 0.05; done
  ip netns exec "$WAN_B" $first "$bin/qfs-client" get --json --quiet --overwrite --server "$(sed -n 's/^ticket //p' "$work/server")" --save-dir "$work/got" file |
    awk -F'"seconds":' '{ split($NF, t, /[,}]/); printf "qfs %.1f Mbit/s, ", 400 / t[1] }'
  kill "$server"
  wait || true
  rm -rf "$work/got" "$work/server"
}
export -f tcp quic
export work bin first

for turn in 1 2 3; do
  for flow in 'tcp cubic' 'tcp bbr' quic; do
    printf 'qfs-wan  '
    $first "$bin/qfs-wan" --rate "${link[0]}" --delay "${link[1]}" --loss "${link[2]}" --queue "${link[3]}" --seed "$turn" -- bash -c "$flow" 2>"$work/said"
    sed -n 's/^wan: \(a->b.*dropped [0-9]*\).*/\1/p' "$work/said"
    printf 'other    '
    WAN_SEED=$turn $first "$other" "${link[@]}" -- bash -c "$flow" 2>"$work/said"
    sed -n 's/^wan: \(a->b.*dropped [0-9]*\).*/\1/p' "$work/said"
  done
done
