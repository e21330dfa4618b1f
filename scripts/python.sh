#!/usr/bin/env bash
# Builds the Python package into a wheel, installs it beside fsspec, pandas, pyarrow and dask, and runs its tests and the examples of
# docs/PYTHON.md against a real qfs-server. Arguments go to pytest: -v, -k test_dask, …
#
#   QFS_SERVER_BIN   the server to test with (default: target/debug/qfs-server, built first)
#
# Python packages are installed once, into target/python-venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=scripts/common.sh
source scripts/common.sh
target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
python_packages python-venv crates/qfs-python/tests/requirements.txt

if [[ -z "${QFS_SERVER_BIN:-}" ]]; then
    # As scripts/test.sh builds it, so that nothing is built twice.
    cargo build --workspace --bin qfs-server --locked --quiet
    QFS_SERVER_BIN="$target/debug/qfs-server"
fi
export QFS_SERVER_BIN

wheels="$target/python-wheels"
rm -rf "$wheels"
"$venv/bin/maturin" build --quiet --locked --manifest-path crates/qfs-python/Cargo.toml --out "$wheels"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$wheels"/qfs-*.whl

export PYTHONUTF8=1 PYTHONDONTWRITEBYTECODE=1
# Hints are for others to rely on, so they have to be right.
"$venv/bin/python" -m mypy --strict --allow-any-generics --allow-subclassing-any --no-warn-return-any --ignore-missing-imports \
    --cache-dir="$target/mypy" crates/qfs-python/python/qfs
"$venv/bin/python" -m mypy.stubtest qfs._native --ignore-missing-stub --ignore-disjoint-bases >"$target/stubtest.log" ||
    { cat "$target/stubtest.log" >&2; exit 1; }
exec "$venv/bin/python" -m pytest --quiet -c crates/qfs-python/pyproject.toml --rootdir crates/qfs-python crates/qfs-python/tests "$@"
