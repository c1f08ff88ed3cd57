"""What can be done with recordings: prove that nothing is missing, tell, repair and export what is in them."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import App, Parameter

from framepair.nodes.common import exit_codes, runtime
from framepair.nodes.recordings import telling
from framepair.nodes.recordings.judge import Findings, judge
from framepair.protocol.recording import directory
from framepair.protocol.recording import repair as repairing
from framepair.protocol.recording.reading import NotARecording
from framepair.protocol.recording.repair import BeingWritten

app = App(name="framepair", help=__doc__, version_flags=[])


@app.command
def verify(
    *files: Path,
    repair: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Prove that every frame is on disk or counted as lost; exit with 1 and the first hole otherwise.

    Parameters
    ----------
    files
        The files of one recording, in any order, or its directory.
    repair
        Give files that were cut off their index first: they end after their last whole chunk.
    """
    with _readable(files):
        paths = _each(files)
    if repair:
        _repair_all(paths)
    found = _judged(paths)
    print("\n".join(telling.verification(found)))
    if telling.complaint(found):
        sys.exit(exit_codes.FAILED)


@app.command
def info(*files: Path) -> None:
    """Say what a recording holds: sources, sizes, rates, length, pairs, and what is missing.

    Parameters
    ----------
    files
        The files of one recording, in any order, or its directory.
    """
    print("\n".join(telling.contents(_judged(files))))


@app.command
def export(
    *files: Path,
    to: Path,
    h264: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Write an mp4 for each source, with the true times of its frames, and tables of frames and pairs (CSV).

    Parameters
    ----------
    files
        The files of one recording, in any order, or its directory.
    to
        The directory to write to, made if need be.
    h264
        Code pictures as H.264, without B-frames, instead of copying their JPEG files.
    """
    # FFmpeg takes a while to load, which the other commands should not have to wait for.
    from framepair.nodes.recordings.export import export as write

    with _readable(files):
        for path in write(_each(files), to, h264=h264):
            print(path)


def _judged(files: Sequence[Path]) -> Findings:
    with _readable(files):
        return judge(_each(files))


def _each(files: Sequence[Path]) -> list[Path]:
    """Return the files of a recording, for a directory those in it."""
    return [each for path in files for each in directory.files(path)]


@contextlib.contextmanager
def _readable(files: Sequence[Path]) -> Iterator[None]:
    """Turn what goes wrong with ``files`` into a sentence; raises Refused."""
    if not files:
        raise runtime.Refused(
            "name the files of a recording, or its directory: framepair verify DIR"
        )
    try:
        yield
    except NotARecording as error:
        raise runtime.Refused(str(error)) from None
    except OSError as error:
        todo = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the path"
        raise runtime.Refused(f"cannot use {error.filename}: {error.strerror}: {todo}") from None


def _repair_all(files: Sequence[Path]) -> None:
    for path in files:
        try:
            repaired = repairing.repair(path)
        except (NotARecording, BeingWritten) as error:
            raise runtime.Refused(str(error)) from None
        except OSError as error:
            raise runtime.Refused(
                f"cannot repair {path}: {error.strerror}: make room, or copy it elsewhere"
            ) from None
        if repaired:
            print(
                f"{path}: repaired: {repaired.messages} messages in {repaired.chunks} chunks stay,"
                f" {repaired.cut_bytes} bytes behind them are cut off"
            )


def main() -> NoReturn:
    """Run one of the commands as a process."""
    runtime.run(app, "framepair")
