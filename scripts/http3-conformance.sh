#!/usr/bin/env bash
# Checks some 70 requirements of RFC 9114 (HTTP/3) and RFC 9204 against a real qfs-server (tests/conformance/http3.py), each on a
# connection of its own. Arguments choose by section or by words: 7.2.4, "control stream".
#   QFS_SERVER_BIN            the server to test (default: target/debug/qfs-server, else target/release/qfs-server)
#   QFS_CONFORMANCE_VERBOSE   names those that hold, too
# QUIC is aioquic's: its packages are those of scripts/interop.sh, in target/interop-venv.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/common.sh
source scripts/common.sh
find_server debug release
python_packages interop-venv tests/interop/requirements.txt --no-deps
exec timeout 300 "$venv/bin/python" -B tests/conformance/http3.py "$server" "$@"
