#!/usr/bin/env bash
# Packages of qfs: two .deb files and a container image, made and tried, and for each program a bill of what is in it (CycloneDX).
#   scripts/package.sh                  builds in release, packs everything twice (the same bytes), and tries all of it
#   scripts/package.sh --quick          the same without the container image, compressed less (what CI runs)
#   scripts/package.sh --bin DIR        packs the programs that are in DIR
#   scripts/package.sh --out DIR        where the packages go; target/package without it
# Needs dpkg-deb, binutils, python3 and lintian; besides, as root, mmdebstrap for a Debian of its own and buildah for the image. What is missing
# is an error, not a step left out; who is not root has no Debian and no image. Nothing is installed on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."

quick=no level=6 out=${CARGO_TARGET_DIR:-target}/package bin=
while (($#)); do
  case $1 in
    --quick) quick=yes level=1 ;;
    --bin) bin=$2 && shift ;;
    --out) out=$2 && shift ;;
    *) echo "unknown argument: $1" >&2 && exit 2 ;;
  esac
  shift
done
step() { printf '\n== %s\n' "$*" >&2; }
fail() { echo "package.sh: $*" >&2 && exit 1; }

# One time for everything that is written into an archive: that of the commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
arch=$(dpkg --print-architecture)

if [[ -z $bin ]]; then
  step "programs"
  # No path of this machine in them.
  home=${CARGO_HOME:-$HOME/.cargo}
  RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=/qfs --remap-path-prefix=$home=/cargo" \
    cargo build --release --locked --quiet -p qfs-client -p qfs-server --bins
  bin=${CARGO_TARGET_DIR:-target}/release
fi
bin=$(realpath "$bin")
mkdir -p "$out"
out=$(realpath "$out")
# Those of another version are not what is made and tried here.
rm -f "$out"/qfs-client_*.deb "$out"/qfs-server_*.deb
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The oldest C library that a program runs with.
libc_of() { objdump -T "$1" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1 | cut -d_ -f2; }

# common PROGRAM ROOT INTO: the program with its man pages and completions, and what every package says of itself; what it is made of is given out
# beside the package, too.
common() {
  local program=$1 root=$2 into=$3
  install -D -m 755 "$bin/$program" "$root/usr/bin/$program"
  strip --strip-unneeded --remove-section=.comment "$root/usr/bin/$program"
  # What is made below is made by the program itself, blind to who packs it.
  local self=(env -i "PATH=$PATH" "HOME=/nonexistent" "$root/usr/bin/$program")
  "${self[@]}" man --out "$root/usr/share/man/man1"
  install -d "$root/usr/share/bash-completion/completions" "$root/usr/share/zsh/vendor-completions" "$root/usr/share/fish/vendor_completions.d"
  "${self[@]}" completions bash >"$root/usr/share/bash-completion/completions/$program"
  "${self[@]}" completions zsh >"$root/usr/share/zsh/vendor-completions/_$program"
  "${self[@]}" completions fish >"$root/usr/share/fish/vendor_completions.d/$program.fish"
  install -d "$root/usr/share/doc/$program"
  scripts/bill.py "$program" copyright "$root/usr/share/doc/$program/copyright" <"$work/metadata.json"
  scripts/bill.py "$program" licences "$root/usr/share/doc/$program/licences" <"$work/metadata.json"
  scripts/bill.py "$program" sbom "$root/usr/share/doc/$program/sbom.cdx.json" <"$work/metadata.json"
  {
    printf '%s (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md of the sources.\n\n' "$program" "$version"
    printf ' -- qfs <qfs@example.org>  %s\n' "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
  } >"$root/usr/share/doc/$program/changelog"
  cp "$root/usr/share/doc/$program/sbom.cdx.json" "$into/$program.cdx.json"
  gzip -9n "$root"/usr/share/man/man1/*.1 "$root/usr/share/doc/$program"/{changelog,licences,sbom.cdx.json}
}

# control PACKAGE ROOT DESCRIPTION RECOMMENDS
control() {
  local package=$1 root=$2
  install -d "$root/DEBIAN"
  cat >"$root/DEBIAN/control" <<END
Package: $package
Version: $version
Architecture: $arch
Maintainer: qfs <qfs@example.org>
Section: net
Priority: optional
Installed-Size: $(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)
Depends: libc6 (>= $(libc_of "$root/usr/bin/$package")), libgcc-s1
Description: $3
 qfs moves directories of files over QUIC, both ways: one UDP port, one
 encrypted connection, and every file checked before it appears under its
 name. A transfer that was interrupted continues where it stopped.
END
  (cd "$root" && find . -path ./DEBIAN -prune -o -path ./etc -prune -o -type f -printf "%P\0" | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
}

# pack INTO: both packages.
pack() {
  local into=$1 root=$work/root
  mkdir -p "$into"
  umask 022
  rm -rf "$root"
  common qfs-client "$root" "$into"
  control qfs-client "$root" "fetches and uploads files over QUIC, each one checked"
  finish qfs-client "$root" "$into"

  common qfs-server "$root" "$into"
  install -D -m 644 -t "$root/lib/systemd/system" contrib/systemd/qfs-server.service contrib/systemd/qfs-server.socket
  install -D -m 644 contrib/systemd/qfs-server.default "$root/etc/default/qfs-server"
  install -D -m 644 contrib/sysctl.d/60-qfs.conf "$root/usr/lib/sysctl.d/60-qfs.conf"
  control qfs-server "$root" "hands out a directory of files over QUIC"
  echo /etc/default/qfs-server >"$root/DEBIAN/conffiles"
  local script
  for script in postinst prerm postrm; do install -m 755 "contrib/debian/$script" "$root/DEBIAN/$script"; done
  finish qfs-server "$root" "$into"
}
finish() {
  find "$2" -depth -newermt "@$SOURCE_DATE_EPOCH" -print0 | xargs -0r touch --no-dereference --date="@$SOURCE_DATE_EPOCH"
  dpkg-deb --root-owner-group -Zxz "-z$level" --build "$2" "$3/$1_${version}_$arch.deb" >/dev/null
  rm -rf "$2"
}

step "packages"
# Which crates are in the programs, and under which licences (scripts/bill.py).
cargo metadata --format-version 1 --locked --filter-platform "$(rustc -vV | sed -n 's/^host: //p')" >"$work/metadata.json"
pack "$out"
(cd "$out" && ls -l ./*.deb) >&2
step "the same bytes once more"
pack "$work/again"
for made in "$out"/*.deb "$out"/*.cdx.json; do cmp "$made" "$work/again/$(basename "$made")"; done
step "lintian"
# These packages are not for Debian's archive, whose rules about who may upload what are no rules here.
lintian --fail-on error --suppress-tags bad-distribution-in-changes-file,initial-upload-closes-no-bugs "$out"/*.deb
step "the service"
systemd-analyze verify --man=no --root="$(
  mkdir -p "$work/verify"
  for deb in "$out"/*.deb; do dpkg-deb -x "$deb" "$work/verify"; done
  mkdir -p "$work/verify/bin" && cp /bin/sh "$work/verify/bin/"
  echo "$work/verify"
)" qfs-server.service 2>&1 | grep -v 'Failed to .*\(network-online\|sysinit\|basic\|shutdown\|multi-user\)' >&2 || true
exposure=$(systemd-analyze security --offline=true "$work/verify/lib/systemd/system/qfs-server.service" | sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p')
echo "exposure $exposure of 10" >&2
awk -v e="$exposure" 'BEGIN { exit !(e != "" && e < 2.0) }' || fail "the service is too much exposed: ${exposure:-not known}"

step "the calls that the server makes are those that the service permits"
# expand SET: the calls in a set of systemd's, and in those in it.
expand() {
  local line
  systemd-analyze syscall-filter "$1" | sed 's/^ *//' | while read -r line; do
    case $line in
      "$1" | '#'*) ;;
      @*) expand "$line" ;;
      *) echo "$line" ;;
    esac
  done
}
# Lines of the unit in their order: names are added, behind ~ taken away.
: >"$work/permitted"
sed -n 's/^SystemCallFilter=//p' contrib/systemd/qfs-server.service | while read -r filter; do
  for name in ${filter#"~"}; do
    if [[ $name == @* ]]; then expand "$name"; else echo "$name"; fi
  done | LC_ALL=C sort -u >"$work/named"
  if [[ $filter == "~"* ]]; then
    LC_ALL=C comm -23 "$work/permitted" "$work/named" >"$work/next"
  else
    LC_ALL=C sort -u "$work/permitted" "$work/named" >"$work/next"
  fi
  mv "$work/next" "$work/permitted"
done
mkdir -p "$work/try/root"
head -c 3000000 /dev/urandom >"$work/try/root/file"
(
  cd "$work/try"
  export QFS_CONFIG_DIR=$work/try/config
  strace -f -qq -o trace "$work/verify/usr/bin/qfs-server" --root root --certs certs --cache-dir cache --port 0 --allow read,write --announce=x \
    --metrics 0 --quiet >server 2>said &
  until grep -q ^ticket server; do
    kill -0 $!
    sleep 0.05
  done
  ticket=$(sed -n 's/^ticket //p' server)
  client() { "$work/verify/usr/bin/qfs-client" -q --server "$ticket" "$@"; }
  client get file | sed 's/file/root\/file/' | sha256sum -c --quiet
  client --transport tcp cat file | cmp - root/file
  client put said --as uploaded >sum
  server=$(pgrep -P $!)
  kill -HUP "$server"
  kill "$server"
  wait $!
  sed -E 's/^[0-9]+ +//; s/^<\.\.\. ([a-z0-9_]+) resumed.*/\1/; s/\(.*//' trace | grep -E '^[a-z0-9_]+$' | LC_ALL=C sort -u >used
)
refused=$(LC_ALL=C comm -23 "$work/try/used" "$work/permitted" | tr '\n' ' ')
[[ -z $refused ]] || fail "the service does not permit: $refused"
echo "$(wc -l <"$work/try/used") calls of $(wc -l <"$work/permitted")" >&2

# use PREFIX...: the installed server hands out a file to the installed client.
use() {
  # shellcheck disable=SC2016 # it is for the shell in there
  "$@" sh -ec '
    mkdir -p /tmp/try/root && cd /tmp/try && echo content >root/file
    qfs-server --root root --certs certs --cache-dir cache --port 0 --quiet >server &
    server=$!
    trap "kill $server 2>/dev/null || true" EXIT
    until grep -q ^ticket server; do kill -0 $server; sleep 0.1; done
    qfs-client --server "$(sed -n "s/^ticket //p" server)" get file | sed s/file/root\\/file/ | sha256sum -c --quiet
    kill $server
    wait $server
    cd / && rm -r /tmp/try'
}

if ((EUID == 0)); then
  step "installed, used, upgraded, purged: in a Debian of its own"
  debian=$work/debian
  release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  mmdebstrap --quiet --variant=minbase --include=init-system-helpers "${release:-stable}" "$debian" >&2
  inside() { chroot "$debian" "$@"; }
  cp "$out"/*.deb "$debian/"
  (cd "$debian" && find . -xdev \( -path ./proc -o -path ./tmp -o -path ./var/lib/dpkg -o -path ./var/cache -o -path ./var/log \) -prune -o -print | sort) >"$work/before"
  inside sh -ec 'dpkg -i /*.deb' >&2
  inside qfs-client --version >&2
  mount -t proc none "$debian/proc"
  trap 'umount "$debian/proc" || true; rm -rf "$work"' EXIT
  use chroot "$debian"
  echo '# changed by hand' >>"$debian/etc/default/qfs-server"
  echo kept >"$debian/srv/qfs/file"
  inside sh -ec 'dpkg -i /*.deb' >&2
  grep -q '^# changed by hand' "$debian/etc/default/qfs-server" || fail "an upgrade lost a setting"
  umount "$debian/proc"
  trap 'rm -rf "$work"' EXIT
  inside dpkg --purge qfs-server qfs-client >&2
  [[ $(cat "$debian/srv/qfs/file") == kept ]] || fail "a purge removed what was served"
  rm -r "$debian/srv/qfs"
  (cd "$debian" && find . -xdev \( -path ./proc -o -path ./tmp -o -path ./var/lib/dpkg -o -path ./var/cache -o -path ./var/log \) -prune -o -print | sort) >"$work/after"
  diff "$work/before" "$work/after" >&2 || fail "a purge left something behind"

fi
if ((EUID == 0)) && [[ $quick == no ]]; then
  step "the container image"
  scripts/image.sh "$work/verify/usr/bin" "$out" "$version"
fi
echo "packages: $out" >&2
