#!/usr/bin/env bash
# wan-mirrors.sh: one file from one, two and three servers, each behind an emulated link of its own, and from three of which one lies.
# Needs root, ip(8), /dev/net/tun and binaries, the example lying_mirror among them.
#
#   scripts/wan-mirrors.sh [--rate MBIT] [--delay MS] [--size MB] [--runs N] [--bin DIR]
#
#   --rate, --delay  each link, Mbit/s and ms one way [50, 10]
#   --size MB        the file [64]
#   --runs N         runs of each, in turns [3]
#   --bin DIR        where qfs-server, qfs-client, qfs-wan and examples/lying_mirror are [target/release]
#
# Prints the median seconds of each, and what they are beside those of one server and of two.
# shellcheck disable=SC2154 # what qfs-wan and the first call export
set -euo pipefail
link() { "$bin/qfs-wan" --rate "$rate" --delay "$delay" -- "$self"; }

if [[ -z ${MIRRORS_LINKS-} ]]; then
  cd "$(dirname "$0")/.."
  self=$PWD/scripts/wan-mirrors.sh
  rate=50 delay=10 size=64 runs=3 bin=${CARGO_TARGET_DIR:-target}/release
  while (($#)); do
    case $1 in
      --rate) rate=$2 ;; --delay) delay=$2 ;; --size) size=$2 ;; --runs) runs=$2 ;; --bin) bin=$2 ;;
      *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift 2
  done
  bin=$(realpath "$bin") client=qfs-mirrors-$$ MIRRORS_LINKS=0
  work=$(mktemp -d "${TMPDIR:-/dev/shm}/wan-mirrors.XXXXXX")
  export self rate delay size runs bin client work MIRRORS_LINKS
  trap 'ip netns delete "$client" 2>/dev/null || true; rm -rf "$work"' EXIT
  mkdir "$work/root"
  head -c $((size * 1000000)) /dev/urandom >"$work/root/file"
  link 2>"$work/wan" || { cat "$work/wan" >&2; exit 1; }
  awk -v rate="$rate" -v delay="$delay" -v size="$size" '
    { t[$1] = $2 }
    END {
      printf "%d MB over links of %s Mbit/s and %s ms one way, medians in seconds\n", size, rate, delay
      printf "one server %.2f; two %.2f; three %.2f, %.2f times as fast as one; two and a liar %.2f, %+.1f %% beside two\n",
        t["one"], t["two"], t["three"], t["one"] / t["three"], t["lying"], 100 * (t["lying"] / t["two"] - 1)
    }' "$work/medians"
  exit
fi

# One link within the other: here is one more.
MIRRORS_LINKS=$((MIRRORS_LINKS + 1))
export MIRRORS_LINKS "WAN_A_$MIRRORS_LINKS=$WAN_A" "WAN_B_$MIRRORS_LINKS=$WAN_B"
if ((MIRRORS_LINKS < 4)); then
  link
  exit
fi

# All four are there: WAN_A_n is where server n is, WAN_B_n its router. The client has a wire to each router.
tickets=() servers=()
ip netns add "$client"
ip -n "$client" link set lo up
for n in 1 2 3 4; do
  a=WAN_A_$n b=WAN_B_$n
  ip -n "$client" link add "up$n" type veth peer name wire netns "${!b}"
  ip -n "$client" address add "10.97.$n.2/24" dev "up$n"
  ip -n "$client" link set "up$n" up
  ip -n "${!b}" address add "10.97.$n.1/24" dev wire
  ip -n "${!b}" link set wire up
  ip netns exec "${!b}" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
  ip -n "${!a}" link set lo up
  ip -n "${!a}" address add "10.98.$n.1/32" dev lo
  ip -n "${!a}" route add "10.97.$n.0/24" via "$WAN_B_IP" src "10.98.$n.1"
  ip -n "${!b}" route add "10.98.$n.1/32" via "$WAN_A_IP"
  ip -n "$client" route add "10.98.$n.1/32" via "10.97.$n.1"
  if ((n < 4)); then
    QFS_CACHE_DIR=$work/cache$n ip netns exec "${!a}" "$bin/qfs-server" --ip "10.98.$n.1" --port 8000 --root "$work/root" \
      --certs "$work/certs$n" >"$work/server$n" 2>&1 &
  else
    ip netns exec "${!a}" "$bin/examples/lying_mirror" "10.98.$n.1:8000" "$work/root/file" >"$work/server$n" 2>&1 &
  fi
  servers+=($!)
  until grep -q '^ticket ' "$work/server$n"; do kill -0 $!; sleep 0.05; done
  tickets+=("$(sed -n 's/^ticket //p' "$work/server$n")")
done

fetch() { # NAME SERVER...
  local name=$1 args=() server
  shift
  for server in "$@"; do args+=(--server "${tickets[server - 1]}"); done
  rm -rf "$work/got"
  QFS_CONFIG_DIR=$work/config ip netns exec "$client" "$bin/qfs-client" get file --json --no-path-notes --save-dir "$work/got" \
    "${args[@]}" >"$work/json" 2>"$work/err" || { cat "$work/err" >&2; return 1; }
  cmp "$work/root/file" "$work/got/file"
  sed -n 's/.*"seconds":\([0-9.]*\),"bytes_per_second".*/\1/p' "$work/json" >>"$work/times.$name"
  [[ $name != lying ]] || grep -q ' lied: ' "$work/err" || { echo "the liar was not named" >&2; return 1; }
}

# What is made once, is made now.
fetch warm 1 2 3
for ((run = 0; run < runs; run++)); do
  fetch one 1
  fetch two 1 2
  fetch three 1 2 3
  fetch lying 1 4 2
done
kill "${servers[@]}" 2>/dev/null || true
wait || true
for name in one two three lying; do
  sort -n "$work/times.$name" | awk -v name="$name" '{ t[NR] = $1 } END { print name, t[int((NR + 1) / 2)] }'
done >"$work/medians"
