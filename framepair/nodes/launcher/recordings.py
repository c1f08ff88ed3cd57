"""A recording among the sources, a file or a directory of them, stands for all sources that are in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from framepair.nodes.common.runtime import Refused
from framepair.nodes.launcher.names import is_name
from framepair.protocol.recording import names


def expanded(arguments: Sequence[str]) -> list[str]:
    """Return ``arguments``, a recording as NAME=PATH#NAME for each source that it has.

    Raises Refused for a file that is none, or one that is given a single name and has several sources.
    """
    return [each for argument in arguments for each in _expanded(argument)]


def _expanded(argument: str) -> Iterator[str]:
    name, equals, uri = argument.partition("=")
    if not (equals and is_name(name)):
        name, uri = "", argument
    uri = _all_files(uri)
    path, track = names.split(uri)
    if not names.is_recording(uri):
        yield argument
    elif name and track:
        yield f"{name}={uri}"
    elif track:
        yield f"{track}={uri}"
    else:
        tracks = _tracks(path)
        if name and len(tracks) > 1:
            raise Refused(
                f"{path} has several sources: say which one is {name}: {name}={path}#{tracks[0]}"
            )
        yield from (f"{name or each}={path}#{each}" for each in tracks)


def _all_files(uri: str) -> str:
    """Return ``uri``; DIR/*.mcap for a directory that has such files, which is DIR or DIR#NAME."""
    path, mark, track = uri.rpartition("#")
    for directory, rest in ((uri, ""), (path, mark + track)):
        if directory and _has_recordings(Path(directory).expanduser()):
            return f"{Path(directory).expanduser() / names.ALL}{rest}"
    return uri


def _has_recordings(directory: Path) -> bool:
    try:
        return directory.is_dir() and any(directory.glob(names.ALL))
    except OSError:
        return False


def _tracks(path: str) -> list[str]:
    # It takes time to import what reads recordings, which other sources should not have to wait for.
    from framepair.protocol.recording.directory import opened
    from framepair.protocol.recording.reading import NotARecording

    try:
        with opened(Path(path).expanduser()) as file:
            tracks = list(file.tracks())
    except NotARecording as error:
        raise Refused(str(error)) from None
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}: check the path") from None
    if not tracks:
        raise Refused(f"{path} has no pictures in it: name a recording of a source")
    return tracks
