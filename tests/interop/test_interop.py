#!/usr/bin/env python3
"""A real qfs-server against the client written from docs/PROTOCOL.md. Run by scripts/interop.sh.

Takes the server from QFS_SERVER_BIN, or target/release or target/debug. Section numbers are those of the page.
The last line printed is `N passed, N failed`.
"""

from __future__ import annotations

import asyncio
import calendar
import hashlib
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import Any

from cryptography import x509

import qfs_changes as changes
import qfs_client as qfs
from qfs_client import Ticket, frame, request

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent
START_SECONDS = 20
MIB = 1 << 20

LARGE = bytes(hashlib.shake_256(b"qfs").digest(8 * MIB + 12_345))
NOT_PUBLISHED = [".hidden", "...", "dir/..a", ".git/config"]
FILES: dict[str, bytes] = {
    "small.txt": b"abc",
    "empty": b"",
    "large.bin": LARGE,
    # The order of §2.2 is that of whole names: `-` and `.` come before `/`, `0` behind it.
    "a-b": b"1",
    "a.txt": b"2",
    "a/b": b"3",
    "a/c/d/e/f": b"4",
    "a0": b"5",
    "sub/with spaces and 'quotes\"": b"6" * 1000,
    "été/文件 🦀": b"7" * 70_000,
    "new\nline\ttab": b"8",
    "-rf": b"9",
    "C:x": b"10",
    "z" * 255: b"11",
    **{f"many/{i:04}-{'x' * 40}": b"" for i in range(2000)},
}
BIG_BYTES = 64 * MIB  # sparse; for seconds under way at the speed of Python


def server_binary() -> pathlib.Path:
    if named := os.environ.get("QFS_SERVER_BIN"):
        return pathlib.Path(named)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target"))
    for profile in ("release", "debug"):
        if (target / profile / "qfs-server").exists():
            return target / profile / "qfs-server"
    raise SystemExit("no qfs-server: build it with `cargo build --release -p qfs-server`, or set QFS_SERVER_BIN")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Server:
    """A running qfs-server with its own root and identity."""

    def __init__(self, files: dict[str, bytes], *arguments: str):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="qfs-interop-"))
        self.root, self.certs = self.dir / "root", self.dir / "certs"
        self.root.mkdir()
        self.certs.mkdir()
        for name, content in files.items():
            self.write(name, content)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("QFS_")}
        self.process = subprocess.Popen(
            [server_binary(), "--ip", "127.0.0.1", "--port", "0", "--root", self.root, "--certs", self.certs, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("QFS_INTEROP_VERBOSE") else subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.said: dict[str, str] = {}
        try:
            while "ticket" not in self.said:
                key, _, value = self.lines.get(timeout=START_SECONDS).partition(" ")
                self.said[key] = value
        except queue.Empty:
            self.stop()
            raise AssertionError(f"no ticket within {START_SECONDS} s; the server said {self.said}") from None
        self.ticket = Ticket.parse(self.said["ticket"])

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.put(line.rstrip("\n"))

    def write(self, name: str, content: bytes) -> pathlib.Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def sparse(self, name: str, size: int) -> pathlib.Path:
        path = self.write(name, b"")
        os.truncate(path, size)
        return path

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        shutil.rmtree(self.dir, ignore_errors=True)
        return code


class Case(unittest.IsolatedAsyncioTestCase):
    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server(FILES)

    @classmethod
    def tearDownClass(cls) -> None:
        code = cls.server.stop()
        if code != 0:
            raise AssertionError(f"the server ended with code {code}")

    async def asyncSetUp(self) -> None:
        asyncio.get_running_loop().set_debug(False)  # unittest switches it on; it makes large downloads slow

    def connect(self, **options: Any) -> Any:
        return qfs.connect(self.server.ticket, **options)

    async def fetch(self, client: qfs.Client, name: str, *args: Any, **kwargs: Any) -> tuple[bytes, qfs.Download]:
        data = bytearray()
        return data, await asyncio.wait_for(client.download(name, data.extend, *args, **kwargs), 60)  # type: ignore

    async def answer(self, client: qfs.Client, data: bytes, end: bool = True) -> dict[str, Any]:
        """The head that answers these bytes; StatusError for an error head."""
        async with client.exchange(data, end) as stream:
            return await asyncio.wait_for(stream.read_coded(), 20)

    async def refused(self, code: int, answer: Any) -> qfs.StatusError:
        with self.assertRaises(qfs.StatusError) as caught:
            await answer
        self.assertEqual(caught.exception.code, code, caught.exception)
        self.assertFalse(caught.exception.reset, "an error before the body is a head, not a reset (§3.2)")
        self.assertNotIn(str(self.server.dir), caught.exception.message)
        return caught.exception

    async def still_works(self, client: qfs.Client) -> None:
        data, _ = await self.fetch(client, "small.txt")
        self.assertEqual(data, b"abc")


class Page(unittest.TestCase):
    """The byte examples of the page are what it says they are."""

    def blocks(self) -> list[bytes]:
        page = (REPO / "docs" / "PROTOCOL.md").read_text(encoding="utf-8")
        # What goes over TCP are QUIC's frames, not messages.
        page = re.sub(r"^## 9\. .*?(?=^## )", "", page, count=1, flags=re.MULTILINE | re.DOTALL)
        found = []
        for block in re.findall(r"^```hexdump\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
            data = bytearray()
            for line in block.splitlines():
                self.assertEqual(int(line[:4], 16), len(data), line)
                row = bytes.fromhex(line[6:54])
                self.assertEqual(line[56:], "|" + "".join(chr(b) if 32 <= b < 127 else "." for b in row) + "|")
                data += row
            found.append(bytes(data))
        return found

    def test_every_dump_is_whole_messages(self) -> None:
        blocks = self.blocks()
        self.assertGreater(len(blocks), 10)
        page = (REPO / "docs" / "PROTOCOL.md").read_text(encoding="utf-8")
        for data in blocks:
            messages = []
            while data:
                length = int.from_bytes(data[:4], "big")
                payload, data = data[4 : 4 + length], data[4 + length :]
                self.assertEqual(len(payload), length)
                if not payload.startswith(b"{"):  # parts to be copied (§4.5.4), and the zeros behind them
                    self.assertEqual((changes.varints(payload), data), ([0, 4096, 10000, 0, 300, 0, 604, 1, 7], bytes(4)))
                    messages.append({})
                    break
                message = qfs.decode(payload)
                if "length" in message:  # the head of a chunk map (§4.8.1)
                    self.assertGreaterEqual(len(data), message["length"])
                    data = data[message["length"] :]
                elif "etag" in message and data:
                    span = message["range"]
                    body, data = data[: span["end"] - span["start"]], data[span["end"] - span["start"] :]
                    self.assertEqual(body, b"abc"[span["start"] : span["end"]])
                elif {"size", "sha256"} <= message.keys() and "etag" not in message:  # a record (§4.3)
                    body, data = data[: message["size"]], data[message["size"] :]
                    self.assertEqual((body, message["sha256"]), (b"abc", sha256(b"abc")))
                messages.append(message)
            if "etag" in messages[0] and len(messages) > 1:
                self.assertEqual(messages[-1], {"code": 0, "sha256": sha256(b"abc")})
        for command in (b'{"command":"get_files_list"}', b'{"command":"download","filename":"sub/a b"}'):
            self.assertIn(frame(command), blocks)
            self.assertIn(f"`{command.decode()}`", page)

    def test_the_codes_of_the_page_are_those_of_the_client(self) -> None:
        page = (REPO / "docs" / "PROTOCOL.md").read_text(encoding="utf-8")
        table = page[page.index("### 3.1") : page.index("### 3.2")]
        rows = [(int(number), name) for number, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", table, re.MULTILINE)]
        self.assertEqual(rows, list(enumerate(qfs.CODE_NAMES)))

    def test_tickets(self) -> None:
        pin = "0123456789abcdef" * 4
        self.assertEqual(Ticket.parse(f"qfs://127.0.0.1:9#sha256:{pin}"), Ticket("127.0.0.1", 9, pin))
        self.assertEqual(Ticket.parse(f"qfs://[::1]/#sha256:{pin.upper()}"), Ticket("::1", 8000, pin))
        for text in ("127.0.0.1:9", "qfs://:9", "qfs://h:0", "qfs://h:65536", "qfs://h:1#sha256:00", "qfs://a b:1"):
            with self.assertRaises(ValueError):
                Ticket.parse(text)

    def test_names(self) -> None:
        for name in ("a", "a b", "été", "...", "..a", "new\nline", "x" * 255, "/".join("x" * 2048)):
            self.assertTrue(qfs.is_legal_name(name), name)
        for name in ("", "/a", "a/", "a//b", ".", "a/../b", "a\\b", "a\0", "x" * 256, "/".join("x" * 2049), "\ud800"):
            self.assertFalse(qfs.is_legal_name(name), name)


class Identity(Case):
    """§1: the handshake."""

    def test_the_fingerprint_is_that_of_the_certificate(self) -> None:
        said = self.server.said["fingerprint"]
        self.assertEqual(said, f"sha256:{self.server.ticket.pin}")
        certificate = x509.load_pem_x509_certificate((self.server.certs / "server.crt").read_bytes())
        self.assertEqual(said, f"sha256:{qfs.fingerprint(certificate)}")
        self.assertEqual(stat.S_IMODE((self.server.certs / "server.key").stat().st_mode), 0o600)

    async def test_the_right_pin_is_accepted(self) -> None:
        async with self.connect() as client:
            await self.still_works(client)

    async def test_a_wrong_pin_is_refused_before_anything_is_sent(self) -> None:
        wrong = Ticket(self.server.ticket.host, self.server.ticket.port, "00" * 32)
        with self.assertRaises(qfs.Untrusted):
            async with qfs.connect(wrong):
                self.fail("connected to a server with another key")

    async def test_another_protocol_is_refused_in_the_handshake(self) -> None:
        with self.assertRaises(qfs.ConnectionLost) as caught:
            async with self.connect(alpn="qfs/2"):
                self.fail("connected without qfs/1")
        self.assertEqual(caught.exception.quic_code, 0x178)  # no_application_protocol

    async def test_transport_parameters(self) -> None:
        tickets: list[Any] = []
        async with self.connect(session_ticket_handler=tickets.append) as client:
            await self.still_works(client)
            quic = client.protocol.quic
            # Some are granted for the sake of HTTP/3 on the same port, and none may be used (§1.4).
            self.assertLessEqual(quic._remote_max_streams_uni, 8)
            self.assertFalse(quic._remote_max_datagram_frame_size, "no datagrams (§1.4)")
            self.assertEqual(quic._remote_max_idle_timeout, 30.0)
        for ticket in tickets:
            self.assertFalse(ticket.max_early_data_size, "no 0-RTT (§1.4)")


class Many(Case):
    """§4.3"""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server.write("edge", b"e" * qfs.MAX_SMALL_FILE_BYTES)
        cls.server.write("beyond", b"b" * (qfs.MAX_SMALL_FILE_BYTES + 1))

    async def test_many_small_files_come_on_one_stream(self) -> None:
        names = ["small.txt", "edge", "nope", "beyond", "../small.txt", "small.txt"]
        async with self.connect() as client:
            answers = await client.download_many(names)
        self.assertEqual([answers[i] for i in (0, 1, 5)], [b"abc", b"e" * qfs.MAX_SMALL_FILE_BYTES, b"abc"])
        codes = [answer.code for answer in (answers[2], answers[3], answers[4])]
        self.assertEqual(codes, [qfs.NOT_FOUND, qfs.USE_DOWNLOAD, qfs.NOT_FOUND])

    async def test_a_request_without_names_or_with_too_many_is_refused(self) -> None:
        async with self.connect() as client:
            for names in ([], ["small.txt"] * 1001):
                await self.refused(qfs.BAD_REQUEST, client.download_many(names))
            await self.still_works(client)


class Changes(Case):
    """§4.5, §4.8, Appendix C"""

    OLD = LARGE[: 3 * MIB]

    @classmethod
    def setUpClass(cls) -> None:
        # The least that the machine may have free is the business of other tests.
        cls.server = Server({"small.txt": b"abc", "old": cls.OLD}, "--allow", "read,write", "--keep-free", "0")

    def test_the_examples_of_the_appendix(self) -> None:
        self.assertEqual([f"{changes.GEAR[i]:x}" for i in (0, 1, 255)], ["e220a8397b1dcdaf", "6e789e6aa1b965f4", "5a5832bb47bcf19e"])
        state, data = 1, b""
        for _ in range(5000):
            state = (state + 0x9E3779B97F4A7C15) & changes.U64
            z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & changes.U64
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & changes.U64
            data += (z ^ (z >> 31)).to_bytes(8, "little")
        self.assertEqual(changes.cut(data, 12), [1465, 4989, 7588, 10316, 7355, 8287])

    async def test_an_upload_has_its_name_when_it_is_whole(self) -> None:
        async with self.connect() as client:
            written = await changes.upload(client, "in/new", LARGE)
            self.assertEqual((written.size, written.held), (len(LARGE), 0))
            data, done = await self.fetch(client, "in/new")
            self.assertEqual((bytes(data), done.head.etag), (LARGE, written.etag))
            with self.assertRaises(qfs.StatusError) as caught:
                await changes.upload(client, "in/new", b"other")
            self.assertEqual(qfs.CODE_NAMES[caught.exception.code], "exists")
            # Another version than the one named is not replaced.
            with self.assertRaises(qfs.StatusError) as caught:
                await changes.upload(client, "in/new", b"other", if_match="nonsense")
            self.assertEqual(caught.exception.code, qfs.CHANGED)
            await changes.upload(client, "in/new", b"other", if_match=written.etag)
            self.assertEqual((self.server.root / "in/new").read_bytes(), b"other")

    async def test_holes_of_an_upload_are_not_sent(self) -> None:
        data = LARGE[:4096] + bytes(300_000) + LARGE[4096:9000] + bytes(200_000)
        holes = [[4096, 304_096], [309_000, 509_000]]
        self.assertEqual(changes.without(data, 0, holes), LARGE[:9000])
        self.assertEqual(changes.without(data, 305_000, holes), data[305_000:309_000])
        async with self.connect() as client:
            written = await changes.upload(client, "in/holes", data, holes=holes)
            self.assertEqual((written.size, written.held), (len(data), 0))
            self.assertEqual((self.server.root / "in/holes").read_bytes(), data)
            with self.assertRaises(qfs.StatusError) as caught:
                await changes.upload(client, "in/none", data, holes=[[0, len(data) + 1]])
            self.assertEqual(qfs.CODE_NAMES[caught.exception.code], "bad_request")

    async def test_an_upload_that_was_cut_off_is_continued(self) -> None:
        async with self.connect() as client:
            await changes.upload(client, "cut", LARGE, stop_at=6 * MIB, upload="cut-1")
            deadline = time.monotonic() + 30
            while True:
                # The server notices the end of the first attempt in its own time.
                written = await changes.upload(client, "cut", LARGE, upload="cut-1", overwrite=True)
                self.assertEqual((self.server.root / "cut").read_bytes(), LARGE)
                if written.held > 0:
                    break
                self.assertLess(time.monotonic(), deadline, "it never went on from what it held")
                await changes.upload(client, "cut", LARGE, stop_at=6 * MIB, upload="cut-1", overwrite=True)
                await asyncio.sleep(0.2)
            self.assertLessEqual(written.held, 6 * MIB)

    async def test_the_rate_up_is_told_and_nothing_kept(self) -> None:
        before = sorted(path.name for path in self.server.root.iterdir())
        async with self.connect() as client:
            took, micros = await changes.rate_up(client, LARGE)
            self.assertTrue(0 < took < len(LARGE) and micros > 0, (took, micros))
            self.assertEqual(await changes.rate_up(client, b""), (0, 0))
        self.assertEqual(sorted(path.name for path in self.server.root.iterdir()), before)

    async def test_only_what_changed_is_fetched(self) -> None:
        new = b"in front" + self.OLD[: MIB] + b"in the middle" + self.OLD[MIB + 1000 :] + b"at the end"
        self.server.write("changed", new)
        async with self.connect() as client:
            data, fetched = await changes.fetch_changed(client, "changed", self.OLD)
            self.assertEqual(data, new)
            self.assertLess(fetched, len(new) // 20)
            data, fetched = await changes.fetch_changed(client, "changed", b"")
            self.assertEqual((data, fetched), (new, len(new)))
            data, fetched = await changes.fetch_changed(client, "old", self.OLD)
            self.assertEqual((data, fetched), (self.OLD, 0))


class Listing(Case):
    """§4.1"""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        for name in NOT_PUBLISHED:
            cls.server.write(name, b"hidden")
        root = os.fsencode(cls.server.root)
        os.mkfifo(root + b"/fifo")
        os.symlink("small.txt", root + b"/link")
        os.symlink("/etc", root + b"/linked-dir")
        (cls.server.root / "empty-dir").mkdir()
        for unspeakable in (b"not-utf8-\xff", b"back\\slash"):
            with open(root + b"/" + unspeakable, "wb"):
                pass

    async def test_it_is_the_tree(self) -> None:
        async with self.connect() as client:
            rows = await client.list()
        self.assertEqual(list(rows), sorted(FILES, key=str.encode))
        for name, row in rows.items():
            self.assertEqual(row.size, len(FILES[name]), name)
            self.assertEqual(nanoseconds(row.modified), (self.server.root / name).stat().st_mtime_ns, name)
            self.assertIn(row.sha256, (None, sha256(FILES[name])), name)

    async def test_what_is_not_listed_is_not_found_and_looks_like_what_is_missing(self) -> None:
        async with self.connect() as client:
            missing = await self.refused(qfs.NOT_FOUND, self.fetch(client, "no such file"))
            for name in (*NOT_PUBLISHED, "fifo", "link", "linked-dir/hostname", "empty-dir", "a", "small.txt/x"):
                with self.subTest(name=name):
                    error = await self.refused(qfs.NOT_FOUND, self.fetch(client, name))
                    self.assertEqual(error.message, missing.message)
            await self.still_works(client)

    async def test_several_listings_at_once(self) -> None:
        async with self.connect() as client:
            listings = await asyncio.gather(*(client.list() for _ in range(8)))
        for rows in listings:
            self.assertEqual(len(rows), len(FILES))

    async def test_nothing_published_is_an_empty_listing(self) -> None:
        empty = Server({})
        try:
            async with qfs.connect(empty.ticket) as client:
                self.assertEqual(await client.list(), {})
        finally:
            self.assertEqual(empty.stop(), 0)

    async def test_known_digests_are_listed(self) -> None:
        async with self.connect() as client:
            _, done = await self.fetch(client, "a.txt")
            row = (await client.list())["a.txt"]
        self.assertIn(row.sha256, (None, done.digest))


def nanoseconds(time_text: str) -> int:
    """§2.5"""
    whole, _, fraction = time_text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(fraction.ljust(9, "0") or 0)


class Downloads(Case):
    """§4.2"""

    async def test_every_kind_of_name_and_size(self) -> None:
        async with self.connect() as client:
            rows = await client.list()
            for name in (n for n in FILES if not n.startswith("many/")):
                with self.subTest(name=name):
                    data, done = await self.fetch(client, name)
                    self.assertEqual(sha256(data), sha256(FILES[name]))
                    self.assertEqual(done.digest, sha256(FILES[name]))
                    self.assertEqual((done.head.size, done.head.modified), (rows[name].size, rows[name].modified))

    async def test_digests_are_of_the_kind_that_was_asked_for(self) -> None:
        """§2.3.1"""
        size = len(LARGE)
        async with self.connect() as client:
            for kind in ("blake3", None, "sha256", "blake3"):
                known = kind or "sha256"
                for name in ("empty", "small.txt", "a/b", "large.bin"):
                    with self.subTest(name=name, kind=kind):
                        data, done = await self.fetch(client, name, kind=kind)
                        whole = qfs.KINDS[known](FILES[name]).hexdigest()
                        self.assertEqual((bytes(data), done.kind, done.digest), (FILES[name], known, whole))
                data, done = await self.fetch(client, "large.bin", size // 3, size // 2, kind=kind)
                self.assertEqual(done.digest, qfs.KINDS[known](LARGE).hexdigest())
                names = ["small.txt", "empty", "a/b"]
                self.assertEqual(await client.download_many(names, kind), [FILES[name] for name in names])
            # A kind of the future is no kind.
            data, done = await self.fetch(client, "small.txt", kind="blake9")
            self.assertEqual((done.kind, done.digest), ("sha256", sha256(b"abc")))
            await self.refused(qfs.BAD_REQUEST, self.answer(client, request("download", filename="empty", hash=3)))

    async def test_ranges_are_exact_and_the_digest_is_of_the_whole(self) -> None:
        size = len(LARGE)
        async with self.connect() as client:
            for start, end in ((0, 1), (1, 2), (4 * MIB - 1, 5 * MIB), (size - 1, None), (0, size), (7, None)):
                with self.subTest(start=start, end=end):
                    data, done = await self.fetch(client, "large.bin", start, end)
                    self.assertTrue(data == LARGE[start:end])
                    self.assertEqual((done.head.size, done.digest), (size, sha256(LARGE)))

    async def test_an_empty_range_probes(self) -> None:
        size = len(LARGE)
        async with self.connect() as client:
            large = (("large.bin", 0, 0), ("large.bin", size, None), ("large.bin", 99, 99))
            for name, start, end in (*large, ("empty", 0, 0), ("empty", 0, None)):
                with self.subTest(name=name, start=start):
                    data, done = await self.fetch(client, name, start, end)
                    self.assertEqual((data, done.digest), (b"", sha256(FILES[name])))

    async def test_a_range_beyond_the_file_is_refused_not_clipped(self) -> None:
        size = len(LARGE)
        async with self.connect() as client:
            for start, end in ((0, size + 1), (size + 1, None), (2, 1), (size + 1, size + 1), (0, 2**63 - 1)):
                with self.subTest(start=start, end=end):
                    await self.refused(qfs.BAD_RANGE, self.fetch(client, "large.bin", start, end))
            await self.still_works(client)

    async def test_stripes_of_one_version_make_the_file(self) -> None:
        cuts = [0, 1, MIB, 3 * MIB + 5, 8 * MIB, len(LARGE)]
        async with self.connect() as client:
            _, probe = await self.fetch(client, "large.bin", 0, 0)
            version = probe.head.etag
            parts = await asyncio.gather(
                *(self.fetch(client, "large.bin", a, b, if_match=version) for a, b in zip(cuts, cuts[1:]))
            )
        self.assertEqual(sha256(b"".join(data for data, _ in parts)), sha256(LARGE))
        self.assertEqual({done.digest for _, done in parts}, {sha256(LARGE)})

    async def test_another_version_is_refused_before_its_range_is_looked_at(self) -> None:
        path = self.server.write("versions", b"first")
        async with self.connect() as client:
            _, first = await self.fetch(client, "versions")
            again, _ = await self.fetch(client, "versions", 2, if_match=first.head.etag)
            self.assertEqual(again, b"rst")
            await self.refused(qfs.CHANGED, self.fetch(client, "versions", if_match="no-such-version"))
            path.unlink()
            self.server.write("versions", b"2nd")
            await self.refused(qfs.CHANGED, self.fetch(client, "versions", if_match=first.head.etag))
            await self.refused(qfs.CHANGED, self.fetch(client, "versions", 5, if_match=first.head.etag))
            data, second = await self.fetch(client, "versions")
            self.assertEqual(data, b"2nd")
            self.assertNotEqual(first.head.etag, second.head.etag)
            path.unlink()
            await self.refused(qfs.NOT_FOUND, self.fetch(client, "versions", if_match=second.head.etag))

    async def test_a_file_that_changes_under_way_is_reset(self) -> None:
        path = self.server.sparse("growing", BIG_BYTES)
        async with self.connect() as client:

            def grow(head: qfs.Head) -> None:
                with open(path, "ab") as file:
                    file.write(b"more")

            with self.assertRaises(qfs.StatusError) as caught:
                await asyncio.wait_for(client.download("growing", lambda data: None, on_head=grow), 120)
            self.assertEqual((caught.exception.code, caught.exception.reset), (qfs.CHANGED, True), caught.exception)
            await self.still_works(client)

    async def test_a_first_download_may_last_longer_than_the_deadlines_for_requests(self) -> None:
        self.server.sparse("slow", BIG_BYTES)
        async with self.connect() as client:
            quic = client.protocol.quic
            grant = quic._write_stream_limits
            quic._write_stream_limits = lambda *args, **kwargs: None  # no more than the first flow-control window

            def resume() -> None:
                quic._write_stream_limits = grant
                quic.send_ping(0)
                client.protocol.transmit()

            asyncio.get_running_loop().call_later(12, resume)
            began = time.monotonic()
            await asyncio.wait_for(client.download("slow", lambda data: None), 120)
            self.assertGreater(time.monotonic() - began, 12)
            await self.still_works(client)

    async def test_a_cancelled_download_leaves_the_connection(self) -> None:
        self.server.sparse("huge", BIG_BYTES)
        async with self.connect() as client:
            for _ in range(20):
                async with client.exchange(request("download", filename="huge")) as stream:
                    await stream.read_coded()
                    stream.cancel()
                    with self.assertRaises(qfs.StatusError) as caught:
                        while True:
                            await asyncio.wait_for(stream.read_some(qfs.READ_BYTES), 10)
                    self.assertTrue(caught.exception.reset)
            await self.still_works(client)

    async def test_priorities_are_hints(self) -> None:
        async with self.connect() as client:
            for priority in (0, 1, -(2**31), 2**31 - 1):
                data, _ = await self.fetch(client, "small.txt", priority=priority)
                self.assertEqual(data, b"abc")

    async def test_many_streams_at_once(self) -> None:
        names = list(FILES)[:300]
        async with self.connect() as client:
            for name, (data, done) in zip(names, await asyncio.gather(*(self.fetch(client, n) for n in names))):
                self.assertEqual((sha256(data), done.digest), (sha256(FILES[name]),) * 2, name)

    async def test_many_connections_at_once(self) -> None:
        async def one() -> str:
            async with self.connect() as client:
                await client.list()
                return sha256((await self.fetch(client, "large.bin", 0, MIB))[0])

        self.assertEqual(set(await asyncio.gather(*(one() for _ in range(12)))), {sha256(LARGE[:MIB])})


class BadInput(Case):
    """§3.2: an error head on the stream, and the connection goes on."""

    async def check(self, code: int, *messages: bytes, end: bool = True) -> None:
        async with self.connect() as client:
            for message in messages:
                with self.subTest(message=message[:80]):
                    await self.refused(code, self.answer(client, message, end))
            await self.still_works(client)

    async def test_a_missing_file_is_3(self) -> None:
        await self.check(qfs.NOT_FOUND, request("download", filename="nope"))

    async def test_an_illegal_name_is_3(self) -> None:
        names = [
            "../x", "..", ".", "", "/", "/etc/passwd", "a//b", "a/", "a/../small.txt", "./small.txt", "..\\x", "a\\b",
            "small.txt\0", "\0", "x" * 256, "x" * 5000, "/".join("x" * 2049), "../" * 1000 + "etc/passwd", "~/x",
            "%2e%2e/small.txt",
        ]  # fmt: skip
        await self.check(qfs.NOT_FOUND, *(request("download", filename=name) for name in names))

    async def test_an_unknown_command_is_2(self) -> None:
        commands = ["take_over", "", "Download", "get_files_list ", "x" * 10_000, "\u001b[2J"]
        await self.check(qfs.UNKNOWN_COMMAND, *(request(command) for command in commands))

    async def test_a_malformed_message_is_1(self) -> None:
        payloads = [
            b"{", b"{}", b"[]", b"null", b"7", b'"download"', b"download", b"\xff\xfe", b"\0", b" ",
            b'{"command":1}', b'{"command":null}', b'{"command":"get_files_list"} x', b'{"command":"get_files_list"}{}',
            b'\xef\xbb\xbf{"command":"get_files_list"}', b"{'command':'get_files_list'}", b"GET / HTTP/1.1\r\n\r\n",
            b'{"command":"download\xff","filename":"a"}', b"[" * 60_000, b'{"a":' * 10_000,
            b'["get_files_list"]', b'["download"]', b'["download","small.txt"]',
        ]  # fmt: skip
        await self.check(qfs.BAD_REQUEST, *map(frame, payloads))

    async def test_a_field_of_the_wrong_kind_is_1(self) -> None:
        fields = [
            "", ',"filename":null', ',"filename":7', ',"filename":["small.txt"]', ',"filename":"\\ud800"',
            *(f',"filename":"small.txt",{more}' for more in (
                '"range":7', '"range":{}', '"range":{"end":1}', '"range":{"start":-1}', '"range":{"start":0.5}',
                '"range":{"start":"0"}', '"range":[0,1]', '"if_match":7', '"if_match":""', '"if_match":"../x"',
                f'"if_match":"{"x" * 65}"', '"priority":"high"', '"priority":2147483648', '"priority":0.5',
            )),
        ]  # fmt: skip
        await self.check(qfs.BAD_REQUEST, *(frame(b'{"command":"download"%s}' % f.encode()) for f in fields))

    async def test_a_truncated_message_is_1(self) -> None:
        whole = request("get_files_list")
        await self.check(qfs.BAD_REQUEST, *(whole[:cut] for cut in (0, 1, 3, 4, 5, len(whole) - 1)))

    async def test_a_length_of_zero_is_1(self) -> None:
        await self.check(qfs.BAD_REQUEST, b"\0\0\0\0", b"\0\0\0\0" + request("get_files_list"))

    async def test_an_oversized_message_is_9_and_is_not_read(self) -> None:
        await self.check(qfs.TOO_LARGE, b"\0\1\0\1", b"\0\1\0\1" + b" " * 65_537, b"\xff\xff\xff\xff", b"\x80\0\0\0{}")
        async with self.connect() as client:
            async with client.exchange(b"\xff\xff\xff\xff{", end=False) as stream:
                with self.assertRaises(qfs.StatusError) as caught:
                    await asyncio.wait_for(stream.read_coded(), 20)
                self.assertEqual(caught.exception.code, qfs.TOO_LARGE)
                for _ in range(50):
                    if stream.stopped is not None:
                        break
                    await asyncio.sleep(0.05)
                self.assertEqual(stream.stopped, qfs.TOO_LARGE, "STOP_SENDING with the code (§3.2)")
            await self.still_works(client)

    async def test_a_message_of_the_largest_size_is_read(self) -> None:
        padded = b'{"command":"download","filename":"small.txt","later":"%s"}'
        async with self.connect() as client:
            for fill in (b"x", b" "):
                payload = padded % (fill * (qfs.MAX_FRAME_BYTES - len(padded) + 2))
                self.assertEqual(len(payload), qfs.MAX_FRAME_BYTES)
                self.assertEqual((await self.answer(client, frame(payload)))["size"], 3)

    async def test_unknown_fields_and_null_and_space_are_as_if_absent(self) -> None:
        async with self.connect() as client:
            for payload in (
                b'{"later":[{"x":null}],"command":"get_files_list"}',
                b' {\n"command" :\t"get_files_list" } \r\n',
                b'{"command":"get_files_list","filename":"ignored"}',
                b'{"command":"download","filename":"small.txt","compress":"zstd"}',
                b'{"command":"dow\\u006eload","filename":"sm\\u0061ll.txt"}',
                b'{"command":"download","filename":"small.txt","range":{"start":0,"end":null,"step":2}}',
                b'{"command":"download","filename":"small.txt","range":null,"if_match":null}',
                b'{"command":"download","filename":"small.txt","priority":null}',
            ):
                with self.subTest(payload=payload):
                    self.assertEqual((await self.answer(client, frame(payload)))["code"], 0)

    async def test_nesting_within_bounds_is_ignored_and_beyond_them_survived(self) -> None:
        async with self.connect() as client:
            shallow = b'{"command":"get_files_list","later":%s}' % (b"[" * 15 + b"]" * 15)
            self.assertEqual((await self.answer(client, frame(shallow)))["code"], 0)
            deep = b'{"command":"get_files_list","later":%s}' % (b"[" * 30_000 + b"]" * 30_000)
            try:
                await self.answer(client, frame(deep))
            except qfs.StatusError as error:
                self.assertEqual(error.code, qfs.BAD_REQUEST)
            await self.still_works(client)

    async def test_bytes_behind_the_request_are_ignored(self) -> None:
        async with self.connect() as client:
            for more in (b"x", request("get_files_list"), b"\xff" * 100_000):
                async with client.exchange(request("download", filename="small.txt") + more) as stream:
                    head = await asyncio.wait_for(stream.read_coded(), 20)
                    self.assertEqual(await stream.read_exactly(head["size"]), b"abc")
                    self.assertEqual((await stream.read_coded())["sha256"], sha256(b"abc"))
                    await asyncio.wait_for(stream.read_end(), 20)
            await self.still_works(client)

    async def test_a_request_is_answered_before_its_end(self) -> None:
        async with self.connect() as client:
            self.assertEqual((await self.answer(client, request("get_files_list"), end=False))["code"], 0)
            await self.still_works(client)

    async def test_a_request_in_pieces(self) -> None:
        data = request("download", filename="small.txt")
        async with self.connect() as client:
            async with client.exchange(b"", end=False) as stream:
                for i in range(len(data)):
                    stream.send(data[i : i + 1], end=False)
                    await asyncio.sleep(0.002)
                stream.send(b"", end=True)
                self.assertEqual((await asyncio.wait_for(stream.read_coded(), 20))["size"], 3)

    async def test_a_request_that_is_not_finished_in_time_is_10(self) -> None:
        async with self.connect() as client:
            await self.still_works(client)  # the deadline for a connection's first request is another one
            for start in (b"\0", request("get_files_list")[:-1]):
                began = time.monotonic()
                await self.refused(qfs.TIMEOUT, self.answer(client, start, end=False))
                self.assertTrue(3 < time.monotonic() - began < 12)
            await self.still_works(client)

    async def test_a_connection_without_a_request_is_closed(self) -> None:
        began = time.monotonic()
        async with self.connect() as client:
            while client.protocol.lost is None and time.monotonic() - began < 15:
                await asyncio.sleep(0.1)
            self.assertIsNotNone(client.protocol.lost)
            self.assertEqual(client.protocol.lost.code, qfs.TIMEOUT)
        self.assertTrue(8 < time.monotonic() - began < 14)

    async def test_a_request_that_is_given_up_leaves_the_connection(self) -> None:
        async with self.connect() as client:
            for _ in range(20):
                async with client.exchange(request("get_files_list")[:9], end=False) as stream:
                    client.protocol.quic.reset_stream(stream.id, qfs.CANCELLED)
                    client.protocol.transmit()
            await self.still_works(client)


class Shutdown(Case):
    """§1.6"""

    async def test_answers_under_way_are_finished_and_new_ones_refused(self) -> None:
        self.server.sparse("big", BIG_BYTES)
        async with self.connect() as client:
            begun = asyncio.Event()
            running = asyncio.ensure_future(
                client.download("big", lambda data: None, on_head=lambda head: begun.set())
            )
            await begun.wait()
            self.server.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.1)
            if not running.done():
                await self.refused(qfs.SHUTTING_DOWN, self.fetch(client, "small.txt"))
            done = await asyncio.wait_for(running, 60)
            self.assertEqual(done.digest, sha256(bytes(BIG_BYTES)))
            for _ in range(100):
                if client.protocol.lost:
                    break
                await asyncio.sleep(0.05)
            self.assertIsNotNone(client.protocol.lost, "the server closes when it is done")
            self.assertEqual(client.protocol.lost.code, qfs.SHUTTING_DOWN)


class CommandLine(Case):
    """The client as a program."""

    def setUp(self) -> None:
        self.out = pathlib.Path(tempfile.mkdtemp(prefix="qfs-interop-"))
        self.addCleanup(shutil.rmtree, self.out, True)

    def client(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, HERE / "qfs_client.py", self.server.said["ticket"], *args],
            capture_output=True, text=True, timeout=120, encoding="utf-8", env={**os.environ, "PYTHONUTF8": "1"},
        )  # fmt: skip

    def test_list(self) -> None:
        listed = self.client("list")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertEqual(len(listed.stdout.splitlines()), len(FILES), "a line feed in a name is escaped")
        rows = json.loads(self.client("list", "--json").stdout)
        self.assertEqual({name: row["size"] for name, row in rows.items()}, {n: len(c) for n, c in FILES.items()})

    def test_get(self) -> None:
        for name in ("small.txt", "empty", "large.bin", "a/c/d/e/f", "été/文件 🦀"):
            got = self.client("get", name, "--out", str(self.out / "f"))
            self.assertEqual((got.returncode, got.stdout), (0, f"{sha256(FILES[name])}  {name}\n"), got.stderr)
            self.assertEqual((self.out / "f").read_bytes(), FILES[name])
        got = self.client("get", "new\nline\ttab", "--out", str(self.out / "f"))
        self.assertEqual(got.stdout, f"\\{sha256(b'8')}  new\\nline\ttab\n")
        self.assertEqual(os.listdir(self.out), ["f"], "no partial file is left")

    def test_get_a_range(self) -> None:
        got = self.client("get", "large.bin", "--out", str(self.out / "f"), "--range", "1000:3000000")
        self.assertEqual(got.stdout, f"{sha256(LARGE)}  large.bin\n", got.stderr)
        self.assertTrue((self.out / "f").read_bytes() == LARGE[1000:3_000_000])

    def test_a_partial_file_is_continued_and_a_damaged_or_stale_one_dropped(self) -> None:
        version = asyncio.run(self.version("large.bin"))
        for etag, held, continued in (
            (version, LARGE[: 5 * MIB], "5242880"),
            (version, LARGE, str(len(LARGE))),
            (version, b"", "0"),
            (version, b"wrong" + LARGE[5 : 5 * MIB], "5242880"),
            (version, LARGE + b"too long", str(len(LARGE) + 8)),
            ("of-another-time", LARGE[: 5 * MIB], "5242880"),
        ):
            with self.subTest(etag=etag, held=len(held)):
                (self.out / f"f.{etag}.part").write_bytes(held)
                got = self.client("get", "large.bin", "--out", str(self.out / "f"))
                self.assertEqual(got.stdout, f"{sha256(LARGE)}  large.bin\n", got.stderr)
                self.assertIn(f"at byte {continued}\n", got.stderr)
                self.assertTrue((self.out / "f").read_bytes() == LARGE)
                self.assertEqual(os.listdir(self.out), ["f"])
                (self.out / "f").unlink()

    async def version(self, name: str) -> str:
        async with self.connect() as client:
            return (await self.fetch(client, name, 0, 0))[1].head.etag

    def test_failures_are_one_line(self) -> None:
        got = self.client("get", "nope", "--out", str(self.out / "f"))
        self.assertEqual((got.returncode, got.stdout), (1, ""))
        self.assertRegex(got.stderr, r"\Aerror: not_found[^\n]*\n\Z")
        self.assertEqual(os.listdir(self.out), [])


def main() -> int:
    server_binary()
    names = [a for a in sys.argv[1:] if a != "-v"]
    module = sys.modules[__name__]
    loader = unittest.defaultTestLoader
    suite = loader.loadTestsFromNames(names, module) if names else loader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(verbosity=2 if "-v" in sys.argv else 1).run(suite)
    # A test counts once, however many of its sub-tests failed; a class that cannot be set up or ends badly counts too.
    failed = {getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors}
    among_run = [name for name in failed if not name.startswith(("setUp", "tearDown"))]
    print(f"{result.testsRun - len(among_run)} passed, {len(failed)} failed")
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
