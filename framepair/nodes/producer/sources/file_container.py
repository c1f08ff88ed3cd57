"""Opening video files with PyAV: files, pipes and numbered pictures, and a sentence for what is none."""

from __future__ import annotations

import math
import os
import re
import select
import stat
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer

from framepair.nodes.producer.sources.decoding import ANY_TEXT
from framepair.nodes.producer.sources.source import SourceError
from framepair.nodes.producer.sources.uri import SourceUri

NUMBERED = re.compile(r"%\d*d")
# How long a pipe may be without a word, unless told otherwise.
PATIENCE_S: Final = 5.0
# An mp4 without an index shows within a few boxes; a damaged file may have any number.
MAX_BOXES: Final = 50


def open_container(
    source: SourceUri, fps: float | None = None, patience_s: float = PATIENCE_S
) -> InputContainer:
    """Open a file; raises SourceError, one sentence, if it isn't there or is no video.

    A pipe may be without a word for ``patience_s``.
    """
    if _is_sequence(source.location):
        return _open_images(source, fps)
    path = Path(source.location).absolute()
    mode = _mode_of_readable(path)
    if not stat.S_ISREG(mode):
        return _open_pipe(source, path, fps, patience_s)
    try:
        # Without file: in front, FFmpeg takes a name with a colon for a URL.
        return _opened(f"file:{path}", fps)
    except (av.FFmpegError, ValueError):
        raise refusal(source, _why_not(path)) from None


def _open_pipe(
    source: SourceUri, path: Path, fps: float | None, patience_s: float
) -> InputContainer:
    """Open a pipe that has a word to say: to open one without a writer would wait without end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise SourceError(f"{path} cannot be opened: {error.strerror}") from None
    try:
        _await_writer(path, descriptor, patience_s)
        os.set_blocking(descriptor, True)
        # FFmpeg takes a copy of the descriptor.
        return _opened(f"pipe:{descriptor}", fps)
    except (av.FFmpegError, ValueError):
        raise refusal(source, "what comes out of it is of another kind, or cut short") from None
    finally:
        os.close(descriptor)


def _opened(url: str, fps: float | None) -> InputContainer:
    container: InputContainer = av.open(url, options=_rate(fps), **ANY_TEXT)
    return container


def _await_writer(path: Path, descriptor: int, patience_s: float) -> None:
    if os.isatty(descriptor):
        raise SourceError(f"{path} is a terminal: let a program write a video to it")
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    if not ready.poll(patience_s * 1000):
        raise SourceError(
            f"nothing was written to {path} for {patience_s:g} s: start its writer, or raise --open-timeout"
        )


def _mode_of_readable(path: Path) -> int:
    """Return what kind of file ``path`` is; raises SourceError if it can't be read, or is a directory."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise SourceError(f"there is no file {path}: check the path") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be looked at: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        raise SourceError(f"{path} is a directory: name a video in it")
    if not os.access(path, os.R_OK):
        raise SourceError(f"{path} may not be read by this user: change its permissions")
    return mode


def _why_not(path: Path) -> str:
    if path.is_file() and not path.stat().st_size:
        return "it is empty"
    if _is_unfinished(path):
        return (
            "it is an unfinished mp4, whose recording was cut off before its index (moov) was written;"
            " repair it, or record to mkv"
        )
    return "it is of another kind, or cut short"


def _is_unfinished(path: Path) -> bool:
    """Return whether a file is an mp4 without an index: its boxes end before one named moov."""
    boxes: set[bytes] = set()
    with suppress(OSError), path.open("rb") as file:
        while len(head := file.read(8)) == 8 and len(boxes) < MAX_BOXES:
            size, kind = struct.unpack(">I4s", head)
            boxes.add(kind)
            if size == 1:
                size = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))[0] - 8
            if size < 8:
                break
            file.seek(size - 8, os.SEEK_CUR)
    return b"ftyp" in boxes and b"moov" not in boxes


def _is_sequence(location: str) -> bool:
    path = Path(location)
    is_pattern = bool(NUMBERED.search(path.name) or set("*?[") & set(path.name))
    # A file may be named like a pattern.
    return is_pattern and not os.path.lexists(path)


def _open_images(source: SourceUri, fps: float | None) -> InputContainer:
    """Open pictures that a name like img_%04d.png or *.png stands for, in the order of their names."""
    pattern = "sequence" if NUMBERED.search(Path(source.location).name) else "glob"
    path = Path(source.location).absolute()
    options = {"pattern_type": pattern} | _rate(fps)
    try:
        # FFmpeg opens a glob that nothing matches, too.
        if pattern == "glob" and not any(path.parent.glob(path.name)):
            raise FileNotFoundError
        return av.open(str(path), format="image2", options=options)
    except (av.FFmpegError, FileNotFoundError):
        raise SourceError(f"there are no pictures {source}: check the pattern") from None


def _rate(fps: float | None) -> dict[str, str]:
    """Return the options for a file without times: those that have some don't know them."""
    return {} if fps is None or not math.isfinite(fps) else {"framerate": f"{fps:.9g}"}


def refusal(source: SourceUri, why: str) -> SourceError:
    """Return the error of a file that is there and cannot be played."""
    path = Path(source.location).absolute()
    return SourceError(f"{path} is not a video that can be played: {why}")
