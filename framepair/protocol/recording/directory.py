"""A recording of several files: all of a directory, PATH/*.mcap, read one after the other as one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mcap.records import Chunk

from framepair.protocol.recording.names import ALL, SUFFIX
from framepair.protocol.recording.reading import Logged, NotARecording, RecordingFile


def files(path: Path) -> list[Path]:
    """Return the recording's files, the oldest first; ``path`` itself if it is no directory, nor DIR/*.mcap.

    Raises NotARecording if there is none in the directory, OSError if it can't be read.
    """
    directory = path.parent if path.name == ALL else path
    if path.name != ALL and not path.is_dir():
        return [path]
    found = [each for each in directory.iterdir() if each.suffix.lower() == SUFFIX]
    if not found:
        raise NotARecording(f"{directory} has no {SUFFIX} file in it: name a recording")
    # The recorder names them by their time; by the stem, T…Z-1.mcap comes after T…Z.mcap.
    return sorted(found, key=lambda each: each.stem)


def opened(path: Path) -> RecordingFile | RecordingFiles:
    """Open a recording, one file or all of a directory; raises NotARecording or OSError. Close it."""
    paths = files(path)
    return RecordingFile(path) if paths == [path] else RecordingFiles(path, paths)


class RecordingFiles:
    """Reads ``paths`` as one recording that is called ``path``; each file is open only while it is read.

    All of its methods raise NotARecording and OSError for a file that is none or can't be opened.
    """

    def __init__(self, path: Path, paths: list[Path]) -> None:
        self.path = path
        self._paths = paths
        self._open: set[RecordingFile] = set()

    def tracks(self) -> dict[str, set[str]]:
        """Return the sources that have pictures in any of the files, and the topics of each."""
        found: dict[str, set[str]] = {}
        for file in self._each():
            for source, topics in file.tracks().items():
                found.setdefault(source, set()).update(topics)
        return found

    def has(self, topic: str) -> bool:
        """Return whether any of the files has a channel of ``topic``."""
        return any(file.has(topic) for file in self._each())

    def chunks(self) -> Iterator[Chunk]:
        """Yield the chunks that can be read, file by file."""
        for file in self._each():
            yield from file.chunks()

    def last_ns(self) -> int:
        """Return the time of the last message of all, 0 if there is none."""
        return max(file.last_ns() for file in self._each())

    def messages(self, since_ns: int = 0) -> Iterator[Logged]:
        """Yield the messages as they were written, file by file; see RecordingFile."""
        for file in self._each():
            yield from file.messages(since_ns)

    def close(self) -> None:
        """Close the files that are being read."""
        for file in self._open:
            file.close()

    def __enter__(self) -> RecordingFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _each(self) -> Iterator[RecordingFile]:
        for path in self._paths:
            with RecordingFile(path) as file:
                self._open.add(file)
                try:
                    yield file
                finally:
                    self._open.discard(file)
