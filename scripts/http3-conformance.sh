#!/usr/bin/env bash
# Checks some 70 requirements of RFC 9114 (HTTP/3) and RFC 9204 against a real qfs-server (tests/conformance/http3.py), each on a
# connection of its own. Arguments choose by section or by words: 7.2.4, "control stream".
#   QFS_SERVER_BIN            the server to test (default: target/debug/qfs-server, else target/release/qfs-server)
#   QFS_CONFORMANCE_VERBOSE   names those that hold, too
# QUIC is aioquic's: its packages are those of scripts/interop.sh, in target/interop-venv.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
for found in "${QFS_SERVER_BIN:-}" "$target/debug/qfs-server" "$target/release/qfs-server"; do
  [[ -z $found || ! -x $found ]] || { server=$(realpath "$found"); break; }
done
[[ -n ${server:-} ]] || { echo "error: no qfs-server was found" >&2; echo "hint: cargo build -p qfs-server" >&2; exit 1; }
venv=$target/interop-venv requirements=tests/interop/requirements.txt
stamp="$(python3 --version) $(sha256sum <"$requirements")"
if [[ $(cat "$venv/stamp" 2>/dev/null || true) != "$stamp" ]]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$requirements"
  printf '%s' "$stamp" >"$venv/stamp"
fi
exec timeout 300 "$venv/bin/python" -B tests/conformance/http3.py "$server" "$@"
