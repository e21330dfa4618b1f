#!/usr/bin/env bash
# The whole programs in two network namespaces between which no UDP gets through: dropped on its way in, as a firewall does. The client
# must find its way over TCP within a second, by itself, and fetch everything right.
#   scripts/without-udp.sh             needs root, or a kernel that lets anybody make a network namespace
# Nothing of this machine's network is touched, and nothing is left behind: the namespaces end with the script.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ${1:-} != --inside ]]; then
  cargo build --quiet --locked --bin qfs-client --bin qfs-server
  if ((EUID == 0)); then exec unshare --net --mount "$0" --inside; fi
  exec unshare --user --map-root-user --net --mount "$0" --inside
fi

bin=$PWD/${CARGO_TARGET_DIR:-target}/debug
[[ ${CARGO_TARGET_DIR:-} != /* ]] || bin=$CARGO_TARGET_DIR/debug
work=$(mktemp -d)
server=
cleanup() {
  [[ -n $server ]] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT

# The client's side is a namespace of its own, held open by a program that does nothing.
unshare --net sleep 600 &
far=$!
until [[ $(readlink "/proc/$far/ns/net") != "$(readlink /proc/self/ns/net)" ]]; do sleep 0.01; done
trap 'kill "$far" 2>/dev/null; cleanup' EXIT
there() { nsenter --target "$far" --net -- "$@"; }
ip link add near type veth peer name far
ip link set far netns "$far"
ip addr add 10.77.0.1/24 dev near
ip link set near up
ip link set lo up
there ip addr add 10.77.0.2/24 dev far
there ip link set far up
# Before the table of this machine's own addresses is asked, which is first otherwise.
ip rule add priority 10 iif near ipproto udp blackhole
ip rule add priority 20 lookup local
ip rule del priority 0

mkdir -p "$work/root/sub"
head -c 3000000 /dev/urandom >"$work/root/large"
for n in {1..50}; do echo "$n" >"$work/root/sub/$n"; done
export QFS_CONFIG_DIR=$work/config QFS_CACHE_DIR=$work/cache
"$bin/qfs-server" --ip 10.77.0.1 --port 8000 --root "$work/root" --certs "$work/certs" --quiet >"$work/server" &
server=$!
until grep -q ^ticket "$work/server"; do sleep 0.02; done
ticket=$(sed -n 's/^ticket //p' "$work/server")

client() { there "$bin/qfs-client" --server "$ticket" --save-dir "$work/got" "$@"; }
if client list --transport udp --connect-timeout 1s 2>"$work/udp"; then
  echo "UDP gets through: nothing is shown by this" >&2
  exit 1
fi
client get --all --parallel --connect-timeout 1s -v >"$work/sums" 2>"$work/said"
(cd "$work/got" && sha256sum --quiet --check ../sums)
diff -r "$work/root" "$work/got"
grep -q 'way=tcp' "$work/said"
echo "without UDP: connected within a second over TCP, $(wc -l <"$work/sums") files right"
