# shellcheck shell=bash
# What several scripts do alike: read by them, not run.
#
#   fail WHAT HINT                  ends with an error
#   find_server PROFILE...          sets server to QFS_SERVER_BIN, or to the first that is there of target/PROFILE/qfs-server
#   engine NAME COMMAND...          starts COMMAND, which chooses its port, in the background; sets address to the http://127.0.0.1:PORT that
#                                   it says, and adds its process to engines; what it says is in $place/NAME-NUMBER.log
#   end_engine PID, end_engines     end one of them, or all that are left
#   python_packages NAME REQUIREMENTS [ARGUMENT OF PIP]...    sets venv to target/NAME, with what the file REQUIREMENTS names

fail() {
    echo "error: $1" >&2
    echo "hint: $2" >&2
    exit 1
}

find_server() {
    local profile places=("${QFS_SERVER_BIN:-}")
    for profile; do places+=("$(realpath -m "${CARGO_TARGET_DIR:-target}")/$profile/qfs-server"); done
    for server in "${places[@]}"; do
        [[ ! -x $server ]] || { server="$(realpath "$server")"; return; }
    done
    fail "no qfs-server was found" "cargo build -p qfs-server"
}

engines=()
engine_number=0
engine() {
    local name=$1 log="${place:?}/$1-$((++engine_number)).log"
    : >"$log"
    "${@:2}" >"$log" 2>&1 &
    engines+=($!)
    for ((waited = 0; ; waited++)); do
        address=$(grep -aom1 'http://127\.0\.0\.1:[1-9][0-9]*' "$log" || true)
        [[ -z $address ]] || return 0
        if ((waited == 300)) || ! kill -0 "${engines[-1]}" 2>/dev/null; then
            cat "$log" >&2
            fail "$name did not start" "its words are above"
        fi
        sleep 0.1
    done
}

end_engine() {
    local pid left=()
    for pid in "${engines[@]}"; do [[ $pid == "$1" ]] || left+=("$pid"); done
    engines=("${left[@]}")
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

end_engines() {
    while ((${#engines[@]})); do end_engine "${engines[-1]}"; done
}

python_packages() {
    local requirements=$2 stamp
    venv="$(realpath -m "${CARGO_TARGET_DIR:-target}")/$1"
    command -v python3 >/dev/null || fail "python3 is not installed" "apt-get install python3 python3-venv"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$(python3 --version) is too old for what it is tested with" "install Python 3.11 or newer"
    python3 -c 'import venv, ensurepip' 2>/dev/null ||
        fail "python3 has no venv or no pip" "apt-get install python3-venv"
    # Made anew when the packages or Python itself have changed.
    stamp="$(python3 --version) $(sha256sum <"$requirements")"
    if [[ "$(cat "$venv/stamp" 2>/dev/null || true)" != "$stamp" ]]; then
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${@:3}" --requirement "$requirements" ||
            fail "the Python packages could not be installed" "this needs PyPI, once; see $requirements"
        printf '%s' "$stamp" >"$venv/stamp"
    fi
}
