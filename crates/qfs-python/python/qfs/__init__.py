"""A client of qfs, which moves files over QUIC: verified, resumed, on one encrypted connection.

>>> import qfs
>>> with qfs.connect("qfs://127.0.0.1:8000") as client:  # doctest: +SKIP
...     for entry in client.list():
...         print(entry.name, entry.size)

`connect` and `Client` block; `connect_async` and `AsyncClient` are the same for asyncio. With fsspec installed, `qfs://host:port/name`
is an address that pandas, dask and pyarrow open.
"""

from ._native import Entry, Outcome, Step
from .aio import AsyncClient, connect_async
from .client import Client, connect
from .errors import (
    CannotConnect,
    Changed,
    ClientClosed,
    DigestMismatch,
    Error,
    Exists,
    Integrity,
    NoSpace,
    NotFound,
    PermissionDenied,
    SeveralFailed,
    TooManyRemovals,
    Untrusted,
    UsageError,
)
from .waiting import Progress

__all__ = [
    "AsyncClient",
    "CannotConnect",
    "Changed",
    "Client",
    "ClientClosed",
    "DigestMismatch",
    "Entry",
    "Error",
    "Exists",
    "Integrity",
    "NoSpace",
    "NotFound",
    "Outcome",
    "PermissionDenied",
    "Progress",
    "SeveralFailed",
    "Step",
    "TooManyRemovals",
    "Untrusted",
    "UsageError",
    "connect",
    "connect_async",
]
