"""What operations are asked for, as the native half wants it: keyword arguments gathered, names on the server found out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, List, Sequence, Tuple, Union

PathLike = Union[str, "os.PathLike[str]"]


@dataclass
class How:
    """How files are transferred."""

    overwrite: bool = False
    checksum: bool = False
    parallel: bool = True
    durable: bool = False


@dataclass
class Sync:
    """How one side is made like the other."""

    delete: bool = False
    max_delete: str = "50%"
    checksum: bool = False
    update: bool = False
    links: bool = False
    durable: bool = False
    include: List[str] = field(default_factory=list)
    exclude: List[str] = field(default_factory=list)
    dry_run: bool = False


def sync(options: dict) -> Sync:
    """Options of `pull` and `push`, where several types will do."""
    options = dict(options, max_delete=str(options["max_delete"]))
    for name in ("include", "exclude"):
        options[name] = several(options[name])
    return Sync(**options)


def several(names: Union[str, Sequence[str]]) -> List[str]:
    """One name, or several."""
    return [names] if isinstance(names, str) else list(names)


def uploads(paths: Union[PathLike, Sequence[PathLike]], to: str) -> List[Tuple[Path, str]]:
    """Each path with the name that it gets in the directory `to` of the server."""
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    to = to.strip("/")
    named = [(Path(path), Path(path).name or Path(path).resolve().name) for path in paths]
    return [(path, f"{to}/{name}" if to else name) for path, name in named]


def octets(data: Any) -> bytes:
    """Whatever has bytes, as `bytes`."""
    return data if isinstance(data, bytes) else bytes(memoryview(data).cast("B"))
