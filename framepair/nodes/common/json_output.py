"""JSON for programs, in a file or on stdout."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from framepair.nodes.common import streams
from framepair.nodes.common.runtime import Refused

# As a file's name: stdout, and what people read goes to stderr then.
STDOUT: Final = Path("-")


def write(path: Path, data: dict[str, Any]) -> None:
    """Write ``data`` so that ``path`` holds the former file or all of this, never a part; raises OSError."""
    text = json.dumps(data, indent=2) + "\n"
    if path == STDOUT:
        _print(text)
        return
    path = path.resolve()
    draft = _draft(path)
    try:
        draft.write_text(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def refuse_unwritable(path: Path) -> None:
    """Raise Refused if no report can be written to ``path``: better now than after an hour."""
    if path == STDOUT:
        return
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise Refused(f"cannot write the report to {path}: it is there and is no file")
    draft = _draft(path)
    try:
        draft.touch(exist_ok=False)
        draft.unlink()
    except OSError as error:
        raise Refused(f"cannot write the report to {path}: {error.strerror}") from None


def _print(text: str) -> None:
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        # Its reader has seen enough.
        streams.forget_stdout()


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")
