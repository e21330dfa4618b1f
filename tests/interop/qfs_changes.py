"""Uploads (PROTOCOL §4.5) and transfers of what changed alone (§4.8, Appendix C), for the client written from the page alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from qfs_client import (
    OK, READ_BYTES, Client, IntegrityError, ProtocolError, digest, etag, frame, integer, request, time,
)

MAX_MAP_BYTES = 22_020_140  # §4.8.1
MAX_RANGES = 1024  # §4.8.2


@dataclass
class Written:
    """What an upload has become (§4.5.2), and how many bytes of it the server held before."""

    size: int
    etag: str
    held: int


def without(data: bytes, held: int, holes: list[list[int]]) -> bytes:
    """What of `data` behind the first `held` bytes lies in none of `holes` (§4.5.5)."""
    body, position = b"", held
    for start, end in holes:
        body += data[position : max(start, position)]
        position = max(end, position)
    return body + data[position:]


async def upload(client: Client, name: str, data: bytes, stop_at: int | None = None, **fields: Any) -> Written | None:
    """Uploads `data` as `name` (§4.5). With `stop_at` it gives up when so many bytes were sent, and returns None."""
    async with client.exchange(request("upload", filename=name, size=len(data), **fields), end=False) as stream:
        head = await stream.read_coded()
        held = integer(head.get("offset") or 0)
        holes = fields.get("holes") or []
        if head.get("holes") and not holes:
            raise ProtocolError("the server wants holes left out that were not named")
        if held > len(data):
            raise ProtocolError("the server holds more of the file than there is")
        if stop_at is not None:
            stream.send(data[held:stop_at], end=False)
            # Long enough for the server to have taken it; what it holds shows in the next answer.
            client.protocol.quic.reset_stream(stream.id, 12)
            client.protocol.transmit()
            return None
        stream.send(without(data, held, holes) if head.get("holes") else data[held:], end=False)
        whole = hashlib.sha256(data).hexdigest()
        stream.send(frame(json.dumps({"code": OK, "sha256": whole}).encode()), end=True)
        answer = await stream.read_coded()
        await stream.read_end()
    if answer.get("sha256") not in (None, whole):
        raise IntegrityError("the server has something else")
    time(answer.get("modified"))
    return Written(integer(answer.get("size")), etag(answer.get("etag")), held)


async def rate_up(client: Client, data: bytes) -> tuple[int, int]:
    """Sends `data` for nothing; how many bytes of it came behind the first piece, and in how many microseconds (§4.10)."""
    async with client.exchange(request("measure"), end=False) as stream:
        stream.send(data, end=True)
        head = await stream.read_coded()
        await stream.read_end()
    took, micros = integer(head.get("bytes")), integer(head.get("micros"))
    if took > len(data):
        raise ProtocolError("the server took more than was sent")
    return took, micros


# --- chunks (Appendix C) -------------------------------------------------------------------------------------------

U64 = (1 << 64) - 1


def gear() -> list[int]:
    """The table of C.1."""
    table, state = [], 0
    for _ in range(256):
        state = (state + 0x9E3779B97F4A7C15) & U64
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & U64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & U64
        table.append(z ^ (z >> 31))
    return table


GEAR = gear()


def cut(data: bytes, grain: int) -> list[int]:
    """The lengths of the chunks of `data` (C.1)."""
    least, average, most = 1 << (grain - 2), 1 << grain, 1 << (grain + 2)
    early, late = 1 << (64 - (grain + 1)), 1 << (64 - (grain - 1))
    lengths, start = [], 0
    while start < len(data):
        end = min(start + most, len(data))
        # Only the last 64 bytes count.
        at = start + max(0, least - 64)
        value = 0
        length = end - start
        while at < end:
            value = ((value << 1) + GEAR[data[at]]) & U64
            at += 1
            n = at - start
            if n >= least and value < (early if n < average else late):
                length = n
                break
        lengths.append(length)
        start += length
    return lengths


@dataclass
class Map:
    """A chunk map (C.2): lengths and hashes of the chunks, in the order of the file."""

    etag: str
    size: int
    grain: int
    sha256: str
    chunks: list[tuple[int, bytes]]


def varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        if at >= len(data) or shift > 63:
            raise ProtocolError("a number of the map does not end")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def varints(data: bytes) -> list[int]:
    values, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        values.append(value)
    return values


async def chunk_map(client: Client, name: str) -> Map:
    """What the server's version of a file consists of (§4.8.1)."""
    async with client.exchange(request("chunk_map", filename=name)) as stream:
        head = await stream.read_coded()
        data = await stream.read_exactly(integer(head.get("length"), MAX_MAP_BYTES))
        await stream.read_end()
    size, version = integer(head.get("size")), etag(head.get("etag"))
    if data[:1] != b"\x01":
        raise ProtocolError("a map of another kind")
    grain = data[1]
    told, at = varint(data, 2)
    if told != size:
        raise ProtocolError("a map of another size")
    sha256, at = data[at : at + 32].hex(), at + 32
    chunks = []
    while at < len(data):
        length, at = varint(data, at)
        chunks.append((length, data[at : at + 16]))
        at += 16
    if sum(length for length, _ in chunks) != size:
        raise ProtocolError("the chunks of the map are not the file")
    return Map(version, size, grain, digest(sha256), chunks)


async def fetch_changed(client: Client, name: str, old: bytes) -> tuple[bytes, int]:
    """The server's version of a file of which `old` is another one, and how many of its bytes were fetched (§4.8)."""
    wanted = await chunk_map(client, name)
    have: dict[bytes, bytes] = {}
    start = 0
    for length in cut(old, wanted.grain):
        chunk = old[start : start + length]
        have[blake3(chunk).digest()[:16]] = chunk
        start += length
    new, ranges, position = bytearray(wanted.size), [], 0
    for length, key in wanted.chunks:
        chunk = have.get(key)
        if chunk is not None and len(chunk) == length:
            new[position : position + length] = chunk
        elif ranges and ranges[-1][1] == position:
            ranges[-1][1] += length
        else:
            ranges.append([position, position + length])
        position += length
    fetched = 0
    for first in range(0, len(ranges), MAX_RANGES):
        part = ranges[first : first + MAX_RANGES]
        ask = request("download_ranges", filename=name, if_match=wanted.etag, ranges=part)
        async with client.exchange(ask) as stream:
            head = await stream.read_coded()
            if integer(head.get("size")) != wanted.size or etag(head.get("etag")) != wanted.etag:
                raise ProtocolError("another version than if_match was sent")
            for start, end in part:
                while start < end:
                    data = await stream.read_some(min(end - start, READ_BYTES))
                    new[start : start + len(data)] = data
                    start += len(data)
                    fetched += len(data)
            if digest((await stream.read_coded()).get("sha256")) != wanted.sha256:
                raise ProtocolError("map and trailer disagree about the digest")
            await stream.read_end()
    if hashlib.sha256(new).hexdigest() != wanted.sha256:
        raise IntegrityError(f"{name}: what was put together has another digest")
    return bytes(new), fetched
