#!/usr/bin/env python3
"""A qfs client written from docs/PROTOCOL.md alone, to show that the page is enough.

It shares nothing with the Rust programs. Section numbers below are those of the page.

    qfs_client.py TICKET list [--json]
    qfs_client.py TICKET get NAME --out FILE [--range A:B]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import glob
import hashlib
import json
import os
import re
import socket
import ssl
import sys
from dataclasses import dataclass
from typing import Any, AsyncIterator, Callable

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicProtocolVersion
from blake3 import blake3
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ALPN = "qfs/1"  # §1.2
DEFAULT_PORT = 8000  # §1.1
IDLE_SECONDS = 30.0  # §1.5
KEEP_ALIVE_SECONDS = 10.0  # §1.5
HANDSHAKE_SECONDS = 10.0
MAX_FRAME_BYTES = 65_536  # §2.1
MAX_ROWS = 10_000_000  # §4.1
MAX_NAME_BYTES, MAX_COMPONENT_BYTES = 4096, 255  # §2.2
MAX_OFFSET = 2**63 - 1  # §2.6
MAX_SMALL_FILE_BYTES = 262144  # §4.3
READ_BYTES = 1 << 18
KINDS: dict[str, Any] = {"sha256": hashlib.sha256, "blake3": blake3}  # §2.3.1
RECEIVE_BUFFER_BYTES = 4 << 20  # what arrives while Python is slow; the kernel may grant less

OK, BAD_REQUEST, UNKNOWN_COMMAND, NOT_FOUND, BUSY, CHANGED, INTERNAL, BAD_RANGE = range(8)  # §3.1
DENIED, TOO_LARGE, TIMEOUT, SHUTTING_DOWN, CANCELLED, USE_DOWNLOAD = range(8, 14)
CODE_NAMES = (
    "ok bad_request unknown_command not_found busy changed internal bad_range "
    "denied too_large timeout shutting_down cancelled use_download "
    "exists no_space digest_mismatch not_empty"
).split()


class QfsError(Exception):
    """Any failure of an exchange."""


class StatusError(QfsError):
    """The server answered with a code other than 0 (§3.2), or reset the stream (§3.3)."""

    def __init__(self, code: int, message: str = "", reset: bool = False):
        self.code, self.message, self.reset = code, message, reset
        name = CODE_NAMES[code] if code < len(CODE_NAMES) else f"status {code}"
        super().__init__(f"{name}: {message}" if message else name)


class ProtocolError(QfsError):
    """The server does not keep to the page."""


class IntegrityError(QfsError):
    """What arrived is not what the trailer's digest stands for."""


class Untrusted(QfsError):
    """The server has another key than the ticket says (§1.3)."""


class ConnectionLost(QfsError):
    """The connection is gone; `code` is that of an application close (§1.6), or None."""

    def __init__(self, text: str, code: int | None = None, quic_code: int | None = None):
        self.code, self.quic_code = code, quic_code
        super().__init__(text)


# --- values (§2) ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ticket:
    """`qfs://HOST:PORT#sha256:HEX` (§1.3)."""

    host: str
    port: int
    pin: str | None

    @classmethod
    def parse(cls, text: str) -> "Ticket":
        m = re.fullmatch(
            r"qfs://(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?/?(?:#sha256:([0-9A-Fa-f]{64}))?", text
        )
        port = int(m[3] or DEFAULT_PORT) if m else 0
        if not m or not 1 <= port <= 65535:
            raise ValueError(f"not a ticket: {text!r}")
        return cls(m[1] or m[2], port, m[4].lower() if m[4] else None)


def is_legal_name(name: str) -> bool:
    """The rules of §2.2."""
    try:
        raw = name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return (
        len(raw) <= MAX_NAME_BYTES
        and not b"\\" in raw
        and not b"\0" in raw
        and all(0 < len(c) <= MAX_COMPONENT_BYTES and c not in (b".", b"..") for c in raw.split(b"/"))
    )


def integer(value: Any, most: int = MAX_OFFSET) -> int:
    """A size, offset, count or code: no float, no bool (§2.6)."""
    if type(value) is not int or not 0 <= value <= most:
        raise ProtocolError(f"not an integer from 0 to {most}: {value!r}")
    return value


def matching(value: Any, pattern: str, what: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
        raise ProtocolError(f"not {what}: {value!r}")
    return value


def digest(value: Any) -> str:
    return matching(value, r"[0-9A-Fa-f]{64}", "a digest").lower()  # §2.3


def agreed(head: dict[str, Any], asked: str | None) -> str:
    """The kind of the digests in an answer with this head (§2.3.1): the one asked for, or SHA-256."""
    kind = head.get("hash") or "sha256"
    if kind not in ("sha256", asked or "sha256"):
        raise ProtocolError("digests that nobody asked for")
    return str(kind)


def etag(value: Any) -> str:
    return matching(value, r"[A-Za-z0-9_-]{1,64}", "an etag")  # §2.4


def time(value: Any) -> str:
    return matching(value, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", "a time")  # §2.5


def mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProtocolError(f"not an object: {value!r}")
    return value


def frame(payload: bytes) -> bytes:
    """§2.1"""
    return len(payload).to_bytes(4, "big") + payload


def request(command: str, **fields: Any) -> bytes:
    """A request's frame; fields that are None are left out."""
    fields = {k: v for k, v in fields.items() if v is not None}
    return frame(json.dumps({"command": command, **fields}, ensure_ascii=False).encode("utf-8"))


def decode(payload: bytes) -> dict[str, Any]:
    """A message's payload: one JSON object, in which no field is repeated (§2.1)."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ProtocolError("a field is repeated")
        return found

    def refuse(text: str) -> Any:
        raise ProtocolError(f"not JSON: {text}")

    try:
        return mapping(json.loads(payload.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse))
    except (ValueError, RecursionError) as e:
        raise ProtocolError(f"malformed message: {e}") from e


def escape(text: str) -> str:
    """Names and messages from the other side, made safe to print (§8)."""
    return "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in text)


def checksum_line(sha256: str, name: str) -> str:
    """As sha256sum prints it."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{chr(92) if escaped != name else ''}{sha256}  {escaped}"


# --- one stream ----------------------------------------------------------------------------------------------------


class Stream:
    """One exchange: what arrives on one bidirectional stream, read in order."""

    def __init__(self, protocol: "Protocol", stream_id: int):
        self._protocol, self.id = protocol, stream_id
        self._buffer = bytearray()
        self._ended = False
        self._failure: QfsError | None = None
        self._news = asyncio.Event()
        self.stopped: int | None = None  # the code of STOP_SENDING, if the server sent it

    def send(self, data: bytes, end: bool) -> None:
        if self.stopped is None:
            self._protocol.quic.send_stream_data(self.id, data, end_stream=end)
            self._protocol.transmit()

    def cancel(self) -> None:
        """§3.4"""
        if not self._ended and self._failure is None:
            self._protocol.quic.stop_stream(self.id, CANCELLED)
            self._protocol.transmit()

    # Called by Protocol.
    def on_data(self, data: bytes, end: bool) -> None:
        self._buffer += data
        self._ended = self._ended or end
        self._news.set()

    def on_failure(self, failure: QfsError) -> None:
        if not self._ended:
            self._failure = self._failure or failure
        self._news.set()

    async def _more(self) -> bool:
        """Waits for news; False at the end of the stream."""
        if self._failure:
            raise self._failure
        if self._ended:
            return False
        self._news.clear()
        await self._news.wait()
        return True

    async def read_some(self, most: int) -> bytes:
        """At least one byte and at most `most`."""
        while not self._buffer:
            if not await self._more():
                raise ProtocolError("the stream ended too early")
        data = bytes(self._buffer[:most])
        del self._buffer[:most]
        return data

    async def read_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not await self._more():
                raise ProtocolError("the stream ended too early")
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def read_message(self) -> dict[str, Any]:
        length = int.from_bytes(await self.read_exactly(4), "big")
        if not 1 <= length <= MAX_FRAME_BYTES:
            raise ProtocolError(f"a message of {length} bytes was announced")
        return decode(await self.read_exactly(length))

    async def read_coded(self) -> dict[str, Any]:
        """A head or trailer, or the error in its place (§3.2)."""
        message = await self.read_message()
        code = integer(message.get("code"), 2**32 - 1)
        if code != OK:
            text = message.get("message") or ""
            if not isinstance(text, str):
                raise ProtocolError("the message of an error is no string")
            await self.read_end()
            raise StatusError(code, text.encode("utf-8", "replace")[:1024].decode("utf-8", "ignore"))
        return message

    async def read_end(self) -> None:
        while not self._buffer:
            if not await self._more():
                return
        raise ProtocolError("bytes behind the end of the answer")


# --- the connection (§1) -------------------------------------------------------------------------------------------


class Protocol(QuicConnectionProtocol):
    def __init__(self, quic: QuicConnection):
        super().__init__(quic)
        self.quic = quic
        self.streams: dict[int, Stream] = {}
        self.handshake: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.lost: ConnectionLost | None = None

    def quic_event_received(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.HandshakeCompleted):
            if not self.handshake.done():
                self.handshake.set_result(event.alpn_protocol)
        elif isinstance(event, events.ConnectionTerminated):
            application = event.frame_type is None
            what = f"the connection was closed: {event.reason_phrase or 'code'} ({event.error_code:#x})"
            self.lost = ConnectionLost(what, event.error_code if application else None, event.error_code)
            if not self.handshake.done():
                self.handshake.set_exception(self.lost)
            for stream in self.streams.values():
                stream.on_failure(self.lost)
        elif isinstance(event, (events.StreamDataReceived, events.StreamReset, events.StopSendingReceived)):
            stream = self.streams.get(event.stream_id)
            if stream is None:
                return  # cancelled, or opened by the server, which no server does (§1.4)
            if isinstance(event, events.StreamDataReceived):
                stream.on_data(event.data, event.end_stream)
            elif isinstance(event, events.StreamReset):
                stream.on_failure(StatusError(event.error_code, "the server reset the stream", reset=True))
            else:
                stream.stopped = event.error_code


@dataclass
class Row:
    """A row of a listing (§4.1)."""

    size: int
    modified: str
    sha256: str | None


@dataclass
class Head:
    """The head of a download (§4.2)."""

    size: int
    modified: str
    etag: str
    start: int
    end: int
    digest: str | None


@dataclass
class Download:
    """A finished download: its head, the whole file's digest from the trailer, and of which kind both digests are."""

    head: Head
    digest: str
    kind: str


class Client:
    """A connection to a server whose key was checked."""

    def __init__(self, protocol: Protocol):
        self.protocol = protocol

    def open_stream(self) -> Stream:
        if self.protocol.lost:
            raise self.protocol.lost
        stream_id = self.protocol.quic.get_next_available_stream_id()
        stream = self.protocol.streams[stream_id] = Stream(self.protocol, stream_id)
        # aioquic numbers the next stream only when this one has sent something.
        self.protocol.quic.send_stream_data(stream_id, b"")
        return stream

    @contextlib.asynccontextmanager
    async def exchange(self, data: bytes, end: bool = True) -> AsyncIterator[Stream]:
        """Sends `data` on a stream of its own; a stream left before its end is cancelled."""
        stream = self.open_stream()
        stream.send(data, end)
        try:
            yield stream
        finally:
            stream.cancel()
            self.protocol.streams.pop(stream.id, None)

    async def list(self) -> dict[str, Row]:
        """The whole listing, in its order (§4.1)."""
        rows: dict[str, Row] = {}
        last = b""
        async with self.exchange(request("get_files_list")) as stream:
            await stream.read_coded()
            while True:
                page = await stream.read_message()
                files = mapping(page.get("files"))
                for name, row in files.items():
                    if not is_legal_name(name):
                        raise ProtocolError(f"an illegal name: {escape(name)}")
                    if name.encode("utf-8") <= last:
                        raise ProtocolError(f"out of order: {escape(name)}")
                    last = name.encode("utf-8")
                    row = mapping(row)
                    known = row.get("sha256")
                    rows[name] = Row(integer(row.get("size")), time(row.get("modified")), known and digest(known))
                if len(rows) > MAX_ROWS:
                    raise ProtocolError("an endless listing")
                end = page.get("end")
                if end is not None:
                    break
                if not files:
                    raise ProtocolError("an empty page that is not the last")
            if integer(mapping(end).get("count")) != len(rows):
                raise ProtocolError(f"{len(rows)} rows arrived, {end['count']} were sent")
            await stream.read_end()
        return rows

    async def download(
        self,
        name: str,
        sink: Callable[[bytes], Any],
        start: int | None = None,
        end: int | None = None,
        if_match: str | None = None,
        priority: int | None = None,
        kind: str | None = None,
        on_head: Callable[[Head], Any] = lambda head: None,
    ) -> Download:
        """Hands the bytes of a file, or of a part of it, to `sink` (§4.2). The digest of a whole file is checked, by `kind` if
        the server knows it (§2.3.1)."""
        wanted = None
        if start is not None or end is not None:
            wanted = {"start": start or 0} if end is None else {"start": start or 0, "end": end}
        ask = request("download", filename=name, range=wanted, if_match=if_match, priority=priority, hash=kind)
        async with self.exchange(ask) as stream:
            message = await stream.read_coded()
            kind = agreed(message, kind)
            head = self._head(message, kind)
            if (head.start, head.end) != (start or 0, head.size if end is None else end):
                raise ProtocolError(f"the range {head.start}:{head.end} was not asked for")
            if if_match is not None and head.etag != if_match:
                raise ProtocolError("another version than if_match was sent")
            on_head(head)
            hasher = KINDS[kind]()
            left = head.end - head.start
            while left:
                data = await stream.read_some(min(left, READ_BYTES))
                left -= len(data)
                hasher.update(data)
                sink(data)
            whole = digest((await stream.read_coded()).get(kind))
            await stream.read_end()
        if head.digest not in (None, whole):
            raise ProtocolError("head and trailer disagree about the digest")
        if head.end - head.start == head.size and hasher.hexdigest() != whole:
            raise IntegrityError(f"{escape(name)}: what arrived has another digest than the trailer says")
        return Download(head, whole, kind)

    async def download_many(self, names: list[str], kind: str | None = None) -> list[bytes | StatusError]:
        """Many small files on one stream (§4.3): for each name its content, verified, or why there is none."""
        answers: list[bytes | StatusError] = []
        async with self.exchange(request("download_many", files=names, hash=kind)) as stream:
            kind = agreed(await stream.read_coded(), kind)
            for name in names:
                record = await stream.read_message()
                code = integer(record.get("code"), 2**32 - 1)
                if code != OK:
                    answers.append(StatusError(code, str(record.get("message") or "")))
                    continue
                time(record.get("modified"))
                body = await stream.read_exactly(integer(record.get("size"), MAX_SMALL_FILE_BYTES))
                if KINDS[kind](body).hexdigest() != digest(record.get(kind)):
                    raise IntegrityError(f"{escape(name)}: what arrived has another digest than its record says")
                answers.append(body)
            await stream.read_end()
        return answers

    @staticmethod
    def _head(message: dict[str, Any], kind: str) -> Head:
        span = mapping(message.get("range"))
        known = message.get(kind)
        head = Head(
            integer(message.get("size")),
            time(message.get("modified")),
            etag(message.get("etag")),
            integer(span.get("start")),
            integer(span.get("end")),
            known and digest(known),
        )
        if not head.start <= head.end <= head.size:
            raise ProtocolError("the range does not lie inside the file")
        return head


def fingerprint(certificate: Any) -> str:
    """SHA-256 of a certificate's SubjectPublicKeyInfo in DER (§1.3)."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


@contextlib.asynccontextmanager
async def connect(
    ticket: Ticket, alpn: str = ALPN, session_ticket_handler: Callable[[Any], None] | None = None
) -> AsyncIterator[Client]:
    """A connection whose ALPN and pin were checked before anything is sent on it (§1.2, §1.3)."""
    if ticket.pin is None:
        raise Untrusted("the ticket has no fingerprint, and this client keeps no list of known servers")
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=[alpn],
        idle_timeout=IDLE_SECONDS,
        supported_versions=[QuicProtocolVersion.VERSION_1],
        server_name=ticket.host,
        # Issuer, name and dates carry no meaning (§1.3). aioquic checks the signature in CertificateVerify anyway.
        verify_mode=ssl.CERT_NONE,
    )
    loop = asyncio.get_running_loop()
    family, _, _, _, address = (await loop.getaddrinfo(ticket.host, ticket.port, type=socket.SOCK_DGRAM))[0]
    quic = QuicConnection(configuration=configuration, session_ticket_handler=session_ticket_handler)
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: Protocol(quic), family=family, local_addr=("::" if family == socket.AF_INET6 else "0.0.0.0", 0)
    )
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    keep_alive = None
    try:
        protocol.connect(address)
        try:
            selected = await asyncio.wait_for(asyncio.shield(protocol.handshake), HANDSHAKE_SECONDS)
        except asyncio.TimeoutError:
            raise ConnectionLost(f"nothing answers at {ticket.host} port {ticket.port}") from None
        if selected != alpn:
            raise ProtocolError(f"the server selected the protocol {selected!r}")
        certificate = quic.tls._peer_certificate  # aioquic has no public way to it; the version is pinned
        if certificate is None or fingerprint(certificate) != ticket.pin:
            raise Untrusted("the server has another key than the ticket says")
        keep_alive = asyncio.ensure_future(ping(protocol))
        yield Client(protocol)
    finally:
        if keep_alive:
            keep_alive.cancel()
        protocol.close(OK)
        if protocol.handshake.done():
            protocol.handshake.exception()  # seen, whether or not anybody waited for it
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(protocol.wait_closed(), 2)
        transport.close()


async def ping(protocol: Protocol) -> None:
    """Keeps a connection that waits for a late trailer from idling out (§1.5)."""
    while True:
        await asyncio.sleep(KEEP_ALIVE_SECONDS)
        protocol.quic.send_ping(0)
        protocol.transmit()


# --- files ---------------------------------------------------------------------------------------------------------


async def get_part(client: Client, name: str, out: str, start: int, end: int | None) -> str:
    """A part of a file into `out`. Its bytes cannot be verified alone; returns the whole file's digest."""
    partial = f"{out}.range.part"
    with open(partial, "wb") as file:
        done = await client.download(name, file.write, start, end)
    os.replace(partial, out)
    return done.digest


async def get_file(client: Client, name: str, out: str) -> str:
    """A whole file into `out`, continuing a partial file that a former run left (§5)."""
    for _ in range(3):
        held = sorted(p for p in glob.glob(glob.escape(out) + ".*.part") if partial_etag(out, p))
        version = partial_etag(out, held[0]) if held else None
        try:
            return await attempt(client, name, out, version)
        except StatusError as e:
            if version is None or e.code not in (CHANGED, BAD_RANGE):
                raise
        except IntegrityError:
            if version is None:
                raise
        # Another version, or a partial file that is damaged: drop every byte and start over.
        for partial in held:
            os.unlink(partial)
    raise IntegrityError(f"{escape(name)} changes all the time")


def partial_etag(out: str, partial: str) -> str | None:
    m = re.fullmatch(r"\.([A-Za-z0-9_-]{1,64})\.part", partial[len(out) :])
    return m[1] if m else None


async def attempt(client: Client, name: str, out: str, version: str | None) -> str:
    hasher = hashlib.sha256()
    start = None
    if version is not None:
        # The bytes held are hashed again: nothing on disk is believed.
        with open(f"{out}.{version}.part", "rb") as held:
            for block in iter(lambda: held.read(READ_BYTES), b""):
                hasher.update(block)
            start = held.tell()
        print(f"continuing {escape(name)} at byte {start}", file=sys.stderr)
    with contextlib.ExitStack() as stack:
        file: Any = None

        def on_head(head: Head) -> None:
            nonlocal file
            file = stack.enter_context(open(f"{out}.{head.etag}.part", "ab" if start else "wb"))

        def sink(data: bytes) -> None:
            hasher.update(data)
            file.write(data)

        done = await client.download(name, sink, start, None, version, on_head=on_head)
    partial = f"{out}.{done.head.etag}.part"
    if os.path.getsize(partial) != done.head.size or hasher.hexdigest() != done.digest:
        if version is None:
            os.unlink(partial)
        raise IntegrityError(f"{escape(name)}: the file has another digest than the trailer says")
    os.replace(partial, out)
    return done.digest


# --- the command line ----------------------------------------------------------------------------------------------


def span(text: str) -> tuple[int, int | None]:
    m = re.fullmatch(r"(\d*):(\d*)", text, re.ASCII)
    if not m:
        raise argparse.ArgumentTypeError("a range is A:B, A: or :B, in bytes, B not included")
    return int(m[1] or 0), int(m[2]) if m[2] else None


async def run(args: argparse.Namespace) -> None:
    async with connect(args.ticket) as client:
        if args.command == "get":
            if args.range:
                sha256 = await get_part(client, args.name, args.out, *args.range)
                print("the digest is that of the whole file; a part alone is unverified", file=sys.stderr)
            else:
                sha256 = await get_file(client, args.name, args.out)
            print(checksum_line(sha256, args.name))
            return
        rows = await client.list()
        if args.json:
            print(json.dumps({name: vars(row) for name, row in rows.items()}))
        else:
            for name, row in rows.items():
                print(f"{row.size:>15}  {row.modified:<30}  {escape(name)}")


def main() -> int:
    parser = argparse.ArgumentParser(description="A qfs client written from docs/PROTOCOL.md alone.")
    parser.add_argument("ticket", type=Ticket.parse, help="qfs://HOST:PORT#sha256:HEX, as the server prints it")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="print what the server publishes")
    listing.add_argument("--json", action="store_true", help="one JSON object: name to size, modified, sha256")
    get = commands.add_parser("get", help="download one file, or continue its download")
    get.add_argument("name", help="as listed")
    get.add_argument("--out", required=True, metavar="FILE")
    get.add_argument("--range", type=span, metavar="A:B", help="only bytes A up to, not including, B")
    try:
        asyncio.run(run(parser.parse_args()))
    except (QfsError, OSError) as e:
        print(f"error: {escape(str(e))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
