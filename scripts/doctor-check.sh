#!/usr/bin/env bash
# `qfs-client doctor` in network namespaces with a fault planted in each: it must name that one. Says how often it did.
#   scripts/doctor-check.sh            needs root, or a kernel that lets anybody make network and mount namespaces
# Nothing of this machine's network is touched, and nothing is left behind: the namespaces end with the script.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ${1:-} != --inside ]]; then
  # What this machine has whatever is planted: its kernel's limit of socket buffers, which network namespaces do not show.
  LIMIT=$(cat /proc/sys/net/core/rmem_max)
  # The emulated link needs the real root.
  WAN=no
  if ((EUID == 0)) && [[ -e /dev/net/tun ]]; then WAN=yes; fi
  export LIMIT WAN
  cargo build --quiet --locked --bin qfs-client --bin qfs-server --bin qfs-wan
  if ((EUID == 0)); then exec unshare --net --mount "$0" --inside; fi
  exec unshare --user --map-root-user --net --mount "$0" --inside
fi

bin=$PWD/${CARGO_TARGET_DIR:-target}/debug
[[ ${CARGO_TARGET_DIR:-} != /* ]] || bin=$CARGO_TARGET_DIR/debug
work=$(mktemp -d)
server=
far=
cleanup() {
  [[ -n $server ]] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
  [[ -n $far ]] && kill "$far" 2>/dev/null
  mountpoint --quiet "$work/small" && umount "$work/small"
  rm -rf "$work"
}
trap cleanup EXIT

# The client's side is a namespace of its own, held open by a program that does nothing.
unshare --net sleep 600 &
far=$!
until [[ $(readlink "/proc/$far/ns/net") != "$(readlink /proc/self/ns/net)" ]]; do sleep 0.01; done
there() { nsenter --target "$far" --net -- "$@"; }
ip link add near type veth peer name far
ip link set far netns "$far"
ip addr add 10.77.0.1/24 dev near
ip link set near up
ip link set lo up
there ip addr add 10.77.0.2/24 dev far
there ip link set far up
there ip link set lo up

mkdir -p "$work/root" "$work/small"
head -c 8000000 /dev/urandom >"$work/root/large"
export QFS_CONFIG_DIR=$work/config QFS_CACHE_DIR=$work/cache
serve() {
  if [[ -n $server ]]; then
    kill "$server"
    wait "$server" || true
  fi
  "$bin/qfs-server" --ip 10.77.0.1 --port 8000 --root "$work/root" --certs "$work/certs" --drain-timeout 100ms --quiet "$@" >"$work/server" &
  server=$!
  until grep -q ^ticket "$work/server"; do
    kill -0 "$server"
    sleep 0.02
  done
  ticket=$(sed -n 's/^ticket //p' "$work/server")
}

planted=0
named=0
save=$work
# expect FAULT CODE FINDING SERVER: the only warning or error, besides that of the buffers, is FINDING, "LEVEL CHECK" or nothing.
expect() {
  local got=0
  there "$bin/qfs-client" --save-dir "$save" --connect-timeout 2s doctor "$4" >"$work/said" 2>"$work/err" || got=$?
  judge "$1" "$2" "$3" "$got"
}
judge() {
  local fault=$1 code=$2 expected=$3 got=$4 found
  found=$(awk '$1 != "ok" && $2 != "socket-buffers" {printf "%s%s %s", sep, $1, $2; sep = ", "}' "$work/said")
  planted=$((planted + 1))
  if [[ $got == "$code" && $found == "$expected" ]]; then
    named=$((named + 1))
    echo "$fault: ${found:-nothing}" >&2
  else
    echo "$fault: exit code $got, expected $code; found '${found}', expected '$expected'" >&2
    cat "$work/said" "$work/err" >&2
  fi
}

serve
expect "nothing wrong" 0 "" "$ticket"
for rate in rate-down rate-up; do
  planted=$((planted + 1))
  if grep -q "^ok *$rate .*MiB/s" "$work/said"; then named=$((named + 1)); fi
  echo "$rate: $(sed -n "s/^ok *$rate *//p" "$work/said")" >&2
done
if ((LIMIT < 4194304)); then
  planted=$((planted + 1))
  if grep -q "^warning *socket-buffers .*sysctl -w net.core.rmem_max=" "$work/said"; then named=$((named + 1)); fi
  echo "small buffers: $(grep -o 'grants.*receiving' "$work/said")" >&2
fi
wrong=qfs://10.77.0.1:8000#sha256:$(printf '0%.0s' {1..64})
expect "wrong fingerprint" 4 "error trust" "$wrong"
expect "server not known" 4 "error trust" 10.77.0.1:8000
expect "wrong port" 3 "error reach" "${ticket/:8000/:8001}"
expect "name that does not resolve" 3 "error name" "${ticket/10.77.0.1/nowhere.invalid}"

mount -t tmpfs -o size=64k none "$work/small"
head -c 65536 /dev/zero >"$work/small/full" 2>/dev/null || true
save=$work/small
expect "full disk" 0 "error disk" "$ticket"
save=$work
umount "$work/small"

ip link set near mtu 1300
there ip link set far mtu 1300
expect "small MTU" 0 "warning mtu" "$ticket"
ip link set near mtu 1500
there ip link set far mtu 1500

serve --auth tokens
expect "token needed" 0 "error access" "$ticket"
serve

# Before the table of this machine's own addresses is asked, which is first otherwise.
ip rule add priority 10 iif near ipproto udp blackhole
ip rule add priority 20 lookup local
ip rule del priority 0
expect "UDP blocked" 0 "warning udp" "$ticket"
ip rule add priority 11 iif near blackhole
expect "everything blocked" 3 "error reach" "$ticket"

# across FAULT CHECK LINK...: the same over an emulated link.
across() {
  local fault=$1 check=$2 got=0
  shift 2
  # shellcheck disable=SC2016
  "$bin/qfs-wan" "$@" -- bash -c '
    ip netns exec "$WAN_A" "$0/qfs-server" --ip "$WAN_A_IP" --port 8000 --root "$1/root" --certs "$1/certs" --quiet >"$1/wan-server" &
    until grep -q ^ticket "$1/wan-server"; do sleep 0.02; done
    ip netns exec "$WAN_B" "$0/qfs-client" --save-dir "$1" doctor "$(sed -n "s/^ticket //p" "$1/wan-server")" >"$1/said" 2>"$1/err"
    code=$?
    kill %1
    exit $code' "$bin" "$work" 2>"$work/wan" || got=$?
  judge "$fault" 0 "warning $check" "$got"
}
if [[ $WAN == yes ]]; then
  across "lossy path" loss --rate 100 --delay 5 --loss 3
  across "long path" round-trip --rate 100 --delay 90
fi

echo "doctor named $named of $planted faults" >&2
((named * 10 >= planted * 9))
