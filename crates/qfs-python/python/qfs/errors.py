"""What can go wrong. Every class is an `OSError`, and besides that the built-in one that fits, so that code which knows files needs to
know nothing of qfs.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Optional, Sequence

if TYPE_CHECKING:
    from ._native import Outcome


class Error(OSError):
    """Something went wrong. `code` is the word for it that `qfs-client --json` uses too, `name` the file that it is about, if any."""

    code: str = ""
    name: Optional[str] = None
    number: Optional[int] = None

    def __init__(self, message: str, code: str = "", name: Optional[str] = None):
        super().__init__(message)
        self.message, self.code, self.name = message, code, name
        if self.number is not None:
            self.errno = self.number

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> Any:
        return type(self), (self.message, self.code, self.name)


class NotFound(Error, FileNotFoundError):
    """No file is published under this name, or nobody may know of it."""

    number = errno.ENOENT


class PermissionDenied(Error, PermissionError):
    """The server does not allow it: a token is missing, or does not reach so far."""

    number = errno.EACCES


class Exists(Error, FileExistsError):
    """Another file is there, and it was not said that it may be replaced."""

    number = errno.EEXIST


class CannotConnect(Error, ConnectionError):
    """Nobody answers, or the connection was lost and could not be made anew."""


class Untrusted(Error, ConnectionError):
    """The server is not known, or has another key than it should."""


class Integrity(Error):
    """The bytes are not what they should be. Nothing of them appears under the file's name."""

    number = errno.EIO


class DigestMismatch(Integrity):
    """What arrived is not what the other side says the file is."""


class Changed(Integrity):
    """The file changed while it was read, or is no longer the version that was opened."""

    number = errno.ESTALE


class NoSpace(Error):
    """There is no room, here or on the server."""

    number = errno.ENOSPC


class TooManyRemovals(Error):
    """`pull` or `push` would remove more than `max_delete` allows; nothing was done."""


class UsageError(Error, ValueError):
    """What was asked for makes no sense."""

    number = errno.EINVAL


class ClientClosed(UsageError):
    """The client is closed, or was made before this process was forked off."""


class SeveralFailed(Error):
    """Several files failed. `outcomes` has all of the run, also those that did not."""

    def __init__(self, outcomes: Sequence["Outcome"]):
        failed = [(outcome.name, outcome.error[1]) for outcome in outcomes if outcome.error]
        name, why = failed[0]
        super().__init__(f"{len(failed)} of {len(outcomes)} files failed; the first is {name!a}: {why}", "failed")
        self.outcomes = list(outcomes)

    def __reduce__(self) -> Any:
        return Error, (self.message, self.code)


_BY_CODE = {
    "not_found": NotFound,
    "vanished": NotFound,
    "denied": PermissionDenied,
    "certificate_refused": PermissionDenied,
    "exists": Exists,
    "in_the_way": Exists,
    "changed": Changed,
    "digest_mismatch": DigestMismatch,
    "protocol": Integrity,
    "no_space": NoSpace,
    "too_many_removals": TooManyRemovals,
    "closed": ClientClosed,
}
_BY_KIND = {
    "connection": CannotConnect,
    "trust": Untrusted,
    "integrity": Integrity,
    "vanished": NotFound,
    "usage": UsageError,
}


def of(code: str, kind: str, message: str, name: Optional[str]) -> Error:
    """The exception for a failure of the library."""
    return _BY_CODE.get(code, _BY_KIND.get(kind, Error))(message, code or kind, name)


def several(outcomes: Sequence["Outcome"]) -> SeveralFailed:
    """The exception for a run of which several files failed."""
    return SeveralFailed(outcomes)
