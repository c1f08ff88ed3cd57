"""How a recording, or one source of it, is named: PATH.mcap, PATH.mcap#SOURCE, DIR/*.mcap."""

from __future__ import annotations

from typing import Final

SUFFIX: Final = ".mcap"
# The last part of a path that stands for all files of a directory.
ALL: Final = f"*{SUFFIX}"


def is_recording(uri: str) -> bool:
    """Return whether ``uri`` names a recording, or a source of one."""
    return split(uri)[0].lower().endswith(SUFFIX)


def split(uri: str) -> tuple[str, str]:
    """Return the path and the source that ``uri`` names, "" if it names none."""
    path, mark, source = uri.rpartition("#")
    return (path, source) if mark and path.lower().endswith(SUFFIX) else (uri, "")
