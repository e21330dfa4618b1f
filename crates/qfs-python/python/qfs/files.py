"""Files on the server as file objects of Python."""

from __future__ import annotations

import io
from typing import Any, Optional

from . import _native
from .asked import How, octets
from .errors import Exists, UsageError
from .waiting import wait

# Bytes asked for, or sent, at once where nothing else is said.
BUFFER_BYTES = 1 << 20


def open_file(native: _native.Client, name: str, mode: str, buffering: int, encoding: Optional[str], text: dict) -> io.IOBase:
    """See `Client.open`."""
    letters = set(mode)
    if len(letters) != len(mode) or letters - set("rwxbt") or len(letters & set("rwx")) != 1 or letters >= {"b", "t"}:
        raise UsageError(f"the mode {mode!r} is none of r, w and x with b or t")
    if "b" in letters and (encoding or text):
        raise UsageError("bytes have no encoding")
    raw = Reading(native, name) if "r" in letters else Writing(native, name, overwrite="w" in letters)
    if buffering == 0:
        if "b" not in letters:
            raise UsageError("text needs a buffer")
        return raw
    size = BUFFER_BYTES if buffering < 2 else buffering
    buffered = io.BufferedReader(raw, size) if isinstance(raw, Reading) else Buffered(raw, size)
    return buffered if "b" in letters else Text(buffered, encoding=encoding, **text)


class Reading(io.RawIOBase):
    """One version of a file, read at any place."""

    def __init__(self, native: _native.Client, name: str):
        self.name, self.mode = name, "rb"
        self._file = wait(native.open(name))
        self._position = 0

    @property
    def size(self) -> int:
        """In bytes."""
        return self._file.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise UsageError(f"{base + offset} is before the beginning")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._read(len(view))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return self._read(max(self.size - self._position, 0))

    def _read(self, length: int) -> bytes:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        data = wait(self._file.read_at(self._position, length))
        self._position += len(data)
        return data


class Writing(io.RawIOBase):
    """A file that appears on the server when it is closed, and not at all when it is dropped or left with an exception.

    Without `autocommit` it appears when it is committed, after it was closed.
    """

    def __init__(self, native: _native.Client, name: str, overwrite: bool, autocommit: bool = True):
        self.name, self.mode, self.autocommit = name, "wb", autocommit
        self._position = 0
        if not overwrite and _is_there(native, name):
            # Said at once; that it still is so is checked when it appears.
            raise Exists(f"{name} exists", "exists", name)
        self._upload = native.upload(name, How(overwrite=overwrite))

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        block = octets(data)
        if not wait(self._upload.write(block)):
            # It has ended already: why is raised here.
            super().close()
            self.commit()
        self._position += len(block)
        return len(block)

    def commit(self) -> None:
        """Makes it appear."""
        wait(self._upload.finish())

    def discard(self) -> None:
        """Ends it: nothing appears on the server."""
        self._upload.abort()
        super().close()

    def close(self) -> None:
        if not self.closed:
            super().close()
            if self.autocommit:
                self.commit()

    def __exit__(self, kind: Any, *rest: Any) -> None:
        self.close() if kind is None else self.discard()

    def __del__(self) -> None:
        # Whoever does not close it does not want it.
        if not self.closed and hasattr(self, "_upload"):
            self.discard()


class Buffered(io.BufferedWriter):
    """`Writing` with a buffer."""

    raw: Writing

    def commit(self) -> None:
        """Makes it appear, where that was left to whoever opened it."""
        self.raw.commit()

    def discard(self) -> None:
        """Ends it: nothing appears on the server."""
        self.raw.discard()

    def __exit__(self, kind: Any, *rest: Any) -> None:
        self.close() if kind is None else self.discard()

    def __del__(self) -> None:
        if not self.raw.closed:
            self.discard()


class Text(io.TextIOWrapper):
    """The same for text."""

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if kind is not None and isinstance(self.buffer, Buffered):
            self.buffer.discard()
        else:
            self.close()

    def __del__(self) -> None:
        if isinstance(self.buffer, Buffered) and not self.buffer.raw.closed:
            self.buffer.discard()


def _is_there(native: _native.Client, name: str) -> bool:
    try:
        wait(native.stat(name))
    except FileNotFoundError:
        return False
    return True
