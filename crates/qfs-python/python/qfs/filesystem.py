"""The fsspec file system `qfs://host:port/name`, so that pandas, dask and pyarrow open what a qfs server publishes.

Names begin with a slash here: `/name` is what the server calls `name`. Options go to `qfs.connect`: `token`, `fingerprint`, and the rest.
"""

from __future__ import annotations

import os
import threading
from datetime import datetime, timezone
from typing import Any, Optional

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from fsspec.utils import isfilelike, stringify_path

from ._native import Entry
from .client import Client, connect
from .errors import Exists, NotFound, UsageError
from .files import BUFFER_BYTES, Buffered, Writing
from .waiting import Progress, wait

DEFAULT_PORT = 8000

# Ranges that are asked for at once.
_RANGES_AT_ONCE = 64


class QfsFileSystem(AbstractFileSystem):
    """What one server publishes. Files are replaced where fsspec says that they are, so the server has to allow that."""

    protocol = "qfs"
    root_marker = "/"
    cachable = True

    def __init__(self, host: str = "127.0.0.1", port: int = DEFAULT_PORT, **options: Any):
        ours = {name: options.pop(name) for name in _OPTIONS if name in options}
        super().__init__(host=host, port=port, **options)
        self.host, self.port = host, int(port)
        self._options = ours
        self._lock = threading.Lock()
        self._connected: Optional[tuple] = None

    @property
    def client(self) -> Client:
        """The client, connected when it is first needed, and once in each process."""
        with self._lock:
            if self._connected is None or self._connected[0] != os.getpid():
                self._connected = (os.getpid(), connect(self._address, **self._options))
            return self._connected[1]

    @property
    def _address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"qfs://{host}:{self.port}"

    @property
    def fsid(self) -> str:
        return self._address

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        path = stringify_path(path)
        if path.startswith("qfs://"):
            path = path[len("qfs://") :].partition("/")[2]
        return "/" + path.strip("/")

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict:
        if not path.startswith("qfs://"):
            return {}
        authority = path[len("qfs://") :].partition("/")[0]
        host, colon, port = authority.rpartition(":")
        if not colon or port.endswith("]"):
            host, port = authority, str(DEFAULT_PORT)
        if not host:
            raise UsageError(f"{path!a} names no server")
        return {"host": host.strip("[]"), "port": int(port)}

    def unstrip_protocol(self, name: str) -> str:
        return self._address + self._strip_protocol(name)

    def info(self, path: str, **_: Any) -> dict:
        name = _name(path)
        return _details(self.client.stat(name)) if name else {"name": "/", "size": 0, "type": "directory"}

    def exists(self, path: str, **_: Any) -> bool:
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def ls(self, path: str, detail: bool = True, **_: Any) -> list:
        try:
            found = [_details(entry) for entry in self.client.children(_name(path))]
        except NotFound:
            # A file stands for itself.
            found = [self.info(path)]
        return found if detail else [row["name"] for row in found]

    def find(self, path: str, maxdepth: Optional[int] = None, withdirs: bool = False, detail: bool = False, **kwargs: Any) -> Any:
        if maxdepth is not None or withdirs:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **kwargs)
        try:
            rows = {row["name"]: row for row in map(_details, self.client.list(_name(path)))}
        except NotFound:
            rows = {}
        if not rows and self.isfile(path):
            rows = {self._strip_protocol(path): self.info(path)}
        return rows if detail else list(rows)

    def modified(self, path: str) -> datetime:
        return datetime.fromtimestamp(self.info(path)["mtime"], timezone.utc)

    def checksum(self, path: str) -> str:
        """The version of the file: another one after every change."""
        return self.info(path)["etag"]

    ukey = checksum

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        name = _name(path)
        if self.exists(path):
            raise Exists(f"{name} exists", "exists", name)
        if not create_parents and not self.isdir(self._parent(path)):
            raise NotFound(f"{name} would be in no directory", "not_found", name)
        self.client.make_directory(name)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        name = _name(path)
        if not name or (self.exists(path) and self.isdir(path)):
            if not exist_ok:
                raise Exists(f"{path} exists", "exists", name)
        else:
            self.client.make_directory(name)

    def rmdir(self, path: str) -> None:
        self.client.remove_directory(_name(path))

    def rm_file(self, path: str) -> None:
        self.client.remove(_name(path))

    def rm(self, path: Any, recursive: bool = False, maxdepth: Optional[int] = None) -> None:
        if maxdepth is not None:
            super().rm(path, recursive=recursive, maxdepth=maxdepth)
            return
        for one in self.expand_path(path):
            self.client.remove(_name(one), recursive=recursive)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        if self.isdir(path1):
            self.makedirs(path2, exist_ok=True)
        else:
            self.client.copy(_name(path1), _name(path2), overwrite=True)

    def cat_file(self, path: str, start: Optional[int] = None, end: Optional[int] = None, **_: Any) -> bytes:
        if start is None and end is None:
            return self.client.read(_name(path))
        return wait(_part(wait(self.client._native.open(_name(path))), start, end))

    def cat_ranges(
        self, paths: list, starts: Any, ends: Any, max_gap: Optional[int] = None, on_error: str = "return", **_: Any
    ) -> list:
        if max_gap is not None:
            raise NotImplementedError
        count = len(paths)
        starts, ends = (list(given) if isinstance(given, (list, tuple)) else [given] * count for given in (starts, ends))
        if not count == len(starts) == len(ends):
            raise UsageError("there are not as many paths as ranges")
        results: list = []
        for at in range(0, count, _RANGES_AT_ONCE):
            some = slice(at, at + _RANGES_AT_ONCE)
            opening = {path: self.client._native.open(_name(path)) for path in paths[some]}
            files = {path: _tried(call) for path, call in opening.items()}
            reading = [_begun(files[path], start, end) for path, start, end in zip(paths[some], starts[some], ends[some])]
            results += [call if isinstance(call, Exception) else _tried(call) for call in reading]
        if on_error == "raise":
            for result in results:
                if isinstance(result, Exception):
                    raise result
        return results

    def pipe_file(self, path: str, value: Any, mode: str = "overwrite", **_: Any) -> None:
        self.client.write(_name(path), value, overwrite=mode != "create")

    def get_file(self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **kwargs: Any) -> None:
        if outfile is not None or isfilelike(lpath):
            super().get_file(rpath, lpath, callback=callback, outfile=outfile, **kwargs)
        elif self.isdir(rpath):
            os.makedirs(lpath, exist_ok=True)
        else:
            self.client.get_file(_name(rpath), lpath, overwrite=True, progress=_progress(callback))

    def put_file(self, lpath: Any, rpath: str, callback: Any = DEFAULT_CALLBACK, mode: str = "overwrite", **_: Any) -> None:
        if os.path.isdir(lpath):
            self.makedirs(rpath, exist_ok=True)
        else:
            overwrite = mode != "create"
            self.client.put_file(lpath, _name(rpath), overwrite=overwrite, progress=_progress(callback))

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: Any = None,
        autocommit: bool = True,
        cache_options: Optional[dict] = None,
        **kwargs: Any,
    ) -> Any:
        size = block_size if isinstance(block_size, int) else BUFFER_BYTES
        if mode == "rb":
            return _File(self, path, block_size=size, cache_options=cache_options, **kwargs)
        if mode not in ("wb", "xb"):
            raise UsageError(f"the mode {mode!r} is none of rb, wb and xb")
        raw = Writing(self.client._native, _name(path), overwrite=mode == "wb", autocommit=autocommit)
        return Buffered(raw, size)


class _File(AbstractBufferedFile):
    """One version of a file, read with whichever cache fsspec is asked for."""

    def __init__(self, fs: QfsFileSystem, path: str, **kwargs: Any):
        self._file = wait(fs.client._native.open(_name(path)))
        kwargs["size"] = self._file.size
        super().__init__(fs, path, mode="rb", **kwargs)

    def _fetch_range(self, start: int, end: int) -> bytes:
        return wait(self._file.read_at(start, max(min(end, self.size) - start, 0)))


# What `qfs.connect` is told.
_OPTIONS = (
    "token",
    "fingerprint",
    "accept_new",
    "known_servers",
    "tls",
    "identity",
    "transport",
    "hash",
    "timeout",
    "retry_timeout",
)


def _name(path: str) -> str:
    """What the server calls it."""
    return QfsFileSystem._strip_protocol(path).strip("/")


def _details(entry: Entry) -> dict:
    return {
        "name": "/" + entry.name,
        "size": entry.size,
        "type": entry.kind,
        "mtime": entry.mtime,
        "etag": entry.etag,
        "digest": entry.digest,
    }


def _tried(call: Any) -> Any:
    try:
        return wait(call)
    except Exception as error:
        return error


def _begun(file: Any, start: Optional[int], end: Optional[int]) -> Any:
    return file if isinstance(file, Exception) else _part(file, start, end)


def _part(file: Any, start: Optional[int], end: Optional[int]) -> Any:
    """Begins to read what a slice of the content would be."""
    first, last, _ = slice(start, end).indices(file.size)
    return file.read_at(first, max(last - first, 0))


def _progress(callback: Any) -> Any:
    if callback is DEFAULT_CALLBACK:
        return None

    def tell(progress: Progress) -> None:
        callback.set_size(progress.total_bytes)
        callback.absolute_update(progress.bytes)

    return tell
