#!/usr/bin/env bash
# What has changed for those who build on the libraries, by the rules of semantic versioning: cargo-semver-checks compares their interface with
# that of an earlier revision.
#   scripts/semver.sh                    against the last tag
#   scripts/semver.sh REVISION           against this revision, for example main~10
#   scripts/semver.sh REVISION CRATE...  these crates alone
# Exits with 1 where something that others call has gone or changed, and says what; that asks for a new major version, and for a line in
# CHANGELOG.md. Builds the interface of both revisions, which takes minutes for each crate (nine for qfs-core and qfs-client on
# two busy processors), and so is not part of the tests. Without cargo-semver-checks it installs the version below into target/tools, which took
# 14 minutes there.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh

# What others build on; the rest are programs and tests.
crates=(qfs-core qfs-store qfs-transport qfs-congestion qfs-config qfs-client qfs-server)
# The newest that reads what rustdoc of this toolchain writes: each version reads that of a few toolchains, and says so where it cannot.
tool_version=0.51.0

case ${1:-} in
  -h | --help) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' scripts/semver.sh && exit ;;
  -*) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' scripts/semver.sh >&2 && exit 2 ;;
esac
baseline=${1:-$(git describe --tags --abbrev=0 2>/dev/null || true)}
[[ -n $baseline ]] || fail "there is no tag to compare with" "name a revision: scripts/semver.sh main~10"
git rev-parse --quiet --verify "$baseline^{commit}" >/dev/null || fail "$baseline is no revision" "git log --oneline"
(($# < 2)) || crates=("${@:2}")

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
tool=$(command -v cargo-semver-checks || echo "$target/tools/bin/cargo-semver-checks")
if [[ ! -x $tool ]]; then
  CARGO_TARGET_DIR=$target/tools/build cargo install cargo-semver-checks --version "$tool_version" --locked --root "$target/tools" --jobs "${JOBS:-2}"
  rm -rf "$target/tools/build"
fi
packages=()
for crate in "${crates[@]}"; do packages+=(--package "$crate"); done
echo "against $(git log -1 --format='%h of %cs' "$baseline"): ${crates[*]}" >&2
exec "$tool" semver-checks check-release --baseline-rev "$baseline" "${packages[@]}"
