#!/usr/bin/env bash
# Runs the commands of every page of docs/book, each page in an empty directory and a network of its own, and looks that every page is in
# the summary. Arguments are pages (tutorial, how-to/sync); without any, all.
#
#   QFS_BIN   where the programs are (default: target/debug)
#
# Blocks marked `sh` are run one after another, and none may fail. A block marked `sh,server` is one command that goes on running until the
# page ends; the page goes on when it has printed its ticket.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    echo "error: $1" >&2
    echo "hint: $2" >&2
    exit 1
}

# The commands of a page, as one script.
commands() {
    awk '
        /^```sh,server$/ { printf "serve "; in_server = 1; next }
        /^```sh$/ { in_commands = 1; next }
        /^```/ { in_server = in_commands = 0; next }
        in_server || in_commands
    ' "$1"
}

# What a page is run in. It gives each page a port 8000 that nobody else has.
prelude() {
    cat <<'PRELUDE'
set -euo pipefail
ip link set lo up
serve() {
    "$@" > .server.log 2>&1 &
    server=$!
    for _ in $(seq 600); do
        grep -q '^ticket ' .server.log && return
        kill -0 "$server" 2> /dev/null || break
        sleep 0.1
    done
    echo "the server did not start:" >&2
    cat .server.log >&2
    exit 1
}
trap '[[ -z "${server:-}" ]] || kill "$server"' EXIT
PRELUDE
}

bin="$(realpath -m "${QFS_BIN:-${CARGO_TARGET_DIR:-target}/debug}")"
[[ -x "$bin/qfs-server" && -x "$bin/qfs-client" ]] || fail "there are no programs in $bin" "cargo build --bins"
command -v ip >/dev/null || fail "ip is not installed" "apt-get install iproute2"
command -v openssl >/dev/null || fail "openssl is not installed" "apt-get install openssl"
alone=(unshare --net)
((EUID == 0)) || alone=(unshare --map-root-user --net)

src=docs/book/src
pages=("$@")
if ((${#pages[@]} == 0)); then
    while IFS= read -r page; do
        pages+=("$page")
    done < <(cd "$src" && find . -name '*.md' ! -name SUMMARY.md -printf '%P\n' | sed 's/\.md$//' | sort)
    for page in "${pages[@]}"; do
        grep -qF "($page.md)" "$src/SUMMARY.md" || fail "$page is in no summary" "add it to $src/SUMMARY.md"
    done
    grep -o '([^)]*\.md)' "$src/SUMMARY.md" | tr -d '()' | while IFS= read -r page; do
        [[ -f "$src/$page" ]] || fail "the summary names $page, which is not there" "write it"
    done
fi

place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
passed=0
for page in "${pages[@]}"; do
    directory="$place/$page"
    mkdir -p "$directory" "$place/config"
    { prelude; commands "$src/$page.md"; } >"$place/script"
    echo "== $page" >&2
    if ! (cd "$directory" && env -u QFS_SERVER PATH="$bin:$PATH" QFS_CONFIG_DIR="$place/config" \
        timeout 120 "${alone[@]}" bash "$place/script" >"$place/said" 2>&1 </dev/null); then
        cat "$place/said" >&2
        fail "the commands of $page do not work" "they are those of $src/$page.md"
    fi
    passed=$((passed + 1))
done
echo "$passed passed, 0 failed"
