#!/usr/bin/env bash
# Runs the tests of tests/interop: a real qfs-server against a client in another language, written from
# docs/PROTOCOL.md alone. Arguments go to the test program: -v, or names such as Downloads or Listing.test_it_is_the_tree.
#
#   QFS_SERVER_BIN   the server to test (default: target/release/qfs-server, else target/debug/qfs-server)
#
# The Python packages are installed once, into target/interop-venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    echo "error: $1" >&2
    echo "hint: $2" >&2
    exit 1
}

command -v python3 >/dev/null || fail "python3 is not installed" "apt-get install python3 python3-venv"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$(python3 --version) is too old" "install Python 3.11 or newer"
python3 -c 'import venv, ensurepip' 2>/dev/null ||
    fail "python3 has no venv or no pip" "apt-get install python3-venv"

venv="${CARGO_TARGET_DIR:-target}/interop-venv"
requirements=tests/interop/requirements.txt
# Made anew when the packages or Python itself have changed.
stamp="$(python3 --version) $(sha256sum <"$requirements")"
if [[ "$(cat "$venv/stamp" 2>/dev/null || true)" != "$stamp" ]]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$requirements" ||
        fail "the Python packages could not be installed" "this needs PyPI, once; see $requirements"
    printf '%s' "$stamp" >"$venv/stamp"
fi

export PYTHONUTF8=1 PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/python" tests/interop/test_interop.py "$@"
