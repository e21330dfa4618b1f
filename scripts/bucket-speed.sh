#!/usr/bin/env bash
# How fast a bucket is behind the server: whole processes in turns, ratios pair by pair, every file compared. The engine is that of the tests,
# which keeps objects in memory and copies none: s3s-fs reads all of an object that was not put there by itself for its MD5 at every range.
#   scripts/bucket-speed.sh                       all parts at full size: some 20 minutes, on a machine that does nothing else
#   scripts/bucket-speed.sh --quick               small data, one round: whether everything works
#   scripts/bucket-speed.sh --runs 9 large two    other counts; only these parts
#   scripts/bucket-speed.sh --bin target/debug    these programs, instead of those built in release
#   scripts/bucket-speed.sh --out DIR             where the report, bucket.md, goes (default: target/bucket-speed)
# The parts:
#   large   1 GiB through qfs, and by one ranged GET of curl from the engine itself
#   far     256 MiB, where each connection to the engine has 50 ms and 25 MiB/s
#   small   10,000 files of 4 KiB where the engine is 50 ms away, and by curl, 64 at once; requests are counted
#   crowd   1,000 clients at once after 4 MiB, and the most memory that the server has had for them
#   two     8 clients after 64 MiB each, at one server and at two; each server has a link of its own to the engine: 50 ms, 50 MiB/s
# A goal that is missed is a result: the exit code is 1 only when something could not be measured.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/common.sh
source scripts/common.sh

usage() { sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; exit "${1:-0}"; }
runs=7 large=1024 far=256 small=10000 crowd=1000 crowd_mib=4 two=64
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
out=$target/bucket-speed bin='' parts=()
while (($#)); do
    case $1 in
        --quick) runs=1 large=64 far=32 small=300 crowd=30 crowd_mib=1 two=8 ;;
        --runs) runs=${2:?}; shift ;;
        --bin) bin=$(realpath "${2:?}"); shift ;;
        --out) out=${2:?}; shift ;;
        -h | --help) usage ;;
        large | far | small | crowd | two) parts+=("$1") ;;
        *) usage 2 >&2 ;;
    esac
    shift
done
((${#parts[@]})) || parts=(large far small crowd two)

place=$(mktemp -d)
trap 'end_engines; rm -rf "$place"' EXIT
mkdir -p "$out"
out=$(realpath "$out")

if [[ -z $bin ]]; then
    cargo build --release --locked --quiet -p qfs-client -p qfs-server -p qfs-bench -p qfs-testkit --bins --example bucket_link \
        --example s3_engine
    bin=$target/release
fi
cd "$place"
mkdir -p bucket/demo
export AWS_ALLOW_HTTP=true AWS_SKIP_SIGNATURE=true AWS_REGION=us-east-1 QFS_CONFIG_DIR=$place/config QFS_CACHE_DIR=$place/cache QFS_NO_PATH_NOTES=1
unset AWS_ENDPOINT_URL

# bucket: starts the engine with what lies in bucket/demo; sets `s3_address`.
bucket() {
    engine s3 "$bin/examples/s3_engine" 127.0.0.1:0 bucket/demo
    s3_address=$address
}

# link ARGUMENT...: what lies between a server and the engine; sets `address`.
link() { engine link "$bin/examples/bucket_link" "${s3_address#http://}" "$@"; }

# serve ADDRESS PREFIX [ARGUMENT...]: starts a server on what lies there; sets `ticket` and `server`.
serve() {
    local log="$place/server-$((++engine_number))"
    : >"$log"
    AWS_ENDPOINT_URL=$1 "$bin/qfs-server" --root "s3://demo/$2" --port 0 --certs certs "${@:3}" >"$log" 2>"$log.err" &
    server=$!
    engines+=("$server")
    for ((waited = 0; waited < 100; waited++)); do
        ticket=$(sed -n 's/^ticket //p' "$log")
        [[ -z $ticket ]] || return 0
        sleep 0.1
    done
    cat "$log.err" >&2
    fail "the server did not start" "its words are above"
}

# data PREFIX COUNT MIB: objects of noise.
data() {
    mkdir -p "bucket/demo/$1"
    for ((number = 0; number < $2; number++)); do head -c "$(($3 << 20))" /dev/urandom >"bucket/demo/$1/$number"; done
}

# Runs a command; sets `took` to its microseconds.
timed() {
    local begun=${EPOCHREALTIME/./}
    "$@" >/dev/null
    took=$((${EPOCHREALTIME/./} - begun))
}

# pairs NAME A B: runs the functions A and B, which set `took`, in turns; sets `first`, `second` (medians, s) and `ratio` (the median of A's time by B's).
pairs() {
    local name=$1 one=$2 other=$3 round which order
    local -A times
    : >"$name.pairs"
    # The first round does not count, unless it is the only one.
    for ((round = runs > 1 ? 0 : 1; round <= runs; round++)); do
        order=("$one" "$other")
        ((round % 2)) || order=("$other" "$one")
        for which in "${order[@]}"; do "$which"; times[$which]=$took; done
        ((round == 0)) || awk "BEGIN { print ${times[$one]} / 1e6, ${times[$other]} / 1e6, ${times[$one]} / ${times[$other]} }" >>"$name.pairs"
    done
    median() { awk -v column="$1" '{ print $column }' "$name.pairs" | sort -n | sed -n "$(((runs + 1) / 2))p"; }
    first=$(median 1) second=$(median 2) ratio=$(median 3)
}

# row PART MEASURED GOAL: a line of the report, as Markdown.
row() { printf '| %s | %s | %s |\n' "$@" | tee -a "$out/bucket.md"; }
# reached CONDITION: what a comparison of awk comes to.
reached() { awk "BEGIN { exit !($1) }" && echo reached || echo missed; }

by_curl() { timed curl --silent --show-error --fail --range "0-$((size - 1))" --output there "$from/0"; cmp -s there "$original" || fail "curl got something else" "$original"; rm there; }
by_qfs() { timed "$bin/qfs-client" --server "$ticket" --quiet get 0 --save-dir here; cmp -s here/0 "$original" || fail "qfs got something else" "$original"; rm -r here; }

# one_object PART MIB [ARGUMENT OF link]...
one_object() {
    data "$1" 1 "$2"
    bucket
    (($# == 2)) || link "${@:3}"
    size=$(($2 << 20)) from=$address/demo/$1 original=bucket/demo/$1/0
    serve "$address" "$1"
    pairs "$1" by_curl by_qfs
}
part_large() {
    one_object large "$large"
    row "$large MiB" "curl $first s, qfs $second s: $ratio x" "0.9 x: $(reached "$ratio >= 0.9")"
}
part_far() {
    one_object far "$far" --latency 50 --each 25
    row "$far MiB, 50 ms and 25 MiB/s for each connection" "curl $first s, qfs $second s: $ratio x" "-"
}

many_by_curl() { timed curl --silent --show-error --fail --parallel --parallel-max 64 --config urls 2>curl.log || fail "curl failed" "$(tail -n 3 curl.log)"; diff -r there bucket/demo/small || fail "curl got something else" small; rm -r there; }
many_by_qfs() {
    curl --silent --fail "$far_address/counts" >/dev/null
    timed "$bin/qfs-client" --server "$ticket" --quiet get --all --save-dir here
    counts=$(curl --silent --fail "$far_address/counts")
    diff -r here bucket/demo/small || fail "qfs got something else" small
    rm -r here
}
part_small() {
    local gets heads lists others most
    mkdir -p bucket/demo/small
    head -c "$((small << 12))" /dev/urandom | (cd bucket/demo/small && split --bytes 4096 --suffix-length 5 --numeric-suffixes - f)
    bucket
    link --latency 50
    far_address=$address
    for file in bucket/demo/small/*; do printf 'url = "%s/demo/small/%s"\noutput = "there/%s"\ncreate-dirs\n' "$address" "${file##*/}" "${file##*/}"; done >urls
    # Times as listed: a HEAD for each would be for the listing, and once.
    serve "$address" small --root-option qfs_times=listed
    pairs small many_by_curl many_by_qfs
    read -r _ gets _ heads _ lists _ others _ most <<<"$counts"
    row "$small files of 4 KiB, 50 ms" "$gets GET, $heads HEAD, $lists LIST, $others others, $most at once; curl $first s, qfs $second s: $ratio x" \
        "one each, 64 at once: $(reached "$gets == $small && $heads == 0 && $others == 0 && $most >= 64")"
}

part_crowd() {
    local resident result
    data crowd 1 "$crowd_mib"
    bucket
    serve "$s3_address" crowd
    result=$(timeout 900 "$bin/qfs-bench" --server "$ticket" --processes "$crowd" --files 0 --timeout 600 --out "$out/crowd.txt" 2>&1) ||
        fail "not every client of the crowd got its file" "$result"
    resident=$(awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$server/status")
    row "$crowd clients at once, $crowd_mib MiB" "$resident MiB resident at most; all done in $(head -n 1 "$out/crowd.txt") s" \
        "512 MiB: $(reached "$resident <= 512")"
}

# Eight clients, spread over the servers of `spread`, each after an object of its own.
all_clients() {
    local clients=() client
    for ((client = 0; client < 8; client++)); do
        "$bin/qfs-client" --server "${spread[client % ${#spread[@]}]}" --quiet get "$client" --save-dir "here/$client" &
        clients+=($!)
    done
    for client in "${clients[@]}"; do wait "$client" || fail "a client failed" "its words are above"; done
}
# at_servers TICKET...
at_servers() {
    local object
    spread=("$@")
    timed all_clients
    for ((object = 0; object < 8; object++)); do
        cmp -s "here/$object/$object" "bucket/demo/two/$object" || fail "qfs got something else" "$object"
    done
    rm -r here
}
at_one() { at_servers "${tickets_of_two[0]}"; }
at_two() { at_servers "${tickets_of_two[@]}"; }
part_two() {
    data two 8 "$two"
    bucket
    tickets_of_two=()
    for _ in 1 2; do
        link --latency 50 --all 50
        serve "$address" two
        tickets_of_two+=("$ticket")
    done
    pairs two at_one at_two
    row "8 clients, $two MiB each, every server with a link of 50 ms and 50 MiB/s" "one server $first s, two $second s: $ratio x" "1.8 x: $(reached "$ratio >= 1.8")"
}

{
    printf 'Medians of %s pairs in turns, engine, servers and clients on one machine of %s cores, %s.\n\n' "$runs" "$(nproc)" "$("$bin/qfs-server" --version)"
    printf '| what | measured | goal |\n|---|---|---|\n'
} | tee "$out/bucket.md"
for part in "${parts[@]}"; do
    "part_$part"
    end_engines
    rm -r bucket/demo/*
done
