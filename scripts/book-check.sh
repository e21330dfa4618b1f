#!/usr/bin/env bash
# Runs the commands of every page of docs/book, each page in an empty directory and a network of its own, and looks that every page is in
# the summary. Arguments are pages (tutorial, how-to/sync); without any, all.
#
#   QFS_BIN      where the programs are (default: target/debug)
#   QFS_PYTHON   a Python that has the package qfs and pandas (default: that of scripts/python.sh)
#   QFS_BOOK_SHOW   set to anything, what the commands print is shown
#
# Every block of a page says what it is, and one that says anything else is an error:
#   sh          commands, run one after another; none may fail
#   sh,server   one command that goes on running until the page ends; the page goes on when it has printed its ticket
#   python      a program, run by Python
#   sh,reader   commands that are for the reader's machine and cannot be run here, such as an installation; counted, and listed at the end
#   text, toml  what is shown, and not run
# Where a page speaks of a bucket at http://127.0.0.1:9000, an engine of the tests plays it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=scripts/common.sh
source scripts/common.sh

# The commands of a page, as one script.
commands() {
    awk '
        /^```sh,server$/ { printf "serve "; in_server = 1; next }
        /^```sh$/ { in_commands = 1; next }
        /^```python$/ { print "\"$QFS_PYTHON\" - <<'\''END OF PYTHON'\''"; in_python = 1; next }
        /^```/ { if (in_python) print "END OF PYTHON"; in_server = in_commands = in_python = 0; next }
        in_server || in_commands || in_python
    ' "$1"
}

# The blocks of a page that the reader runs, each as a line of its place and its first command.
for_the_reader() {
    awk -v page="$1" '
        wanted { print "  " page ":" NR ": " $0; wanted = 0 }
        /^```sh,reader$/ { wanted = 1 }
    ' "$2"
}

# Blocks of a page that say nothing, or nothing known.
unknown() {
    awk '
        /^```/ && inside { inside = 0; next }
        /^```/ { inside = 1; if ($0 !~ /^```(sh|sh,server|sh,reader|python|text|toml)$/) print FILENAME ":" NR ": " $0 }
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
bucket() {
    "$QFS_BUCKET" 127.0.0.1:9000 > .bucket.log &
    bucket=$!
    until grep -q '^listening ' .bucket.log; do
        kill -0 "$bucket"
        sleep 0.05
    done
}
trap 'kill ${server:-} ${bucket:-} 2> /dev/null || true' EXIT
PRELUDE
}

bin="$(realpath -m "${QFS_BIN:-${CARGO_TARGET_DIR:-target}/debug}")"
[[ -x "$bin/qfs-server" && -x "$bin/qfs-client" ]] || fail "there are no programs in $bin" "cargo build --bins"
QFS_BUCKET="$bin/examples/s3_engine"
QFS_PYTHON="$(realpath -ms "${QFS_PYTHON:-${CARGO_TARGET_DIR:-target}/python-venv/bin/python}")"
export QFS_BUCKET QFS_PYTHON
command -v ip >/dev/null || fail "ip is not installed" "apt-get install iproute2"
for tool in openssl curl scp rsync rclone aria2c; do
    command -v "$tool" >/dev/null || fail "$tool is not installed" "apt-get install openssl curl openssh-client rsync rclone aria2"
done
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
        # Made by scripts/book.sh.
        [[ $page == reference/qfs-* || $page == docs/* || -f "$src/$page" ]] || fail "the summary names $page, which is not there" "write it"
    done
fi

place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
passed=0
blocks=0
: >"$place/reader"
for page in "${pages[@]}"; do
    directory="$place/$page"
    mkdir -p "$directory" "$place/config"
    strange="$(unknown "$src/$page.md")"
    [[ -z $strange ]] || fail "a block says not what it is: $strange" "see the top of $0"
    for_the_reader "$page" "$src/$page.md" >>"$place/reader"
    { prelude; commands "$src/$page.md"; } >"$place/script"
    if grep -q 'http://127.0.0.1:9000' "$place/script"; then
        [[ -x $QFS_BUCKET ]] || fail "there is no $QFS_BUCKET" "cargo build -p qfs-testkit --example s3_engine"
        { prelude; echo bucket; commands "$src/$page.md"; } >"$place/script"
    fi
    if grep -q '^```python$' "$src/$page.md"; then
        "$QFS_PYTHON" -c 'import qfs, pandas' 2>/dev/null || fail "$QFS_PYTHON has not both qfs and pandas" "scripts/python.sh"
    fi
    blocks=$((blocks + $(grep -cE '^```(sh|sh,server|python)$' "$src/$page.md" || true)))
    echo "== $page" >&2
    if ! (cd "$directory" && env -u QFS_SERVER PATH="$bin:$PATH" QFS_CONFIG_DIR="$place/config" \
        timeout 120 "${alone[@]}" bash "$place/script" >"$place/said" 2>&1 </dev/null); then
        cat "$place/said" >&2
        fail "the commands of $page do not work" "they are those of $src/$page.md"
    fi
    [[ -z ${QFS_BOOK_SHOW:-} ]] || cat "$place/said"
    passed=$((passed + 1))
done
if [[ -s $place/reader ]]; then
    echo "for the reader's machine, not run: $(wc -l <"$place/reader")" >&2
    cat "$place/reader" >&2
fi
echo "$passed passed, 0 failed; $blocks blocks run, $(wc -l <"$place/reader") for the reader"
