"""The native half: what it offers to the other modules of this package."""

import os
from typing import Any, Callable, Generic, List, Optional, Sequence, Tuple, TypeVar, Union, final

from .asked import How, Sync

_Path = Union[str, "os.PathLike[str]"]
_T = TypeVar("_T")

@final
class Call(Generic[_T]):
    """An operation under way."""

    def wait(self, seconds: float) -> bool: ...
    def when_over(self, callback: Callable[[], Any]) -> None: ...
    def result(self) -> _T: ...
    def progress(self) -> Tuple[int, int, int, int]: ...
    def cancel(self) -> None: ...

@final
class Entry:
    """What the server has under a name."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str:
        """`file`, `directory` or `link`."""
    @property
    def size(self) -> int: ...
    @property
    def mtime(self) -> Optional[float]:
        """Seconds since 1970. Not known of a directory that was asked about by its name."""
    @property
    def digest(self) -> Optional[str]:
        """`sha256:HEX` or `blake3:HEX`, where the server knows it."""
    @property
    def etag(self) -> Optional[str]:
        """The version of a file."""
    @property
    def executable(self) -> bool: ...
    @property
    def target(self) -> Optional[str]:
        """Where a link leads."""

@final
class Outcome:
    """How the transfer of one file ended."""

    @property
    def name(self) -> str: ...
    @property
    def status(self) -> str:
        """`downloaded`, `resumed`, `uploaded`, `unchanged`, `live` or `failed`."""
    @property
    def size(self) -> Optional[int]: ...
    @property
    def digest(self) -> Optional[str]: ...
    @property
    def transferred(self) -> int:
        """Bytes that were transferred for it."""
    @property
    def seconds(self) -> float: ...
    @property
    def error(self) -> Optional[Tuple[str, str]]:
        """Why it failed: the word for it, and a sentence."""

@final
class Step:
    """One step of a `pull` or `push`."""

    @property
    def action(self) -> str:
        """`transfer`, `copy`, `remove`, `make_directory`, `make_link`, `set_metadata` or `set_directory_time`."""
    @property
    def name(self) -> str: ...

@final
class File:
    """One version of a file on the server."""

    @property
    def size(self) -> int: ...
    def read_at(self, offset: int, length: int) -> Call[bytes]: ...

@final
class Upload:
    """A file whose bytes come one after another."""

    def write(self, data: bytes) -> Call[bool]: ...
    def finish(self) -> Call[List[Outcome]]: ...
    def abort(self) -> None: ...

@final
class Client:
    """A connection to a server."""

    @property
    def fingerprint(self) -> Optional[str]: ...
    def list(self, directory: str) -> Call[List[Entry]]: ...
    def children(self, directory: str) -> Call[List[Entry]]: ...
    def stat(self, name: str) -> Call[Entry]: ...
    def open(self, name: str) -> Call[File]: ...
    def read(self, name: str, start: int, end: Optional[int]) -> Call[bytes]: ...
    def get(self, names: Optional[List[str]], directory: _Path, how: How) -> Call[List[Outcome]]: ...
    def get_file(self, name: str, target: _Path, how: How) -> Call[List[Outcome]]: ...
    def put(self, paths: Sequence[Tuple[_Path, str]], how: How) -> Call[List[Outcome]]: ...
    def write(self, name: str, data: bytes, how: How) -> Call[List[Outcome]]: ...
    def upload(self, name: str, how: How) -> Upload: ...
    def pull(self, directory: _Path, prefix: str, sync: Sync) -> Call[List[Step]]: ...
    def push(self, directory: _Path, prefix: str, sync: Sync) -> Call[List[Step]]: ...
    def remove(self, name: str, recursive: bool) -> Call[None]: ...
    def remove_directory(self, name: str) -> Call[None]: ...
    def make_directory(self, name: str) -> Call[None]: ...
    def copy(self, source: str, target: str, overwrite: bool) -> Call[None]: ...
    def close(self) -> Call[None]: ...

def connect(
    url: str,
    *,
    token: Optional[str],
    fingerprint: Optional[str],
    accept_new: bool,
    known_servers: Optional[_Path],
    tls: str,
    identity: Optional[Tuple[_Path, _Path]],
    transport: str,
    hash: str,
    timeout: float,
    retry_timeout: float,
) -> Call[Client]: ...
