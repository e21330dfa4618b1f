#!/usr/bin/env bash
# Checks some 80 requirements of RFC 9113 (HTTP/2) and RFC 7541 against a real qfs-server (tests/conformance/http2.py), each on a
# connection of its own. Needs Python 3.11 and nothing else. Arguments choose by section or by words: 6.9.1, "window".
#   QFS_SERVER_BIN            the server to test (default: target/debug/qfs-server, else target/release/qfs-server)
#   QFS_CONFORMANCE_VERBOSE   names those that hold, too
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/common.sh
source scripts/common.sh
find_server debug release
exec timeout 300 python3 -B tests/conformance/http2.py "$server" "$@"
