#!/usr/bin/env bash
# Runs the programs with a bucket of a real engine behind the server: moto, in Python, which is installed once, into
# target/bucket-venv, and listens on a free port until the tests have ended; and tries contrib/kubernetes. Arguments go to the test program.
#   QFS_TEST_S3=http://HOST:PORT scripts/bucket.sh    takes an engine that runs already and has a bucket `demo`
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/common.sh
source scripts/common.sh

place=$(mktemp -d)
engines=()
end() {
    ((${#engines[@]} == 0)) || { kill "${engines[@]}" 2>/dev/null || true; wait "${engines[@]}" 2>/dev/null || true; }
    rm -rf "$place"
}
trap end EXIT

# engine NAME COMMAND...: starts one on a port that it chooses itself, and sets `address` to http://HOST:PORT, as it says it.
engine() {
    local name=$1 log="$place/$1.log"
    "${@:2}" >"$log" 2>&1 &
    engines+=($!)
    for ((waited = 0; ; waited++)); do
        address=$(grep -om1 'http://127\.0\.0\.1:[1-9][0-9]*' "$log" || true)
        [[ -z $address ]] || return 0
        if ((waited == 300)) || ! kill -0 "${engines[-1]}" 2>/dev/null; then
            cat "$log" >&2
            fail "$name did not start" "its words are above"
        fi
        sleep 0.1
    done
}

python_packages bucket-venv tests/bucket/requirements.txt --no-deps
if [[ -z ${QFS_TEST_S3:-} ]]; then
    engine moto env PYTHONUNBUFFERED=1 "$venv/bin/moto_server" --host 127.0.0.1 --port 0
    export QFS_TEST_S3=$address
    curl --silent --show-error --fail --retry 10 --retry-connrefused --output /dev/null -X PUT "$QFS_TEST_S3/demo"
fi
# With the workspace's selection of features, as scripts/test.sh builds it.
cargo test --locked --workspace --test bucket programs:: -- --test-threads=1 "$@"
"$venv/bin/python" tests/bucket/manifest.py "${CARGO_TARGET_DIR:-target}/debug/qfs-server" "$QFS_TEST_S3"
