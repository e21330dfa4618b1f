#!/usr/bin/env bash
# Runs the programs with a bucket of a real engine behind the server: moto, in Python, which is installed into a directory of its own
# and listens on a free port. `QFS_TEST_S3=http://HOST:PORT scripts/bucket.sh` takes an engine that runs already and has a bucket `demo`.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${QFS_TEST_S3:-}" ]; then
    place=$(mktemp -d)
    engine=
    trap '[ -z "$engine" ] || kill "$engine"; rm -rf "$place"' EXIT
    python3 -m venv "$place/venv"
    "$place/venv/bin/pip" install --quiet 'moto[s3,server]==5.2.5'
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$place/venv/bin/moto_server" --host 127.0.0.1 --port "$port" > "$place/log" 2>&1 &
    engine=$!
    export QFS_TEST_S3="http://127.0.0.1:$port"
    until curl -sf -X PUT "$QFS_TEST_S3/demo" > /dev/null; do
        kill -0 "$engine" || { cat "$place/log"; exit 1; }
        sleep 0.2
    done
fi
cargo test -p qfs-testkit --test bucket programs:: -- --test-threads=1 "$@"
