"""A relay's memory: pixels of messages go into rings, one for each source, and headers say where they are."""

from __future__ import annotations

import itertools
from pathlib import Path

from framepair.protocol.memory import payload
from framepair.protocol.memory.payload import Place, Writer
from framepair.protocol.memory.payloads import PAYLOADS
from framepair.protocol.memory.ring import Pixels
from framepair.protocol.memory.shm import Shm
from framepair.protocol.wire.frame import FrameHeader


class Rings:
    """Puts frames into shared memory in ``directory``; a source's frames one after the other, in any thread.

    A ring holds ``history_s`` seconds, and three windows at the least. ``run`` makes the names of rings this
    relay's own. A source that comes back at another rate gets another ring.
    """

    def __init__(self, directory: Path, run: int, history_s: float) -> None:
        self._directory = directory
        self._runs = itertools.count(run)
        self._history_s = history_s
        self._writers: dict[str, tuple[float, Writer]] = {}

    def place(self, header: FrameHeader, pixels: Pixels | memoryview) -> FrameHeader:
        """Return the header of a frame that was put into its ring: as it is, or decoded.

        Raises NoRoom if there can be no such ring, ProtocolError if the pixels are damaged.
        """
        writer = self._writer(header)
        memory = writer.reserve(header.shape)
        PAYLOADS[header.payload].store(pixels, memory, header.encoding)
        location = writer.pack(header.seq, header.encoding).location
        return header.placed(location) if location else header

    def remove(self, source: str) -> None:
        """Remove a source's ring, if it has one; consumers keep what they have mapped."""
        _, writer = self._writers.pop(source, (0.0, None))
        if writer is not None:
            writer.close()

    def close(self) -> None:
        """Remove all rings; consumers keep what they have mapped."""
        while self._writers:
            _, (_, writer) = self._writers.popitem()
            writer.close()

    def _writer(self, header: FrameHeader) -> Writer:
        fps, writer = self._writers.get(header.source, (0.0, None))
        if writer is None or fps != header.fps:
            if writer is not None:
                writer.close()
            window_s = (header.window_ns or 0) / 1e9
            history_s = payload.relayed_history_s(self._history_s, window_s)
            # A name of its own: a consumer knows a ring by that.
            run = next(self._runs)
            place = Place(header.source, run, header.fps, history_s, self._directory)
            writer = Shm().writer(place)
            self._writers[header.source] = header.fps, writer
        return writer
