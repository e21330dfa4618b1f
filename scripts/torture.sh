#!/usr/bin/env bash
# The long versions of the torture suite: the real programs, killed, starved, lied to and cut off. Same code as the short
# versions in CI (crates/qfs-testkit/tests/torture), with the counts of docs/RELIABILITY.md.
#   scripts/torture.sh                       everything at its full count, about two hours on two cores
#   scripts/torture.sh kills restarts        these parts only (see "parts" below)
#   scripts/torture.sh --seed 7              the random decisions of another run; without it the seed is the time, and printed
#   scripts/torture.sh --scale 1 …           the short counts of CI, times N
#   scripts/torture.sh --hours 1 soak        a mixed load for so long, the server's memory and descriptors watched
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; exit "${1:-0}"; }
seed=$(date +%s)
scale=""
hours=1
wanted=()
while (($#)); do
  case $1 in
    --seed) seed=${2:?}; shift ;;
    --scale) scale=${2:?}; shift ;;
    --hours) hours=${2:?}; shift ;;
    -h | --help) usage ;;
    -*) usage 2 >&2 ;;
    *) wanted+=("$1") ;;
  esac
  shift
done

# part: the tests whose names contain the filter, and their full counts.
parts=(
  "kills:kills::: KILLS=200 DAMAGED_PARTIALS=200"
  "restarts:restarts::: RESTARTS=100 RESTARTS_SMALL=100"
  "versions:versions::: CHANGES_SERVED=100 CHANGES_BETWEEN=100"
  "networks:networks::: NET_BURST_LOSS=20 NET_MESS=20 NET_CORRUPTION=20 NET_BLACKHOLE=20 NET_FAR=20 NET_REBINDING=20"
  "malice:malicious_server::: "
  "batches:malicious_batches::: "
  "maps:malicious_maps::: MAP_LIES=1000 SEED_LIES=1000"
  "mirrors:mirrors::: MIRROR_LIES=1000 MIRROR_DEATHS=100"
  "malice-clients:malicious_client::: "
  "http:http::: HTTP_FLOOD=200000 HTTP_SLOW=300 HTTP_SHAPES=20"
  "http-uploads:http_uploads::: HTTP_UPLOADS=200"
  "incoming:incoming::: UPLOADS=200 REPLACEMENTS=200 UPLOAD_RACES=100"
  "paths:paths::: PATH_CASES=1000000 RACE_SECONDS=60"
  "spoofed:spoofed::: SPOOF_PAIRS=7 SPOOF_MIB=512"
  "ways:ways::: UDP_CUT=20 UDP_CUT_TO_CLIENT=20 UDP_CUT_TO_SERVER=20 TCP_CUT=20 UDP_BLOCKED=20 TCP_DRAINS=20"
  "disk:disk::: SWEEP_DEPTH=40 SERVER_SWEEP_DEPTH=40"
  "twins:twins::: TWINS=100"
  "crowd:crowd::: CONNECTIONS=1000 SLOWLORIS=1000 SMALL_FILES=10000 LISTED_FILES=100000"
  "stalled:stalled::: STALLED=1000 BESIDE=1000 PAIRS=5"
  "shortage:shortage::: SHORTAGES=20"
  "drain:drain::: DRAINS=50"
  "endpoints:endpoints::: ENDPOINT_CLIENTS=50"
  "resume:resume::: RESUMES=500"
  "power:power::: "
  "alike:alike::: ROUND_TRIPS=500 ALIKE_PEERS=200 DOUBTS=200"
)

echo "torture: seed $seed"
# The workspace's selection of features, as CI has it: a package's own would build every dependency anew.
cargo build --release --locked --quiet --workspace --bin qfs-client --bin qfs-server
test_binary=$(cargo test --locked --workspace --test torture --no-run --message-format=json 2>/dev/null |
  sed -n 's/.*"executable":"\([^"]*torture-[^"]*\)".*/\1/p' | tail -n 1)
export QFS_TORTURE_BIN=$PWD/${CARGO_TARGET_DIR:-target}/release QFS_TORTURE_SEED=$seed
[[ ${CARGO_TARGET_DIR:-} != /* ]] || QFS_TORTURE_BIN=$CARGO_TARGET_DIR/release
[[ -z $scale ]] || export QFS_TORTURE_SCALE=$scale
results=$(mktemp) log=$(mktemp)
trap 'rm -f "$results" "$log"' EXIT
failed=0

is_wanted() { ((${#wanted[@]} == 0)) || [[ " ${wanted[*]} " == *" $1 "* ]]; }

# Runs the tests of a filter with these settings; shows one line of progress, keeps the results.
run_part() {
  local name=$1 filter=$2 line
  shift 2
  local status=0
  env "$@" "$test_binary" --nocapture --test-threads=1 "$filter" >"$log" 2>&1 &
  local pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    line=$(grep '^.*torture: ' "$log" 2>/dev/null | tail -n 1 | sed 's/.*torture: //' || true)
    [[ ! -t 2 ]] || printf '\r\033[K%s: %.100s' "$name" "$line" >&2
    sleep 1
  done
  wait "$pid" || status=$?
  [[ ! -t 2 ]] || printf '\r\033[K' >&2
  sed -n 's/.*torture-result: //p' "$log" | tee -a "$results"
  if ((status)); then
    failed=1
    echo "$name | FAILED | see below | " | tee -a "$results"
    grep -v '^torture: ' "$log" | tail -n 60 >&2
  fi
}

for part in "${parts[@]}"; do
  name=${part%%:*} rest=${part#*:}
  filter=${rest%%:::*}:: counts=${rest#*::: }
  is_wanted "$name" || continue
  settings=()
  if [[ -z $scale ]]; then for count in $counts; do settings+=("QFS_TORTURE_$count"); done; fi
  run_part "$name" "$filter" "${settings[@]}"
done
if is_wanted soak; then
  run_part soak soak:: "QFS_TORTURE_SOAK_SECONDS=$(awk "BEGIN { print int($hours * 3600) }")"
fi

printf '\n%-24s %-12s %-70s %s\n' test count figure time
while IFS='|' read -r name count figure time; do
  printf '%-24s %-12s %-70s %s\n' "${name% }" "${count# }" "${figure# }" "${time# }"
done <"$results"
echo "seed $seed; commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown); $(nproc) processors; $(uname -sr)"
exit "$failed"
