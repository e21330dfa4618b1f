"""Waits for calls, in a thread or in an event loop, and tells how far they are.

While a thread waits, the interpreter is free for others, and a signal (Ctrl-C) is seen within a tenth of a second. Whoever stops waiting,
for whatever reason, ends the work.
"""

from __future__ import annotations

import asyncio
from typing import Any, Callable, NamedTuple, Optional, TypeVar

from ._native import Call

_T = TypeVar("_T")

# Seconds between two looks at how far a call is, and at signals.
_LOOK = 0.1


class Progress(NamedTuple):
    """How far an operation is. Totals grow while sizes become known."""

    bytes: int
    total_bytes: int
    files: int
    total_files: int


ProgressCallback = Callable[[Progress], Any]


def wait(call: Call[_T], progress: Optional[ProgressCallback] = None) -> _T:
    """Waits until `call` has ended; `progress` is called from here now and then, and at the end. What it raises ends the call."""
    tell = _teller(call, progress)
    try:
        while not call.wait(_LOOK):
            tell()
        tell()
        return call.result()
    except BaseException:
        call.cancel()
        raise


async def wait_async(call: Call[_T], progress: Optional[ProgressCallback] = None) -> _T:
    """The same in the running event loop."""
    loop, tell = asyncio.get_running_loop(), _teller(call, progress)
    over = asyncio.Event()

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(over.set)
        except RuntimeError:  # The loop is closed: nobody waits.
            pass

    call.when_over(wake)
    try:
        if progress is None:
            await over.wait()
        else:
            while not over.is_set():
                try:
                    await asyncio.wait_for(over.wait(), _LOOK)
                except asyncio.TimeoutError:
                    tell()
            tell()
        return call.result()
    except BaseException:
        call.cancel()
        raise


def _teller(call: Call[Any], progress: Optional[ProgressCallback]) -> Callable[[], None]:
    told: Optional[Progress] = None

    def tell() -> None:
        nonlocal told
        if progress is not None:
            now = Progress(*call.progress())
            if now != told:
                told = now
                progress(now)

    return tell
