"""contrib/kubernetes/qfs-server.yaml against the program: python manifest.py QFS_SERVER S3_ENDPOINT

Its arguments are flags that qfs-server has, its ports, probes and times fit together, and a server that is started with them answers
the probes, and drains within the time that Kubernetes gives it. Paths, ports and the bucket are those of this machine.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import yaml

server, endpoint = sys.argv[1:]
manifest = pathlib.Path(__file__).parents[2] / "contrib/kubernetes/qfs-server.yaml"
kinds = {document["kind"]: document for document in yaml.safe_load_all(manifest.read_text())}
pod = kinds["Deployment"]["spec"]["template"]["spec"]
(container,) = pod["containers"]
flags = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])
clean = {name: value for name, value in os.environ.items() if not name.startswith(("QFS_", "AWS_"))}


def seconds(text):
    return int(text.removesuffix("s"))


def flags_are_the_programs():
    told = subprocess.run([server, *container["args"], "--print-config"], env=clean, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    for name in flags:
        line = next((line for line in told.stdout.splitlines() if re.match(rf"{name}\s*=", line)), None)
        assert line and "flag" in line, f"--{name} does not count: {line}\n{told.stdout}"


def parts_fit_together():
    ports = {port["name"]: port for port in container["ports"]}
    for name in ["quic", "tcp"]:
        assert ports[name]["containerPort"] == int(flags["port"]), name
    metrics = flags["metrics"].rsplit(":", 1)[1]
    assert ports["metrics"]["containerPort"] == int(metrics) and flags["metrics"].startswith("0.0.0.0:")
    for probe, path in [("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")]:
        assert container[probe]["httpGet"] == {"path": path, "port": "metrics"}, probe
    for port in kinds["Service"]["spec"]["ports"]:
        assert ports[port["targetPort"]]["protocol"] == port["protocol"], port
    labels = kinds["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert kinds["Service"]["spec"]["selector"] == labels
    assert kinds["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    drain = container["lifecycle"]["preStop"]["sleep"]["seconds"] + seconds(flags["drain-timeout"])
    assert drain < pod["terminationGracePeriodSeconds"], "it is killed while it drains"
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for flag in ["certs", "cache-dir"]:
        assert mounted[flags[flag]] in volumes, flag
    room = volumes[mounted[flags["cache-dir"]]]["emptyDir"]["sizeLimit"]
    assert int(room.removesuffix("Gi")) > int(flags["cache-disk"].removesuffix("G")), "the cache does not fit"
    (first,) = pod["initContainers"]
    assert set(mount["name"] for mount in [*first["volumeMounts"], *container["volumeMounts"]]) == set(volumes)


def status(address, path):
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def a_server_with_them_is_ready_and_drains():
    with tempfile.TemporaryDirectory() as place:
        here = {"ip": "127.0.0.1", "port": "0", "root": "s3://demo", "certs": f"{place}/certs", "cache-dir": f"{place}/cache",
                "metrics": "127.0.0.1:0"}
        arguments = [f"--{name}={here.get(name, value)}" for name, value in flags.items()]
        bucket = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1",
                  "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
        with open(f"{place}/log", "w+") as log:
            running = subprocess.Popen([server, *arguments], env=clean | bucket, stdout=log, stderr=log)
            try:
                deadline = time.monotonic() + 60
                address = None
                while not (address and status(address, "/readyz") == 200):
                    said = pathlib.Path(log.name).read_text()
                    assert running.poll() is None and time.monotonic() < deadline, said
                    found = re.search(r"http://(127\.0\.0\.1:[0-9]+)/metrics", said)
                    address = found and found[1]
                    time.sleep(0.05)
                assert status(address, container["livenessProbe"]["httpGet"]["path"]) == 200
                running.send_signal(signal.SIGTERM)
                assert running.wait(timeout=pod["terminationGracePeriodSeconds"]) == 0, pathlib.Path(log.name).read_text()
            finally:
                running.kill()
                running.wait()


for check in [flags_are_the_programs, parts_fit_together, a_server_with_them_is_ready_and_drains]:
    check()
    print(f"manifest: {check.__name__.replace('_', ' ')}")
