#!/usr/bin/env bash
# Has a real b3sum check what `get` and `put --hash blake3` print, with odd names among them: fails when a line is not one that
# `b3sum -c` takes, or when b3sum would have printed another.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v b3sum >/dev/null || { echo "b3sum 1.5 or newer is needed (cargo install b3sum)" >&2; exit 1; }
cargo build --quiet --bin qfs-server --bin qfs-client
bin=$(realpath "${CARGO_TARGET_DIR:-target}")/debug
work=$(mktemp -d)
# shellcheck disable=SC2329 # called by the trap
finish() {
  kill "${server:-}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
cd "$work"
mkdir -p root/sub up
head -c 5000000 /dev/urandom >root/large
: >root/empty
for name in plain "two words" été $'new\nline' $'carriage\rreturn' '*star' ' lead' sub/deep; do
  printf '%s' "$name" >"root/$name"
done
cp -r root/. up
"$bin/qfs-server" --certs certs --root root --cache-dir cache --port 0 --allow read,write >out 2>err &
server=$!
for _ in $(seq 100); do grep -q '^ticket' out && break; sleep 0.1; done
export QFS_SERVER QFS_CONFIG_DIR=$work/config QFS_HASH=blake3
QFS_SERVER=$(sed -n 's/^ticket //p' out)
"$bin/qfs-client" --quiet get --all >got.b3
(cd client_env && b3sum --check --quiet ../got.b3)
"$bin/qfs-client" --quiet put up --to in >put.b3
(cd root && b3sum --check --quiet ../put.b3)
# Line for line, in whatever order.
(cd client_env && find . -type f -printf '%P\0' | xargs -0 b3sum --) | sort >theirs
sort got.b3 | diff - theirs
echo "$(wc -l <got.b3) lines of get and $(wc -l <put.b3) of put are those of $(b3sum --version)"
