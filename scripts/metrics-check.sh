#!/usr/bin/env bash
# Asks a real Prometheus for every expression of contrib/grafana/qfs.json, with a real server behind it: fails when one of them is
# malformed, or finds nothing although there was something to count.
set -euo pipefail
cd "$(dirname "$0")/.."
for program in prometheus curl python3; do
  command -v "$program" >/dev/null || { echo "$program is needed (Debian: prometheus, curl, python3)" >&2; exit 1; }
done
cargo build --quiet --bin qfs-server --bin qfs-client
bin=$(realpath "${CARGO_TARGET_DIR:-target}")/debug board=$PWD/contrib/grafana/qfs.json
work=$(mktemp -d)
pids=()
# shellcheck disable=SC2329 # called by the trap
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
cd "$work"
mkdir root
head -c 3000000 /dev/urandom >root/large.bin
token=$("$bin/qfs-server" --certs certs token create --name check)
"$bin/qfs-server" --certs certs --root root --cache-dir cache --port 0 --auth tokens --metrics 0 >out 2>err &
pids+=($!)
for _ in $(seq 100); do grep -q metrics err && grep -q '^ticket' out && break; sleep 0.1; done
metrics=$(sed -n 's|.*http://\([^/]*\)/metrics.*|\1|p' err)
address=$(sed -n 's/^listening on //p' out)
curl -sSf "http://$metrics/metrics" >text
cat >prometheus.yml <<EOF
global: {scrape_interval: 500ms, scrape_timeout: 500ms}
scrape_configs: [{job_name: qfs, static_configs: [{targets: ["$metrics"]}]}]
EOF
free=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address="127.0.0.1:$free" >prometheus.log 2>&1 &
pids+=($!)
for _ in $(seq 100); do curl -sf "http://127.0.0.1:$free/-/ready" >/dev/null && break; sleep 0.1; done
# Something to count, through both doors, for as long as the rates below look back.
for round in 1 2 3 4 5 6 7 8; do
  curl -sSkf -H "Authorization: Bearer $token" "https://$address/large.bin" -o /dev/null
  curl -sSk -H "Authorization: Bearer $token" "https://$address/none" -o /dev/null
  QFS_TOKEN=$token "$bin/qfs-client" --server "qfs://$address" --save-dir "copy$round" get large.bin >/dev/null 2>&1
  sleep 0.3
done
python3 - "$board" "http://127.0.0.1:$free" <<'EOF'
import json, sys, time, urllib.error, urllib.parse, urllib.request

board, base = json.load(open(sys.argv[1])), sys.argv[2]
left = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
end = time.monotonic() + 60
while left and time.monotonic() < end:
    for expression in list(left):
        query = expression.replace("$__rate_interval", "1m").replace("$instance", ".*")
        address = base + "/api/v1/query?" + urllib.parse.urlencode({"query": query})
        try:
            result = json.load(urllib.request.urlopen(address))["data"]["result"]
        except urllib.error.HTTPError as error:
            sys.exit(f"{query}: {error.read().decode()}")
        if result:
            print(f"{len(result):3}  {query}")
            left.remove(expression)
    time.sleep(0.5)
sys.exit("these find nothing: " + "; ".join(left) if left else 0)
EOF
