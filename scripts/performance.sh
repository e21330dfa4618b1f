#!/usr/bin/env bash
# Measures every row of "Against the goals" in docs/PERFORMANCE.md with the committed code, and says which goals were reached.
#   scripts/performance.sh                    all of it at its full counts: some 70 minutes, on a machine that does nothing else
#   scripts/performance.sh --quick            small data, one round: whether everything works
#   scripts/performance.sh --runs 9 bulk wan  other counts; only these parts (see "parts" below)
#   scripts/performance.sh --before DIR       another build of qfs in turns with this one: the directory of its programs
#   scripts/performance.sh --out DIR          where the reports go (default: target/performance)
#   scripts/performance.sh --docs             also renews the picture of the README: docs/performance.json and docs/performance.svg
# Writes for each part NAME.md (the tables of the documentation), NAME.json and NAME.html, and over all of them goals.md and the
# picture, performance.svg, with its figures, performance.json; prints goals.md. A goal that is missed is a result. The exit code
# is 1 only when something could not be measured.
# Needs release binaries (made here) and, for the long links, root, `ip` and TUN devices. Peers that are not installed are left out:
#   apt-get install nginx-light curl b3sum rsync openssh-server aria2 rclone zsync
#   cargo install dufs qcp sendme
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; exit "${1:-0}"; }
runs=7
scale=full
build=1
docs=0
target=${CARGO_TARGET_DIR:-target}
out=$target/performance
wanted=()
builds=()
old=
while (($#)); do
  case $1 in
    --runs) runs=${2:?}; shift ;;
    --out) out=${2:?}; shift ;;
    --quick) runs=1 scale=quick ;;
    --before) old=${2:?}; shift ;;
    --no-build) build=0 ;;
    --docs) docs=1 ;;
    -h | --help) usage ;;
    -*) usage 2 >&2 ;;
    *) wanted+=("$1") ;;
  esac
  shift
done

# part: scenarios, peers, where the data lies, more arguments (one after each `;`). Small files lie in memory: a disk's file system spends up to a
# millisecond on each file created soon after thousands were removed, which would measure that. On a link, TCP cubic takes minutes
# under loss, which the tables of docs/PERFORMANCE.md have already.
memory=/dev/shm
[[ -d $memory && -w $memory ]] || memory=${TMPDIR:-/tmp}
disk=${TMPDIR:-/tmp}
parts=(
  "bulk|bulk|auto|$disk|--variant=qfs-1452=--mtu 1452;--variant=qfs-dense=client:--no-sparse;--variant=qfs-blake3=client:--hash=blake3;--variant=qfs-1452-blake3=--mtu 1452 client:--hash=blake3;--variant=qfs-2=client:--connections=2"
  "small|small again|curl,rsync,rsync-ssh,rclone,cp|$memory|"
  "latency|latency|curl,rsync,scp,rclone|$memory|"
  "swarm|swarm|curl,rsync|$memory|--variant=qfs-blake3=client:--hash=blake3"
  "wan|wan-clean wan-lossy|curl-bbr,qcp|$memory|"
  "wan-long|wan-long|none|$memory|"
  "wan-small|small-far small-far-again|none|$memory|"
  "wan-again|wan-again wan-long-again|none|$memory|"
  "upwards|bulk put|rsync,rsync-ssh|$disk|--variant=qfs-1452=--mtu 1452;--variant=qfs-blake3=client:--hash=blake3"
  "sync|pull push pull-again push-again pull-changed push-changed|rsync,rsync-ssh|$memory|"
  "upwards-swarm|swarm put-swarm|rsync|$memory|--variant=qfs-blake3=client:--hash=blake3"
  "wan-upwards|wan-lossy put-lossy wan-long put-long|none|$memory|"
  "changed|update insert|rsync,rsync-ssh,zsync|$disk|--variant=qfs-whole=client:--whole"
  "wan-changed|update-far insert-far|rsync,zsync|$disk|--variant=qfs-whole=client:--whole"
  "wan-other|other-far|none|$disk|--variant=qfs-whole=client:--whole"
)
for name in "${wanted[@]}"; do
  printf '%s\n' "${parts[@]}" | grep -q "^$name|" || { echo "error: no part is called $name" >&2; usage 2 >&2; }
done
is_wanted() { ((${#wanted[@]} == 0)) || [[ " ${wanted[*]} " == *" $1 "* ]]; }

if ((build)); then
  cargo build --release --locked --quiet -p qfs-client -p qfs-server -p qfs-bench -p qfs-wan --bins
fi
[[ -x $target/release/qfs-bench ]] || { echo "error: $target/release/qfs-bench is missing" >&2; echo "hint: leave out --no-build" >&2; exit 1; }
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
[[ -z $(git status --porcelain 2>/dev/null) ]] || commit="$commit with changes"
mkdir -p "$out"
rm -f "$out"/*.md "$out"/*.json "$out"/*.html "$out"/*.svg
# Copies, of either build: a program lies in the page cache in small pieces behind the linker and in large ones behind a copy, and its start
# takes 4.6 ms or 3.9 ms by that alone.
copies() {
  rm -rf "$out/programs/$2"
  mkdir -p "$out/programs/$2"
  cp "$1"/qfs-client "$1"/qfs-server "$out/programs/$2"
}
copies "$target/release" this
cp "$target/release/qfs-bench" "$target/release/qfs-wan" "$out/programs/this"
bench=$out/programs/this/qfs-bench
if [[ -n $old ]]; then
  copies "$old" before
  builds=(--build "qfs-before=$(realpath "$out")/programs/before")
fi

# The emulator and both ends compete for the processors; at real-time priority the link stays the link.
realtime=()
if chrt -r 5 true 2>/dev/null; then realtime=(chrt -r 5); fi

failed=0
measured=()
begun=$SECONDS
for part in "${parts[@]}"; do
  IFS='|' read -r name scenarios peers place more <<<"$part"
  is_wanted "$name" || continue
  before=()
  [[ $name != wan* ]] || before=("${realtime[@]}")
  arguments=(--peers "$peers" --runs "$runs" --scale "$scale" --commit "$commit" --json --work-dir "$place")
  arguments+=(--markdown "$out/$name.md" --goals "$out/$name.goals.md" --html "$out/$name.html")
  IFS=';' read -ra extra <<<"$more"
  arguments+=("${extra[@]}")
  arguments+=("${builds[@]}")
  echo "== $name ($((SECONDS - begun)) s since the start)" >&2
  # shellcheck disable=SC2086 # several scenarios are several words
  if ! timeout 2400 "${before[@]}" "$bench" run $scenarios "${arguments[@]}" >"$out/$name.json"; then
    failed=1
    echo "error: $name was not measured as it should have been" >&2
    echo "hint: see what is said above, and $out/$name.json" >&2
  fi
  # A part whose bench did not get to its end has an empty file.
  [[ ! -s $out/$name.json ]] || measured+=("$out/$name.json")
done

if ((${#measured[@]})); then
  "$bench" draw "${measured[@]}" --quiet --data "$out/performance.json" --svg "$out/performance.svg"
  if ((docs)); then cp "$out/performance.json" "$out/performance.svg" docs/; fi
fi

# One table of what all parts said of the goals.
{
  echo "Commit $commit, $(date -u +%F), $(uname -sr), $(nproc) processors; $runs rounds, scale $scale; \`scripts/performance.sh\`."
  echo
  heads=1
  for table in "$out"/*.goals.md; do
    [[ -e $table ]] || continue
    if ((heads)); then cat "$table"; else tail -n +3 "$table"; fi
    heads=0
  done
} >"$out/goals.md"
rm -f "$out"/*.goals.md
if command -v column >/dev/null && [[ -t 1 ]]; then
  sed -n '1,2p' "$out/goals.md"
  sed -n '3,$p' "$out/goals.md" | grep -v '^|---' | sed 's/^| //; s/ |$//; s/\*\*//g' | column -t -s '|'
else
  cat "$out/goals.md"
fi
echo "$((SECONDS - begun)) s; the tables and reports are in $out" >&2
exit "$failed"
