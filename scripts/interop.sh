#!/usr/bin/env bash
# Runs the tests of tests/interop: a real qfs-server against a client in another language, written from
# docs/PROTOCOL.md alone. Arguments go to the test program: -v, or names such as Downloads or Listing.test_it_is_the_tree.
#
#   QFS_SERVER_BIN   the server to test (default: target/release/qfs-server, else target/debug/qfs-server)
#
# The Python packages are installed once, into target/interop-venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=scripts/common.sh
source scripts/common.sh
python_packages interop-venv tests/interop/requirements.txt --no-deps

export PYTHONUTF8=1 PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/python" tests/interop/test_interop.py "$@"
