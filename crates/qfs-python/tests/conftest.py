"""A real qfs-server for each test: on a port of its own, with a directory of its own, ended with the test."""

import os
import select
import subprocess
from pathlib import Path
from typing import Optional, Sequence

import pytest

import qfs

PATIENCE = 60.0
SERVER = os.environ["QFS_SERVER_BIN"]


class Server:
    """A running server."""

    def __init__(self, place: Path, *args: str, token: Optional[Sequence[str]] = None):
        self.root, self.certs = place / "root", place / "certs"
        self.root.mkdir()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("QFS_")}
        if token is not None:
            # Before it starts, so that it knows it from the beginning.
            command = [SERVER, "--certs", str(self.certs), "token", "create", *token]
            made = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=PATIENCE, env=environment)
            self.token = made.stdout.decode().strip()
        command = [SERVER, "--port", "0", "--root", str(self.root), "--certs", str(self.certs), "--keep-free", "1", *args]
        self.log = open(place / "server.log", "wb")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, env=environment, bufsize=0)
        said = {}
        while "ticket" not in said:
            assert select.select([self.process.stdout], [], [], PATIENCE)[0], "the server says nothing"
            line = self.process.stdout.readline().decode()
            assert line, (place / "server.log").read_text()
            word, _, rest = line.strip().partition(" ")
            said[word] = rest
        self.fingerprint, self.ticket = said["fingerprint"], said["ticket"]
        self.port = int(said["listening"].rpartition(":")[2])
        self.url = f"qfs://127.0.0.1:{self.port}"

    def publish(self, **files: bytes) -> None:
        for name, content in files.items():
            (self.root / name).write_bytes(content)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


@pytest.fixture(autouse=True)
def configuration(tmp_path, monkeypatch):
    """Nothing is read from, or left in, the configuration of whoever runs the tests."""
    monkeypatch.setenv("QFS_CONFIG_DIR", str(tmp_path / "config"))


@pytest.fixture
def start(tmp_path):
    """Starts servers."""
    running = []

    def begin(*args: str, **more) -> Server:
        place = tmp_path / f"server{len(running)}"
        place.mkdir()
        running.append(Server(place, *args, **more))
        return running[-1]

    yield begin
    for server in running:
        server.end()


@pytest.fixture
def server(start):
    """One that lets everybody do everything."""
    return start("--allow", "read,write,delete")


@pytest.fixture
def client(server):
    with qfs.connect(server.ticket) as client:
        yield client


@pytest.fixture
def home(tmp_path):
    """A directory of this side."""
    (tmp_path / "home").mkdir()
    return tmp_path / "home"
