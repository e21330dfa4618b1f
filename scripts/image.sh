#!/usr/bin/env bash
# The container image of qfs-server, from nothing: the server, the client for the health check, the libraries that they are linked to, and below
# /usr/share/doc the licences of all of it and bills of what is in it (CycloneDX).
#   scripts/image.sh BIN OUT VERSION     writes OUT/qfs-server-VERSION.tar.gz, and tries what is in it
# The layer is the same bytes each time; its description is not, in which buildah names a container by chance.
# Needs root, buildah and python3, and a Debian, whose packages say under which licences the libraries are. Uses a store of its own; nothing is left in this machine's.
set -euo pipefail
bin=$(realpath "$1") out=$(realpath "$2") version=$3
: "${SOURCE_DATE_EPOCH:=0}"
export SOURCE_DATE_EPOCH
cd "$(dirname "$0")/.."
# The other format has no health check.
export BUILDAH_FORMAT=docker
work=$(mktemp -d)
store=(--root "$work/store" --runroot "$work/run" --storage-driver vfs)
trap 'buildah "${store[@]}" rm --all >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

root=$work/root
install -D -m 755 -t "$root/usr/bin" "$bin/qfs-server" "$bin/qfs-client"
# The loader and the libraries, where the programs look for them.
ldd "$bin/qfs-server" "$bin/qfs-client" | grep -o '/[^ ]*\.so[^ ]*' | sort -u >"$work/libraries"
while read -r library; do
  install -D -m 755 "$(realpath "$library")" "$root$library"
  # Some packages name a file where it was before /lib became a link.
  { dpkg-query --search "$library" || dpkg-query --search "$(realpath "$library")"; } 2>/dev/null | cut -d: -f1
done <"$work/libraries" | LC_ALL=C sort -u >"$work/packages"
# Under which licences all of it is, and what it is made of (scripts/bill.py).
doc=$root/usr/share/doc
cargo metadata --format-version 1 --locked --filter-platform "$(rustc -vV | sed -n 's/^host: //p')" >"$work/metadata.json"
for program in qfs-server qfs-client; do
  install -d "$doc/$program"
  scripts/bill.py "$program" copyright "$doc/$program/copyright" <"$work/metadata.json"
  scripts/bill.py "$program" licences "$doc/$program/licences" <"$work/metadata.json"
  scripts/bill.py "$program" sbom "$doc/$program/sbom.cdx.json" <"$work/metadata.json"
  gzip -9n "$doc/$program"/{licences,sbom.cdx.json}
done
while read -r package; do
  install -D -m 644 "/usr/share/doc/$package/copyright" "$doc/$package/copyright"
done <"$work/packages"
# Debian has the texts of these but once.
{ grep -oh '/usr/share/common-licenses/[A-Za-z0-9.-]*[A-Za-z0-9]' "$doc"/*/copyright || true; } | sort -u | while read -r text; do
  install -D -m 644 "$text" "$root$text"
done
# shellcheck disable=SC2016 # these are fields of dpkg's
xargs -a "$work/packages" dpkg-query --show --showformat '${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\n' |
  scripts/bill.py qfs-server debian "$doc/qfs-server/libraries.cdx.json"
# A user without a name; the identity and what is remembered are its own, and what is served is brought along.
install -d -m 755 "$root/srv/qfs" "$root/etc"
install -d -m 700 -o 65532 -g 65532 "$root/var/lib/qfs" "$root/var/cache/qfs"
echo 'qfs:x:65532:65532::/:/usr/bin/qfs-server' >"$root/etc/passwd"
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

container=$(buildah "${store[@]}" from scratch)
# By hand, because buildah's own copying gives everything to root.
mount=$(buildah "${store[@]}" mount "$container")
cp -a "$root/." "$mount/"
touch --date="@$SOURCE_DATE_EPOCH" "$mount"
# On loopback every server is trusted. Where tokens are asked for, QFS_TOKEN_FILE names one for the check.
buildah "${store[@]}" config --user 65532:65532 --port 8000/udp --port 8000/tcp --volume /srv/qfs --volume /var/lib/qfs \
  --env QFS_IP=0.0.0.0 --env QFS_ROOT=/srv/qfs --env QFS_CERTS=/var/lib/qfs --env QFS_CACHE_DIR=/var/cache/qfs \
  --entrypoint '["/usr/bin/qfs-server"]' --stop-signal SIGTERM \
  --label org.opencontainers.image.title=qfs-server --label "org.opencontainers.image.version=$version" \
  --healthcheck 'CMD /usr/bin/qfs-client --ip 127.0.0.1 --connect-timeout 2s -q list no-such-file' --healthcheck-interval 30s --healthcheck-timeout 5s "$container"
archive=$out/qfs-server-$version.tar
rm -f "$archive"
buildah "${store[@]}" commit --quiet --format docker --timestamp "$SOURCE_DATE_EPOCH" "$container" "docker-archive:$archive:qfs-server:$version" >/dev/null
unpacked=$(stat -c %s "$archive")
gzip -9nf "$archive"
# What is fetched counts, as registries count.
size=$(stat -c %s "$archive.gz")
echo "image: $((size / 1000)) kB to fetch, $((unpacked / 1000)) kB unpacked" >&2
((size < 20000000)) || { echo "the image is larger than 20 MB" >&2 && exit 1; }

# What is in the archive is what its licences say: every crate and every library has its own.
layer=$(tar -xzOf "$archive.gz" manifest.json | python3 -c 'import json, sys; print(*json.load(sys.stdin)[0]["Layers"])')
install -d "$work/shipped"
tar -xzOf "$archive.gz" "$layer" | tar -xC "$work/shipped" usr/share
python3 - "$work/shipped/usr/share/doc" "$work/packages" <<'END'
import gzip, json, pathlib, sys

doc, packages = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).read_text().split()
crates = 0
for program in ("qfs-server", "qfs-client"):
    assert (doc / program / "copyright").stat().st_size > 0
    bill = json.loads(gzip.open(doc / program / "sbom.cdx.json.gz").read())
    texts = gzip.open(doc / program / "licences.gz", "rt").read()
    for part in bill["components"]:
        # Those without a checksum are qfs's own, whose licences are in `copyright`.
        crates += "hashes" in part
        if "hashes" in part and f"{part['name']} {part['version']} (" not in texts:
            sys.exit(f"the image has no licence of {part['name']}")
libraries = json.loads((doc / "qfs-server" / "libraries.cdx.json").read_text())["components"]
assert [part["name"] for part in libraries] == packages and {"libc6", "libgcc-s1"} <= set(packages), packages
for package in packages:
    text = (doc / package / "copyright").read_text()
    for common in pathlib.Path(doc.parent, "common-licenses").iterdir():
        assert common.stat().st_size > 0
    assert "icense" in text, package
print(f"image: licences of {crates} crates and {len(packages)} packages of libraries", file=sys.stderr)
END

# What is in the image, run as it would be: by its user, in its root, with what it says.
trap 'buildah "${store[@]}" umount "$container" >/dev/null 2>&1 || true; buildah "${store[@]}" rm --all >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
echo content >"$mount/srv/qfs/file"
run() { chroot --userspec 65532:65532 "$mount" "$@"; }
settings=(QFS_ROOT=/srv/qfs QFS_CERTS=/var/lib/qfs QFS_CACHE_DIR=/var/cache/qfs QFS_PORT=8124)
env -i "PATH=$PATH" "${settings[@]}" chroot --userspec 65532:65532 "$mount" /usr/bin/qfs-server --quiet >"$work/server" &
server=$!
trap 'kill "$server" 2>/dev/null || true; buildah "${store[@]}" umount "$container" >/dev/null 2>&1 || true; buildah "${store[@]}" rm --all >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
until grep -q ^ticket "$work/server"; do
  kill -0 "$server"
  sleep 0.05
done
run /usr/bin/qfs-client --ip 127.0.0.1 --port 8124 --connect-timeout 2s -q list no-such-file
[[ $(run /usr/bin/qfs-client --ip 127.0.0.1 --port 8124 cat file) == content ]]
kill "$server"
wait "$server"
if run /usr/bin/qfs-client --ip 127.0.0.1 --port 8124 --connect-timeout 2s -q list no-such-file 2>/dev/null; then
  echo "the health check says that a server is well which is not there" >&2
  exit 1
fi
echo "image: serves as user 65532, and the health check tells whether it does" >&2
