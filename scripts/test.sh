#!/usr/bin/env bash
# Every test of qfs: formatting, lints, unit and behaviour tests, documentation, packages, the client in another language, a bucket of a
# real engine, the Python package, the commands of the book, and the book itself.
#   scripts/test.sh            all of it (what CI runs)
#   scripts/test.sh --fast     formatting, lints and cargo tests only
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s\n' "$*" >&2; }

step "formatting"
cargo fmt --all --check
step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings
step "documentation"
RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items --locked --quiet
step "scripts"
if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh .ci/run; else echo "shellcheck is not installed: scripts not checked" >&2; fi
step "programs for the tests"
cargo build --workspace --bins --locked
step "tests"
cargo test --workspace --locked
step "some tests once more, over TCP"
# With the workspace's selection of features: a package's own would build many dependencies anew.
QFS_TEST_TRANSPORT=tcp cargo test --locked --workspace --test commands --test abuse --test tokens
QFS_TEST_TRANSPORT=tcp cargo test --locked --workspace --test cli -- writing:: syncing:: delta_put::
[[ ${1:-} == --fast ]] && exit 0

step "packages"
# What would be published has to be complete. The build of each package from its archive is left out: it compiles every dependency
# again, which takes minutes and finds little that the tests above do not; before a publication, run this without --no-verify.
cargo package --workspace --locked --no-verify --allow-dirty --quiet
step "clients in other languages"
# The programs that were just built, not older ones that are optimised.
QFS_SERVER_BIN=$(realpath "${CARGO_TARGET_DIR:-target}")/debug/qfs-server
export QFS_SERVER_BIN
scripts/interop.sh
scripts/tus.sh
scripts/http2-conformance.sh
scripts/http3-conformance.sh
step "a bucket of a real engine"
scripts/bucket.sh
step "the Python package"
scripts/python.sh
step "the commands of the book"
# Some of them are Python's.
scripts/book-check.sh
step "the book"
scripts/book.sh
