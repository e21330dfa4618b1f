#!/usr/bin/env bash
# Fuzzes every target of fuzz/ for so many seconds of the processor each, and says what came of it.
#   scripts/fuzz.sh                       each for 60 seconds
#   scripts/fuzz.sh 600 request ticket    these for ten minutes each
#   scripts/fuzz.sh --jobs 2 600          all for ten minutes each, two at once
# Needs a nightly toolchain and a C++ compiler, and not cargo-fuzz: the flags below are the ones that it passes. What libFuzzer
# finds on the way lies below the target directory; a crash is kept there too, and named. Put what crashed into
# fuzz/corpus/TARGET once it is mended: everything there runs in each `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

usage() { sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "../scripts/fuzz.sh"; exit "${1:-0}"; }
seconds=60 jobs=1
if [[ ${1:-} == --jobs ]]; then
  [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage 2 >&2
  jobs=$2
  shift 2
fi
case ${1:-} in
  -h | --help) usage ;;
  -* | 0*) usage 2 >&2 ;;
  [0-9]*) seconds=$1; shift ;;
esac
targets=("$@")
((${#targets[@]})) || mapfile -t targets < <(cd corpus && printf '%s\n' *)

host=$(rustc -vV | sed -n 's/^host: //p')
# Coverage of each edge and of what is compared, and the address sanitizer.
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
flags+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address --cfg fuzzing"
export RUSTFLAGS=$flags CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
cargo +nightly build --release --quiet --target "$host" --bins
built=$CARGO_TARGET_DIR/$host/release

# One target, again and again until it has had its seconds: what others leave of the processor may be much less than the clock says.
fuzz() {
  local target=$1 processor=0 runs=0 edges=0 verdict="nothing wrong" spent
  local found=$CARGO_TARGET_DIR/found/$target crashes=$CARGO_TARGET_DIR/crashes/$target log=$CARGO_TARGET_DIR/$target.log
  mkdir -p "$found" "$crashes"
  TIMEFORMAT='%U %S'
  while ((processor < seconds)) && [[ $verdict == "nothing wrong" ]]; do
    spent=$({ time "$built/$target" -max_total_time=$((seconds - processor)) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
      -artifact_prefix="$crashes/" "$found" "corpus/$target" >"$log" 2>&1; } 2>&1) || verdict="FAILED, see $log"
    # At least one second, so that this ends whatever `time` says.
    ((processor += $(awk '{ seconds = int($1 + $2); print seconds < 1 ? 1 : seconds }' <<<"$spent"))) || true
    ((runs += $(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1))) || true
    edges=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 || true)
  done
  printf '%-18s %9s %12s %8s %s\n' "$target" "$processor" "$runs" "${edges#cov: }" "$verdict"
  [[ $verdict == "nothing wrong" ]]
}

failed=0
running=()
printf '%-18s %9s %12s %8s %s\n' target processor executions edges found
for target in "${targets[@]}"; do
  while (($(jobs -pr | wc -l) >= jobs)); do sleep 0.2; done
  fuzz "$target" &
  running+=($!)
done
for pid in "${running[@]}"; do wait "$pid" || failed=1; done
exit "$failed"
