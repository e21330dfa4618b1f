#!/usr/bin/env bash
# The container image of qfs-server, from nothing: the server, the client for the health check, and the libraries that they are linked to.
#   scripts/image.sh BIN OUT VERSION     writes OUT/qfs-server-VERSION.tar.gz, and tries what is in it
# The layer is the same bytes each time; its description is not, in which buildah names a container by chance.
# Needs root and buildah. Uses a store of its own; nothing is left in this machine's.
set -euo pipefail
bin=$(realpath "$1") out=$(realpath "$2") version=$3
: "${SOURCE_DATE_EPOCH:=0}"
# The other format has no health check.
export BUILDAH_FORMAT=docker
work=$(mktemp -d)
store=(--root "$work/store" --runroot "$work/run" --storage-driver vfs)
trap 'buildah "${store[@]}" rm --all >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

root=$work/root
install -D -m 755 -t "$root/usr/bin" "$bin/qfs-server" "$bin/qfs-client"
# The loader and the libraries, where the programs look for them.
ldd "$bin/qfs-server" "$bin/qfs-client" | grep -o '/[^ ]*\.so[^ ]*' | sort -u | while read -r library; do
  install -D -m 755 "$(realpath "$library")" "$root$library"
done
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
