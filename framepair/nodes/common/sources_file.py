"""The file by which a launcher tells its combiner of other sources than those at the start."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framepair.nodes.common.runtime import Refused
from framepair.protocol.transport import endpoints
from framepair.protocol.transport.endpoints import EndpointError
from framepair.protocol.wire.limits import source_name

NAME = "sources.toml"


@dataclass(frozen=True, slots=True)
class SourceList:
    """Which sources there are, and at which address the combiner receives each; ``version`` grows."""

    version: int
    addresses: Mapping[str, str]


class Unusable(Refused):
    """A file that can't be used, which says at least its ``version``, or None."""

    def __init__(self, sentence: str, version: int | None = None) -> None:
        super().__init__(sentence)
        self.version = version


def write(path: Path, sources: SourceList) -> None:
    """Write ``path`` whole: a reader sees the former file or this one; raises OSError."""
    # A JSON string is one of TOML, too.
    lines = [f"{name} = {json.dumps(address)}" for name, address in sources.addresses.items()]
    text = "\n".join([f"version = {sources.version}", "", "[sources]", *lines, ""])
    new = unfinished(path)
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def unfinished(path: Path) -> Path:
    """Return what ``path`` is called while it is written."""
    return path.with_name(f"{path.name}.new")


def read(path: Path) -> SourceList | None:
    """Return what ``path`` says, None if it is not there; raises Unusable."""
    # Most combiners never read one.
    import tomllib

    fields: dict[str, Any] = {}
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        return _parsed(fields)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unusable(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, EndpointError) as error:
        version = fields.get("version")
        known = version if isinstance(version, int) else None
        raise Unusable(f"{path}: {error}", known) from None


def _parsed(fields: Mapping[str, Any]) -> SourceList:
    """Return the list of sources; raises ValueError or EndpointError for what is none."""
    version, addresses = fields.get("version"), fields.get("sources")
    if not isinstance(version, int) or not isinstance(addresses, dict) or not addresses:
        raise ValueError("it needs a version, a whole number, and a table [sources]")
    for name, address in addresses.items():
        source_name(name)
        if not isinstance(address, str):
            raise ValueError(f"{name} needs an address, as text")
        endpoints.check(address)
    if len(set(addresses.values())) < len(addresses):
        raise ValueError("each source needs an address of its own")
    return SourceList(version, addresses)


class SourcesFile:
    """A file that may be there or not, and change at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None

    def has_changed(self) -> bool:
        """Return whether there is another file than at the last call; cheap, for a work loop."""
        try:
            status = os.stat(self._path)  # noqa: PTH116 - five times a second
        except OSError:
            return False
        seen, self._seen = self._seen, (status.st_ino, status.st_mtime_ns)
        return seen != self._seen

    def read(self) -> SourceList | None:
        """Return what it says, None if it is not there; raises Unusable."""
        return read(self._path)
