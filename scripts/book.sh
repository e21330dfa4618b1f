#!/usr/bin/env bash
# Makes the book into a site, target/book/site, and fails on a link that leads nowhere.
#   scripts/book.sh            with the programs that are in target/debug
#   QFS_BIN=DIR scripts/book.sh
# The reference is made of what the programs say of themselves, and the documents of docs/ become pages. mdbook is built once, into
# target/tools, with no more than it needs and without optimisation: that takes a minute or two of two processors, and a book a second.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=scripts/common.sh
source scripts/common.sh

mdbook_version=0.5.4
target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
tools="$target/tools"
bin="$(realpath -m "${QFS_BIN:-$target/debug}")"
[[ -x "$bin/qfs-server" && -x "$bin/qfs-client" ]] || fail "there are no programs in $bin" "cargo build --bins"
command -v python3 >/dev/null || fail "python3 is not installed" "apt-get install python3"

if [[ "$("$tools/bin/mdbook" --version 2>/dev/null || true)" != "mdbook v$mdbook_version" ]]; then
    echo "building mdbook $mdbook_version, once" >&2
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_TARGET_DIR="$tools/build" \
        cargo install --quiet --locked --no-default-features --root "$tools" "mdbook@$mdbook_version"
    rm -rf "$tools/build"
fi

book="$target/book"
rm -rf "$book"
mkdir -p "$book/docs"
cp -R docs/book/book.toml docs/book/src "$book/"
mkdir -p "$book/src/docs" "$book/src/reference"
cp docs/*.md docs/*.svg "$book/src/docs/"

# Links from the book to the documents beside it, and from those to files that are no pages: the first are turned, of the others the text
# is left.
sed -i -E 's#\]\(\.\./\.\./\.\./([A-Za-z-]+\.md)#](../docs/\1#g' "$book"/src/how-to/*.md "$book"/src/reference/*.md
sed -i -E 's#\]\(\.\./\.\./([A-Za-z-]+\.md)#](docs/\1#g' "$book"/src/*.md
sed -i -E 's#\[([^]]*)\]\((\.\./[^)]*|[a-z.-]*\.json)\)#\1#g' "$book"/src/docs/*.md

# What a program says of itself, without this machine's settings. Options that all commands share stand once, at the program itself.
ask() { env -i PATH="$PATH" HOME=/nonexistent COLUMNS=100 "$bin/$1" "${@:2}" --help; }
commands_of() { ask "$@" | awk '/^Commands:/ { inside = 1; next } /^[^ ]/ { inside = 0 } inside && /^  [a-z]/ && $1 != "help" { sub(/,/, "", $1); print $1 }'; }
# section DEPTH PROGRAM [COMMAND...]: a heading, the help, and the same of the commands below.
section() {
    local depth=$1 command
    shift
    printf '\n%s %s\n\n```text\n' "$(printf '#%.0s' $(seq "$depth"))" "$*"
    if ((depth == 1)); then
        ask "$@"
    else
        ask "$@" | awk '/^Common options:/ { common = 1; next } /^[^ ]/ { common = 0 } !common'
    fi
    printf '```\n'
    while IFS= read -r command; do
        section $((depth + 1)) "$@" "$command"
    done < <(commands_of "$@")
}
for program in qfs-client qfs-server; do
    section 1 "$program" >"$book/src/reference/$program.md"
done
# shellcheck disable=SC2016 # those are Markdown's
{
    printf '# Exit codes\n\nThose of `qfs-client`, for scripts. When all failures of one run are of one kind, it is the code of that kind.\n\n| code | meaning |\n|---|---|\n'
    ask qfs-client | awk '
        /^Exit codes:/ { inside = 1; next }
        inside && /^[^ ]|^$/ { inside = 0 }
        inside && /^ +[0-9]+  / { if (row) print row " |"; code = $1; sub(/^ +[0-9]+  /, ""); row = "| " code " | " $0; next }
        inside { sub(/^ +/, ""); row = row " " $0 }
        END { print row " |" }'
    printf '\nThose of `qfs-server`:\n\n```text\n'
    ask qfs-server | sed -n '/^The first signal/,/^$/p' | awk 'NF'
    printf '```\n'
} >"$book/src/reference/qfs-exit-codes.md"
grep -q '^| 130 | interrupted |$' "$book/src/reference/qfs-exit-codes.md" || fail "there are no exit codes in the help of qfs-client" "see the end of this script"

"$tools/bin/mdbook" build "$book" --dest-dir "$book/site" >"$book/log" 2>&1 || { cat "$book/log" >&2; exit 1; }
if grep -E 'WARN|ERROR' "$book/log" >&2; then fail "mdbook has complaints" "see above"; fi

python3 - "$book/site" <<'PYTHON'
"""Every link within the site leads to a file that is there, and to a place that is in it."""
import html.parser, pathlib, sys, urllib.parse

site = pathlib.Path(sys.argv[1]).resolve()


class Page(html.parser.HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.places, self.links = set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id" or (tag == "a" and name == "name"):
                self.places.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


# toc.html is a part that other pages show, with links of theirs; 404.html stands for any place.
pages = {path: Page(path) for path in site.rglob("*.html") if path.name not in ("toc.html", "404.html")}
broken, looked_at = [], 0
for path, page in pages.items():
    for link in page.links:
        url = urllib.parse.urlsplit(link)
        if url.scheme or url.netloc:
            continue
        looked_at += 1
        to = (path.parent / urllib.parse.unquote(url.path)).resolve() if url.path else path
        if to.is_dir():
            to /= "index.html"
        if not to.is_file() or not to.is_relative_to(site):
            broken.append(f"{path.relative_to(site)}: {link} is not there")
        elif url.fragment and to in pages and urllib.parse.unquote(url.fragment) not in pages[to].places:
            broken.append(f"{path.relative_to(site)}: there is no {url.fragment} in {to.relative_to(site)}")
for line in broken:
    print(line, file=sys.stderr)
if broken:
    sys.exit(f"error: {len(broken)} links lead nowhere")
print(f"{len(pages)} pages, {looked_at} links, none broken")
PYTHON
echo "the book: $book/site/index.html"
