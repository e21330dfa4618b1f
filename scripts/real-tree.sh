#!/usr/bin/env bash
# Serves a real tree of this machine and a file of 4 GiB, fetches everything one after another and in parallel, and compares.
#   scripts/real-tree.sh [DIRECTORY]      default: the Rust toolchain's lib directory
# Needs release binaries (cargo build --release) and disk space for two copies of DIRECTORY and 10 GiB.
set -euo pipefail
cd "$(dirname "$0")/.."
tree=${1:-$(rustc --print sysroot)/lib}
bin=${CARGO_TARGET_DIR:-target}/release
work=$(mktemp -d "${TMPDIR:-/tmp}/qfs-real-XXXXXX")
server=
cleanup() {
  [[ -n $server ]] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT
export QFS_CONFIG_DIR=$work/config QFS_CACHE_DIR=$work/cache

serve() { # serve DIRECTORY: starts a server, sets ticket
  [[ -n $server ]] && kill "$server" && wait "$server"
  "$bin/qfs-server" --port 0 --root "$1" --certs "$work/certs" >"$work/log" &
  server=$!
  until grep -q '^ticket ' "$work/log"; do kill -0 "$server"; read -rt 0.05 <> <(:) || true; done
  ticket=$(sed -n 's/^ticket //p' "$work/log")
}
resident() { awk '/VmHWM/ {print $2 " KiB"}' "/proc/$server/status"; }

# Links and hidden files are not published, so they are no difference either.
published() { (cd "$tree" && find . -type f -not -path '*/.*' | sort); }
echo "== $tree: $(published | wc -l) files"
serve "$tree"
for mode in "" --parallel; do
  rm -rf "$work/copy"
  # shellcheck disable=SC2086 # no flag is no argument
  "$bin/qfs-client" --server "$ticket" --save-dir "$work/copy" get --all $mode >"$work/sums"
  (cd "$work/copy" && sha256sum --quiet -c "$work/sums")
  diff <(published) <(cd "$work/copy" && find . -type f | sort)
  (cd "$tree" && published | while IFS= read -r name; do cmp -s -- "$name" "$work/copy/$name" || echo "differs: $name"; done) >"$work/differs"
  [[ ! -s $work/differs ]] || { cat "$work/differs"; exit 1; }
  echo "== get --all $mode: no difference; server peak $(resident)"
done
rm -rf "$work/copy"

echo "== one file of 4 GiB"
mkdir "$work/large"
head -c 4294967296 /dev/urandom >"$work/large/large.bin"
serve "$work/large"
/usr/bin/env time -f "client peak %M KiB" "$bin/qfs-client" --server "$ticket" --save-dir "$work/copy" get large.bin 2>&1 >"$work/sums" | grep -v '^$' || true
cmp "$work/large/large.bin" "$work/copy/large.bin"
echo "== no difference; server peak $(resident)"
