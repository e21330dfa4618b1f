"""The client that blocks."""

import hashlib
import io
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import threading

import pytest

import qfs

NOISE = random.Random(7).randbytes(3_000_000)


def test_looking(server, client):
    (server.root / "a" / "b").mkdir(parents=True)
    (server.root / "a" / "b" / "c.bin").write_bytes(b"123")
    (server.root / "a" / "empty").mkdir()
    server.publish(top=b"")
    assert [(entry.name, entry.size) for entry in client.list()] == [("a/b/c.bin", 3), ("top", 0)]
    assert [entry.name for entry in client.list("a/")] == ["a/b/c.bin"]
    assert [(entry.name, entry.kind) for entry in client.children("a")] == [("a/b", "directory"), ("a/empty", "directory")]
    entry = client.stat("a/b/c.bin")
    assert (entry.kind, entry.size, entry.executable) == ("file", 3, False)
    assert abs(entry.mtime - (server.root / "a/b/c.bin").stat().st_mtime) < 1e-3
    assert client.stat("a/empty").kind == "directory"
    assert client.exists("a") and not client.exists("b")
    assert client.fingerprint == server.fingerprint
    assert repr(entry) == 'Entry(name="a/b/c.bin", kind="file", size=3)'


def test_reading_in_parts(server, client):
    server.publish(x=NOISE)
    assert client.read("x") == NOISE
    assert client.stat("x").digest == "sha256:" + hashlib.sha256(NOISE).hexdigest()
    assert client.read("x", 10, 20) == NOISE[10:20]
    with client.open("x", "rb") as file:
        assert file.readable() and file.seekable() and not file.writable()
        assert file.seek(-5, os.SEEK_END) == len(NOISE) - 5 and file.read() == NOISE[-5:] and file.read() == b""
        file.seek(1_000_000)
        assert file.read(2_000) == NOISE[1_000_000:1_002_000] and file.tell() == 1_002_000
        file.seek(0)
        assert file.read() == NOISE
    with pytest.raises(ValueError):
        file.read()
    server.publish(text="zwölf\nzeilen\n".encode())
    with client.open("text", encoding="utf-8") as file:
        assert list(file) == ["zwölf\n", "zeilen\n"]


def test_versions_are_not_mixed(server, client):
    server.publish(x=b"a" * 100)
    with client.open("x", "rb", buffering=0) as file:
        assert file.read(10) == b"a" * 10
        server.publish(x=b"b" * 50)
        with pytest.raises(qfs.Changed) as raised:
            file.read(10)
    assert isinstance(raised.value, qfs.Integrity) and raised.value.name == "x" and raised.value.code == "changed"


def test_writing(server, client):
    with client.open("new/x.bin", "wb") as file:
        for at in range(0, len(NOISE), 70_000):
            file.write(memoryview(NOISE)[at : at + 70_000])
        assert not (server.root / "new" / "x.bin").exists(), "it appears when it is closed"
    assert (server.root / "new" / "x.bin").read_bytes() == NOISE
    with client.open("new/text", "w", encoding="utf-8") as file:
        print("zwölf", file=file)
    assert (server.root / "new" / "text").read_text(encoding="utf-8") == "zwölf\n"
    with pytest.raises(FileExistsError):
        client.open("new/text", "x")
    client.open("nothing", "wb").close()
    assert (server.root / "nothing").read_bytes() == b""
    client.write("bytes", bytearray(b"12"))
    with pytest.raises(qfs.Exists):
        client.write("bytes", b"3")
    assert client.write("bytes", b"3", overwrite=True).status == "uploaded"
    for mode in ("rw", "a", "rb+", "bt", ""):
        with pytest.raises(ValueError):
            client.open("bytes", mode)


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_what_is_not_closed_does_not_appear(server, client, mode):
    data = b"x" * 3_000_000 if mode == "wb" else "x" * 3_000_000
    with pytest.raises(ZeroDivisionError):
        with client.open("half", mode) as file:
            file.write(data)
            raise ZeroDivisionError
    file = client.open("half", mode)
    file.write(data)
    del file
    client.write("other", b"")
    assert [entry.name for entry in client.list()] == ["other"]


def test_get_and_put(server, client, home):
    (home / "tree" / "deep").mkdir(parents=True)
    (home / "tree" / "deep" / "one").write_bytes(NOISE)
    (home / "tree" / "two").write_bytes(b"2")
    seen = []
    outcomes = client.put(home / "tree", "in", progress=seen.append)
    assert {(outcome.name, outcome.status) for outcome in outcomes} == {("in/tree/deep/one", "uploaded"), ("in/tree/two", "uploaded")}
    assert seen[-1] == qfs.Progress(len(NOISE) + 1, len(NOISE) + 1, 2, 2)

    seen.clear()
    fetched = client.get(["in/tree/**"], home / "back", progress=seen.append)
    assert [outcome.digest for outcome in fetched if outcome.size > 1] == ["sha256:" + hashlib.sha256(NOISE).hexdigest()]
    assert (home / "back/in/tree/deep/one").read_bytes() == NOISE
    assert seen[-1].bytes == len(NOISE) + 1 and seen[-1].files == 2
    assert {outcome.status for outcome in client.get(None, str(home / "back"))} == {"unchanged"}
    # Names whose sizes nobody has listed.
    client.get(["in/tree/two", "in/tree/deep/one"], home / "once", progress=seen.append)
    assert seen[-1] == qfs.Progress(len(NOISE) + 1, len(NOISE) + 1, 2, 2)

    assert client.get_file("in/tree/two", home / "made" / "zwei").status == "downloaded"
    assert (home / "made" / "zwei").read_bytes() == b"2"
    (home / "made" / "zwei").write_bytes(b"other")
    with pytest.raises(qfs.Exists):
        client.get_file("in/tree/two", home / "made" / "zwei")
    client.get_file("in/tree/two", home / "made" / "zwei", overwrite=True)
    assert client.put_file(home / "made" / "zwei", "drei").name == "drei"
    with pytest.raises(FileNotFoundError):
        client.put(home / "nothing")


def test_pull_and_push(server, client, home):
    (home / "tree").mkdir()
    (home / "tree" / "a").write_bytes(b"a")
    (home / "tree" / "b.tmp").write_bytes(b"b")
    steps = client.push(home / "tree", "there", exclude="*.tmp", dry_run=True)
    assert [(step.action, step.name) for step in steps if step.action == "transfer"] == [("transfer", "a")]
    assert client.list() == []
    client.push(home / "tree", "there", exclude=["*.tmp"])
    assert [entry.name for entry in client.list()] == ["there/a"]
    client.pull(home / "back", "there")
    assert (home / "back" / "a").read_bytes() == b"a"
    (home / "back" / "more").write_bytes(b"more")
    with pytest.raises(qfs.TooManyRemovals):
        client.pull(home / "back", "there", delete=True, max_delete=0)
    assert (home / "back" / "more").exists()
    client.pull(home / "back", "there", delete=True)
    assert not (home / "back" / "more").exists()


def test_changing(server, client):
    client.make_directory("d/e")
    client.write("d/x", b"1")
    client.copy("d/x", "d/e/y")
    with pytest.raises(qfs.Exists):
        client.copy("d/x", "d/e/y")
    client.remove("d/x")
    with pytest.raises(qfs.NotFound):
        client.remove("d/x")
    with pytest.raises(qfs.Error):
        client.remove_directory("d")
    client.remove("d", recursive=True)
    assert client.children() == []


def test_failures_have_types(start, server, client, home):
    with pytest.raises(FileNotFoundError) as raised:
        client.read("no\x1b[31m")
    assert isinstance(raised.value, qfs.NotFound) and "\x1b" not in str(raised.value) and raised.value.errno == 2
    again = pickle.loads(pickle.dumps(raised.value))
    assert type(again) is qfs.NotFound and str(again) == str(raised.value) and again.name == raised.value.name
    for work in (client.stat, client.list, client.children, client.open, client.remove):
        with pytest.raises(qfs.NotFound):
            work("nothing/../here" if work == client.stat else "nothing")
    server.publish(x=b"1", y=b"2")
    (home / "x").write_bytes(b"other")
    (home / "y").write_bytes(b"other")
    with pytest.raises(qfs.SeveralFailed) as several:
        client.get(["x", "y"], home)
    assert [outcome.error[0] for outcome in several.value.outcomes] == ["exists", "exists"]
    with pytest.raises(qfs.UsageError):
        client.get("a[", home)
    with pytest.raises(qfs.UsageError):
        qfs.connect("http://127.0.0.1")

    other = "sha256:" + "0" * 64
    with pytest.raises(qfs.Untrusted):
        qfs.connect(server.url, fingerprint=other)
    with pytest.raises(ConnectionError):
        qfs.connect("qfs://127.0.0.1:1", timeout=1)
    reading = start()
    with qfs.connect(reading.url) as only:
        with pytest.raises(PermissionError) as denied:
            only.write("x", b"1")
        assert isinstance(denied.value, qfs.PermissionDenied)
        with pytest.raises(qfs.PermissionDenied):
            with only.open("x", "wb") as file:
                file.write(b"1")


def test_tokens(start):
    guarded = start("--auth", "tokens", token=[])
    guarded.publish(x=b"secret")
    with qfs.connect(guarded.ticket) as client, pytest.raises(qfs.PermissionDenied):
        client.list()
    with qfs.connect(guarded.url, token=guarded.token, fingerprint=guarded.fingerprint) as client:
        assert client.read("x") == b"secret"


def test_digests_of_another_kind(server):
    server.publish(x=b"")
    with qfs.connect(server.url, hash="blake3") as client:
        assert client.read("x") == b""
        assert client.stat("x").digest.startswith("blake3:af1349b9f5f9a1a6")


def test_a_closed_client_says_so(client):
    client.close()
    with pytest.raises(qfs.ClientClosed):
        client.list()
    client.close()


def test_the_other_process_is_told(client):
    child = os.fork()
    if child == 0:
        try:
            client.list()
        except qfs.ClientClosed:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_server_that_comes_back_is_met_again(server, client):
    server.publish(x=b"1")
    assert client.read("x") == b"1"
    server.process.kill()
    server.process.wait()
    with pytest.raises(ConnectionError):
        with qfs.connect(server.ticket, retry_timeout=0.2, timeout=0.5) as short:
            short.list()
    command = [*server.process.args]
    command[command.index("--port") + 1] = str(server.port)
    again = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert client.read("x") == b"1"
    finally:
        again.kill()
        again.wait()


def silence():
    """A port where nobody answers, and where it is seen that somebody asks."""
    port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    port.bind(("127.0.0.1", 0))
    port.settimeout(60)
    return port


def test_others_run_while_one_waits():
    with silence() as port:
        url = f"qfs://127.0.0.1:{port.getsockname()[1]}"
        ended = []

        def connecting():
            with pytest.raises(qfs.CannotConnect):
                qfs.connect(url, timeout=1, transport="udp")
            ended.append(True)

        thread = threading.Thread(target=connecting)
        thread.start()
        # Only if the interpreter is free does this thread get here before the other has given up.
        port.recv(65536)
        assert not ended
        thread.join()
        assert ended


def test_an_interrupt_ends_the_wait():
    with silence() as port:
        url = f"qfs://127.0.0.1:{port.getsockname()[1]}"
        # Whoever is started in the background ignores interrupts, and Python then leaves it at that.
        code = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        code += f"import qfs\ntry: qfs.connect({url!r}, timeout=50, transport='udp')\nexcept KeyboardInterrupt: raise SystemExit(9)"
        program = subprocess.Popen([sys.executable, "-c", code])
        port.recv(65536)
        program.send_signal(signal.SIGINT)
        assert program.wait(timeout=30) == 9


def test_what_the_callback_raises_ends_the_work(server, client, home):
    server.publish(x=NOISE * 30)

    class Enough(Exception):
        pass

    def enough(progress):
        raise Enough

    with pytest.raises(Enough):
        client.get_file("x", home / "x", progress=enough)
    assert client.get_file("x", home / "x").size == len(NOISE) * 30


def test_threads_share_a_client(server, client):
    server.publish(**{f"f{n}": bytes([n]) * 100_000 for n in range(16)})
    read = {}
    threads = [threading.Thread(target=lambda n=n: read.update({n: client.read(f"f{n}")})) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == {n: bytes([n]) * 100_000 for n in range(16)}


def test_it_is_a_file_for_others(server, client):
    import csv
    import zipfile

    with client.open("z.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inside.csv", "a,b\n1,2\n")
    with client.open("z.zip", "rb") as file, zipfile.ZipFile(file) as archive:
        assert list(csv.reader(io.TextIOWrapper(archive.open("inside.csv")))) == [["a", "b"], ["1", "2"]]
