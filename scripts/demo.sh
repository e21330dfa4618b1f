#!/usr/bin/env bash
# Shows qfs at work on this machine: builds it, publishes a sample directory, lists it, downloads it one after another and in
# parallel, checks every sum, lets the menu answer a script, runs the benchmark, stops the server, leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '\n\033[1m%s\033[0m\n' "== $*"; }
[[ -t 1 && -z ${NO_COLOR:-} ]] || say() { printf '\n== %s\n' "$*"; }

work=$(mktemp -d)
server=
cleanup() {
  [[ -n $server ]] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT

say "Build"
cargo build --release --locked --bins
bin=${CARGO_TARGET_DIR:-target}/release
export QFS_CONFIG_DIR=$work/config QFS_CACHE_DIR=$work/cache

say "A directory to hand out: small, large, empty, nested and oddly named files"
root=$work/published
mkdir -p "$root/models/v2" "$root/empty directory"
printf 'station,temperature\nZürich,3.5\n' >"$root/weather.csv"
: >"$root/empty.dat"
head -c 100000000 /dev/urandom >"$root/models/v2/weights.bin"
head -c 3000000 /dev/urandom >"$root/name with spaces.bin"
printf 'こんにちは\n' >"$root/日本語.txt"
printf 'a name that looks like an option\n' >"$root/-rf"
for i in $(seq -w 1 200); do printf 'part %s\n' "$i" >"$root/models/part-$i.txt"; done

"$bin/qfs-server" --ip 127.0.0.1 --port 0 --root "$root" --certs "$work/certs" >"$work/server.log" &
server=$!
until grep -q '^ticket ' "$work/server.log"; do
  kill -0 "$server" || { cat "$work/server.log"; exit 1; }
  read -rt 0.05 <> <(:) || true
done
cat "$work/server.log"
ticket=$(sed -n 's/^ticket //p' "$work/server.log")
qfs() { "$bin/qfs-client" --server "$ticket" "$@"; }

say "List"
qfs list | head -n 5
echo "…"

say "Download one after another, and check with sha256sum"
qfs --save-dir "$work/one" get weather.csv "name with spaces.bin" 日本語.txt -- -rf >"$work/sums"
cat "$work/sums"
(cd "$work/one" && sha256sum -c "$work/sums")

say "Download everything in parallel on one connection"
qfs --save-dir "$work/all" get --all --parallel >"$work/sums"
(cd "$work/all" && sha256sum --quiet -c "$work/sums") && echo "$(wc -l <"$work/sums") files, every sum right"
(cd "$root" && find . -type f | sort) >"$work/there"
(cd "$work/all" && find . -type f | sort) >"$work/here"
diff "$work/there" "$work/here" && diff -r "$work/all/models" "$root/models" && echo "no difference"

say "The same again: nothing has changed, nothing is sent"
qfs --save-dir "$work/all" get --all --parallel >/dev/null

say "The menu, answering a script"
printf '2\nweather.csv, empty.dat\n3\n' | qfs --save-dir "$work/menu"

say "20 processes fetch the same file at once"
port=$(sed -E 's#^qfs://[^:]+:([0-9]+).*#\1#' <<<"$ticket")
"$bin/qfs-bench" -n 20 --ip 127.0.0.1 --port "$port" --files models/v2/weights.bin --out "$work/total_download_time.txt"
cat "$work/total_download_time.txt"

say "Stop the server"
kill -TERM "$server"
wait "$server"
server=
echo "stopped, nothing left behind"
