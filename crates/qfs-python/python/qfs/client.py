"""The client that blocks."""

from __future__ import annotations

import io
from typing import Any, List, Optional, Sequence, Tuple, Union

from . import _native
from .asked import How, PathLike, octets, several, sync, uploads
from .files import open_file
from .waiting import ProgressCallback, wait


def connect(
    url: str,
    *,
    token: Optional[str] = None,
    fingerprint: Optional[str] = None,
    accept_new: bool = False,
    known_servers: Optional[PathLike] = None,
    tls: str = "pin",
    identity: Optional[Tuple[PathLike, PathLike]] = None,
    transport: str = "auto",
    hash: str = "sha256",
    timeout: float = 4.5,
    retry_timeout: float = 60.0,
) -> "Client":
    """Connects to the server of `url`: `qfs://HOST:PORT`, or the whole ticket that the server prints.

    A server is known by its key. `fingerprint` (or the one in the ticket) must be met; without it the file of known servers decides, as
    for `qfs-client`, and `known_servers` is another such file. A server that is not known is refused, but on loopback, or with
    `accept_new`, which puts it on record. `tls="system"` believes authorities of this machine instead. `identity` is a certificate and
    its key, for servers that ask for one. A connection that is lost is made anew for `retry_timeout` seconds.
    """
    call = _native.connect(
        url,
        token=token,
        fingerprint=fingerprint,
        accept_new=accept_new,
        known_servers=known_servers,
        tls=tls,
        identity=identity,
        transport=transport,
        hash=hash,
        timeout=timeout,
        retry_timeout=retry_timeout,
    )
    return Client(wait(call))


class Client:
    """A connection to a server. May be used by several threads at once; not by a process that was forked off."""

    def __init__(self, native: _native.Client):
        self._native = native

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def fingerprint(self) -> Optional[str]:
        """The server's key: `sha256:HEX`."""
        return self._native.fingerprint

    def list(self, directory: str = "") -> List[_native.Entry]:
        """Every file below `directory`, in ascending order of the names."""
        return wait(self._native.list(directory))

    def children(self, directory: str = "") -> List[_native.Entry]:
        """What lies directly in `directory`: files, directories, links."""
        return wait(self._native.children(directory))

    def stat(self, name: str) -> _native.Entry:
        """What there is under `name`. Raises `NotFound`."""
        return wait(self._native.stat(name))

    def exists(self, name: str) -> bool:
        """Whether there is something under `name`."""
        try:
            self.stat(name)
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str, start: int = 0, end: Optional[int] = None) -> bytes:
        """The content of a file, verified by its digest; or the bytes from `start` to before `end`, which no digest covers."""
        return wait(self._native.read(name, start, end))

    def open(self, name: str, mode: str = "r", *, buffering: int = -1, encoding: Optional[str] = None, **text: Any) -> io.IOBase:
        """Opens a file as `open` does, for `r`, `w` or `x`, `b` or `t`.

        A file that is read is of one version: once it has changed on the server, reading raises `Changed`. A file that is written
        appears when it is closed, whole and verified; if an exception leaves its `with` block, or it is never closed, nothing does.
        """
        return open_file(self._native, name, mode, buffering, encoding, text)

    def get(
        self,
        names: Union[str, Sequence[str], None],
        directory: PathLike,
        *,
        overwrite: bool = False,
        checksum: bool = False,
        parallel: bool = True,
        durable: bool = False,
        progress: Optional[ProgressCallback] = None,
    ) -> List[_native.Outcome]:
        """Fetches names, patterns and directories (None: everything) into `directory`, under the names that they have on the server.

        What is here already is skipped, what was cut off is continued. Raises what a single file failed with, or `SeveralFailed`.
        """
        wanted = None if names is None else several(names)
        return wait(self._native.get(wanted, directory, How(overwrite, checksum, parallel, durable)), progress)

    def get_file(
        self,
        name: str,
        path: PathLike,
        *,
        overwrite: bool = False,
        checksum: bool = False,
        durable: bool = False,
        progress: Optional[ProgressCallback] = None,
    ) -> _native.Outcome:
        """Fetches one file to `path`, whatever it is called there."""
        return wait(self._native.get_file(name, path, How(overwrite, checksum, False, durable)), progress)[0]

    def put(
        self,
        paths: Union[PathLike, Sequence[PathLike]],
        to: str = "",
        *,
        overwrite: bool = False,
        checksum: bool = False,
        parallel: bool = True,
        durable: bool = False,
        progress: Optional[ProgressCallback] = None,
    ) -> List[_native.Outcome]:
        """Uploads files and directories into the directory `to`, under their own names."""
        return wait(self._native.put(uploads(paths, to), How(overwrite, checksum, parallel, durable)), progress)

    def put_file(
        self,
        path: PathLike,
        name: str,
        *,
        overwrite: bool = False,
        checksum: bool = False,
        durable: bool = False,
        progress: Optional[ProgressCallback] = None,
    ) -> _native.Outcome:
        """Uploads one file as `name`."""
        return wait(self._native.put([(path, name)], How(overwrite, checksum, False, durable)), progress)[0]

    def write(
        self, name: str, data: Any, *, overwrite: bool = False, durable: bool = False, progress: Optional[ProgressCallback] = None
    ) -> _native.Outcome:
        """Makes a file of bytes."""
        return wait(self._native.write(name, octets(data), How(overwrite, False, False, durable)), progress)[0]

    def pull(
        self,
        directory: PathLike,
        prefix: str = "",
        *,
        delete: bool = False,
        max_delete: Union[int, str] = "50%",
        checksum: bool = False,
        update: bool = False,
        links: bool = False,
        durable: bool = False,
        include: Union[str, Sequence[str]] = (),
        exclude: Union[str, Sequence[str]] = (),
        dry_run: bool = False,
        progress: Optional[ProgressCallback] = None,
    ) -> List[_native.Step]:
        """Makes `directory` here like the directory `prefix` of the server (all of it without one), and returns what was done.

        With `delete` what the server lacks is removed, `max_delete` (a number or a percentage) at most. Rules of `include` and `exclude`
        are those of .gitignore. With `dry_run` nothing is done.
        """
        options = dict(delete=delete, max_delete=max_delete, checksum=checksum, update=update, links=links, durable=durable)
        asked = sync(dict(options, include=include, exclude=exclude, dry_run=dry_run))
        return wait(self._native.pull(directory, prefix, asked), progress)

    def push(
        self,
        directory: PathLike,
        prefix: str = "",
        *,
        delete: bool = False,
        max_delete: Union[int, str] = "50%",
        checksum: bool = False,
        update: bool = False,
        links: bool = False,
        durable: bool = False,
        include: Union[str, Sequence[str]] = (),
        exclude: Union[str, Sequence[str]] = (),
        dry_run: bool = False,
        progress: Optional[ProgressCallback] = None,
    ) -> List[_native.Step]:
        """Makes the directory `prefix` of the server like `directory` here; as `pull` otherwise."""
        options = dict(delete=delete, max_delete=max_delete, checksum=checksum, update=update, links=links, durable=durable)
        asked = sync(dict(options, include=include, exclude=exclude, dry_run=dry_run))
        return wait(self._native.push(directory, prefix, asked), progress)

    def remove(self, name: str, *, recursive: bool = False) -> None:
        """Removes a file; with `recursive` also a directory with all that is in it."""
        wait(self._native.remove(name, recursive))

    def remove_directory(self, name: str) -> None:
        """Removes a directory that is empty."""
        wait(self._native.remove_directory(name))

    def make_directory(self, name: str) -> None:
        """Makes a directory and those on the way to it; one that is there already is as good."""
        wait(self._native.make_directory(name))

    def copy(self, source: str, target: str, *, overwrite: bool = False) -> None:
        """Has the server copy a file."""
        wait(self._native.copy(source, target, overwrite))

    def close(self) -> None:
        """Ends the connection."""
        wait(self._native.close())
