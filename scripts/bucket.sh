#!/usr/bin/env bash
# Runs the programs with a bucket of a real engine behind the server: moto, an S3 in Python, s3s-fs, an S3 in Rust, and Azurite, an Azure in
# JavaScript, each installed once, into target/bucket-venv, target/bucket-s3s and target/bucket-azurite, and ended with the tests; then with
# an engine of our own that knows what Google has instead; and tries contrib/kubernetes. Arguments go to the test program.
#   QFS_TEST_S3=http://HOST:PORT scripts/bucket.sh         takes an engine of S3 that runs already and has a bucket `demo`
#   QFS_TEST_AZURE=http://HOST:PORT scripts/bucket.sh      takes an Azurite that runs already and has a container `demo`
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/common.sh
source scripts/common.sh

place=$(mktemp -d)
installing='' building=''
end() {
    [[ -z $installing$building ]] || kill $installing $building 2>/dev/null || true
    end_engines
    rm -rf "$place"
}
trap end EXIT

# The packages of the one come while those of the other are used.
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
azurite=$target/bucket-azurite s3s=$target/bucket-s3s
if [[ -z ${QFS_TEST_AZURE:-} ]] && ! cmp -s tests/bucket/package.json "$azurite/installed"; then
    command -v npm >/dev/null || fail "npm is not installed" "apt-get install nodejs npm"
    mkdir -p "$azurite"
    cp tests/bucket/package.json "$azurite/"
    npm install --prefix "$azurite" --omit=optional --no-audit --no-fund --silent >"$place/npm.log" 2>&1 &
    installing=$!
fi
# The last one that Rust 1.95 builds.
if [[ -z ${QFS_TEST_S3:-} && ! -x $s3s/bin/s3s-fs ]]; then
    cargo install --locked --quiet --root "$s3s" --features binary s3s-fs@0.14.1 >"$place/s3s.log" 2>&1 &
    building=$!
fi
python_packages bucket-venv tests/bucket/requirements.txt --no-deps
theirs=${QFS_TEST_S3:-}
if [[ -z $theirs ]]; then
    engine moto env PYTHONUNBUFFERED=1 "$venv/bin/moto_server" --host 127.0.0.1 --port 0
    QFS_TEST_S3=$address
    curl --silent --show-error --fail --retry 10 --retry-connrefused --output /dev/null -X PUT "$QFS_TEST_S3/demo"
fi
# With the workspace's selection of features, as scripts/test.sh builds it.
QFS_TEST_S3=$QFS_TEST_S3 cargo test --locked --workspace --test bucket programs:: -- --test-threads=1 --skip handed_on "$@"
"$venv/bin/python" tests/bucket/manifest.py "${CARGO_TARGET_DIR:-target}/debug/qfs-server" "$QFS_TEST_S3"

if [[ -z $theirs ]]; then
    [[ -z $building ]] || wait "$building" || { cat "$place/s3s.log" >&2; fail "s3s-fs could not be installed" "this needs the registry of crates, once"; }
    building=
    mkdir -p "$place/s3s/demo"
    engine s3s env RUST_LOG=info "$s3s/bin/s3s-fs" --host 127.0.0.1 --port 0 --access-key test --secret-key test "$place/s3s"
    # It answers 500, not 404, to a question about a name that a directory has, which a push asks: the bucket is told to be busy. And it
    # stores an object as two files, content and metadata, one after the other: of two uploads at the same time it can keep the content of
    # one with the digest of the other, which the client then finds out and refuses.
    QFS_TEST_S3=$address cargo test --locked --workspace --test bucket programs:: -- --test-threads=1 --skip handed_on --skip push \
        --skip of_two_servers --skip what_two_servers "$@"
fi

if [[ -n $installing ]]; then
    wait "$installing" || { cat "$place/npm.log" >&2; fail "azurite could not be installed" "this needs the npm registry, once"; }
    installing=
    mv "$azurite/package.json" "$azurite/installed"
fi
if [[ -z ${QFS_TEST_AZURE:-} ]]; then
    engine azurite node "$azurite/node_modules/azurite/dist/src/blob/main.js" --blobHost 127.0.0.1 --blobPort 0 \
        --inMemoryPersistence --skipApiVersionCheck --disableTelemetry
    QFS_TEST_AZURE=$address
    "$venv/bin/python" tests/bucket/container.py "$QFS_TEST_AZURE" demo
fi
AZURE_STORAGE_USE_EMULATOR=true AZURITE_BLOB_STORAGE_URL=$QFS_TEST_AZURE QFS_TEST_BUCKET=az://demo \
    cargo test --locked --workspace --test bucket programs:: -- --test-threads=1 "$@"

# No emulator of Google takes what `object_store` sends (docs/BUCKET.md): an engine of our own, which is told from S3 by its headers.
cargo build --locked --workspace --example s3_engine
engine google "${CARGO_TARGET_DIR:-target}/debug/examples/s3_engine" 127.0.0.1:0
key="{\"gcs_base_url\":\"$address\",\"disable_oauth\":true,\"client_email\":\"\",\"private_key\":\"\",\"private_key_id\":\"\"}"
# What Google does in another way: names, metadata, conditions.
GOOGLE_BASE_URL=$address GOOGLE_SERVICE_ACCOUNT_KEY=$key GOOGLE_ALLOW_HTTP=true QFS_TEST_BUCKET=gs://demo \
    cargo test --locked --workspace --test bucket -- --test-threads=1 programs::files_go programs::push programs::http \
    programs::competing::of programs::competing::what "$@"
