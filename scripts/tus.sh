#!/usr/bin/env bash
# tus-js-client, a client of resumable uploads in another language, against a real qfs-server that is killed half-way (tests/tus).
#   QFS_SERVER_BIN   the server to test (default: target/release/qfs-server, else target/debug/qfs-server)
# Its package is installed once, into target/tus.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
# shellcheck source=scripts/common.sh
source scripts/common.sh
find_server release debug
command -v npm >/dev/null || fail "npm is not installed" "apt-get install nodejs npm"
mkdir -p "$target/tus"
cp tests/tus/* "$target/tus/"
if ! cmp -s tests/tus/package.json "$target/tus/installed"; then
  npm install --prefix "$target/tus" --no-audit --no-fund --silent
  cp tests/tus/package.json "$target/tus/installed"
fi
# The certificate is the server's own.
NODE_TLS_REJECT_UNAUTHORIZED=0 NODE_NO_WARNINGS=1 timeout 120 node "$target/tus/check.js" "$server"
