#!/usr/bin/env bash
# What a new user does, on a machine that has only Debian: installs the packages, starts the service, fetches with the client and with curl,
# installs the wheel and opens a file in pandas; upgrades, and purges.
#   scripts/package.sh && scripts/python.sh && scripts/install-check.sh
#
#   QFS_PACKAGES   where the .deb files are (default: target/package)
#   QFS_WHEELS     where the wheel is (default: target/python-wheels)
#
# The machine is a container with a systemd of its own (systemd-nspawn), made of a Debian that mmdebstrap puts into target/tools once, without a
# network but its loopback. Where systemd does not boot in one, the service's command is run by hand, with its settings and as a
# user without rights, and the end of the output says so. Needs root, mmdebstrap and systemd-container.
# shellcheck disable=SC2016 # what is in single quotes is for the shells in there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=scripts/common.sh
source scripts/common.sh
step() { printf '\n== %s\n' "$*" >&2; }

((EUID == 0)) || fail "this needs root" "a Debian is unpacked and booted"
for pair in mmdebstrap:mmdebstrap systemd-nspawn:systemd-container; do
    command -v "${pair%%:*}" >/dev/null || fail "${pair%%:*} is not installed" "apt-get install ${pair##*:}"
done
target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
packages="${QFS_PACKAGES:-$target/package}"
wheels="${QFS_WHEELS:-$target/python-wheels}"
compgen -G "$packages/qfs-server_*.deb" >/dev/null || fail "there are no packages in $packages" "scripts/package.sh"
compgen -G "$wheels/qfs-*.whl" >/dev/null || fail "there is no wheel in $wheels" "scripts/python.sh"

release="$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)"
debian="$target/tools/debian-${release:-stable}.tar"
if [[ ! -f $debian ]]; then
    step "a Debian, once"
    mkdir -p "$target/tools"
    mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,python3,python3-venv,curl "${release:-stable}" "$debian.part" --format=tar >&2
    mv "$debian.part" "$debian"
fi
# What the wheel is used with, fetched once; the container has no network.
needed="$(grep -E '^(fsspec|pandas)==' crates/qfs-python/tests/requirements.txt)"
python="$(tar -tf "$debian" | sed -n 's#.*/usr/bin/python\(3\.[0-9]*\)$#\1#p' | head -n 1)"
others="$target/tools/wheels-$python-$(sha256sum <<<"$needed" | head -c 12)"
if [[ ! -d $others ]]; then
    step "pandas, once"
    rm -rf "$others.part"
    # shellcheck disable=SC2086 # words
    "$target/python-venv/bin/python" -m pip download --quiet --disable-pip-version-check --only-binary :all: --python-version "$python" --dest "$others.part" $needed
    mv "$others.part" "$others"
fi

work="$(mktemp -d)"
root="$work/root"
boss=
leader=
end() {
    if [[ -n $leader ]]; then
        kill -KILL "$leader" 2>/dev/null || true
        wait "$boss" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap end EXIT

step "a machine that has only Debian"
mkdir "$root"
tar -C "$root" -xf "$debian"
mkdir "$root/given"
cp "$packages"/qfs-*.deb "$wheels"/qfs-*.whl "$others"/*.whl "$root/given/"
how="by systemctl"
systemd-nspawn --quiet --register=no --keep-unit --private-network --directory="$root" --boot --console=pipe </dev/null >"$work/boot" 2>&1 &
boss=$!
state=
for _ in $(seq 300); do
    leader="$(pgrep -P "$boss" || true)"
    if [[ -n $leader ]]; then
        state="$(nsenter -t "$leader" -a systemctl is-system-running 2>/dev/null || true)"
        [[ $state != running && $state != degraded ]] || break
    fi
    kill -0 "$boss" 2>/dev/null || break
    sleep 0.2
done
if [[ $state != running && $state != degraded ]]; then
    [[ -z $leader ]] || kill -KILL "$leader" 2>/dev/null || true
    wait "$boss" 2>/dev/null || true
    cat "$work/boot" >&2
    how="by hand, because systemd did not boot in a container here"
    unshare --net --pid --fork --mount --kill-child -- sh -c "ip link set lo up; mount -t proc none '$root/proc'; mount -t devtmpfs none '$root/dev'; exec sleep infinity" &
    boss=$!
    until leader="$(pgrep -P "$boss")" && [[ -e $root/dev/null ]]; do sleep 0.1; done
fi
inside() {
    case $how in
        "by systemctl") nsenter -t "$leader" -a env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@" ;;
        *) nsenter -t "$leader" -n -p -m chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@" ;;
    esac
}
# A person's shell.
person() { inside runuser -u person -- sh -ec "cd; $1"; }

# service start|reload|stop: as the unit has it.
service() {
    if [[ $how == "by systemctl" ]]; then
        inside systemctl "$1" qfs-server || { journal; fail "the service does not $1" "see above"; }
        return
    fi
    case $1 in
        start)
            inside sh -ec '
                unit=/lib/systemd/system/qfs-server.service
                install -d -o 65000 -g 65000 -m 700 /var/lib/qfs-server /var/lib/qfs-server/certs /var/cache/qfs-server
                set -a
                eval "$(sed -n "s/^Environment=//p" $unit | tr " " "\n")"
                . /etc/default/qfs-server
                setpriv --reuid 65000 --regid 65000 --clear-groups $(sed -n "s/^ExecStart=//p" $unit) >/run/qfs-server.out 2>&1 &
                echo $! >/run/qfs-server.pid
                until grep -qs ^ticket /run/qfs-server.out; do kill -0 $!; sleep 0.1; done'
            ;;
        reload) inside sh -c 'kill -HUP $(cat /run/qfs-server.pid)' ;;
        stop) inside sh -c 'kill $(cat /run/qfs-server.pid); rm /run/qfs-server.*' ;;
    esac
}
# What the service said, where something went wrong with it.
journal() { inside journalctl --no-pager --unit qfs-server --lines 30 >&2 || true; }

# Everything that is there, but for what every program on a machine changes.
there() {
    inside find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /given -o -path /home -o -path /var/lib/dpkg -o -path /var/lib/apt \
        -o -path /var/cache/apt -o -path /var/cache/ldconfig -o -path /var/log -o -path /var/lib/systemd -o -path /var/tmp \) -prune -o -print | LC_ALL=C sort
}

inside useradd --create-home person
there >"$work/before"

step "the packages"
inside sh -ec 'apt-get install --yes --quiet --quiet /given/*.deb >/dev/null'
inside qfs-client --version >&2
printf 'city,degrees\nOslo,3\nLagos,31\n' >"$root/srv/qfs/weather.csv"
head -c 3000000 /dev/urandom >"$root/srv/qfs/large.bin"

step "the service, $how"
service start
if [[ $how == "by systemctl" ]]; then
    [[ "$(inside systemctl is-active qfs-server)" == active ]] || fail "the service is not active" "see above"
    pid="$(inside systemctl show --property MainPID --value qfs-server)"
    inside grep '^Uid:' "/proc/$pid/status" >"$work/user"
    ! grep -qP '^Uid:\t0\t' "$work/user" || fail "the service runs as root" "DynamicUser in its unit"
fi

step "the client, and a browser's way"
person 'qfs-client --quiet get --all >sums && cd client_env && sha256sum --check --quiet ../sums && test "$(wc -l <../sums)" = 2'
person 'curl --silent --show-error --fail --insecure --header "Accept: text/html" https://127.0.0.1:8000/ | grep -q weather.csv'
person 'curl --silent --show-error --fail --insecure https://127.0.0.1:8000/large.bin | cmp - client_env/large.bin'

step "the wheel, and pandas"
person 'python3 -m venv venv && venv/bin/pip install --quiet --disable-pip-version-check --no-index --find-links /given qfs fsspec pandas'
person "venv/bin/python -c 'import pandas; frame = pandas.read_csv(\"qfs://127.0.0.1:8000/weather.csv\"); assert list(frame.degrees) == [3, 31], frame'"

step "a setting, reload, an upgrade"
service reload
person 'qfs-client --quiet list >/dev/null'
known="$(inside qfs-server identity show --certs /var/lib/qfs-server/certs | head -n 1)"
echo 'QFS_PORT=8001' >>"$root/etc/default/qfs-server"
inside sh -ec 'dpkg --install /given/*.deb >/dev/null'
if [[ $how == "by systemctl" ]]; then
    # An upgrade restarts what runs, and so the setting counts.
    [[ "$(inside systemctl show --property MainPID --value qfs-server)" != "$pid" ]] || fail "an upgrade left the old program running" "contrib/debian/postinst"
else
    service stop
    service start
fi
person 'qfs-client --quiet --port 8001 cat weather.csv | cmp - client_env/weather.csv'
[[ "$(inside qfs-server identity show --certs /var/lib/qfs-server/certs | head -n 1)" == "$known" ]] || fail "an upgrade changed the server's key" "contrib/debian"

if [[ $how == "by systemctl" ]]; then
    step "the socket: the first client starts the service, and a restart keeps the port"
    inside systemctl stop qfs-server
    inside systemctl start qfs-server.socket
    [[ "$(inside systemctl is-active qfs-server || true)" == inactive ]] || fail "the socket started the service before a client came" "contrib/systemd"
    person 'qfs-client --quiet --connect-timeout 30s cat weather.csv | cmp - client_env/weather.csv'
    person 'qfs-client --quiet --transport tcp cat weather.csv | cmp - client_env/weather.csv'
    inside systemctl restart qfs-server
    person 'qfs-client --quiet cat weather.csv | cmp - client_env/weather.csv'
fi

step "a purge"
[[ $how == "by systemctl" ]] || service stop
inside sh -ec 'apt-get purge --yes --quiet --quiet qfs-server qfs-client >/dev/null'
! inside pgrep -x qfs-server >/dev/null 2>&1 || fail "the server goes on after a purge" "contrib/debian/prerm"
# What was served is not the packages' to remove.
printf '%s\n' /srv/qfs /srv/qfs/large.bin /srv/qfs/weather.csv | LC_ALL=C sort - "$work/before" >"$work/expected"
there >"$work/after"
diff "$work/expected" "$work/after" >&2 || fail "a purge left something behind, or took too much" "see above"
echo "installed, served $how, fetched, upgraded and purged: all as it should be"
