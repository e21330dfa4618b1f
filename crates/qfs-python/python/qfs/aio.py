"""The client for asyncio: the same operations, awaited. An operation whose task is cancelled ends."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, Tuple, Union

from . import _native
from .asked import How, PathLike, octets, several, sync, uploads
from .waiting import ProgressCallback, wait_async


async def connect_async(
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
) -> "AsyncClient":
    """As `connect`, for asyncio."""
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
    return AsyncClient(await wait_async(call))


class AsyncClient:
    """A connection to a server. May be used by several event loops; not by a process that was forked off."""

    def __init__(self, native: _native.Client):
        self._native = native

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def fingerprint(self) -> Optional[str]:
        """The server's key: `sha256:HEX`."""
        return self._native.fingerprint

    async def list(self, directory: str = "") -> List[_native.Entry]:
        """As `Client.list`."""
        return await wait_async(self._native.list(directory))

    async def children(self, directory: str = "") -> List[_native.Entry]:
        """As `Client.children`."""
        return await wait_async(self._native.children(directory))

    async def stat(self, name: str) -> _native.Entry:
        """As `Client.stat`."""
        return await wait_async(self._native.stat(name))

    async def exists(self, name: str) -> bool:
        """As `Client.exists`."""
        try:
            await self.stat(name)
        except FileNotFoundError:
            return False
        return True

    async def read(self, name: str, start: int = 0, end: Optional[int] = None) -> bytes:
        """As `Client.read`."""
        return await wait_async(self._native.read(name, start, end))

    async def open(self, name: str) -> "AsyncFile":
        """Opens a file for reading, in the version that is there now."""
        return AsyncFile(await wait_async(self._native.open(name)))

    def upload(self, name: str, *, overwrite: bool = False, durable: bool = False) -> "AsyncUpload":
        """A file to write: `async with client.upload("x") as file: await file.write(b"…")`. It appears when the block is left, and
        not at all if that is with an exception."""
        return AsyncUpload(self._native.upload(name, How(overwrite=overwrite, durable=durable)))

    async def get(
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
        """As `Client.get`."""
        wanted = None if names is None else several(names)
        return await wait_async(self._native.get(wanted, directory, How(overwrite, checksum, parallel, durable)), progress)

    async def get_file(
        self,
        name: str,
        path: PathLike,
        *,
        overwrite: bool = False,
        checksum: bool = False,
        durable: bool = False,
        progress: Optional[ProgressCallback] = None,
    ) -> _native.Outcome:
        """As `Client.get_file`."""
        return (await wait_async(self._native.get_file(name, path, How(overwrite, checksum, False, durable)), progress))[0]

    async def put(
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
        """As `Client.put`."""
        return await wait_async(self._native.put(uploads(paths, to), How(overwrite, checksum, parallel, durable)), progress)

    async def put_file(
        self,
        path: PathLike,
        name: str,
        *,
        overwrite: bool = False,
        checksum: bool = False,
        durable: bool = False,
        progress: Optional[ProgressCallback] = None,
    ) -> _native.Outcome:
        """As `Client.put_file`."""
        return (await wait_async(self._native.put([(path, name)], How(overwrite, checksum, False, durable)), progress))[0]

    async def write(
        self, name: str, data: Any, *, overwrite: bool = False, durable: bool = False, progress: Optional[ProgressCallback] = None
    ) -> _native.Outcome:
        """As `Client.write`."""
        return (await wait_async(self._native.write(name, octets(data), How(overwrite, False, False, durable)), progress))[0]

    async def pull(
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
        """As `Client.pull`."""
        options = dict(delete=delete, max_delete=max_delete, checksum=checksum, update=update, links=links, durable=durable)
        asked = sync(dict(options, include=include, exclude=exclude, dry_run=dry_run))
        return await wait_async(self._native.pull(directory, prefix, asked), progress)

    async def push(
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
        """As `Client.push`."""
        options = dict(delete=delete, max_delete=max_delete, checksum=checksum, update=update, links=links, durable=durable)
        asked = sync(dict(options, include=include, exclude=exclude, dry_run=dry_run))
        return await wait_async(self._native.push(directory, prefix, asked), progress)

    async def remove(self, name: str, *, recursive: bool = False) -> None:
        """As `Client.remove`."""
        await wait_async(self._native.remove(name, recursive))

    async def remove_directory(self, name: str) -> None:
        """As `Client.remove_directory`."""
        await wait_async(self._native.remove_directory(name))

    async def make_directory(self, name: str) -> None:
        """As `Client.make_directory`."""
        await wait_async(self._native.make_directory(name))

    async def copy(self, source: str, target: str, *, overwrite: bool = False) -> None:
        """As `Client.copy`."""
        await wait_async(self._native.copy(source, target, overwrite))

    async def close(self) -> None:
        """As `Client.close`."""
        await wait_async(self._native.close())


class AsyncFile:
    """One version of a file, read at any place; several reads may be under way at once."""

    def __init__(self, native: _native.File):
        self._native = native

    @property
    def size(self) -> int:
        """In bytes."""
        return self._native.size

    async def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset` on; fewer only at the end. Raises `Changed` when the file is no longer this version."""
        return await wait_async(self._native.read_at(offset, length))


class AsyncUpload:
    """A file that is written from its beginning to its end."""

    def __init__(self, native: _native.Upload):
        self._native = native

    async def __aenter__(self) -> "AsyncUpload":
        return self

    async def __aexit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            await self.commit()
        else:
            self.discard()

    async def write(self, data: Any) -> None:
        """Hands over more bytes; waits while those before are on their way."""
        if not await wait_async(self._native.write(octets(data))):
            # It has ended already: this raises why.
            await self.commit()

    async def commit(self) -> _native.Outcome:
        """Makes it appear."""
        return (await wait_async(self._native.finish()))[0]

    def discard(self) -> None:
        """Ends it: nothing appears on the server."""
        self._native.abort()
